//! Packets that ICMP errors quote, translated inside and out: arbitrary frames, and errors made up
//! of a right outer header around arbitrary quoted bytes. What is translated reads as it was to be,
//! no byte but addresses, ports and checksums differs, every checksum is as right or wrong as it
//! was, and translated back the frame is what it was.
#![no_main]

use std::ops::ControlFlow::Continue;
use std::ops::Range;

use flowtable::conntrack::{Body, Embedded, Packet, Translation, Tuple, mapped};
use flowtable::{FlowKey, Layout, eth_type, has_right_checksums, ip_proto, parse};
use libfuzzer_sys::fuzz_target;
use vswitch::datapath::rewrite::nat::translate;
use vswitch::datapath::rewrite::{Frame, Headers};

/// Bytes of an input that say how; the rest is a frame or what an error quotes.
const HOW_LEN: usize = 16;
const ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
const ERRORS_V6: [u8; 4] = [1, 2, 3, 4];

fn read(frame: &[u8]) -> (FlowKey, Layout, Option<Packet>) {
    let mut key = FlowKey::default();
    let layout = parse(frame, &mut key);
    let packet = Packet::read(frame, &key, &layout, 0);
    (key, layout, packet)
}

/// An error for whoever sent the quoted packet; its checksums are right if `how` says so.
fn error(how: &[u8; HOW_LEN], quoted: &[u8]) -> Vec<u8> {
    let is_ipv6 = how[0] & 1 > 0;
    let mut quoted = quoted[..quoted.len().min(1000)].to_vec();
    quoted.resize(quoted.len().max(40), 0);
    quoted[0] = quoted[0] & 0xf | if is_ipv6 { 0x60 } else { 0x40 };
    let mut message = match is_ipv6 {
        true => vec![ERRORS_V6[usize::from(how[1]) % 4], how[2]],
        false => vec![ERRORS[usize::from(how[1]) % 5], how[2]],
    };
    message.extend([0, 0, 0, 0, 5, 0x78]);
    message.extend(&quoted);
    let len = message.len() as u16;
    let mut frame = vec![2; 12];
    match is_ipv6 {
        true => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([ip_proto::ICMPV6, 64]);
            frame.extend([0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, how[3]]);
            frame.extend(&quoted[8..24]);
        }
        false => {
            let options = usize::from(how[0] >> 5 & 1) * 4;
            frame.extend([8, 0, 0x45 + (options / 4) as u8, 0]);
            frame.extend((len + 20 + options as u16).to_be_bytes());
            frame.extend([0, 1, 0, 0, 64, ip_proto::ICMP, 0, 0, 10, 9, 0, how[3]]);
            frame.extend(&quoted[12..16]);
            frame.extend(&[1; 4][..options]);
        }
    }
    let l4 = frame.len();
    frame.extend(message);
    if how[0] & 0x40 == 0 {
        complete(&mut frame, l4, is_ipv6);
    }
    frame
}

