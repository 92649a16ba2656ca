//! Header rewriting on a packet's bytes: set-field, tags, time to live. Called by `execute`.
//!
//! Semantics: OpenFlow 1.3.5 §5.12 and §7.2.5. What is written lies where the parser found it. An
//! operation on a header that the packet does not have, or not whole, does nothing.
//!
//! What: every write keeps the checksums over it right, incrementally (see [`checksum`]).
//! How: `place` says where a field lies and which checksums cover it; one function reads,
//! merges, writes and updates for all fields.
//! A transport header is only there in the first fragment, whose checksum spans the datagram:
//! the difference is applied to it, and later fragments are left alone above IP.
//! Under another protocol number the old protocol's header keeps its checksum, whose pseudo
//! header has the new number.
//! A packet whose checksum is still to be completed (its field holds the sum over the pseudo
//! header, virtio 1.2 §5.1.6.2) has only changes of that pseudo header applied.

use std::ops::ControlFlow::{self, Break, Continue};

use flowtable::{Field, FlowKey, Layout, eth_type, ip_proto};

use crate::action::DropReason;

pub mod checksum;
pub mod nat;
pub mod payload;
mod place;
pub mod tags;
pub mod ttl;

use checksum::Delta;
use place::{Cover, Place};

/// What follows the Ethernet type starts here without a VLAN tag.
const L2_5_PLAIN: u16 = 14;
/// The same under one VLAN tag.
const L2_5_TAGGED: u16 = 18;

/// Whether a packet goes on.
pub type Fate = ControlFlow<DropReason>;

/// An operation met a header that is cut short or lies.
pub const MALFORMED: Fate = Break(DropReason::Malformed);

/// Where a packet's headers lie from the network layer on, as far as the parser trusted them, and
/// what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    layout: Layout,
    eth_type: u16,
    ip_proto: u8,
    ip_frag: u8,
}

impl Headers {
    /// Of a packet that was just parsed.
    #[inline(always)]
    pub fn new(layout: Layout, key: &FlowKey) -> Headers {
        Headers {
            layout,
            eth_type: key.eth_type,
            ip_proto: key.ip_proto,
            ip_frag: key.ip_frag,
        }
    }

    /// Where nobody knows where they lie: the packet must be parsed again.
    pub const UNKNOWN: Headers = Headers {
        layout: Layout {
            l2_5: 0,
            l3: 0,
            l4: 0,
            end: 0,
        },
        eth_type: 0,
        ip_proto: 0,
        ip_frag: 0,
    };

    /// Whether they are known: no header lies in a frame without an end.
    #[inline(always)]
    pub fn are_known(&self) -> bool {
        self.layout.end > 0
    }

    /// Where they lie.
    #[inline(always)]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether they are of a fragment.
    pub fn are_of_fragment(&self) -> bool {
        self.ip_frag != 0
    }

    /// Whether there is a network header.
    #[inline(always)]
    pub fn has_network(&self) -> bool {
        self.layout.l3 > 0
    }

    /// Notes that a VLAN tag was pushed. The parser does not look behind a third.
    #[inline(always)]
    pub fn tag_pushed(&mut self) {
        match self.layout.l2_5 {
            L2_5_PLAIN | L2_5_TAGGED if !tags::is_vlan(self.eth_type) => {
                self.move_by(tags::VLAN_LEN as u16);
            }
            _ => *self = Headers::UNKNOWN,
        }
    }

    /// Notes that the outer VLAN tag was popped. What was behind the second may be a third.
    #[inline(always)]
    pub fn tag_popped(&mut self) {
        match tags::is_vlan(self.eth_type) || self.layout.l2_5 < L2_5_TAGGED {
            false => self.move_by((tags::VLAN_LEN as u16).wrapping_neg()),
            true => *self = Headers::UNKNOWN,
        }
    }

    /// Moves what there is by so many bytes modulo 2^16; it stays within the packet.
    #[inline(always)]
    fn move_by(&mut self, by: u16) {
        let moved = |at: u16| match at {
            0 => 0,
            at => at.wrapping_add(by),
        };
        self.layout = Layout {
            l2_5: moved(self.layout.l2_5),
            l3: moved(self.layout.l3),
            l4: moved(self.layout.l4),
            end: moved(self.layout.end),
        };
    }

    /// Offset of the IP or ARP header.
    #[inline(always)]
    fn l3(&self) -> Option<usize> {
        Some(usize::from(self.layout.l3)).filter(|at| *at > 0)
    }

    /// Offset of the transport header.
    fn l4(&self) -> Option<usize> {
        Some(usize::from(self.layout.l4)).filter(|at| *at > 0)
    }
}

/// A packet's bytes and what is known of them.
#[derive(Debug)]
pub struct Frame<'a> {
    /// From the Ethernet destination on.
    pub bytes: &'a mut [u8],
    /// Where its headers lie.
    pub headers: Headers,
    /// Where the checksum that is still to be completed starts from, if one is.
    pub partial: Option<u16>,
}

/// Sets the bits of `mask` in a field to those of `value`.
pub fn set_field(frame: &mut Frame, field: Field, value: u128, mask: u128) -> Fate {
    match place::find(frame, field) {
        Place::At(spot) => frame.merge(spot, value, mask & field.ones()),
        Place::Absent => Continue(()),
    }
}

