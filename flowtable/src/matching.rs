//! A rule's match: values and masks over a [`FlowKey`].
//!
//! Built by codecs and the flow syntax, kept by the classifier. A table may hold a million, so
//! only the words of the key that count are stored: a bitmap of their positions and one boxed
//! slice of values and masks. Equal matches have equal representations.
//!
//! VLAN is matched as OpenFlow 1.3.5 §7.2.3.7 has it, with no special case: the key holds the
//! presence bit, so `vlan_vid` 0 in full means untagged (`OFPVID_NONE`) and the presence bit as
//! value and mask means any tag (`OFPVID_PRESENT`).

use crate::{
    Field, FlowKey, FlowMask, Prerequisite, VLAN_PRESENT, eth_type, icmpv6_type, ip_proto,
};

/// Values and masks that a packet's key must agree with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Bit n is set if word n of the key counts.
    present: u128,
    /// For each of those words, in order: the value, 0 where the mask is.
    words: Box<[Word]>,
}

/// A word of the key that counts, at least in one bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Word {
    value: u64,
    mask: u64,
}

impl Match {
    /// Requires the bits of `mask` to be as in `key`.
    pub fn new(key: &FlowKey, mask: &FlowMask) -> Match {
        let pairs = key.words().iter().zip(mask.0.words());
        let mut present = 0;
        let mut words = Vec::new();
        for (index, (value, &mask)) in pairs.enumerate().filter(|(_, (_, mask))| **mask != 0) {
            present |= 1 << index;
            words.push(Word {
                value: value & mask,
                mask,
            });
        }
        Match {
            present,
            words: words.into(),
        }
    }

    /// A match by the words that count: index, value and mask of each, in order.
    pub(crate) fn of_words(words: impl Iterator<Item = (usize, u64, u64)> + Clone) -> Match {
        let present: u128 = words.clone().fold(0, |all, (index, ..)| all | 1 << index);
        let mut list = Vec::with_capacity(present.count_ones() as usize);
        list.extend(words.map(|(_, value, mask)| Word { value, mask }));
        Match {
            present,
            words: list.into(),
        }
    }

    /// Requires `field` to equal `value` in the bits of `mask`, besides what is required of it
    /// already. To require many fields at once, write them to a key and a mask and use
    /// [`Match::new`].
    pub fn set(&mut self, field: Field, value: u128, mask: u128) {
        let (mut keys, mut masks) = (self.key(), self.mask());
        field.write(&mut keys, value, mask);
        field.write(&mut masks.0, u128::MAX, mask);
        *self = Match::new(&keys, &masks);
    }

    /// Value and mask required of `field`; the mask is 0 if it may be anything. Fields that share
    /// storage read alike: [`Match::fields`] tells which of them is meant.
    pub fn read(&self, field: Field) -> (u128, u128) {
        let [value, mask] = field.read_words(|index| {
            let word = self.at(index);
            [word.value, word.mask]
        });
        (value, mask)
    }

    /// Every field that is matched, with value and mask, in canonical order. Of fields that share
    /// storage it is the one whose prerequisites are matched too.
    pub fn fields(&self) -> impl Iterator<Item = (Field, u128, u128)> {
        let allowed = Field::allowed(self.known().met);
        let words = self.words();
        let set = words.fold(0, |set, (index, _, mask)| {
            set | Field::with_bits(index, mask, allowed)
        });
        Field::of_bits(set).map(|field| {
            let (value, mask) = self.read(field);
            (field, value, mask)
        })
    }

    /// Whether `field` may not be matched or set under this match, for what it lacks.
    pub fn missing_prerequisite(&self, field: Field) -> bool {
        !self.known().meets(field.prerequisite())
    }

    fn known(&self) -> Known {
        Known::new(|field| self.read(field))
    }

    /// The values, 0 where the mask is.
    pub fn key(&self) -> FlowKey {
        let mut key = FlowKey::default();
        for (index, value, _) in self.words() {
            key.words_mut()[index] = value;
        }
        key
    }

    /// The bits that count.
    pub fn mask(&self) -> FlowMask {
        let mut all = FlowMask::default();
        for (index, _, mask) in self.words() {
            all.0.words_mut()[index] = mask;
        }
        all
    }

    /// The words of the key that count, in order: index, value, mask.
    pub fn words(&self) -> impl ExactSizeIterator<Item = (usize, u64, u64)> + Clone {
        let mut rest = self.present;
        self.words.iter().map(move |word| {
            let index = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            (index, word.value, word.mask)
        })
    }

