//! The parser against a second one that is plain and slow, over frames that are right, nearly
//! right and arbitrary.

use flowtable::{FlowKey, Layout, parse, parse_link, parse_network};
use proptest::prelude::*;

#[path = "parser/frames.rs"]
mod frames;
#[path = "parser/plain.rs"]
mod plain;

/// Compares every header word and the layout; metadata must be left alone.
fn check(frame: &[u8]) {
    let mut key = FlowKey::default();
    key.words_mut().fill(u64::MAX);
    let layout = parse(frame, &mut key);
    let (metadata, _) = key.words().split_at(FlowKey::HEADER_WORD);
    assert!(metadata.iter().all(|word| *word == u64::MAX));
    key.words_mut()[..FlowKey::HEADER_WORD].fill(0);
    let (plain_key, plain_layout) = plain::parse(frame);
    assert_eq!(key, plain_key, "{frame:02x?}");
    assert_eq!(layout, plain_layout, "{frame:02x?}");
    check_link(frame, &plain_key);
    check_network(frame, &plain_key, plain_layout);
}

/// Compares what is read as far as the network header.
fn check_network(frame: &[u8], plain_key: &FlowKey, plain_layout: Layout) {
    let network = |key: &FlowKey| FlowKey {
        tcp_flags: 0,
        tp_src: 0,
        tp_dst: 0,
        nd_reserved: 0,
        arp_sha: 0,
        arp_tha: 0,
        nd_target: [0; 2],
        ..*key
    };
    let mut key = FlowKey::default();
    key.words_mut()[FlowKey::HEADER_WORD..].fill(u64::MAX);
    let layout = parse_network(frame, &mut key);
    assert_eq!(network(&key), network(plain_key), "{frame:02x?}");
    let plain_layout = Layout {
        l4: 0,
        ..plain_layout
    };
    assert_eq!(layout, plain_layout, "{frame:02x?}");
}

/// Compares what is read of the link layer alone.
fn check_link(frame: &[u8], plain_key: &FlowKey) {
    let link = |key: &FlowKey| {
        let outer = (key.vlan_tci, key.vlan_tpid);
        let inner = (key.inner_vlan_tci, key.inner_vlan_tpid);
        (key.eth_dst, key.eth_src, outer, inner, key.eth_type)
    };
    let mut key = FlowKey::default();
    key.words_mut().fill(u64::MAX);
    parse_link(frame, &mut key);
    assert_eq!(link(&key), link(plain_key), "{frame:02x?}");
    assert_eq!(key.metadata, u64::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_on_frames(frame in frames::frame()) {
        check(&frame);
    }

    #[test]
    fn agrees_on_frames_cut_short_anywhere(frame in frames::frame()) {
        for end in 0..frame.len().min(200) {
            check(&frame[..end]);
        }
    }

    #[test]
    fn agrees_on_damaged_frames(
        mut frame in frames::frame(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        padding in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        for (place, byte) in damage {
            let place = place.index(frame.len());
            frame[place] = byte;
        }
        frame.extend(padding);
        check(&frame);
    }

    #[test]
    fn agrees_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }
}

#[test]
fn frames_as_long_as_can_be() {
    for len in [65_534, 65_535, 65_536, 100_000] {
        check(&vec![0; len]);
        let mut frame = frames::udp_over_ipv4(len.min(65_535) - 14);
        frame.resize(len, 0);
        let mut key = FlowKey::default();
        assert_eq!(usize::from(parse(&frame, &mut key).end), len.min(65_535));
        assert_eq!(key.tp_dst, 53);
        check(&frame);
    }
}
