//! The packet of a trace on its way through a program: what operations make of it, up to each
//! recirculation point that they lead to.
//!
//! What only a packet's bytes tell is taken from what is beneath its outer headers, where the trace
//! knows that: headers that MPLS covers, for a packet that was given whole or that was covered on
//! the way. Else they are zeros. A connection is taken to begin with the packet: it is translated
//! to the first address and port that its flow allows.

use flowtable::conntrack::{Nat, Range, Request, ct_state, mapped};
use flowtable::{Field, FlowKey, eth_type, ip_proto};

use super::super::translate::headers;
use crate::action::Op;

/// A packet that comes to a recirculation point.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The point.
    pub point: u32,
    /// What the packet looks like there.
    pub followed: Followed,
}

/// A packet and what is beneath its outer headers.
#[derive(Clone, Debug)]
pub struct Followed {
    /// What it looks like.
    pub key: FlowKey,
    /// What it looks like without its outermost MPLS entry, and so on; the outermost last.
    pub beneath: Vec<FlowKey>,
}

impl From<FlowKey> for Followed {
    /// A packet with nothing beneath that is known.
    fn from(key: FlowKey) -> Followed {
        Followed {
            key,
            beneath: Vec::new(),
        }
    }
}

impl Followed {
    /// Finds the recirculation points that operations lead to. The next tracking finds the next of
    /// `states`, and then new connections.
    pub fn follow(
        mut self,
        ops: &[Op],
        states: &mut dyn Iterator<Item = u32>,
        arrivals: &mut Vec<Arrival>,
    ) {
        for op in ops {
            match op {
                Op::Clone(ops) => self.clone().follow(ops, states, arrivals),
                Op::Select(select) => {
                    for ops in select.live() {
                        self.clone().follow(ops, states, arrivals);
                    }
                }
                Op::Longer(longer) => {
                    self.clone().follow(&longer.longer, states, arrivals);
                    self.clone().follow(&longer.other, states, arrivals);
                }
                Op::Track(track) => {
                    let mut told = self.clone();
                    self.track(&track.request);
                    if let Some(point) = track.point {
                        told.tell(&track.request, states.next());
                        arrivals.push(Arrival {
                            point,
                            followed: told,
                        });
                    }
                }
                Op::Recirculate(point) => arrivals.push(Arrival {
                    point: *point,
                    followed: self.clone(),
                }),
                op => self.change(op),
            }
        }
    }

    /// Does what an operation does to the packet itself.
    pub fn change(&mut self, op: &Op) {
        let key = &mut self.key;
        match op {
            Op::SetField { field, value, mask } => field.write(key, *value, *mask),
            Op::DecNwTtl(_) => key.ip_ttl = key.ip_ttl.saturating_sub(1),
            Op::DecMplsTtl(_) => {
                let ttl = Field::MplsTtl.read(key).saturating_sub(1);
                Field::MplsTtl.write(key, ttl, Field::MplsTtl.ones());
            }
            Op::PushVlan(tpid) => {
                headers::push_vlan(key, *tpid);
            }
            Op::PopVlan => {
                headers::pop_vlan(key);
            }
            Op::PushMpls(kind) => {
                self.beneath.push(*key);
                headers::push_mpls(key, *kind);
            }
            Op::PopMpls(kind) => self.pop_mpls(*kind),
            Op::Encapsulate(it) => {
                self.key = it.outer(key);
                self.beneath.clear();
            }
            Op::Track(track) => self.track(&track.request),
            _ => {}
        }
    }

    fn pop_mpls(&mut self, kind: u16) {
        let outer = self.key;
        let mut within = self.beneath.pop().unwrap_or_default();
        let metadata = &outer.words()[..FlowKey::HEADER_WORD];
        within.words_mut()[..FlowKey::HEADER_WORD].copy_from_slice(metadata);
        self.key = FlowKey {
            eth_dst: outer.eth_dst,
            eth_src: outer.eth_src,
            vlan_tci: outer.vlan_tci,
            vlan_tpid: outer.vlan_tpid,
            inner_vlan_tci: outer.inner_vlan_tci,
            inner_vlan_tpid: outer.inner_vlan_tpid,
            eth_type: kind,
            ..within
        };
    }