fn complete(frame: &mut [u8], l4: usize, is_ipv6: bool) {
    if !is_ipv6 {
        let sum = !residue(&frame[14..l4]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    let pseudo = match is_ipv6 {
        true => sum(&frame[22..54]) + u64::from(ip_proto::ICMPV6) + (frame.len() - l4) as u64,
        false => 0,
    };
    let sum = !fold(pseudo + sum(&frame[l4..]));
    frame[l4 + 2..l4 + 4].copy_from_slice(&sum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2);
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
    words.map(|pair| u64::from(word(pair))).sum()
}

fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn residue(bytes: &[u8]) -> u16 {
    fold(sum(bytes))
}

/// Where things lie that a translation may change, and what checksums are taken over.
struct Places {
    is_ipv4: bool,
    outer: usize,
    message: Range<usize>,
    inner: Embedded,
    proto: u8,
}

impl Places {
    fn addresses(&self, l3: usize) -> Range<usize> {
        match self.is_ipv4 {
            true => l3 + 12..l3 + 20,
            false => l3 + 8..l3 + 40,
        }
    }

    fn has_ports(&self) -> bool {
        [ip_proto::TCP, ip_proto::UDP, ip_proto::SCTP].contains(&self.proto)
    }

    fn is_icmp(&self) -> bool {
        self.proto == if self.is_ipv4 { ip_proto::ICMP } else { ip_proto::ICMPV6 }
    }

    /// Where the quoted packet's own checksum lies, if there is one and all of it is quoted.
    fn transport_sum(&self) -> Option<usize> {
        let l4 = usize::from(self.inner.l4);
        let at = match self.proto {
            ip_proto::TCP => l4 + 16,
            ip_proto::UDP => l4 + 6,
            _ if self.is_icmp() => l4 + 2,
            _ => return None,
        };
        (at + 2 <= self.message.end).then_some(at)
    }

    fn may_change(&self) -> Vec<Range<usize>> {
        let (l3, l4) = (usize::from(self.inner.l3), usize::from(self.inner.l4));
        let mut places = vec![self.addresses(self.outer), self.addresses(l3)];
        if self.has_ports() {
            places.push(l4..l4 + 4);
        }
        if self.is_icmp() {
            places.push(l4 + 4..l4 + 6);
        }
        places.extend(self.sums());
        places
    }

    fn sums(&self) -> Vec<Range<usize>> {
        let mut places = vec![self.message.start + 2];
        if self.is_ipv4 {
            places.extend([self.outer + 10, usize::from(self.inner.l3) + 10]);
        }
        places.extend(self.transport_sum());
        places.into_iter().map(|at| at..at + 2).collect()
    }

    /// What each checksum comes to; those of nothing at all and of ones alone are the same.
    fn residues(&self, frame: &[u8]) -> Vec<u16> {
        let (l3, l4) = (usize::from(self.inner.l3), usize::from(self.inner.l4));
        let pseudo = |l3: usize| sum(&frame[self.addresses(l3)]);
        let message = sum(&frame[self.message.clone()]);
        let mut sums = vec![match self.is_ipv4 {
            true => message,
            false => message + pseudo(self.outer),
        }];
        if self.is_ipv4 {
            let start = self.message.start;
            sums.extend([sum(&frame[self.outer..start]), sum(&frame[l3..l4])]);
        }
        if let Some(at) = self.transport_sum() {
            let is_absent = self.proto == ip_proto::UDP && frame[at..at + 2] == [0, 0];
            let transport = sum(&frame[l4..self.message.end]);
            sums.push(match self.is_ipv4 && self.is_icmp() {
                _ if is_absent => 0,
                true => transport,
                false => transport + pseudo(l3),
            });
        }
        let canonical = |sum| if sum == 0xffff { 0 } else { sum };
        sums.into_iter().map(|sum| canonical(fold(sum))).collect()
    }
}

/// Where a connection's packets are to go instead.
fn target(how: &[u8; HOW_LEN], from: &Tuple) -> (Tuple, bool, bool) {
    let (source, destination) = (how[0] & 2 > 0, how[0] & 4 > 0);
    let word = |at: usize| u32::from_be_bytes([how[at], how[at + 1], how[at + 2], how[at + 3]]);
    let address = |at: usize| match from.version {
        4 => mapped(word(at)),
        _ => [0xfd07 << 48 | u64::from(word(at)), u64::from(word(at + 1)) << 32 | 1],
    };
    let port = |at: usize| u16::from_be_bytes([how[at], how[at + 1]]);
    let is_icmp = match from.version {
        4 => from.proto == ip_proto::ICMP,
        _ => from.proto == ip_proto::ICMPV6,
    };
    let has_ports = [ip_proto::TCP, ip_proto::UDP, ip_proto::SCTP].contains(&from.proto);
    let mut to = *from;
    if source {
        to.src = address(4);
    }
    if destination {
        to.dst = address(8);
    }
    if source && has_ports || is_icmp {
        to.src_port = port(13);
    }
    if destination && has_ports {
        to.dst_port = port(14);
    }
    (to, source, destination)
}

fn apply(bytes: &mut [u8], translation: &Translation) {
    let (key, layout, _) = read(bytes);
    let mut frame = Frame {
        bytes,
        headers: Headers::new(layout, &key),
        partial: None,
    };
    assert_eq!(translate(&mut frame, translation), Continue(()));
}

fn check(how: &[u8; HOW_LEN], before: &[u8]) {
    let (key, layout, Some(packet)) = read(before) else { return };
    let Body::Error(inner) = packet.body else { return };
    let places = Places {
        is_ipv4: key.eth_type == eth_type::IPV4,
        outer: layout.l3.into(),
        message: layout.l4.into()..layout.end.into(),
        inner,
        proto: packet.tuple.proto,
    };
    let (to, source, destination) = target(how, &packet.tuple);
    let there = Translation { to, source, destination, embedded: Some(inner) };
    let mut after = before.to_vec();
    apply(&mut after, &there);

    let (key_after, layout_after, told) = read(&after);
    assert_eq!((layout_after, told.map(|it| it.tuple)), (layout, Some(to)));
    assert_eq!(told.map(|it| it.body), Some(Body::Error(inner)));
    assert_eq!(places.residues(&after), places.residues(before));
    let right = |frame: &[u8], key: &FlowKey| {
        has_right_checksums(frame, key, &layout, Default::default())
    };
    assert_eq!(right(&after, &key_after), right(before, &key));
    let may_change = places.may_change();
    for (at, (old, new)) in before.iter().zip(&after).enumerate() {
        assert!(old == new || may_change.iter().any(|place| place.contains(&at)), "byte {at}");
    }

    // The error may be from a router on the way, which the first translation hid.
    let addresses = places.addresses(places.outer);
    let mut lost = vec![addresses.start..addresses.start + addresses.len() / 2];
    lost.extend(places.sums());
    let back = Translation { to: packet.tuple, ..there };
    apply(&mut after, &back);
    for (at, (old, new)) in before.iter().zip(&after).enumerate() {
        assert!(old == new || lost.iter().any(|place| place.contains(&at)), "byte {at} is lost");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((how, rest)) = bytes.split_first_chunk::<HOW_LEN>() else { return };
    match how[0] & 0x80 {
        0 => check(how, &error(how, rest)),
        _ => check(how, rest),
    }
});
