//! A TCP segment whose payload is changed, and the numbers of those that come after it: where
//! translation changes addresses in text (RFC 959 §4.1.2, RFC 2428).
//!
//! Called by `track`. Lengths and checksums follow.

use std::ops::ControlFlow::Continue;

use flowtable::conntrack::Shift;
use flowtable::eth_type;

use super::checksum::Delta;
use super::place::Cover;
use super::{Fate, Frame, MALFORMED};

/// Adds to the numbers of a TCP segment, in SACK blocks too (RFC 2018 §3).
pub fn shift(frame: &mut Frame, by: Shift) -> Fate {
    let Some(l4) = frame.headers.l4() else {
        return MALFORMED;
    };
    add(frame, l4 + 4, by.seq)?;
    add(frame, l4 + 8, by.ack)?;
    let Some(offset) = frame.bytes.get(l4 + 12) else {
        return MALFORMED;
    };
    let end = l4 + usize::from(offset >> 4) * 4;
    let mut at = l4 + 20;
    while at < end {
        let (kind, len) = match frame.bytes.get(at..at + 2) {
            Some([NOP, _]) => (NOP, 1),
            Some([kind, len]) if *kind != END && *len >= 2 => (*kind, usize::from(*len)),
            _ => break,
        };
        if kind == SACK && at + len <= end {
            for edge in (at + 2..at + len).step_by(4) {
                add(frame, edge, by.ack)?;
            }
        }
        at += len;
    }
    Continue(())
}

/// Adds to a number of 32 bits, which may lie at an odd offset.
fn add(frame: &mut Frame, at: usize, by: u32) -> Fate {
    let Some(bytes) = frame.bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
        return MALFORMED;
    };
    match by {
        0 => Continue(()),
        _ => {
            let number = u32::from_be_bytes(*bytes).wrapping_add(by);
            frame.overwrite(at, &number.to_be_bytes(), Cover::Transport)
        }
    }
}

/// Makes headers and checksums of a TCP segment right after its payload has become so much longer:
/// `headers` of the frame are those from before but for their end.
pub fn lengthened(frame: &mut Frame, by: i32) -> Fate {
    let (Some(l3), Some(l4)) = (frame.headers.l3(), frame.headers.l4()) else {
        return MALFORMED;
    };
    let is_v4 = frame.headers.eth_type == eth_type::IPV4;
    let (at, cover) = match is_v4 {
        true => (l3 + 2, Cover::Ip),
        false => (l3 + 4, Cover::Nothing),
    };
    let Some(old) = frame.u16_at(at) else {
        return MALFORMED;
    };
    let new = (i32::from(old) + by) as u16;
    frame.overwrite(at, &new.to_be_bytes(), cover)?;
    if frame.is_partial() {
        let delta = Delta::of_words(old, new);
        return frame.update(l4 + 16, |sum| delta.apply_to_sum(sum));
    }
    let end = frame.end();
    let addresses = match is_v4 {
        true => l3 + 12..l3 + 20,
        false => l3 + 8..l3 + 40,
    };
    let (Some(pseudo), Some(segment)) = (frame.bytes.get(addresses), frame.bytes.get(l4..end))
    else {
        return MALFORMED;
    };
    let length = (segment.len() as u32 + u32::from(frame.headers.ip_proto)).to_be_bytes();
    let old_sum = &segment[16..18];
    let sum = [pseudo, &length].into_iter().map(sum).sum::<u64>() + sum(segment);
    let sum = sum + u64::from(!u16::from_be_bytes([old_sum[0], old_sum[1]]));
    let sum = (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
    frame.update(l4 + 16, |_| !(sum as u16))
}

fn sum(bytes: &[u8]) -> u64 {
    let mut pairs = bytes.chunks_exact(2);
    let whole: u64 = pairs
        .by_ref()
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let odd = pairs
        .remainder()
        .first()
        .map_or(0, |byte| u64::from(*byte) << 8);
    whole + odd
}

/// Kinds of TCP options.
const END: u8 = 0;
const NOP: u8 = 1;
const SACK: u8 = 5;

#[cfg(test)]
mod tests {
    use flowtable::{FlowKey, ip_proto, parse};
    use proptest::prelude::*;

    use super::super::Headers;
    use super::super::testing::{Built, Spec};
    use super::*;

    fn frame(built: &mut Built) -> Frame<'_> {
        let mut key = FlowKey::default();
        let layout = parse(&built.bytes, &mut key);
        let partial = built.partial();
        Frame {
            bytes: &mut built.bytes,
            headers: Headers::new(layout, &key),
            partial,
        }
    }

    proptest! {
        #[test]
        fn numbers_and_lengths_keep_checksums_right(
            v6 in any::<bool>(),
            partial in any::<bool>(),
            seed in any::<u64>(),
            seq in any::<u32>(),
            ack in any::<u32>(),
            payload in prop::collection::vec(any::<u8>(), 20..60),
            cut in 0usize..20,
        ) {
            let kind = if v6 { eth_type::IPV6 } else { eth_type::IPV4 };
            let mut spec = Spec::new(kind, ip_proto::TCP);
            (spec.seed, spec.partial, spec.payload) = (seed, partial, payload);
            let mut built = spec.build();
            let before = built.bytes.clone();
            let by = Shift { seq, ack };
            prop_assert_eq!(shift(&mut frame(&mut built), by), Continue(()));
            built.assert_checksums();
            let at = |bytes: &[u8], at: usize| {
                u32::from_be_bytes(bytes[built.l4 + at..built.l4 + at + 4].try_into().unwrap())
            };
            prop_assert_eq!(at(&built.bytes, 4), at(&before, 4).wrapping_add(seq));
            prop_assert_eq!(at(&built.bytes, 8), at(&before, 8).wrapping_add(ack));
            // Shorter: what is gone was at the end.
            let len = built.bytes.len() - cut;
            let mut key = FlowKey::default();
            let mut layout = parse(&built.bytes, &mut key);
            layout.end = len as u16;
            built.bytes.truncate(len);
            let partial = built.partial();
            let mut cut_frame = Frame {
                bytes: &mut built.bytes,
                headers: Headers::new(layout, &key),
                partial,
            };
            prop_assert_eq!(lengthened(&mut cut_frame, -(cut as i32)), Continue(()));
            built.assert_checksums();
        }
    }
}
