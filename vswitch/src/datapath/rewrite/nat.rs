//! Addresses and ports of a packet changed to what connection tracking says (RFC 2663, RFC 5508).
//!
//! Called by `track`. All checksums over what changes are kept right, incrementally: of the IP and
//! the transport header, and for an ICMP error those of the packet that it embeds, as far as they
//! are there, and its own.

use std::ops::ControlFlow::{Break, Continue};

use flowtable::conntrack::{Embedded, Translation, Tuple};
use flowtable::{FlowKey, Layout, eth_type, ip_proto};

use super::checksum::{self, Delta};
use super::place::Cover;
use super::{Fate, Frame, MALFORMED};
use crate::action::DropReason;

/// Translates the first fragment of a datagram that has so many bytes in others.
pub fn translate_first(frame: &mut Frame, translation: &Translation, rest: u32) -> Fate {
    if frame.headers.ip_proto != ip_proto::SCTP {
        return translate(frame, translation);
    }
    let Some(at) = frame.headers.l4().map(|l4| l4 + SCTP_CRC) else {
        return MALFORMED;
    };
    let before = frame.u32_at(at);
    translate(frame, translation)?;
    let (Some(before), Some(after)) = (before, frame.u32_at(at)) else {
        return MALFORMED;
    };
    // The CRC is little-endian on the wire.
    let change = (before ^ after).swap_bytes();
    let change = checksum::crc32c_behind(change, rest as usize);
    let right = before ^ change.swap_bytes();
    frame.overwrite(at, &right.to_be_bytes(), Cover::Nothing)
}

/// Translates a later fragment: only addresses are there.
pub fn translate_later(frame: &mut Frame, translation: &Translation) -> Fate {
    let bare = Translation {
        embedded: None,
        ..*translation
    };
    translate(frame, &bare)
}

/// Translates a packet.
pub fn translate(frame: &mut Frame, translation: &Translation) -> Fate {
    match translate_segment(frame, translation) {
        true => Continue(()),
        false => translate_any(frame, translation),
    }
}

/// Translates a TCP segment behind an IPv4 header without options that owes no checksum: both
/// ends at once, the sums over what changes taken in the machine's byte order (RFC 1071 §2 (B)).
/// Returns whether it was one.
#[inline(always)]
fn translate_segment(frame: &mut Frame, translation: &Translation) -> bool {
    let (headers, to) = (&frame.headers, &translation.to);
    let kind = (headers.eth_type, headers.ip_proto);
    let (l3, l4) = (
        usize::from(headers.layout.l3),
        usize::from(headers.layout.l4),
    );
    if kind != (eth_type::IPV4, ip_proto::TCP) || frame.partial.is_some() || l3 + IPV4_LEN != l4 {
        return false;
    }
    let bytes = frame.bytes.get_mut(l3..);
    let Some(bytes) = bytes.and_then(|bytes| bytes.first_chunk_mut::<SEGMENT_LEN>()) else {
        return false;
    };
    let ends = [
        (translation.source, to.src, to.src_port),
        (translation.destination, to.dst, to.dst_port),
    ];
    let (mut of_addresses, mut of_ports) = (0, 0);
    for (end, (changes, address, port)) in ends.into_iter().enumerate() {
        if changes {
            let address = (address[1] as u32).to_be_bytes();
            of_addresses += replace(bytes, 12 + 4 * end, address, u32::from_ne_bytes);
            let port = port.to_be_bytes();
            of_ports += replace(bytes, IPV4_LEN + 2 * end, port, |it| {
                u16::from_ne_bytes(it).into()
            });
        }
    }
    for (at, delta) in [(10, of_addresses), (TCP_SUM, of_addresses + of_ports)] {
        let sum = u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let sum = Delta::of_sum(delta).apply(sum).to_ne_bytes();
        bytes[at..at + 2].copy_from_slice(&sum);
    }
    true
}

