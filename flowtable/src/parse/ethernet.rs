//! Ethernet II, 802.2 LLC and SNAP, VLAN tags (IEEE 802.3 §3.2, IEEE 802 §9, IEEE 802.1Q §9).

use super::bytes::{u16_at, u32_at, u64_at};
use crate::{ETH_TYPE_LLC, FlowKey, VLAN_PRESENT};

/// Reads addresses, tags and Ethernet type. Returns what follows the Ethernet type, cut at the
/// length of an 802.3 frame, and where that starts.
#[inline(always)]
pub(super) fn parse<'a>(frame: &'a [u8], key: &mut FlowKey) -> Option<(&'a [u8], usize)> {
    let (ethernet, mut rest) = frame.split_first_chunk::<HEADER_LEN>()?;
    key.eth_dst = u64_at(ethernet, 0) >> 16;
    key.eth_src = u64_at(ethernet, 4) & 0xffff_ffff_ffff;
    let mut kind = u16_at(ethernet, 12);
    let mut at = HEADER_LEN;
    if is_tpid(kind) {
        (kind, rest, at) = tags(rest, kind, key);
    }
    if kind >= ETH_TYPE_MIN {
        key.eth_type = kind;
        return Some((rest, at));
    }
    Some(llc(rest, at, usize::from(kind), key))
}

/// Reads addresses, tag and Ethernet type of a frame of Ethernet II with one VLAN tag at most, as
/// most are; of any other it says that it is not.
#[inline(always)]
pub(super) fn parse_plain(frame: &[u8], key: &mut FlowKey) -> bool {
    let Some(ethernet) = frame.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let kind = u16_at(ethernet, 12);
    key.eth_dst = u64_at(ethernet, 0) >> 16;
    key.eth_src = u64_at(ethernet, 4) & 0xffff_ffff_ffff;
    (key.vlan_tci, key.vlan_tpid) = (0, 0);
    (key.inner_vlan_tci, key.inner_vlan_tpid) = (0, 0);
    key.eth_type = kind;
    is_plain(kind) || is_tpid(kind) && tag_plain(frame, kind, key)
}

/// Reads the only VLAN tag of such a frame and the Ethernet type behind it.
#[inline(always)]
fn tag_plain(frame: &[u8], tpid: u16, key: &mut FlowKey) -> bool {
    let Some(tagged) = frame.first_chunk::<{ HEADER_LEN + TAG_LEN }>() else {
        return false;
    };
    let kind = u16_at(tagged, HEADER_LEN + 2);
    (key.vlan_tci, key.vlan_tpid) = (u16_at(tagged, HEADER_LEN) | VLAN_PRESENT, tpid);
    key.eth_type = kind;
    is_plain(kind)
}

/// Reads up to two VLAN tags. Returns the Ethernet type behind them, what follows it and where.
fn tags<'a>(rest: &'a [u8], tpid: u16, key: &mut FlowKey) -> (u16, &'a [u8], usize) {
    let Some((outer, rest)) = rest.split_first_chunk::<TAG_LEN>() else {
        return (tpid, rest, HEADER_LEN);
    };
    key.vlan_tpid = tpid;
    key.vlan_tci = u16_at(outer, 0) | VLAN_PRESENT;
    let kind = u16_at(outer, 2);
    let at = HEADER_LEN + TAG_LEN;
    if let Some((inner, rest)) = rest.split_first_chunk::<TAG_LEN>()
        && is_tpid(kind)
    {
        key.inner_vlan_tpid = kind;
        key.inner_vlan_tci = u16_at(inner, 0) | VLAN_PRESENT;
        return (u16_at(inner, 2), rest, at + TAG_LEN);
    }
    (kind, rest, at)
}

/// Reads what follows a length where Ethernet II has its type. Only SNAP with an Ethernet type
/// says more than that; a length beyond the frame leaves it untold.
fn llc<'a>(rest: &'a [u8], at: usize, len: usize, key: &mut FlowKey) -> (&'a [u8], usize) {
    key.eth_type = ETH_TYPE_LLC;
    let Some(packet) = rest.get(..len) else {
        return (rest, at);
    };
    if let Some((snap, rest)) = packet.split_first_chunk::<SNAP_LEN>()
        && u32_at(snap, 0) == SNAP_LLC << 8
        && u16_at(snap, 4) == 0
        && u16_at(snap, 6) >= ETH_TYPE_MIN
    {
        key.eth_type = u16_at(snap, 6);
        return (rest, at + SNAP_LEN);
    }
    (packet, at)
}

