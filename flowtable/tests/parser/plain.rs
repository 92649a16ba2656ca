//! A second parser, written to be plainly right instead of fast: it cuts the frame into pieces,
//! layer by layer, and gives up with `None` where a piece does not come off.

use flowtable::{FlowKey, Layout};

/// Bytes not yet read, and how many were read before.
#[derive(Clone)]
struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        if self.rest.len() < count {
            return None;
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self, count: usize) -> Option<u64> {
        let bytes = self.take(count)?;
        Some(
            bytes
                .iter()
                .fold(0, |sum, byte| sum * 256 + u64::from(*byte)),
        )
    }

    fn short(&mut self) -> Option<u16> {
        self.number(2).map(|number| number as u16)
    }

    /// The next `count` bytes as a cursor of their own.
    fn part(&mut self, count: usize) -> Option<Cursor<'a>> {
        let at = self.at;
        self.take(count).map(|rest| Cursor { rest, at })
    }
}

pub fn parse(frame: &[u8]) -> (FlowKey, Layout) {
    let mut key = FlowKey::default();
    let frame = &frame[..frame.len().min(65_535)];
    let mut layout = Layout {
        end: frame.len() as u16,
        ..Layout::default()
    };
    let cursor = Cursor { rest: frame, at: 0 };
    let _ = ethernet(cursor, &mut key, &mut layout);
    (key, layout)
}

fn ethernet(mut frame: Cursor, key: &mut FlowKey, layout: &mut Layout) -> Option<()> {
    if frame.rest.len() < 14 {
        return None;
    }
    key.eth_dst = frame.number(6)?;
    key.eth_src = frame.number(6)?;
    let mut kind = frame.short()?;
    let mut tags = Vec::new();
    while tags.len() < 2 && [0x8100, 0x88a8, 0x9100].contains(&kind) && frame.rest.len() >= 4 {
        tags.push((kind, frame.short()? | 0x1000));
        kind = frame.short()?;
    }
    (key.vlan_tpid, key.vlan_tci) = tags.first().copied().unwrap_or_default();
    (key.inner_vlan_tpid, key.inner_vlan_tci) = tags.get(1).copied().unwrap_or_default();
    if kind < 0x600 {
        key.eth_type = 0x5ff;
        layout.l2_5 = frame.at as u16;
        frame = frame.part(kind.into())?;
        layout.end = (frame.at + frame.rest.len()) as u16;
        let mut snap = frame.clone();
        if snap.take(6) != Some(&[0xaa, 0xaa, 3, 0, 0, 0]) {
            return None;
        }
        kind = snap.short().filter(|kind| *kind >= 0x600)?;
        frame = snap;
    }
    key.eth_type = kind;
    layout.l2_5 = frame.at as u16;
    match kind {
        0x0800 => ipv4(frame, key, layout),
        0x86dd => ipv6(frame, key, layout),
        0x0806 | 0x8035 => arp(frame, key, layout),
        0x8847 | 0x8848 => frame.number(4).map(|entry| key.mpls = entry as u32),
        0x88e7 => frame
            .take(1)
            .and_then(|_| frame.number(3))
            .map(|isid| key.pbb_isid = isid as u32),
        _ => None,
    }
}

fn arp(mut rest: Cursor, key: &mut FlowKey, layout: &mut Layout) -> Option<()> {
    let at = rest.at;
    let mut arp = rest.part(28)?;
    if arp.take(6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    layout.l3 = at as u16;
    key.arp_op = arp.short()?;
    key.arp_sha = arp.number(6)?;
    key.ipv4_src = arp.number(4)? as u32;
    key.arp_tha = arp.number(6)?;
    key.ipv4_dst = arp.number(4)? as u32;
    Some(())
}

fn ipv4(mut rest: Cursor, key: &mut FlowKey, layout: &mut Layout) -> Option<()> {
    let start = rest.clone();
    let version_and_length = rest.number(1)?;
    let tos = rest.number(1)?;
    let total = rest.number(2)? as usize;
    let _identification = rest.number(2)?;
    let fragment = rest.number(2)?;
    let ttl = rest.number(1)?;
    let proto = rest.number(1)?;
    let _checksum = rest.number(2)?;
    let source = rest.number(4)?;
    let destination = rest.number(4)?;
    let header = (version_and_length % 16) as usize * 4;
    if version_and_length / 16 != 4 || header < 20 || total < header {
        return None;
    }
    let mut packet = start.clone().part(total)?;
    packet.take(header)?;
    layout.l3 = start.at as u16;
    layout.end = (start.at + total) as u16;
    key.ip_tos = tos as u8;
    key.ip_ttl = ttl as u8;
    key.ip_proto = proto as u8;
    key.ipv4_src = source as u32;
    key.ipv4_dst = destination as u32;
    let (more, offset) = (fragment & 0x2000 != 0, fragment % 0x2000);
    key.ip_frag = u8::from(more || offset > 0) + 2 * u8::from(offset > 0);
    if offset > 0 {
        return None;
    }
    transport(packet, key, layout, 1)
}

fn ipv6(mut rest: Cursor, key: &mut FlowKey, layout: &mut Layout) -> Option<()> {
    let start = rest.at;
    let first = rest.number(4)?;
    let payload = rest.number(2)? as usize;
    let next = rest.number(1)? as u8;
    let hops = rest.number(1)?;
    let source = [rest.number(8)?, rest.number(8)?];
    let destination = [rest.number(8)?, rest.number(8)?];
    let packet = rest.part(payload).filter(|_| first >> 28 == 6)?;
    layout.l3 = start as u16;
    layout.end = (start + 40 + payload) as u16;
    key.ip_tos = (first >> 20) as u8;
    key.ipv6_flabel = first as u32 % (1 << 20);
    key.ip_ttl = hops as u8;
    key.ipv6_src = source;
    key.ipv6_dst = destination;
    let (packet, headers) = extensions(packet, next, key);
    key.ipv6_exthdr = flags(&headers);
    transport(packet?, key, layout, 58)
}

/// Takes the extension headers off. What is left, if it can be read; and their numbers.
fn extensions<'a>(
    mut packet: Cursor<'a>,
    mut next: u8,
    key: &mut FlowKey,
) -> (Option<Cursor<'a>>, Vec<u8>) {
    let mut headers = Vec::new();
    while [0, 43, 44, 50, 51, 59, 60].contains(&next) {
        if headers.len() == 16 {
            return (None, headers);
        }
        if next == 50 || next == 59 {
            headers.push(next);
            key.ip_proto = next;
            return (None, headers);
        }
        let (Some(_), Some(&[following, units, ..])) = (packet.rest.get(7), packet.rest.get(..8))
        else {
            return (None, headers);
        };
        let length = match next {
            44 => 8,
            51 => 4 * (usize::from(units) + 2),
            _ => 8 * (usize::from(units) + 1),
        };
        let Some(mut header) = packet.part(length) else {
            return (None, headers);
        };
        headers.push(next);
        let offset_and_more = header.take(2).and_then(|_| header.short()).unwrap_or(0);
        if next == 44 && offset_and_more & 0xfff9 != 0 {
            key.ip_frag |= 1;
            if offset_and_more >= 8 {
                key.ip_frag |= 2;
                key.ip_proto = following;
                return (None, headers);
            }
        }
        next = following;
    }
    key.ip_proto = next;
    (Some(packet), headers)
}