    /// Whether every packet matches.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Whether a packet with `key` matches.
    pub fn matches(&self, key: &FlowKey) -> bool {
        self.words()
            .all(|(index, value, mask)| key.words()[index] & mask == value)
    }

    /// Whether every packet that matches `other` matches this too: what the loose forms of modify
    /// and delete select (OpenFlow 1.3.5 §6.4).
    pub fn includes(&self, other: &Match) -> bool {
        self.present & !other.present == 0
            && self.pairs(other).all(|(ours, theirs)| {
                ours.mask & !theirs.mask == 0 && theirs.value & ours.mask == ours.value
            })
    }

    /// Whether some packet may match both.
    pub fn overlaps(&self, other: &Match) -> bool {
        self.pairs(other)
            .all(|(ours, theirs)| (ours.value ^ theirs.value) & ours.mask & theirs.mask == 0)
    }

    /// Bytes of memory beyond the value itself.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Bit n is set if word n of the key counts.
    pub(crate) fn present(&self) -> u128 {
        self.present
    }

    /// The words that count in both.
    fn pairs(&self, other: &Match) -> impl Iterator<Item = (Word, Word)> {
        let mut rest = self.present & other.present;
        core::iter::from_fn(move || {
            let bit = rest & rest.wrapping_neg();
            rest ^= bit;
            (bit != 0).then(|| (self.word(bit), other.word(bit)))
        })
    }

    /// A word of the key; without a bit if it does not count.
    fn at(&self, index: usize) -> Word {
        match self.present >> index & 1 {
            0 => Word::default(),
            _ => self.word(1 << index),
        }
    }

    fn word(&self, bit: u128) -> Word {
        self.words[(self.present & (bit - 1)).count_ones() as usize]
    }
}

/// The prerequisites that every packet fulfils which has some fields of known values.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Bit n is set for the prerequisite of number n.
    met: u32,
}

impl Known {
    /// Of fields of these values and masks.
    pub fn new(read: impl Fn(Field) -> (u128, u128)) -> Known {
        use Prerequisite as P;
        let exact = |field: Field| {
            let (value, mask) = read(field);
            (mask == field.ones()).then_some(value as u16)
        };
        let ethernet: &[P] = match exact(Field::EthType) {
            Some(eth_type::ARP | eth_type::RARP) => &[P::Arp],
            Some(eth_type::IPV4) => &[P::Ip, P::Ipv4],
            Some(eth_type::IPV6) => &[P::Ip, P::Ipv6],
            Some(eth_type::MPLS | eth_type::MPLS_MULTICAST) => &[P::Mpls],
            Some(eth_type::PBB) => &[P::Pbb],
            _ => &[],
        };
        let ip = ethernet.get(1);
        let protocol = ip.and_then(|_| exact(Field::IpProto));
        let transport: &[P] = match (ip, protocol.map(|number| number as u8)) {
            (_, Some(ip_proto::TCP)) => &[P::Tcp],
            (_, Some(ip_proto::UDP)) => &[P::Udp],
            (_, Some(ip_proto::SCTP)) => &[P::Sctp],
            (Some(P::Ipv4), Some(ip_proto::ICMP)) => &[P::Icmpv4],
            (Some(P::Ipv6), Some(ip_proto::ICMPV6)) => match exact(Field::Icmpv6Type) {
                Some(icmpv6_type::NEIGHBOUR_SOLICITATION) => &[P::Icmpv6, P::Nd, P::NdSolicit],
                Some(icmpv6_type::NEIGHBOUR_ADVERTISEMENT) => &[P::Icmpv6, P::Nd, P::NdAdvert],
                _ => &[P::Icmpv6],
            },
            _ => &[],
        };
        let (vlan_vid, mask) = read(Field::VlanVid);
        let vlan: &[P] = match vlan_vid as u16 & mask as u16 & VLAN_PRESENT {
            0 => &[],
            _ => &[P::Vlan],
        };
        let (state, mask) = read(Field::CtState);
        let connection: &[P] = match is_of_connection(state, mask) {
            true => &[P::Connection],
            false => &[],
        };
        let all = [&[P::None], vlan, ethernet, transport, connection];
        let met = all.into_iter().flatten();
        Known {
            met: met.fold(0, |met, need| met | 1 << *need as u32),
        }
    }

    /// Whether it is fulfilled.
    pub fn meets(&self, need: Prerequisite) -> bool {
        self.met >> need as u32 & 1 == 1
    }
}

/// Whether only packets of valid connections are in such a state: one that others are never in, or
/// tracked and not invalid.
fn is_of_connection(state: u128, mask: u128) -> bool {
    let tracked = state & mask & CT_TRACKED != 0;
    let not_invalid = mask & CT_INVALID != 0 && state & CT_INVALID == 0;
    state & mask & CT_OF_CONNECTION != 0 || tracked && not_invalid
}