impl Frame<'_> {
    /// The differentiated services code point, if it is an IP packet.
    pub fn ip_dscp(&self) -> Option<u8> {
        let word = self.u16_at(self.headers.l3()?)?;
        match self.headers.eth_type {
            eth_type::IPV4 => Some((word >> 2 & 0x3f) as u8),
            eth_type::IPV6 => Some((word >> 6 & 0x3f) as u8),
            _ => None,
        }
    }

    fn merge(&mut self, spot: place::Spot, value: u128, mask: u128) -> Fate {
        let Some(field) = self.bytes.get(spot.at..spot.at + spot.len) else {
            return MALFORMED;
        };
        let mut wide = [0; 16];
        wide[16 - spot.len..].copy_from_slice(field);
        let mask = (mask & spot.ones) << spot.shift;
        let merged = u128::from_be_bytes(wide) & !mask | value << spot.shift & mask;
        let merged = merged.to_be_bytes();
        self.overwrite(spot.at, &merged[16 - spot.len..], spot.cover)
    }

    /// Replaces bytes within one header, updating the checksums that cover it.
    ///
    /// Headers start at even offsets (14 or 22 bytes and multiples of 4), so the 16-bit words of
    /// every checksum lie at even offsets of the frame.
    fn overwrite(&mut self, at: usize, new: &[u8], cover: Cover) -> Fate {
        let (from, to) = (at & !1, (at + new.len()).next_multiple_of(2));
        let mut old = [0; 18];
        let old = &mut old[..to - from];
        let Some(words) = self.bytes.get_mut(from..to) else {
            return match cover {
                Cover::Nothing => self.overwrite_plain(at, new),
                _ => MALFORMED,
            };
        };
        old.copy_from_slice(words);
        words[at - from..at - from + new.len()].copy_from_slice(new);
        let delta = Delta::between(old, words);
        match cover {
            Cover::Nothing => Continue(()),
            Cover::Ip => self.update_ip(delta),
            Cover::Pseudo => self.update_pseudo(delta),
            Cover::IpAndPseudo => {
                self.update_pseudo(delta)?;
                self.update_ip(delta)
            }
            Cover::NextHeader => self.update_pseudo(Delta::between(&[0, old[0]], &[0, new[0]])),
            Cover::Transport => self.update_transport(from, old, to, delta),
        }
    }

    fn overwrite_plain(&mut self, at: usize, new: &[u8]) -> Fate {
        let Some(bytes) = self.bytes.get_mut(at..at + new.len()) else {
            return MALFORMED;
        };
        bytes.copy_from_slice(new);
        Continue(())
    }

    /// IPv4 header checksum.
    fn update_ip(&mut self, delta: Delta) -> Fate {
        let Some(l3) = self.headers.l3() else {
            return MALFORMED;
        };
        self.update(l3 + 10, |sum| delta.apply(sum))
    }

    /// Transport checksum after a change of an address in its pseudo header. A transport header
    /// too short to have one stays as it is.
    fn update_pseudo(&mut self, delta: Delta) -> Fate {
        let Some((at, partial)) = self.transport_checksum() else {
            return Continue(());
        };
        if at + 2 > self.bytes.len() {
            return Continue(());
        }
        if partial {
            return self.update(at, |sum| delta.apply_to_sum(sum));
        }
        self.update_complete(at, delta)
    }

    /// Transport checksum after a change within its header.
    fn update_transport(&mut self, from: usize, old: &[u8], to: usize, delta: Delta) -> Fate {
        if self.headers.ip_proto == ip_proto::SCTP {
            return self.update_sctp(from, old, to);
        }
        match self.transport_checksum_or_icmp() {
            Some((at, false)) => self.update_complete(at, delta),
            _ => Continue(()),
        }
    }

    fn update_complete(&mut self, at: usize, delta: Delta) -> Fate {
        let udp = self.headers.ip_proto == ip_proto::UDP;
        self.update(at, |sum| match delta.apply(sum) {
            _ if udp && sum == 0 => 0,
            0 if udp => 0xffff,
            sum => sum,
        })
    }

    fn update(&mut self, at: usize, change: impl FnOnce(u16) -> u16) -> Fate {
        let Some(field) = self.bytes.get_mut(at..at + 2) else {
            return MALFORMED;
        };
        let sum = change(u16::from_be_bytes([field[0], field[1]]));
        field.copy_from_slice(&sum.to_be_bytes());
        Continue(())
    }

    fn update_sctp(&mut self, from: usize, old: &[u8], to: usize) -> Fate {
        let Some(l4) = self.headers.l4() else {
            return MALFORMED;
        };
        if self.is_partial() {
            return Continue(());
        }
        let end = self.end();
        let mut change = [0; 18];
        let change = &mut change[..old.len()];
        for (index, byte) in change.iter_mut().enumerate() {
            *byte = old[index] ^ self.bytes[from + index];
        }
        let crc = checksum::crc32c_change(change, end.saturating_sub(to));
        let at = l4 + 8;
        let Some(field) = self.bytes.get_mut(at..at + 4) else {
            return MALFORMED;
        };
        for (byte, change) in field.iter_mut().zip(crc.to_le_bytes()) {
            *byte ^= change;
        }
        Continue(())
    }

    /// Where the checksum over the pseudo header lies, and whether it is still partial.
    fn transport_checksum(&self) -> Option<(usize, bool)> {
        let within = match self.headers.ip_proto {
            ip_proto::TCP => 16,
            ip_proto::UDP => 6,
            ip_proto::ICMPV6 if self.headers.eth_type == eth_type::IPV6 => 2,
            _ => return None,
        };
        Some((self.headers.l4()? + within, self.is_partial()))
    }

    fn transport_checksum_or_icmp(&self) -> Option<(usize, bool)> {
        if self.headers.ip_proto == ip_proto::ICMP {
            return Some((self.headers.l4()? + 2, self.is_partial()));
        }
        self.transport_checksum()
    }

    /// Where the network packet ends.
    fn end(&self) -> usize {
        usize::from(self.headers.layout.end).min(self.bytes.len())
    }

    fn is_partial(&self) -> bool {
        self.partial.map(usize::from) == self.headers.l4() && self.partial.is_some()
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
