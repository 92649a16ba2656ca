//! Operations that change one packet: `execute`'s bridge from packets to `rewrite`'s bytes.
//!
//! A packet carries where its headers lie as long as that is known; after a change that moves or
//! reveals headers it is parsed again by the first operation that asks.

use std::ops::ControlFlow::{Break, Continue};

use flowtable::{Carried, Field, FlowKey, parse};
use pmd::Packet;

use super::rewrite::{Fate, Frame, Headers, MALFORMED, set_field, tags, ttl};
use super::track::Tracked;
use super::tunnel;
use crate::action::{Bits, DropReason, Encapsulation, Op, PortNo};

/// A packet under execution.
#[derive(Debug)]
pub struct Parcel<'a> {
    /// The packet.
    pub packet: Packet,
    /// Its key, as it came in.
    pub key: &'a FlowKey,
    /// Where its headers lie now.
    pub headers: Headers,
    /// Its length as it came in, by which it is counted.
    pub bytes: u32,
    /// The port it came in by; none if a controller sent it.
    pub origin: Option<PortNo>,
    /// Whether the key says what the packet carries; else it carries nothing.
    pub carries: bool,
    /// What connection tracking said of it.
    pub tracked: Option<Tracked>,
}

impl Parcel<'_> {
    /// What the packet carries of its own.
    pub fn carried(&self) -> Carried {
        match self.carries {
            true => Carried::of(self.key),
            false => Carried::NONE,
        }
    }

    /// Whether the packet is a fragment of one.
    pub fn is_fragment(&mut self) -> bool {
        self.editor().headers().are_of_fragment()
    }

    /// The packet, to change it.
    #[inline(always)]
    pub fn editor(&mut self) -> Editor<'_> {
        Editor {
            packet: &mut self.packet,
            headers: &mut self.headers,
        }
    }
}

/// A packet that is changed in place.
#[derive(Debug)]
pub struct Editor<'a> {
    /// The packet.
    pub packet: &'a mut Packet,
    /// Where its headers lie now, as far as whoever changes them will ask.
    pub headers: &'a mut Headers,
}

