//! Arbitrary frames as if they came by a tunnel of each kind, as they are and behind outer headers
//! that are right: what is told of them lies within them, and does not depend on the link's
//! padding. And what is wrapped comes out again as it was.
#![no_main]

use std::net::IpAddr;

use flowtable::tunnel::{
    Completion, Fault, Header, Inner, Kind, Options, Outer, Template, entropy, tos_and_ttl,
};
use libfuzzer_sys::fuzz_target;

const KINDS: [Kind; 3] = [Kind::Vxlan, Kind::Geneve, Kind::Gre];
const ETHERNET_LEN: usize = 14;

fn decapsulate(frame: &[u8]) {
    let Some(outer) = Outer::decode(frame) else {
        return;
    };
    assert!(outer.end <= frame.len() && outer.start >= ETHERNET_LEN + 20);
    for kind in KINDS {
        let told = Inner::decode(kind, frame, &outer);
        if let Ok(inner) = &told {
            check(kind, frame, &outer, inner);
        }
        let mut padded = frame.to_vec();
        padded.extend([0xff; 7]);
        if outer.end > 0 {
            assert_eq!(Outer::decode(&padded), Some(outer));
            assert_eq!(Inner::decode(kind, &padded, &outer), told);
        }
    }
}

fn check(kind: Kind, frame: &[u8], outer: &Outer, inner: &Inner) {
    assert!(outer.start < inner.start && inner.start + ETHERNET_LEN <= inner.end);
    assert!(inner.end <= outer.end);
    assert!(inner.key.is_none_or(|key| key <= kind.key_max()));
    if let Some(checked) = &inner.checked {
        assert!(checked.start == outer.start && checked.end == inner.end);
    }
    assert!(outer.start < inner.options.start && inner.options.end == inner.start);
    let mut left = inner.options.len();
    for option in Options(&frame[inner.options.clone()]) {
        match option {
            Ok((_, _, data)) => left -= 4 + data.len(),
            Err(fault) => {
                assert_eq!(fault, Fault::Length);
                left = 0;
            }
        }
    }
    assert_eq!(left, 0);
    let within = &frame[inner.start..inner.end];
    assert!(entropy(within) >= 49_152);
    assert!(tos_and_ttl(within).is_none() || within.len() >= ETHERNET_LEN + 20);
}

/// Wraps a frame as the first bytes say.
fn encapsulate(how: [u8; 12], within: &[u8]) -> (Kind, Template<'static>, Vec<u8>) {
    let [
        shape,
        a,
        b,
        c,
        d,
        tos,
        ttl,
        high,
        low,
        option,
        identification,
        port,
    ] = how;
    let kind = KINDS[usize::from(shape) % 3];
    let is_ipv6 = shape & 0x80 != 0;
    let address = |last: u8| match is_ipv6 {
        true => IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low, 0, last]),
        false => IpAddr::from([10, high, low, last]),
    };
    let key = u64::from(u32::from_be_bytes([a, b, c, d])) & kind.key_max();
    let template = Template {
        kind,
        eth_dst: 2,
        eth_src: 4,
        source: address(1),
        destination: address(2),
        tos,
        ttl,
        dont_fragment: shape & 0x40 != 0,
        port: kind.port(),
        key: (shape & 0x20 != 0).then_some(key),
        checksum: false,
        is_control: false,
        options: match option & 1 {
            0 => &[],
            _ => &[1, 2, 3, 1, 4, 5, 6, 7],
        },
    };
    let header = Header::new(&template);
    let mut frame = vec![0; header.len()];
    frame.extend(within);
    let completion = Completion {
        port: 0xc000 | u16::from(port),
        identification: identification.into(),
        tos,
        ttl,
    };
    header.write(&mut frame, completion);
    (kind, template, frame)
}

fuzz_target!(|bytes: &[u8]| {
    decapsulate(bytes);
    let Some((how, within)) = bytes.split_first_chunk::<12>() else {
        return;
    };
    let (kind, template, mut frame) = encapsulate(*how, within);
    let outer = Outer::decode(&frame).expect("outer headers");
    let addresses = (outer.source, outer.destination);
    assert_eq!(addresses, (template.source, template.destination));
    assert_eq!((outer.tos, outer.ttl), (template.tos, template.ttl));
    assert_eq!(outer.end, frame.len());
    match Inner::decode(kind, &frame, &outer) {
        Ok(inner) => {
            let told = template.key.unwrap_or(0);
            assert_eq!(inner.key.unwrap_or(0), told);
            assert_eq!(&frame[inner.start..inner.end], within);
        }
        Err(fault) => assert!(within.len() < ETHERNET_LEN && fault == Fault::Length),
    }
    // Its own header spoilt at one place.
    if let Some((place, value)) = within.first().zip(within.last()) {
        let behind = frame.len() - outer.start;
        frame[outer.start + usize::from(*place) % behind] ^= *value;
        decapsulate(&frame);
    }
});
