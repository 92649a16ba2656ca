//! Wrapping packets for tunnels, and unwrapping what comes by them.
//!
//! Called by `execute` and `edit`. What comes is told from what is the host's own here, when it
//! leaves for the host, and not in translation: so the rules' masks need no outer header, one cache
//! entry does for all tunnels of a host, and each packet is looked at once, where its headers are
//! checked anyway. It then goes on at the tunnel's port as any packet goes on that came in by one.
//!
//! A packet is whole before it is wrapped: its checksum complete, super-frames cut. Marks of
//! congestion are handed out and in as RFC 6040 says, outwards in its normal mode: as they are.

use std::net::IpAddr;
use std::ops::ControlFlow::{Break, Continue};

use arrayvec::ArrayVec;
use flowtable::tunnel::{Carrier, Completion, Fault, Inner, Kind, Outer, Within, tos_and_ttl};
use flowtable::{Carried, FlowKey, eth_type, ip_proto, too_big};
use pmd::offload::checksum;
use pmd::{Offload, Packet};

use super::edit::Editor;
use super::rewrite::{Fate, Headers};
use crate::action::{DropReason, Encapsulation, PortNo};
use crate::pipeline::{Host, Received, Underlay};

/// What becomes of a packet that leaves for one of the host's addresses.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be allocated for each packet"
)]
pub enum Arrived {
    /// It is the host's.
    Host,
    /// It was unwrapped: what of it is known, and the tunnel port that it came in by.
    Tunnel(PortNo, Carried),
    /// It is neither.
    Drop(DropReason),
}

/// Wraps a packet that is no super-frame.
pub fn encapsulate(packet: &mut Packet, encapsulation: &Encapsulation) -> Fate {
    let Encapsulation { header, .. } = encapsulation;
    if packet.len() > encapsulation.inner_len_max() {
        return Break(DropReason::TooBig);
    }
    packet.complete_checksum();
    let within = Within::of(packet.data());
    let (mut tos, mut ttl) = header.tos_and_ttl();
    if let Some((inner_tos, inner_ttl)) = within.tos_and_ttl {
        if encapsulation.inherits_tos {
            tos = inner_tos & !ECN;
        }
        if encapsulation.inherits_ttl {
            ttl = inner_ttl;
        }
        tos |= inner_tos & ECN;
    }
    if packet.push_front(header.len()).is_none() {
        return Break(DropReason::NoBuffer);
    }
    let completion = Completion {
        port: within.port,
        identification: encapsulation.identification(),
        tos,
        ttl,
    };
    let frame = packet.data_mut();
    header.write(frame, completion);
    if let Some((at, pseudo)) = header.checksum(frame.len()) {
        put_checksum(frame, header.carrier(), at, pseudo);
    }
    // What a sum within was worth says nothing of the packet without.
    packet.forget_offload();
    Continue(())
}

/// Writes the checksum over what follows from `start` on, at `at`, where there are zeros now.
fn put_checksum(frame: &mut [u8], start: usize, at: usize, pseudo: u32) {
    let pseudo = fold32(pseudo).to_be();
    let sum = checksum::sum(&frame[start..], pseudo.into());
    let value = match !checksum::fold(sum) {
        0 => u16::MAX,
        value => value,
    };
    if let Some(field) = frame.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
}

fn fold32(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Unwraps a packet that leaves for a host, if it came by a tunnel.
pub fn deliver(packet: &mut Packet, port: PortNo, underlay: &Underlay) -> Arrived {
    match Reception::new(port, underlay) {
        Some(mut reception) => reception.receive(packet),
        None => Arrived::Host,
    }
}

/// Takes packets for a host in, those of a batch one after another: what was looked up for one is
/// known for the next of the same node.
#[derive(Debug)]
pub struct Reception<'a> {
    host: &'a Host,
    underlay: &'a Underlay,
    /// Of a UDP port, 0 for GRE.
    kind: Option<(u16, Kind)>,
    /// Where no key makes a difference.
    known: ArrayVec<(Received, PortNo), KNOWN_MAX>,
    is_keyed: bool,
}