/// Bits of `ct_state` (ovs-fields(7)): new, est, rel, rpl, snat, dnat.
const CT_OF_CONNECTION: u128 = 0b1100_1111;
/// `inv`.
const CT_INVALID: u128 = 1 << 4;
/// `trk`.
const CT_TRACKED: u128 = 1 << 5;

const _: () = assert!(FlowKey::WORDS <= 128, "the bitmap has a bit for each word");

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(fields: &[(Field, u128)]) -> Match {
        let mut matching = Match::default();
        for &(field, value) in fields {
            matching.set(field, value, u128::MAX);
        }
        matching
    }

    #[test]
    fn only_words_that_count_are_stored() {
        let mut m = matching(&[(Field::EthType, 0x0800), (Field::Ipv4Dst, 0x0a00_0001)]);
        assert_eq!((m.words().len(), m.memory_bytes()), (2, 32));
        m.set(Field::InPort, 7, 0);
        assert_eq!(m.words().len(), 2);
        assert!(Match::default().is_empty() && !m.is_empty());
        assert_eq!(Match::new(&m.key(), &m.mask()), m);
    }

    #[test]
    fn a_field_reads_back_and_may_be_narrowed() {
        let mut m = Match::default();
        m.set(Field::Ipv6Src, 0xfe80 << 112, 0xffff << 112);
        assert_eq!(m.read(Field::Ipv6Src), (0xfe80 << 112, 0xffff << 112));
        m.set(Field::Ipv6Src, 5, 0xff);
        assert_eq!(
            m.read(Field::Ipv6Src),
            (0xfe80 << 112 | 5, 0xffff << 112 | 0xff)
        );
        assert_eq!(m.read(Field::Ipv6Dst), (0, 0));
        let value_without_mask = matching(&[(Field::EthDst, 3)]);
        let mut masked = Match::default();
        masked.set(Field::EthDst, 0xff03, 0xff);
        masked.set(Field::EthDst, 3, !0);
        assert_eq!(masked, value_without_mask);
    }

    #[test]
    fn fields_that_share_storage_are_told_by_prerequisites() {
        let names = |m: &Match| -> Vec<&str> { m.fields().map(|(f, ..)| f.name()).collect() };
        let ip = (Field::EthType, 0x0800);
        let arp = (Field::EthType, 0x0806);
        let address = (Field::Ipv4Src, 1);
        assert_eq!(names(&matching(&[ip, address])), ["eth_type", "nw_src"]);
        assert_eq!(names(&matching(&[arp, address])), ["eth_type", "arp_spa"]);
        assert_eq!(names(&matching(&[address])), [""; 0]);
        let port = (Field::TcpDst, 80);
        for (proto, name) in [
            (6, "tcp_dst"),
            (17, "udp_dst"),
            (132, "sctp_dst"),
            (1, "icmp_code"),
        ] {
            let m = matching(&[ip, (Field::IpProto, proto), port]);
            assert_eq!(names(&m), ["eth_type", "nw_proto", name]);
        }
        let nd = [
            (Field::EthType, 0x86dd),
            (Field::IpProto, 58),
            (Field::Icmpv6Type, 135),
        ];
        let m = matching(&[&nd[..], &[(Field::NdSll, 5), (Field::NdTarget, 6)]].concat());
        let expected = ["eth_type", "nw_proto", "icmpv6_type", "nd_target", "nd_sll"];
        assert_eq!(names(&m), expected);
    }

    #[test]
    fn prerequisites_need_exact_matches() {
        let ip = matching(&[(Field::EthType, 0x0800)]);
        let tcp = matching(&[(Field::EthType, 0x86dd), (Field::IpProto, 6)]);
        let cases = [
            (&ip, Field::Ipv4Src, false),
            (&ip, Field::IpDscp, false),
            (&ip, Field::Ipv6Src, true),
            (&ip, Field::TcpSrc, true),
            (&ip, Field::ArpOp, true),
            (&tcp, Field::TcpSrc, false),
            (&tcp, Field::UdpSrc, true),
            (&tcp, Field::EthDst, false),
        ];
        for (m, field, missing) in cases {
            assert_eq!(m.missing_prerequisite(field), missing, "{}", field.name());
        }
        let mut part = Match::default();
        part.set(Field::EthType, 0x0800, 0xff00);
        assert!(part.missing_prerequisite(Field::Ipv4Src));
        let ip_proto_alone = matching(&[(Field::IpProto, 6)]);
        assert!(ip_proto_alone.missing_prerequisite(Field::TcpSrc));
    }

    #[test]
    fn vlan_as_openflow_has_it() {
        let present = u128::from(VLAN_PRESENT);
        let packet = |vlan_tci| FlowKey {
            vlan_tci,
            ..FlowKey::default()
        };
        let none = matching(&[(Field::VlanVid, 0)]);
        let five = matching(&[(Field::VlanVid, present | 5)]);
        let mut any = Match::default();
        any.set(Field::VlanVid, present, present);
        for (tci, expected) in [
            (0, [true, false, false]),
            (0x1005, [false, true, true]),
            (0xf005, [false, true, true]),
            (0x1000, [false, false, true]),
        ] {
            let key = packet(tci);
            assert_eq!(
                [&none, &five, &any].map(|m| m.matches(&key)),
                expected,
                "{tci:#x}"
            );
        }
        let missing = |m: &Match| m.missing_prerequisite(Field::VlanPcp);
        assert_eq!([&none, &five, &any].map(missing), [true, false, false]);
        assert!(any.includes(&five) && !five.includes(&any) && !any.overlaps(&none));
    }

    #[test]
    fn includes_and_overlaps() {
        let all = Match::default();
        let ip = matching(&[(Field::EthType, 0x0800)]);
        let host = matching(&[(Field::EthType, 0x0800), (Field::Ipv4Dst, 9)]);
        let other = matching(&[(Field::EthType, 0x0800), (Field::Ipv4Dst, 8)]);
        let port = matching(&[(Field::InPort, 1)]);
        assert!(all.includes(&host) && ip.includes(&host) && host.includes(&host));
        assert!(!host.includes(&ip) && !ip.includes(&all) && !host.includes(&other));
        assert!(host.overlaps(&port) && host.overlaps(&ip) && host.overlaps(&all));
        assert!(!host.overlaps(&other));
    }

    #[test]
    fn a_prefix_includes_longer_ones() {
        let prefix = |address: u128, bits: u32| {
            let mut m = Match::default();
            m.set(Field::Ipv4Dst, address, 0xffff_ffff << (32 - bits));
            m
        };
        let (short, long) = (prefix(0x0a00_0000, 8), prefix(0x0a00_0000, 16));
        assert!(short.includes(&long) && !long.includes(&short) && long.overlaps(&short));
        assert!(!short.includes(&prefix(0x0b00_0000, 16)));
    }

    #[test]
    fn every_field_is_told_with_its_prerequisites() {
        use Prerequisite as P;
        for field in Field::ALL.iter().copied().filter(|field| !field.is_alias()) {
            let (kind, proto, tp_src) = match field.prerequisite() {
                P::None | P::Vlan | P::Connection => (0, 0, 0),
                P::Arp => (eth_type::ARP, 0, 0),
                P::Ip | P::Ipv4 => (eth_type::IPV4, 0, 0),
                P::Ipv6 => (eth_type::IPV6, 0, 0),
                P::Mpls => (eth_type::MPLS_MULTICAST, 0, 0),
                P::Pbb => (eth_type::PBB, 0, 0),
                P::Tcp => (eth_type::IPV6, ip_proto::TCP, 0),
                P::Udp => (eth_type::IPV4, ip_proto::UDP, 0),
                P::Sctp => (eth_type::IPV4, ip_proto::SCTP, 0),
                P::Icmpv4 => (eth_type::IPV4, ip_proto::ICMP, 0),
                P::Icmpv6 => (eth_type::IPV6, ip_proto::ICMPV6, 0),
                P::Nd | P::NdSolicit => (eth_type::IPV6, ip_proto::ICMPV6, 135),
                P::NdAdvert => (eth_type::IPV6, ip_proto::ICMPV6, 136),
            };
            let mut m = Match::default();
            m.set(Field::VlanVid, VLAN_PRESENT.into(), VLAN_PRESENT.into());
            m.set(Field::CtState, CT_TRACKED, CT_TRACKED | CT_INVALID);
            let needed = [
                (Field::EthType, u128::from(kind)),
                (Field::IpProto, proto.into()),
                (Field::Icmpv6Type, tp_src),
            ];
            for (needed, value) in needed.into_iter().filter(|(_, value)| *value != 0) {
                m.set(needed, value, u128::MAX);
            }
            assert!(!m.missing_prerequisite(field), "{}", field.name());
            if !m.fields().any(|(told, ..)| told == field) {
                m.set(field, 1, u128::MAX);
            }
            assert!(
                m.fields().any(|(told, ..)| told == field),
                "{}",
                field.name()
            );
        }
    }
}