/// OpenFlow's flags of a chain.
fn flags(headers: &[u8]) -> u16 {
    let count = |wanted: u8| headers.iter().filter(|header| **header == wanted).count();
    let present = |wanted: u8| count(wanted) > 0;
    let mut flags = 0;
    for (bit, number) in [59, 50, 51, 60, 44, 43].into_iter().enumerate() {
        flags |= u16::from(present(number)) << bit;
    }
    let hop_first = headers.first() == Some(&0);
    flags |= u16::from(hop_first) << 6;
    let repeated = [50, 51, 44, 43].into_iter().any(|number| count(number) > 1);
    let hops_after_first = hop_first && count(0) > 1;
    flags |= u16::from(repeated || hops_after_first || count(60) > 2) << 7;
    let ranks: Vec<u8> = ranks(headers);
    flags | u16::from(!ranks.is_sorted()) << 8
}

/// Places in the order of RFC 8200 §4.1. A destination options header counts as the first of the
/// two places if only a hop-by-hop header is before it.
fn ranks(headers: &[u8]) -> Vec<u8> {
    let mut ranks = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        let early = headers[..index].iter().all(|before| *before == 0);
        ranks.push(match header {
            0 => 1,
            60 if early => 2,
            43 => 3,
            44 => 4,
            51 => 5,
            50 => 6,
            60 => 7,
            _ => 8,
        });
    }
    ranks
}

/// `icmp` is the ICMP of this version of IP.
fn transport(mut rest: Cursor, key: &mut FlowKey, layout: &mut Layout, icmp: u8) -> Option<()> {
    let start = rest.clone();
    let length = match key.ip_proto {
        6 => 4 * usize::from(*rest.rest.get(12)? >> 4).max(5),
        17 => 8,
        132 => 12,
        proto if proto == icmp => 8,
        _ => return None,
    };
    let mut header = rest.part(length)?;
    if key.ip_proto == 6 && header.rest[12] >> 4 < 5 {
        return None;
    }
    layout.l4 = start.at as u16;
    if key.ip_proto == icmp {
        key.tp_src = header.number(1)? as u16;
        key.tp_dst = header.number(1)? as u16;
        if icmp == 58 && (key.tp_src == 135 || key.tp_src == 136) && key.tp_dst == 0 {
            header.take(2)?;
            let flags = header.number(4)? as u32;
            neighbour(rest, flags, key);
        }
        return Some(());
    }
    key.tp_src = header.short()?;
    key.tp_dst = header.short()?;
    if key.ip_proto == 6 {
        header.take(8)?;
        key.tcp_flags = header.short()? % 0x1000;
    }
    Some(())
}

fn neighbour(mut rest: Cursor, flags: u32, key: &mut FlowKey) -> Option<()> {
    let target = [rest.number(8)?, rest.number(8)?];
    let mut options = Vec::new();
    while !rest.rest.is_empty() {
        let units = usize::from(*rest.rest.get(1)?);
        if units == 0 {
            return None;
        }
        options.push(rest.part(8 * units)?);
    }
    if options.len() > 16 {
        return None;
    }
    let address = |kind: u8| {
        let options = options.iter();
        let found: Vec<&Cursor> = options
            .filter(|option| option.rest[0] == kind && option.rest.len() == 8)
            .collect();
        match found[..] {
            [] => Some(0),
            [option] => Cursor {
                rest: &option.rest[2..],
                at: 0,
            }
            .number(6),
            _ => None,
        }
    };
    let (source, target_link) = (address(1)?, address(2)?);
    let mut with_address = options
        .iter()
        .filter(|option| option.rest.len() == 8 && [1, 2].contains(&option.rest[0]));
    key.tcp_flags = with_address
        .next()
        .map_or(0, |option| option.rest[0].into());
    key.nd_reserved = flags;
    key.nd_target = target;
    key.arp_sha = source;
    key.arp_tha = target_link;
    Some(())
}