impl Editor<'_> {
    /// Performs an operation that changes the packet; any other does nothing.
    #[inline(never)]
    pub fn edit(&mut self, op: &Op) -> Fate {
        match op {
            Op::SetField { field, value, mask } => self.set_field(*field, *value, *mask),
            Op::DecNwTtl(_) => self.decrement_ttl(),
            Op::DecMplsTtl(_) => ttl::decrement_mpls(&mut self.frame()),
            Op::CopyTtlIn => ttl::copy_in(&mut self.frame()),
            Op::CopyTtlOut => ttl::copy_out(&mut self.frame()),
            Op::Encapsulate(encapsulation) => self.encapsulate(encapsulation),
            Op::PushVlan(tpid) => self.push_vlan(*tpid, Bits::default()),
            Op::PopVlan => self.pop_vlan(),
            Op::PushMpls(eth_type) => self.push_mpls(*eth_type),
            Op::PopMpls(eth_type) => self.pop_mpls(*eth_type),
            Op::PushPbb(eth_type) => self.push_pbb(*eth_type),
            Op::PopPbb => self.pop_pbb(),
            Op::Truncate(len) => self.truncate(*len),
            _ => Continue(()),
        }
    }

    /// Raises the drop precedence of an assured forwarding code point (RFC 2597 §6).
    pub fn remark(&mut self, levels: u8) -> Fate {
        let mut frame = self.frame();
        let Some(dscp) = frame.ip_dscp() else {
            return Continue(());
        };
        let (class, precedence) = (dscp >> 3, dscp >> 1 & 3);
        if !(1..=4).contains(&class) || dscp & 1 != 0 || precedence == 0 {
            return Continue(());
        }
        let raised = class << 3 | precedence.saturating_add(levels).min(3) << 1;
        set_field(&mut frame, Field::IpDscp, raised.into(), u128::MAX)
    }

    /// Sets the bits that tell congestion (RFC 3168 §5).
    pub fn set_ecn(&mut self, bits: u8) -> Fate {
        set_field(&mut self.frame(), Field::IpEcn, bits.into(), u128::MAX)
    }

    /// Sets a field.
    fn set_field(&mut self, field: Field, value: u128, mask: u128) -> Fate {
        let fate = match field {
            Field::EthDst | Field::EthSrc if mask & field.ones() == field.ones() => {
                self.set_address(field, value)
            }
            _ => set_field(&mut self.frame(), field, value, mask),
        };
        if matches!(field, Field::EthType | Field::IpProto) {
            *self.headers = Headers::UNKNOWN;
        }
        fate
    }

    /// The most frequent change, without ado.
    fn set_address(&mut self, field: Field, value: u128) -> Fate {
        let at = if field == Field::EthDst { 0 } else { 6 };
        let Some(bytes) = self.packet.data_mut().get_mut(at..at + 6) else {
            return MALFORMED;
        };
        bytes.copy_from_slice(&(value as u64).to_be_bytes()[2..]);
        Continue(())
    }

    fn frame(&mut self) -> Frame<'_> {
        let headers = self.headers();
        let partial = self.packet.offload().checksum;
        Frame {
            bytes: self.packet.data_mut(),
            headers,
            partial: partial.map(|partial| partial.start),
        }
    }

    #[inline(always)]
    fn headers(&mut self) -> Headers {
        if !self.headers.are_known() {
            *self.headers = parsed(self.packet);
        }
        *self.headers
    }

    /// Decrements the IP time to live.
    #[inline(always)]
    pub fn decrement_ttl(&mut self) -> Fate {
        let headers = self.headers();
        ttl::decrement_ip(&mut Frame {
            bytes: self.packet.data_mut(),
            headers,
            partial: None,
        })
    }

    /// Wraps the packet, which is no super-frame, for a tunnel.
    #[inline]
    pub fn encapsulate(&mut self, encapsulation: &Encapsulation) -> Fate {
        *self.headers = Headers::UNKNOWN;
        tunnel::encapsulate(self.packet, encapsulation)
    }

    /// Pushes a VLAN tag and sets bits of its control information.
    #[inline]
    pub fn push_vlan(&mut self, tpid: u16, bits: Bits) -> Fate {
        self.push(tags::VLAN_LEN)?;
        self.headers.tag_pushed();
        done(tags::push_vlan(self.packet.data_mut(), tpid, bits))
    }

    /// Pops the outer VLAN tag, if there is one.
    #[inline]
    pub fn pop_vlan(&mut self) -> Fate {
        if tags::pop_vlan(self.packet.data_mut()).is_none() {
            return Continue(());
        }
        self.headers.tag_popped();
        self.pull(tags::VLAN_LEN)
    }

    fn push_mpls(&mut self, eth_type: u16) -> Fate {
        let ttl = ttl::of_ip(&self.frame());
        *self.headers = Headers::UNKNOWN;
        self.push(tags::MPLS_LEN)?;
        done(tags::push_mpls(self.packet.data_mut(), eth_type, ttl))
    }

    fn pop_mpls(&mut self, eth_type: u16) -> Fate {
        if tags::pop_mpls(self.packet.data_mut(), eth_type).is_none() {
            return Continue(());
        }
        *self.headers = Headers::UNKNOWN;
        self.pull(tags::MPLS_LEN)
    }

    fn push_pbb(&mut self, eth_type: u16) -> Fate {
        *self.headers = Headers::UNKNOWN;
        self.push(tags::PBB_LEN)?;
        done(tags::push_pbb(self.packet.data_mut(), eth_type))
    }

    fn pop_pbb(&mut self) -> Fate {
        if tags::pop_pbb(self.packet.data_mut()).is_none() {
            return Continue(());
        }
        *self.headers = Headers::UNKNOWN;
        self.pull(tags::PBB_LEN)
    }

    /// Cuts the packet. What is left of a super-frame is none, and owes no checksum: nobody can
    /// check that of a part.
    fn truncate(&mut self, len: u32) -> Fate {
        if self.packet.len() > len as usize {
            self.packet.forget_offload();
            self.packet.truncate(len as usize);
            *self.headers = Headers::UNKNOWN;
        }
        Continue(())
    }

    fn push(&mut self, count: usize) -> Fate {
        match self.packet.push_front(count) {
            Some(_) => Continue(()),
            None => Break(DropReason::NoBuffer),
        }
    }

    fn pull(&mut self, count: usize) -> Fate {
        done(self.packet.pull_front(count))
    }
}

/// Where the headers of a packet lie.
#[cold]
fn parsed(packet: &Packet) -> Headers {
    let mut key = FlowKey::default();
    let layout = parse(packet.data(), &mut key);
    Headers::new(layout, &key)
}

fn done(outcome: Option<()>) -> Fate {
    outcome.map_or(MALFORMED, Continue)
}