/// Whether it says what follows, which is no tag.
#[inline(always)]
fn is_plain(kind: u16) -> bool {
    kind >= ETH_TYPE_MIN && !is_tpid(kind)
}

/// Whether a VLAN tag follows.
#[inline(always)]
pub(super) fn is_tpid(kind: u16) -> bool {
    kind >= 0x8100 && matches!(kind, 0x8100 | 0x88a8 | 0x9100)
}

const HEADER_LEN: usize = 14;
/// A tag and the Ethernet type behind it.
const TAG_LEN: usize = 4;
/// Below it the field is a length (IEEE 802.3 §3.2.6).
const ETH_TYPE_MIN: u16 = 0x600;
/// LLC addresses and control of SNAP, then the organisation code 0 and an Ethernet type.
const SNAP_LLC: u32 = 0xaaaa03;
const SNAP_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, parse};

    fn frame(after_addresses: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], after_addresses].concat()
    }

    fn parsed(frame: &[u8]) -> (FlowKey, Layout) {
        let mut key = FlowKey::default();
        let layout = parse(frame, &mut key);
        (key, layout)
    }

    #[test]
    fn addresses_and_type() {
        let (key, layout) = parsed(&frame(&[0x88, 0xcc, 0, 0]));
        assert_eq!(
            (key.eth_dst, key.eth_src),
            (0x0200_0000_0001, 0x0200_0000_0002)
        );
        assert_eq!((key.eth_type, key.vlan_tci, key.vlan_tpid), (0x88cc, 0, 0));
        assert_eq!(
            (layout.l2_5, layout.l3, layout.l4, layout.end),
            (14, 0, 0, 16)
        );
    }

    #[test]
    fn too_short_tells_nothing() {
        for len in 0..14 {
            let (key, layout) = parsed(&frame(&[8, 0])[..len]);
            assert_eq!(key, FlowKey::default());
            assert_eq!((layout.l2_5, layout.end), (0, len as u16));
        }
    }

    #[test]
    fn tags() {
        let outer = [0x88, 0xa8, 0xf0, 5];
        let inner = [0x81, 0, 0, 7];
        let (key, layout) = parsed(&frame(&[&outer[..], &[8, 6]].concat()));
        assert_eq!((key.vlan_tpid, key.vlan_tci), (0x88a8, 0xf005));
        assert_eq!(
            (key.inner_vlan_tpid, key.eth_type, layout.l2_5),
            (0, 0x0806, 18)
        );

        let (key, layout) = parsed(&frame(&[&outer[..], &inner, &[8, 6]].concat()));
        assert_eq!((key.inner_vlan_tpid, key.inner_vlan_tci), (0x8100, 0x1007));
        assert_eq!((key.eth_type, layout.l2_5), (0x0806, 22));

        let third = frame(&[&outer[..], &inner, &inner, &[8, 6]].concat());
        let (key, layout) = parsed(&third);
        assert_eq!((key.eth_type, layout.l2_5), (0x8100, 22));
    }

    #[test]
    fn a_tag_cut_short_is_an_unknown_type() {
        let (key, layout) = parsed(&frame(&[0x81, 0, 0, 5, 8]));
        assert_eq!((key.eth_type, key.vlan_tci, layout.l2_5), (0x8100, 0, 14));
    }

    #[test]
    fn llc_and_snap() {
        let (key, layout) = parsed(&frame(&[0, 3, 0x42, 0x42, 3, 9, 9]));
        assert_eq!(
            (key.eth_type, layout.l2_5, layout.end),
            (ETH_TYPE_LLC, 14, 17)
        );

        let arp = [0, 1, 8, 0, 6, 4, 0, 2];
        let snap = [&[0, 36, 0xaa, 0xaa, 3, 0, 0, 0, 8, 6], &arp[..], &[0; 30]].concat();
        let (key, layout) = parsed(&frame(&snap));
        assert_eq!((key.eth_type, key.arp_op), (0x0806, 2));
        assert_eq!((layout.l2_5, layout.l3, layout.end), (22, 22, 50));

        let (key, layout) = parsed(&frame(&snap[..30]));
        assert_eq!((key.eth_type, key.arp_op), (ETH_TYPE_LLC, 0));
        assert_eq!((layout.l2_5, layout.end), (14, 42));
    }
}
