//! Pushing and popping VLAN, MPLS and PBB headers (OpenFlow 1.3.5 §5.12, §7.2.5).
//!
//! The bytes pushed lie at the front of the packet: `execute` makes room there and hands the
//! whole frame over, or takes the room away afterwards; here what lies before the tag moves.

use flowtable::eth_type;

use crate::action::Bits;

/// Bytes of a VLAN tag.
pub const VLAN_LEN: usize = 4;
/// Bytes of an MPLS label stack entry.
pub const MPLS_LEN: usize = 4;
/// Bytes of backbone addresses, Ethernet type and PBB service tag.
pub const PBB_LEN: usize = 18;

/// Ethernet type of a VLAN tag.
const VLAN: u16 = 0x8100;
/// Ethernet type of a service VLAN tag.
const VLAN_SERVICE: u16 = 0x88a8;
/// What some switches had for the service VLAN tag before 802.1ad.
const VLAN_OLD_SERVICE: u16 = 0x9100;
/// Bottom-of-stack bit of an MPLS entry.
const MPLS_BOTTOM: u32 = 0x100;

/// Whether an Ethernet type is that of a VLAN tag.
#[inline]
pub fn is_vlan(tpid: u16) -> bool {
    matches!(tpid, VLAN | VLAN_SERVICE | VLAN_OLD_SERVICE)
}

/// Whether a frame has a VLAN tag, or the beginning of one.
pub fn has_vlan(frame: &[u8]) -> bool {
    u16_at(frame, 12).is_some_and(is_vlan)
}

/// Whether an Ethernet type is that of MPLS.
pub fn is_mpls(found: u16) -> bool {
    matches!(found, eth_type::MPLS | eth_type::MPLS_MULTICAST)
}

/// The Ethernet type after up to two VLAN tags, and where it lies.
pub fn ether_type(frame: &[u8]) -> Option<(usize, u16)> {
    let mut at = 12;
    let mut found = u16_at(frame, at)?;
    while is_vlan(found) && at < 12 + 2 * VLAN_LEN {
        at += VLAN_LEN;
        found = u16_at(frame, at)?;
    }
    Some((at, found))
}

/// Pushes a VLAN tag into a frame with [`VLAN_LEN`] new bytes at its front. Its control information
/// is that of the outer tag, else 0, with these bits set.
#[inline]
pub fn push_vlan(frame: &mut [u8], tpid: u16, bits: Bits) -> Option<()> {
    let outer = match frame.get(16..20) {
        Some(&[a, b, c, d]) if is_vlan(u16::from_be_bytes([a, b])) => u16::from_be_bytes([c, d]),
        _ => 0,
    };
    let tagged = frame.first_chunk_mut::<{ 12 + VLAN_LEN }>()?;
    tagged.copy_within(VLAN_LEN.., 0);
    let tag = u32::from(tpid) << 16 | u32::from(bits.apply(outer));
    tagged[12..].copy_from_slice(&tag.to_be_bytes());
    Some(())
}

/// Takes the outer VLAN tag away, leaving [`VLAN_LEN`] bytes to remove at the front.
#[inline]
pub fn pop_vlan(frame: &mut [u8]) -> Option<()> {
    let tagged = frame.first_chunk_mut::<{ 12 + VLAN_LEN }>()?;
    if !is_vlan(u16::from_be_bytes([tagged[12], tagged[13]])) {
        return None;
    }
    tagged.copy_within(..12, VLAN_LEN);
    Some(())
}

/// Pushes an MPLS entry into a frame with [`MPLS_LEN`] new bytes at its front; its time to live
/// is that of the entry beneath, else `ip_ttl`.
pub fn push_mpls(frame: &mut [u8], eth_type: u16, ip_ttl: u8) -> Option<()> {
    let (type_at, below) = ether_type(frame.get(MPLS_LEN..)?)?;
    let entry = match is_mpls(below) {
        true => u32_at(frame, MPLS_LEN + type_at + 2)? & !MPLS_BOTTOM,
        false => MPLS_BOTTOM | u32::from(ip_ttl),
    };
    shift_forward(frame, type_at + 2, MPLS_LEN)?;
    put(frame, type_at, &eth_type.to_be_bytes())?;
    put(frame, type_at + 2, &entry.to_be_bytes())
}

/// Takes the top MPLS entry away, leaving [`MPLS_LEN`] bytes to remove at the front.
pub fn pop_mpls(frame: &mut [u8], eth_type: u16) -> Option<()> {
    let (type_at, below) = ether_type(frame)?;
    if !is_mpls(below) || frame.len() < type_at + 2 + MPLS_LEN {
        return None;
    }
    put(frame, type_at, &eth_type.to_be_bytes())?;
    shift_back(frame, type_at + 2, MPLS_LEN)
}

/// Pushes backbone addresses and service tag into a frame with [`PBB_LEN`] new bytes at its
/// front: the addresses are the frame's own, the instance that of a tag beneath, the priority
/// that of a VLAN tag.
pub fn push_pbb(frame: &mut [u8], eth_type: u16) -> Option<()> {
    let below = frame.get(PBB_LEN..)?;
    let addresses = <[u8; 12]>::try_from(below.get(..12)?).ok()?;
    let priority = match u16_at(below, 12) {
        Some(outer) if is_vlan(outer) => u16_at(below, 14)? >> 13,
        _ => 0,
    };
    let instance = match ether_type(below)? {
        (at, eth_type::PBB) => u32_at(below, at + 2)? & 0x00ff_ffff,
        _ => 0,
    };
    let tag = u32::from(priority) << 29 | instance;
    put(frame, 0, &addresses)?;
    put(frame, 12, &eth_type.to_be_bytes())?;
    put(frame, 14, &tag.to_be_bytes())
}

/// Takes backbone addresses and service tag away, leaving [`PBB_LEN`] bytes to remove at the
/// front. VLAN tags before the service tag (the backbone's, IEEE 802.1Q §9.5) stay before what it
/// carried: they are popped by actions of their own.
pub fn pop_pbb(frame: &mut [u8]) -> Option<()> {
    let (type_at, found) = ether_type(frame)?;
    let customer = type_at + PBB_LEN - 12;
    if found != eth_type::PBB || frame.len() < customer + 14 {
        return None;
    }
    let addresses = <[u8; 12]>::try_from(frame.get(customer..customer + 12)?).ok()?;
    frame.copy_within(12..type_at, PBB_LEN + 12);
    put(frame, PBB_LEN, &addresses)
}

/// Moves the first `len` bytes after `room` new ones to the very front.
fn shift_forward(frame: &mut [u8], len: usize, room: usize) -> Option<()> {
    if frame.len() < len + room {
        return None;
    }
    frame.copy_within(room..room + len, 0);
    Some(())
}

/// Moves the first `len` bytes back over the `room` bytes that follow them.
fn shift_back(frame: &mut [u8], len: usize, room: usize) -> Option<()> {
    if frame.len() < len + room {
        return None;
    }
    frame.copy_within(..len, room);
    Some(())
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    frame.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}

fn u16_at(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn u32_at(frame: &[u8], at: usize) -> Option<u32> {
    let bytes = frame.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
