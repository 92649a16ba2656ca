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
    present: u64,
    /// For each of those words, in order: the value, 0 where the mask is.
    words: Box<[Word]>,
}

/// A word of the key that counts, at least in one bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        (field.read(&self.key()), field.read(&self.mask().0))
    }

    /// Every field that is matched, with value and mask, in canonical order. Of fields that share
    /// storage it is the one whose prerequisites are matched too.
    pub fn fields(&self) -> impl Iterator<Item = (Field, u128, u128)> {
        let (key, mask) = (self.key(), self.mask());
        let all = Field::ALL.iter().copied();
        let set = all.filter(move |field| field.read(&mask.0) != 0);
        let meant = set.filter(move |field| satisfied(field.prerequisite(), &key, &mask));
        meant.map(move |field| (field, field.read(&key), field.read(&mask.0)))
    }

    /// Whether `field` may not be matched or set under this match, for what it lacks.
    pub fn missing_prerequisite(&self, field: Field) -> bool {
        !satisfied(field.prerequisite(), &self.key(), &self.mask())
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
    pub fn words(&self) -> impl ExactSizeIterator<Item = (usize, u64, u64)> {
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
    pub(crate) fn present(&self) -> u64 {
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

    fn word(&self, bit: u64) -> Word {
        self.words[(self.present & (bit - 1)).count_ones() as usize]
    }
}

/// Whether the values in the bits of `mask` fulfil a prerequisite for every packet.
fn satisfied(need: Prerequisite, key: &FlowKey, mask: &FlowMask) -> bool {
    let ethernet = |kinds: &[u16]| mask.0.eth_type == u16::MAX && kinds.contains(&key.eth_type);
    let protocol = |proto: u8| {
        mask.0.ip_proto == u8::MAX
            && key.ip_proto == proto
            && ethernet(&[eth_type::IPV4, eth_type::IPV6])
    };
    let icmpv6 = || protocol(ip_proto::ICMPV6) && ethernet(&[eth_type::IPV6]);
    let nd =
        |kinds: &[u16]| mask.0.tp_src & 0xff == 0xff && kinds.contains(&key.tp_src) && icmpv6();
    let solicitation = icmpv6_type::NEIGHBOUR_SOLICITATION;
    let advertisement = icmpv6_type::NEIGHBOUR_ADVERTISEMENT;
    match need {
        Prerequisite::None => true,
        Prerequisite::Vlan => mask.0.vlan_tci & key.vlan_tci & VLAN_PRESENT != 0,
        Prerequisite::Arp => ethernet(&[eth_type::ARP, eth_type::RARP]),
        Prerequisite::Ip => ethernet(&[eth_type::IPV4, eth_type::IPV6]),
        Prerequisite::Ipv4 => ethernet(&[eth_type::IPV4]),
        Prerequisite::Ipv6 => ethernet(&[eth_type::IPV6]),
        Prerequisite::Mpls => ethernet(&[eth_type::MPLS, eth_type::MPLS_MULTICAST]),
        Prerequisite::Pbb => ethernet(&[eth_type::PBB]),
        Prerequisite::Tcp => protocol(ip_proto::TCP),
        Prerequisite::Udp => protocol(ip_proto::UDP),
        Prerequisite::Sctp => protocol(ip_proto::SCTP),
        Prerequisite::Icmpv4 => protocol(ip_proto::ICMP) && ethernet(&[eth_type::IPV4]),
        Prerequisite::Icmpv6 => icmpv6(),
        Prerequisite::Nd => nd(&[solicitation, advertisement]),
        Prerequisite::NdSolicit => nd(&[solicitation]),
        Prerequisite::NdAdvert => nd(&[advertisement]),
    }
}

const _: () = assert!(FlowKey::WORDS <= 64, "the bitmap has a bit for each word");