/// Writes another word to a place; what the sum over it changes by.
#[inline(always)]
fn replace<const N: usize>(
    bytes: &mut [u8; SEGMENT_LEN],
    at: usize,
    new: [u8; N],
    word: impl Fn([u8; N]) -> u32,
) -> u64 {
    let mut old = [0xff; N];
    for (byte, new) in old.iter_mut().zip(&mut bytes[at..at + N]) {
        *byte ^= *new;
    }
    bytes[at..at + N].copy_from_slice(&new);
    u64::from(word(old)) + u64::from(word(new))
}

/// Translates a packet of any kind.
fn translate_any(frame: &mut Frame, translation: &Translation) -> Fate {
    let Some(l3) = frame.headers.l3() else {
        return MALFORMED;
    };
    let to = &translation.to;
    let ends = [
        (translation.source, to.src, to.src_port),
        (translation.destination, to.dst, to.dst_port),
    ];
    for (end, (changes, address, _)) in ends.into_iter().enumerate() {
        if changes {
            write_address(frame, l3, end, address)?;
        }
    }
    if let Some(embedded) = translation.embedded {
        return translate_embedded(frame, translation, embedded);
    }
    let Some(l4) = frame.headers.l4() else {
        return Continue(());
    };
    if to.is_icmp() {
        return frame.overwrite(
            l4 + IDENTIFIER,
            &to.src_port.to_be_bytes(),
            Cover::Transport,
        );
    }
    if !has_ports(to) {
        return Continue(());
    }
    for (end, (changes, _, port)) in ends.into_iter().enumerate() {
        if changes {
            frame.overwrite(l4 + 2 * end, &port.to_be_bytes(), Cover::Transport)?;
        }
    }
    Continue(())
}

/// Writes into the key of a packet that was translated, and embeds none, what the parser would find
/// now.
#[inline(always)]
pub fn retarget(key: &mut FlowKey, layout: &Layout, translation: &Translation) {
    let to = &translation.to;
    let is_v4 = key.eth_type == eth_type::IPV4;
    let has_ports = layout.l4 > 0 && has_ports(to);
    if translation.source {
        match is_v4 {
            true => key.ipv4_src = to.src[1] as u32,
            false => key.ipv6_src = to.src,
        }
        if has_ports {
            key.tp_src = to.src_port;
        }
    }
    if translation.destination {
        match is_v4 {
            true => key.ipv4_dst = to.dst[1] as u32,
            false => key.ipv6_dst = to.dst,
        }
        if has_ports {
            key.tp_dst = to.dst_port;
        }
    }
}

/// Writes the address of an end: source or destination.
fn write_address(frame: &mut Frame, l3: usize, end: usize, address: [u64; 2]) -> Fate {
    match frame.headers.eth_type {
        eth_type::IPV4 => {
            let bytes = (address[1] as u32).to_be_bytes();
            frame.overwrite(l3 + 12 + 4 * end, &bytes, Cover::IpAndPseudo)
        }
        _ => frame.overwrite(l3 + 8 + 16 * end, &wide(address), Cover::Pseudo),
    }
}

fn wide(address: [u64; 2]) -> [u8; 16] {
    (u128::from(address[0]) << 64 | u128::from(address[1])).to_be_bytes()
}

fn has_ports(tuple: &Tuple) -> bool {
    let protocols = [ip_proto::TCP, ip_proto::UDP, ip_proto::SCTP];
    protocols.contains(&tuple.proto)
}

