//! Arbitrary bytes through the frame parser: it must not panic, must leave the metadata alone and
//! must not tell of headers that do not fit into the frame.
#![no_main]

use flowtable::{FlowKey, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let mut key = FlowKey::default();
    key.words_mut().fill(u64::MAX);
    let layout = parse(frame, &mut key);
    let metadata = &key.words()[..FlowKey::HEADER_WORD];
    assert!(metadata.iter().all(|word| *word == u64::MAX));

    let [l2_5, l3, l4, end] = [layout.l2_5, layout.l3, layout.l4, layout.end].map(usize::from);
    assert!(end <= frame.len());
    assert!(l2_5 == 0 || (14..=end).contains(&l2_5));
    assert!(l3 == 0 || l3 == l2_5 && l3 < end);
    assert!(l4 == 0 || l3 != 0 && (l3 + 20..=end - 8).contains(&l4));
    assert!(l4 != 0 || (key.tp_src, key.tp_dst, key.tcp_flags) == (0, 0, 0));
    assert!(l3 != 0 || (key.ip_proto, key.ipv4_src, key.arp_op) == (0, 0, 0));

    // What is read does not depend on the padding behind the payload.
    let mut padded = frame.to_vec();
    padded[end..].iter_mut().for_each(|byte| *byte = !*byte);
    let mut again = key;
    assert_eq!(parse(&padded, &mut again), layout);
    assert_eq!(again, key);
});
