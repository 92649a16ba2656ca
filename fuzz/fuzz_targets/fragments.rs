//! Arbitrary fragments: as frames through the parser, and made up so that many are of the same
//! datagram. What comes out is what went in, whole datagrams without gaps and overlaps, and no more
//! is held than may be.
#![no_main]

use flowtable::fragments::{Fate, Fragment, Fragments, HELD_MAX};
use flowtable::{FlowKey, parse};
use libfuzzer_sys::fuzz_target;

/// IPv4 of a few hosts, with bytes of the input behind it.
fn frame(how: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let [hosts, high, low, proto] = how;
    let len = 20 + payload.len() as u8 % 200;
    let payload = &payload[..usize::from(len) - 20];
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, len, 0, hosts >> 4, high & 0x3f, low, 64, proto, 0, 0]);
    frame.extend([10, 0, 0, hosts & 1, 10, 0, 1, hosts >> 1 & 1]);
    frame.extend(payload);
    frame
}

fn check_whole(out: &[(usize, Fragment)], rest: flowtable::fragments::Rest) {
    let mut end = 0;
    for (_, fragment) in out {
        assert_eq!(fragment.offset, end, "no gap and no overlap");
        assert_eq!(fragment.datagram, out[0].1.datagram);
        end += fragment.len;
    }
    assert_eq!(end - out[0].1.len, rest.len);
    let has_more = out.iter().map(|(_, fragment)| fragment.has_more);
    assert_eq!(has_more.filter(|more| !more).count(), 1);
}

fuzz_target!(|bytes: &[u8]| {
    let fragments = Fragments::default();
    let (mut rest, mut now_ms, mut came, mut went) = (bytes, 0, 0, 0);
    let mut out = Vec::new();
    while let Some(([how, len, time], behind)) = rest.split_first_chunk() {
        let (part, behind) = behind.split_at(behind.len().min((*len).into()));
        rest = behind;
        now_ms += u64::from(*time) * 8;
        let made_up = part.split_first_chunk::<4>().filter(|_| how & 3 > 0);
        let frame = match made_up {
            Some((how, payload)) => frame(*how, payload),
            None => part.to_vec(),
        };
        let mut key = FlowKey::default();
        let layout = parse(&frame, &mut key);
        let Some(fragment) = Fragment::read(&frame, &key, &layout, 0, 1) else {
            continue;
        };
        out.clear();
        let owner = u32::from(how >> 4);
        let fate = fragments.take(&fragment, owner, (came, fragment), now_ms, &mut out);
        came += 1;
        went += out.len();
        if let Fate::Whole(rest) = fate {
            check_whole(&out, rest);
        }
        assert!(fragments.held() >= came - went && fragments.held() <= HELD_MAX);
    }
    out.clear();
    fragments.expire(u64::MAX - 1, &mut out);
    assert_eq!((came - went, fragments.held()), (out.len(), 0));
});
