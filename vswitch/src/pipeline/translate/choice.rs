//! Choices by a hash of headers (ovs-actions(7), `bundle`, `bundle_load`, `multipath`). The choice
//! is made here, not on the way: packets that choose otherwise have another program.

use flowtable::{Field, FlowKey};
use openflow::{Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm, OfPort};

use super::super::{Bridge, Trace};
use super::Machine;
use super::strand::Strand;
use crate::action::DropReason;

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    pub(super) fn bundle(&mut self, strand: &mut Strand<'a>, bundle: &Bundle) {
        let chosen = choose_port(strand.bridge, bundle, &strand.key);
        let number = chosen.unwrap_or(OfPort::ANY);
        self.trace.choose(number.0.into());
        match (bundle.dst, chosen) {
            // The number of none is that of OpenFlow 1.0, too.
            (Some(dst), _) => self.write_bits(strand, dst, (number.0 as u16).into()),
            (None, Some(port)) => self.output(strand, port, 0),
            (None, None) => self.refuse(DropReason::NoLiveBucket),
        }
    }

    pub(super) fn multipath(&mut self, strand: &mut Strand<'a>, multipath: &Multipath) {
        let hash = hash(multipath.fields, multipath.basis, &strand.key);
        let chosen = choose_link(multipath, hash);
        self.trace.choose(chosen.into());
        self.write_bits(strand, multipath.dst, chosen.into());
    }
}

/// The port that a packet goes to: one that is live.
fn choose_port(bridge: &Bridge, bundle: &Bundle, key: &FlowKey) -> Option<OfPort> {
    let is_live = |number: &OfPort| bridge.port(*number).is_some_and(|port| port.is_live());
    let mut live = bundle.members.iter().filter(|number| is_live(number));
    match bundle.algorithm {
        BundleAlgorithm::ActiveBackup => live.next(),
        BundleAlgorithm::HighestRandomWeight => {
            let hash = hash(bundle.fields, bundle.basis, key);
            live.max_by_key(|port| mix(hash, port.0))
        }
    }
    .copied()
}

/// One of the numbers from 0 up to the last.
fn choose_link(multipath: &Multipath, hash: u32) -> u16 {
    let count = u32::from(multipath.last) + 1;
    let chosen = match multipath.algorithm {
        MultipathAlgorithm::Modulo => hash % count,
        MultipathAlgorithm::Threshold => ((u64::from(hash) * u64::from(count)) >> 32) as u32,
        MultipathAlgorithm::HighestRandomWeight => {
            let links = 0..count;
            let best = links.max_by_key(|link| mix(hash, *link));
            best.unwrap_or_default()
        }
        MultipathAlgorithm::Iterative => iterate(hash, multipath),
    };
    chosen as u16
}

/// Hashes within the next power of two until one is a number: where numbers are added, few packets
/// go elsewhere. After some attempts any number does.
fn iterate(hash: u32, multipath: &Multipath) -> u32 {
    let count = u32::from(multipath.last) + 1;
    let range = count
        .max(multipath.argument.clamp(1, 1 << 16))
        .next_power_of_two();
    let attempts = (0..ATTEMPTS_MAX).map(|attempt| mix(hash, attempt) % range);
    let found = attempts.into_iter().find(|link| *link < count);
    found.unwrap_or(hash % count)
}

/// What fields a hash looks at.
pub(in crate::pipeline) fn fields(fields: HashFields) -> &'static [Field] {
    use Field::*;
    match fields {
        HashFields::EthSrc => &[EthSrc],
        HashFields::NwSrc => &[EthType, Ipv4Src, Ipv6Src],
        HashFields::NwDst => &[EthType, Ipv4Dst, Ipv6Dst],
        HashFields::SymmetricL3 => &[EthType, Ipv4Src, Ipv6Src, Ipv4Dst, Ipv6Dst],
        HashFields::SymmetricL3L4 | HashFields::SymmetricL3L4Udp => &[
            EthType, IpProto, IpFrag, Ipv4Src, Ipv6Src, Ipv4Dst, Ipv6Dst, TcpSrc, TcpDst,
        ],
        HashFields::SymmetricL4 => &[
            EthSrc, EthDst, VlanVid, EthType, IpProto, IpFrag, Ipv4Src, Ipv6Src, Ipv4Dst, Ipv6Dst,
            TcpSrc, TcpDst,
        ],
    }
}

/// The hash of a packet's headers.
fn hash(fields: HashFields, basis: u16, key: &FlowKey) -> u32 {
    let is_ip = matches!(
        key.eth_type,
        flowtable::eth_type::IPV4 | flowtable::eth_type::IPV6
    );
    let source = [key.ipv4_src.into(), key.ipv6_src[0], key.ipv6_src[1]];
    let destination = [key.ipv4_dst.into(), key.ipv6_dst[0], key.ipv6_dst[1]];
    let both = [0, 1, 2].map(|word| source[word] ^ destination[word]);
    let with_ports = |is_wanted: bool| {
        let is_whole = is_wanted && key.ip_frag == 0;
        let ports = if is_whole { key.tp_src ^ key.tp_dst } else { 0 };
        u64::from(key.ip_proto) << 16 | u64::from(ports)
    };
    let is_stream = matches!(key.ip_proto, TCP | SCTP);
    let words = match fields {
        HashFields::EthSrc => [key.eth_src, 0, 0, 0, 0],
        HashFields::NwSrc if is_ip => [source[0], source[1], source[2], 0, 0],
        HashFields::NwDst if is_ip => [destination[0], destination[1], destination[2], 0, 0],
        HashFields::SymmetricL3 if is_ip => [both[0], both[1], both[2], 0, 0],
        HashFields::SymmetricL3L4 if is_ip => [both[0], both[1], both[2], with_ports(is_stream), 0],
        HashFields::SymmetricL3L4Udp if is_ip => {
            let is_known = is_stream || key.ip_proto == UDP;
            [both[0], both[1], both[2], with_ports(is_known), 0]
        }
        HashFields::SymmetricL4 => {
            let vlan = Field::VlanVid.read(key) as u64;
            let link = (key.eth_src ^ key.eth_dst) | vlan << 48;
            let network = if is_ip { both } else { [0; 3] };
            let ports = if is_ip {
                with_ports(is_stream || key.ip_proto == UDP)
            } else {
                0
            };
            [
                link,
                network[0],
                network[1],
                network[2],
                ports | u64::from(key.eth_type) << 32,
            ]
        }
        _ => [0; 5],
    };
    words.iter().fold(basis.into(), |sum, word| {
        mix(sum ^ (*word >> 32) as u32, *word as u32)
    })
}

/// Two words into one, every bit of which depends on all of theirs.
fn mix(a: u32, b: u32) -> u32 {
    let word = (u64::from(a) << 32 | u64::from(b)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ word >> 31) as u32
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
/// Hashes that are tried, of each of which half are numbers: one in a million packets is left.
const ATTEMPTS_MAX: u32 = 20;