    /// The packet itself goes on translated.
    fn track(&mut self, request: &Request) {
        if let Some(nat) = request.nat.filter(|_| begins(self.key.ct_state)) {
            translate(&mut self.key, &nat);
        }
    }

    /// A copy of the packet is told of a connection that begins with it, in this state if one is
    /// said.
    fn tell(&mut self, request: &Request, state: Option<u32>) {
        let key = &mut self.key;
        let original = *key;
        key.ct_state = state.unwrap_or(ct_state::NEW) | ct_state::TRK;
        key.ct_zone = request.zone;
        if let Some((value, mask)) = request.mark.filter(|_| request.commits) {
            key.ct_mark = key.ct_mark & !mask | value;
        }
        if let Some((value, mask)) = request.label.filter(|_| request.commits) {
            let bits = |at: usize| key.ct_label[at] & !mask[at] | value[at];
            key.ct_label = [bits(0), bits(1)];
        }
        for (own, of_packet) in ORIGINAL {
            own.write(key, of_packet.read(&original), own.ones());
        }
        let nat = request.nat.filter(|_| begins(key.ct_state));
        let translated = nat.map_or(0, |nat| translate(key, &nat));
        if state.is_none() {
            key.ct_state |= translated;
        }
    }
}

/// Whether a packet in this state goes the way of the first of its connection.
fn begins(state: u32) -> bool {
    state & (ct_state::RPL | ct_state::INV) == 0
}

/// Changes addresses and ports as a new connection's are. Gives the bits of `ct_state` that tell of
/// it.
fn translate(key: &mut FlowKey, nat: &Nat) -> u32 {
    let mut bits = 0;
    let ends = [
        (nat.source, Field::Ipv4Src, Field::Ipv6Src, Field::TcpSrc),
        (
            nat.destination,
            Field::Ipv4Dst,
            Field::Ipv6Dst,
            Field::TcpDst,
        ),
    ];
    for ((range, ipv4, ipv6, port), bit) in ends.into_iter().zip([ct_state::SNAT, ct_state::DNAT]) {
        let before = *key;
        if let Some(range) = range {
            choose(key, &range, (ipv4, ipv6), port);
        }
        if *key != before {
            bits |= bit;
        }
    }
    bits
}

/// The packet's own address and port if the range has them, else the first.
fn choose(key: &mut FlowKey, range: &Range, (ipv4, ipv6): (Field, Field), port: Field) {
    if let Some((first, last)) = range.addresses {
        let bits = |words: [u64; 2]| u128::from(words[0]) << 64 | u128::from(words[1]);
        let (own, field) = match key.eth_type {
            eth_type::IPV4 => (bits(mapped(ipv4.read(key) as u32)), ipv4),
            eth_type::IPV6 => (ipv6.read(key), ipv6),
            _ => return,
        };
        if !(bits(first)..=bits(last)).contains(&own) {
            field.write(key, bits(first) & field.ones(), field.ones());
        }
    }
    let has_ports = [ip_proto::TCP, ip_proto::UDP, ip_proto::SCTP].contains(&key.ip_proto);
    if let Some((first, last)) = range.ports.filter(|_| has_ports)
        && !(first..=last).contains(&(port.read(key) as u16))
    {
        port.write(key, first.into(), port.ones());
    }
}

/// Fields of a connection's original direction, and where the packet that begins it has them.
const ORIGINAL: [(Field, Field); 7] = [
    (Field::CtIpv4Src, Field::Ipv4Src),
    (Field::CtIpv4Dst, Field::Ipv4Dst),
    (Field::CtIpv6Src, Field::Ipv6Src),
    (Field::CtIpv6Dst, Field::Ipv6Dst),
    (Field::CtIpProto, Field::IpProto),
    (Field::CtTpSrc, Field::TcpSrc),
    (Field::CtTpDst, Field::TcpDst),
];