impl<'a> Reception<'a> {
    /// None if what leaves by a port cannot have come by a tunnel.
    pub fn new(port: PortNo, underlay: &'a Underlay) -> Option<Reception<'a>> {
        Some(Reception {
            host: underlay.host(port)?,
            underlay,
            kind: None,
            known: ArrayVec::new(),
            is_keyed: underlay.receivers.are_keyed(),
        })
    }

    /// Unwraps a packet, if it came by a tunnel.
    #[inline]
    pub fn receive(&mut self, packet: &mut Packet) -> Arrived {
        let Some(outer) = self.addressed(packet.data()) else {
            return Arrived::Host;
        };
        let carrier = match outer.carrier {
            Carrier::Udp(port) => port,
            Carrier::Gre => Kind::Gre.port(),
        };
        let kind = match (self.kind_of(carrier), outer.carrier) {
            (Some(kind), Carrier::Udp(_)) if kind != Kind::Gre => kind,
            (Some(Kind::Gre), Carrier::Gre) => Kind::Gre,
            _ => return Arrived::Host,
        };
        match self.unwrap(packet, kind, carrier, &outer) {
            Ok((port, carried)) => Arrived::Tunnel(port, carried),
            Err(reason) => Arrived::Drop(reason),
        }
    }

    /// The outer headers of a packet to one of the host's addresses.
    #[inline]
    fn addressed(&self, frame: &[u8]) -> Option<Outer> {
        let outer = Outer::decode(frame)?;
        let host = self.host;
        let is_ours = outer.eth_dst == host.mac && host.addresses.contains(&outer.destination);
        is_ours.then_some(outer)
    }

    fn kind_of(&mut self, carrier: u16) -> Option<Kind> {
        if let Some((known, kind)) = self.kind
            && known == carrier
        {
            return Some(kind);
        }
        let kind = self.underlay.receivers.kind(carrier)?;
        self.kind = Some((carrier, kind));
        Some(kind)
    }

    #[inline]
    fn unwrap(
        &mut self,
        packet: &mut Packet,
        kind: Kind,
        carrier: u16,
        outer: &Outer,
    ) -> Result<(PortNo, Carried), DropReason> {
        if outer.is_fragment {
            return Err(DropReason::TunnelFragment);
        }
        let inner = Inner::decode(kind, packet.data(), outer).map_err(reason)?;
        check_sums(packet, outer, &inner)?;
        let received = Received {
            kind,
            port: carrier,
            key: inner.key.unwrap_or(0),
            source: outer.source,
            destination: outer.destination,
        };
        let port = self.port_of(received).ok_or(DropReason::TunnelUnknown)?;
        let mut key = described(outer, &inner);
        let options = &packet.data()[inner.options.clone()];
        if !options.is_empty() {
            let known = self.underlay.tlvs(port).decode(options, &mut key);
            known.map_err(reason)?;
        }
        let carried = Carried::of(&key);
        uncover(packet, &inner)?;
        take_congestion(packet, outer.tos)?;
        Ok((port, carried))
    }

    #[inline]
    fn port_of(&mut self, received: Received) -> Option<PortNo> {
        if self.is_keyed {
            return self.underlay.receivers.find(&received);
        }
        let received = Received { key: 0, ..received };
        let mut known = self.known.iter();
        if let Some((_, port)) = known.find(|(known, _)| *known == received) {
            return Some(*port);
        }
        let port = self.underlay.receivers.find(&received)?;
        // With more nodes in a batch the others are looked up each time.
        let _ = self.known.try_push((received, port));
        Some(port)
    }
}

/// Whether a frame says that packets are too big for a path: ICMP's fragmentation needed (RFC 1191
/// §4), ICMPv6's packet too big (RFC 4443 §3.2), behind headers without options.
pub fn tells_of_path(frame: &[u8]) -> bool {
    let ip = Outer::NETWORK;
    let bytes = |at: usize| Some(*frame.get(at..)?.first_chunk::<2>()?);
    match bytes(ip - 2).map(u16::from_be_bytes) {
        Some(eth_type::IPV4) => {
            frame.get(ip) == Some(&0x45)
                && frame.get(ip + 9) == Some(&ip_proto::ICMP)
                && bytes(ip + 20) == Some(too_big::V4)
        }
        Some(eth_type::IPV6) => {
            frame.get(ip + 6) == Some(&ip_proto::ICMPV6) && bytes(ip + 40) == Some(too_big::V6)
        }
        _ => false,
    }
}

fn reason(fault: Fault) -> DropReason {
    match fault {
        Fault::Length => DropReason::TunnelLength,
        Fault::Header => DropReason::TunnelHeader,
        Fault::Option => DropReason::TunnelOption,
    }
}

/// Checks the sums of the outer headers. A packet that owes one, or of which a device knows that it
/// is right, came from a sender on this machine, or was checked.
fn check_sums(packet: &Packet, outer: &Outer, inner: &Inner) -> Result<(), DropReason> {
    let frame = packet.data();
    let is_whole = |bytes: &[u8], pseudo: u64| checksum::fold(checksum::sum(bytes, pseudo));
    if outer.source.is_ipv4() && is_whole(&frame[Outer::NETWORK..outer.start], 0) != u16::MAX {
        return Err(DropReason::TunnelChecksum);
    }
    let Some(checked) = inner.checked.clone() else {
        return Ok(());
    };
    let offload = packet.offload();
    let is_udp = outer.carrier != Carrier::Gre;
    if offload.checksum.is_some() || is_udp && offload.valid {
        return Ok(());
    }
    let pseudo = match is_udp {
        true => {
            let addresses = match outer.source.is_ipv4() {
                true => Outer::NETWORK + 12..Outer::NETWORK + 20,
                false => Outer::NETWORK + 8..Outer::NETWORK + 40,
            };
            let length = (checked.len() as u16).to_be();
            let rest = u64::from(length) + u64::from(u16::to_be(UDP));
            checksum::sum(&frame[addresses], rest)
        }
        false => 0,
    };
    match is_whole(&frame[checked], pseudo) {
        u16::MAX => Ok(()),
        _ => Err(DropReason::TunnelChecksum),
    }
}

/// What is known of the packet within: metadata of the tunnel, its options aside.
fn described(outer: &Outer, inner: &Inner) -> FlowKey {
    let mut key = FlowKey::default();
    key.tunnel_id = inner.key.unwrap_or(0);
    match (outer.source, outer.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            key.tunnel_src = source.to_bits();
            key.tunnel_dst = destination.to_bits();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            key.tunnel_ipv6_src = words(source.to_bits());
            key.tunnel_ipv6_dst = words(destination.to_bits());
        }
        _ => {}
    }
    key.tunnel_tos = outer.tos;
    key.tunnel_ttl = outer.ttl;
    key.tunnel_present = 1;
    if inner.is_control {
        key.tunnel_flags |= FLAG_OAM;
    }
    key
}