/// Translates the packet that an ICMP error embeds: it went the other way, so its destination is
/// what the error's source is.
fn translate_embedded(frame: &mut Frame, translation: &Translation, at: Embedded) -> Fate {
    let (l3, l4) = (usize::from(at.l3), usize::from(at.l4));
    let to = &translation.to;
    let is_v4 = frame.headers.eth_type == eth_type::IPV4;
    let ends = [
        (translation.destination, to.dst, to.dst_port),
        (translation.source, to.src, to.src_port),
    ];
    let mut sums = Sums {
        network: is_v4.then_some(l3 + 10),
        transport: transport_sum(to, l4).filter(|at| at + 2 <= frame.end()),
        is_udp: to.proto == ip_proto::UDP,
    };
    for (end, (_, address, _)) in ends.iter().enumerate().filter(|(_, end)| end.0) {
        let delta = match is_v4 {
            true => write(frame, l3 + 12 + 4 * end, &(address[1] as u32).to_be_bytes()),
            false => write(frame, l3 + 8 + 16 * end, &wide(*address)),
        };
        let Some(delta) = delta else { return MALFORMED };
        sums.update_network(frame, delta)?;
        if !(is_v4 && to.is_icmp()) {
            sums.update_transport(frame, delta)?;
        }
    }
    let of_icmp = to.is_icmp().then_some((l4 + IDENTIFIER, to.src_port));
    let of_ends = ends
        .into_iter()
        .enumerate()
        .filter(|(_, end)| end.0 && has_ports(to));
    let of_ends = of_ends.map(|(end, (_, _, port))| (l4 + 2 * end, port));
    for (at, port) in of_icmp.into_iter().chain(of_ends) {
        let Some(delta) = write(frame, at, &port.to_be_bytes()) else {
            return MALFORMED;
        };
        sums.update_transport(frame, delta)?;
    }
    Continue(())
}

/// Writes a part of what an ICMP error embeds, under the error's own checksum.
fn write(frame: &mut Frame, at: usize, new: &[u8]) -> Option<Delta> {
    let mut old = [0; 16];
    let old = &mut old[..new.len()];
    old.copy_from_slice(frame.bytes.get(at..at + new.len())?);
    match frame.overwrite(at, new, Cover::Transport) {
        Continue(()) => Some(Delta::between(old, new)),
        Break(_) => None,
    }
}

/// Where the transport checksum of an embedded packet lies; none if there is none, or one that
/// covers more than is embedded.
fn transport_sum(tuple: &Tuple, l4: usize) -> Option<usize> {
    match tuple.proto {
        ip_proto::TCP => Some(l4 + 16),
        ip_proto::UDP => Some(l4 + 6),
        ip_proto::ICMP | ip_proto::ICMPV6 if tuple.is_icmp() => Some(l4 + 2),
        _ => None,
    }
}

/// Where the checksums of an embedded packet lie.
struct Sums {
    network: Option<usize>,
    transport: Option<usize>,
    is_udp: bool,
}

impl Sums {
    fn update_network(&self, frame: &mut Frame, delta: Delta) -> Fate {
        match self.network {
            Some(at) => self.update(frame, at, |sum| delta.apply(sum)),
            None => Continue(()),
        }
    }

    fn update_transport(&mut self, frame: &mut Frame, delta: Delta) -> Fate {
        let Some(at) = self.transport else {
            return Continue(());
        };
        let is_udp = self.is_udp;
        self.update(frame, at, |sum| match delta.apply(sum) {
            _ if is_udp && sum == 0 => 0,
            0 if is_udp => 0xffff,
            sum => sum,
        })
    }

    fn update(&self, frame: &mut Frame, at: usize, change: impl FnOnce(u16) -> u16) -> Fate {
        let Some(sum) = frame.u16_at(at) else {
            return Break(DropReason::Malformed);
        };
        frame.overwrite(at, &change(sum).to_be_bytes(), Cover::Transport)
    }
}

const IPV4_LEN: usize = 20;
/// Offset of TCP's checksum behind such an IPv4 header, and the bytes up to its end.
const TCP_SUM: usize = IPV4_LEN + 16;
const SEGMENT_LEN: usize = TCP_SUM + 2;
/// Offset of the checksum in SCTP's common header.
const SCTP_CRC: usize = 8;
/// Offset of the identifier in an ICMP query.
const IDENTIFIER: usize = 4;

#[cfg(test)]
mod tests;
