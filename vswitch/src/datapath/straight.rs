//! Runs a program that is a straight line on one packet, in place.
//!
//! Called by `processor` for nearly every packet. What is done here in few instructions,
//! [`Editor::edit`] does operation by operation, as it does for every other program. And what is
//! done in quick form ([`run_quick`]) in still fewer, [`run`] does edit by edit.

use std::ops::ControlFlow::{self, Break, Continue};

use flowtable::{Counts, FlowKey};
use pmd::Packet;

use super::edit::Editor;
use super::execute::{admit, flow_hash};
use super::processor::Now;
use super::rewrite::{Fate, Headers, MALFORMED, tags, ttl};
use crate::action::{
    Addresses, Bits, Choice, DropReason, Edit, End, PortNo, Quick, Straight, Tag, Tallies,
};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Out by a port.
    Output(PortNo),
    /// Nowhere, for this reason where it is to be counted.
    Drop(Option<DropReason>),
    /// It ended with this edit; in a bucket it is always the last.
    Ended(u16, DropReason),
}

/// What a packet is counted with on its way.
#[derive(Debug)]
pub struct Counting<'a> {
    /// Where.
    pub tallies: &'a mut Tallies,
    /// Its length as it came in.
    pub bytes: u32,
    /// The time.
    pub now: Now,
}

/// Runs a straight line in its quick form on a packet that its meter has let pass. `headers` are
/// those that it came in with, if its time to live is decremented.
#[inline(always)]
pub fn run_quick(quick: &Quick, packet: &mut Packet, headers: &Headers) -> Fate {
    let moved = match quick.tag {
        Tag::Stay => 0,
        Tag::Pop => pop_tag(packet)?,
        Tag::Push(tpid, bits) => push_tag(packet, tpid, bits)?,
    };
    set_addresses(packet, &quick.addresses)?;
    match quick.decrements {
        true => ttl::decrement_moved(packet.data_mut(), headers, moved),
        false => Continue(()),
    }
}

/// Returns by how much headers have moved modulo 2^16.
#[inline(always)]
fn pop_tag(packet: &mut Packet) -> ControlFlow<DropReason, u16> {
    if tags::pop_vlan(packet.data_mut()).is_none() {
        return Continue(0);
    }
    match packet.pull_front(tags::VLAN_LEN) {
        Some(()) => Continue((tags::VLAN_LEN as u16).wrapping_neg()),
        None => Break(DropReason::Malformed),
    }
}

#[inline(always)]
fn push_tag(packet: &mut Packet, tpid: u16, bits: Bits) -> ControlFlow<DropReason, u16> {
    if packet.push_front(tags::VLAN_LEN).is_none() {
        return Break(DropReason::NoBuffer);
    }
    match tags::push_vlan(packet.data_mut(), tpid, bits) {
        Some(()) => Continue(tags::VLAN_LEN as u16),
        None => Break(DropReason::Malformed),
    }
}

/// Which edit of a straight line ended a packet in its quick form.
#[cold]
pub fn ended(straight: &Straight, reason: DropReason) -> Way {
    let is_it = |edit: &Edit| match edit {
        Edit::Meter(_) => reason == DropReason::Meter,
        Edit::DecTtl => reason == DropReason::InvalidTtl,
        Edit::Addresses(_) | Edit::PushTag(..) => {
            !matches!(reason, DropReason::InvalidTtl | DropReason::Meter)
        }
        _ => false,
    };
    let edit = straight.edits.iter().position(is_it).unwrap_or(0);
    Way::Ended(edit as u16, reason)
}

/// Runs a straight line on a packet. `key` is what it came in with, parsed as deep as the line
/// asks.
pub fn run(straight: &Straight, editor: &mut Editor, key: &FlowKey, counting: Counting) -> Way {
    let mut counting = counting;
    for (index, edit) in straight.edits.iter().enumerate() {
        if let Break(reason) = perform(edit, editor, &mut counting) {
            return Way::Ended(index as u16, reason);
        }
    }
    match &straight.end {
        End::Output(port) => Way::Output(*port),
        End::Select(choice) => select(choice, editor, key, counting),
        End::Drop(reason) => Way::Drop(*reason),
    }
}

/// Goes the way of a bucket: the same for both directions of a conversation, and for all its
/// packets.
fn select(choice: &Choice, editor: &mut Editor, key: &FlowKey, counting: Counting) -> Way {
    let Some(straight) = choice.find(flow_hash(key, choice.routes)) else {
        return Way::Drop(None);
    };
    match run(straight, editor, key, counting) {
        Way::Ended(_, reason) => Way::Ended(u16::MAX, reason),
        way => way,
    }
}

#[inline(always)]
fn perform(edit: &Edit, editor: &mut Editor, counting: &mut Counting) -> Fate {
    match edit {
        Edit::Addresses(addresses) => set_addresses(editor.packet, addresses),
        Edit::PushTag(tpid, bits) => editor.push_vlan(*tpid, *bits),
        Edit::SetTag(bits) => set_tag(editor.packet, *bits),
        Edit::PopTag => editor.pop_vlan(),
        Edit::DecTtl => editor.decrement_ttl(),
        Edit::Meter(meter) => admit(meter, editor, counting.now),
        Edit::Count(counters) => {
            let counts = Counts {
                packets: 1,
                bytes: counting.bytes.into(),
                used_ms: counting.now.ms(),
            };
            counting.tallies.add(counters.into(), counts);
            Continue(())
        }
        Edit::Encapsulate(encapsulation) => editor.encapsulate(encapsulation),
        Edit::Other(op) => editor.edit(op),
    }
}

#[inline(always)]
fn set_addresses(packet: &mut Packet, addresses: &Addresses) -> Fate {
    let bytes = packet.data_mut();
    match bytes.first_chunk_mut() {
        Some(both) => addresses.write(both),
        None => return set_first(bytes, addresses),
    }
    Continue(())
}

/// Does the same on a frame without the whole of both addresses: there may be a destination.
#[cold]
fn set_first(bytes: &mut [u8], addresses: &Addresses) -> Fate {
    if addresses.are_kept() {
        return Continue(());
    }
    let Some(destination) = bytes.first_chunk_mut::<6>() else {
        return MALFORMED;
    };
    if addresses.reach_source() {
        return MALFORMED;
    }
    let mut both = [0; 12];
    both[..6].copy_from_slice(destination);
    addresses.write(&mut both);
    destination.copy_from_slice(&both[..6]);
    Continue(())
}

/// Sets bits of the outer tag's control information, if there is a tag.
#[inline(always)]
fn set_tag(packet: &mut Packet, bits: Bits) -> Fate {
    let bytes = packet.data_mut();
    let Some([.., a, b, c, d]) = bytes.first_chunk_mut::<16>() else {
        return match tags::has_vlan(bytes) {
            true => MALFORMED,
            false => Continue(()),
        };
    };
    if tags::is_vlan(u16::from_be_bytes([*a, *b])) {
        [*c, *d] = bits.apply(u16::from_be_bytes([*c, *d])).to_be_bytes();
    }
    Continue(())
}

#[cfg(test)]
mod tests;
