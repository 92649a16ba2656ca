//! Header rewriting on a packet's bytes: set-field, tags, time to live. Called by `execute`.
//!
//! Semantics: OpenFlow 1.3.5 §5.12 and §7.2.5. What is written lies where the parser found it; an
//! operation on a header that is not there whole ends the packet with [`DropReason::Malformed`].
//!
//! What: every write keeps the checksums over it right, incrementally (see [`checksum`]).
//! How: [`place`] says where a field lies and which checksums cover it; one function reads,
//! merges, writes and updates for all fields.
//! A transport header is only there in the first fragment, whose checksum spans the datagram:
//! the difference is applied to it, and later fragments are left alone above IP.
//! A packet whose checksum is still to be completed (its field holds the sum over the pseudo
//! header, virtio 1.2 §5.1.6.2) has only changes of that pseudo header applied.

use std::ops::ControlFlow::{self, Break, Continue};

use flowtable::Field;

use crate::action::DropReason;

pub mod checksum;
mod place;
pub mod tags;
pub mod ttl;

use checksum::Delta;
use place::{Cover, Place};

/// Whether a packet goes on.
pub type Fate = ControlFlow<DropReason>;

/// An operation met headers too short for it, or others than it is for.
pub const MALFORMED: Fate = Break(DropReason::Malformed);

/// Where a packet's headers lie from the network layer on, as far as the parser trusted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Ethernet type after VLAN tags.
    pub eth_type: u16,
    /// Offset of the IP or ARP header.
    pub l3: Option<u16>,
    /// Offset of the transport header.
    pub l4: Option<u16>,
    /// IP protocol of the transport header.
    pub ip_proto: u8,
    /// Bit 0: a fragment, bit 1: a later fragment.
    pub ip_frag: u8,
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
        Place::Untouched => Continue(()),
        Place::Missing => MALFORMED,
    }
}

impl Frame<'_> {
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
        let Some(l3) = self.headers.l3 else {
            return MALFORMED;
        };
        self.update(usize::from(l3) + 10, |sum| delta.apply(sum))
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
        if self.headers.ip_proto == protocol::SCTP {
            return self.update_sctp(from, old, to);
        }
        match self.transport_checksum_or_icmp() {
            Some((at, false)) => self.update_complete(at, delta),
            _ => Continue(()),
        }
    }

    fn update_complete(&mut self, at: usize, delta: Delta) -> Fate {
        let udp = self.headers.ip_proto == protocol::UDP;
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
        let (Some(end), Some(l4)) = (self.ip_end(), self.headers.l4) else {
            return MALFORMED;
        };
        if self.is_partial() {
            return Continue(());
        }
        let mut change = [0; 18];
        let change = &mut change[..old.len()];
        for (index, byte) in change.iter_mut().enumerate() {
            *byte = old[index] ^ self.bytes[from + index];
        }
        let crc = checksum::crc32c_change(change, end.saturating_sub(to));
        let at = usize::from(l4) + 8;
        let Some(field) = self.bytes.get_mut(at..at + 4) else {
            return MALFORMED;
        };
        for (byte, change) in field.iter_mut().zip(crc.to_le_bytes()) {
            *byte ^= change;
        }
        Continue(())
    }

    /// Where the IP packet ends: Ethernet may have padded it.
    fn ip_end(&self) -> Option<usize> {
        let l3 = usize::from(self.headers.l3?);
        let length = match self.headers.eth_type {
            ethernet::IPV4 => usize::from(self.u16_at(l3 + 2)?),
            _ => 40 + usize::from(self.u16_at(l3 + 4)?),
        };
        Some((l3 + length).min(self.bytes.len()))
    }

    /// Where the checksum over the pseudo header lies, and whether it is still partial.
    fn transport_checksum(&self) -> Option<(usize, bool)> {
        let within = match self.headers.ip_proto {
            protocol::TCP => 16,
            protocol::UDP | protocol::DCCP | protocol::UDP_LITE => 6,
            protocol::ICMPV6 if self.headers.eth_type == ethernet::IPV6 => 2,
            _ => return None,
        };
        let l4 = usize::from(self.headers.l4?);
        Some((l4 + within, self.is_partial()))
    }

    fn transport_checksum_or_icmp(&self) -> Option<(usize, bool)> {
        if self.headers.ip_proto == protocol::ICMP {
            return Some((usize::from(self.headers.l4?) + 2, self.is_partial()));
        }
        self.transport_checksum()
    }

    fn is_partial(&self) -> bool {
        self.partial.is_some() && self.partial == self.headers.l4
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }
}

/// Ethernet types.
mod ethernet {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const RARP: u16 = 0x8035;
    pub const IPV6: u16 = 0x86dd;
    pub const VLAN: u16 = 0x8100;
    pub const VLAN_SERVICE: u16 = 0x88a8;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const PBB: u16 = 0x88e7;
}

/// IP protocols.
mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
    pub const UDP_LITE: u8 = 136;
}

#[cfg(test)]
mod tests;