fn words(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

/// Takes the outer headers away, and the link's padding. A checksum that the packet still owes
/// stays if it is one of the packet within.
fn uncover(packet: &mut Packet, inner: &Inner) -> Result<(), DropReason> {
    packet.truncate(inner.end);
    let uncovered = packet.pull_front(inner.start);
    uncovered.ok_or(DropReason::TunnelLength)?;
    let offload = packet.offload();
    // That the sum outside was right says nothing of one within.
    if offload.valid {
        let valid = false;
        let _ = packet.set_offload(Offload { valid, ..offload });
    }
    Ok(())
}

/// Hands the mark of congestion that a packet met in the tunnel to the packet within; one that
/// cannot be marked is dropped (RFC 6040 §4.2).
#[inline]
fn take_congestion(packet: &mut Packet, outer_tos: u8) -> Result<(), DropReason> {
    let outer = outer_tos & ECN;
    if !matches!(outer, CONGESTED | CAPABLE_1) {
        return Ok(());
    }
    let Some((tos, _)) = tos_and_ttl(packet.data()) else {
        return Ok(());
    };
    match (tos & ECN, outer) {
        (0, CONGESTED) => return Err(DropReason::TunnelCongestion),
        (_, CONGESTED) | (CAPABLE_0, _) => {}
        _ => return Ok(()),
    }
    let mut headers = Headers::UNKNOWN;
    let mut editor = Editor {
        packet,
        headers: &mut headers,
    };
    match editor.set_ecn(outer) {
        Continue(()) => Ok(()),
        Break(reason) => Err(reason),
    }
}

/// Nodes that a batch may come from, so that each is looked up once; more would take longer to
/// compare than to look up.
const KNOWN_MAX: usize = 8;
const UDP: u16 = 17;
/// Bits of a type of service that tell congestion, and their values but for 0, that the ends cannot
/// be told of any (RFC 3168 §5).
const ECN: u8 = 3;
const CONGESTED: u8 = 3;
const CAPABLE_0: u8 = 2;
const CAPABLE_1: u8 = 1;
/// Bit of `tun_flags` for control packets of a tunnel (ovs-fields(7)).
const FLAG_OAM: u16 = 1;

#[cfg(test)]
mod tests;
