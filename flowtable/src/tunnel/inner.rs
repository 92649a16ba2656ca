//! What a tunnel's own header says, and where the frame within starts.

use std::ops::Range;

use super::{
    ETHERNET_LEN, Fault, GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE, Kind, Outer, TEB, UDP_LEN, VXLAN_VNI,
    be16, be32,
};

/// The frame within a tunnelled one, and what the tunnel said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// The key; none if the tunnel gave none.
    pub key: Option<u64>,
    /// Where the frame starts.
    pub start: usize,
    /// Where it ends: what follows is the link's padding.
    pub end: usize,
    /// Bytes that a checksum covers, from where the carrier's header starts: all of UDP or GRE;
    /// none without a checksum.
    pub checked: Option<Range<usize>>,
    /// A control packet of the tunnel (Geneve's O bit).
    pub is_control: bool,
    /// Where Geneve's options are.
    pub options: Range<usize>,
}

impl Inner {
    /// What a tunnel of this kind said behind these outer headers.
    #[inline]
    pub fn decode(kind: Kind, frame: &[u8], outer: &Outer) -> Result<Inner, Fault> {
        let (start, end) = (outer.start, outer.end);
        let carried = frame.get(start..end).ok_or(Fault::Length)?;
        let inner = match kind {
            Kind::Gre => gre(carried, start)?,
            _ => {
                let length = usize::from(be16(carried, 4).ok_or(Fault::Length)?);
                let datagram = carried.get(..length).ok_or(Fault::Length)?;
                let mut inner = match kind {
                    Kind::Vxlan => vxlan(datagram, start)?,
                    _ => geneve(datagram, start)?,
                };
                let has_checksum = datagram[6..8] != [0, 0];
                inner.checked = has_checksum.then_some(start..start + length);
                inner
            }
        };
        match inner.end.checked_sub(inner.start) {
            Some(ETHERNET_LEN..) => Ok(inner),
            _ => Err(Fault::Length),
        }
    }
}

/// RFC 7348 §5. Other flags are those of extensions, which change what follows.
fn vxlan(datagram: &[u8], start: usize) -> Result<Inner, Fault> {
    let words = be32(datagram, 8).zip(be32(datagram, 12));
    let (flags, vni) = words.ok_or(Fault::Length)?;
    if flags != VXLAN_VNI || vni & 0xff != 0 {
        return Err(Fault::Header);
    }
    let first = start + UDP_LEN + 8;
    Ok(Inner {
        key: Some(u64::from(vni >> 8)),
        start: first,
        end: start + datagram.len(),
        checked: None,
        is_control: false,
        options: first..first,
    })
}

/// RFC 8926 §3.4.
fn geneve(datagram: &[u8], start: usize) -> Result<Inner, Fault> {
    let words = be32(datagram, 8).zip(be32(datagram, 12));
    let (first, vni) = words.ok_or(Fault::Length)?;
    if first >> 30 != 0 || first as u16 != TEB {
        return Err(Fault::Header);
    }
    let options_len = (first >> 24 & 0x3f) as usize * 4;
    let options = start + UDP_LEN + 8..start + UDP_LEN + 8 + options_len;
    Ok(Inner {
        key: Some(u64::from(vni >> 8)),
        start: options.end,
        end: start + datagram.len(),
        checked: None,
        is_control: first & 0x0080_0000 != 0,
        options,
    })
}

/// RFC 2784 §2.1 and RFC 2890 §2. Sequence numbers are not looked at.
fn gre(packet: &[u8], start: usize) -> Result<Inner, Fault> {
    let word = be32(packet, 0).ok_or(Fault::Length)?;
    let (flags, protocol) = ((word >> 16) as u16, word as u16);
    if flags & !(GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE) != 0 || protocol != TEB {
        return Err(Fault::Header);
    }
    let mut at = 4;
    let has = |bit| flags & bit != 0;
    at += 4 * usize::from(has(GRE_CHECKSUM));
    let mut key = None;
    if has(GRE_KEY) {
        key = Some(u64::from(be32(packet, at).ok_or(Fault::Length)?));
        at += 4;
    }
    at += 4 * usize::from(has(GRE_SEQUENCE));
    let end = start + packet.len();
    Ok(Inner {
        key,
        start: start + at,
        end,
        checked: has(GRE_CHECKSUM).then_some(start..end),
        is_control: false,
        options: start + at..start + at,
    })
}

/// Geneve's options one by one (RFC 8926 §3.5).
#[derive(Clone, Debug)]
pub struct Options<'a>(pub &'a [u8]);

impl<'a> Iterator for Options<'a> {
    /// Class, type with the critical bit, and data; or that the rest makes no sense.
    type Item = Result<(u16, u8, &'a [u8]), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = match self.0.split_first_chunk::<4>() {
            Some(split) => split,
            None if self.0.is_empty() => return None,
            None => {
                self.0 = &[];
                return Some(Err(Fault::Length));
            }
        };
        let length = usize::from(head[3] & 0x1f) * 4;
        let Some((data, rest)) = rest.split_at_checked(length) else {
            self.0 = &[];
            return Some(Err(Fault::Length));
        };
        self.0 = rest;
        Some(Ok((u16::from_be_bytes([head[0], head[1]]), head[2], data)))
    }
}

impl Options<'_> {
    /// Bit of an option's type: who does not understand it must drop the packet.
    pub const CRITICAL: u8 = 0x80;
    /// Bytes of all options of a packet, with their headers, at most (RFC 8926 §3.4).
    pub const BYTES_MAX: usize = 0x3f * 4;
}
