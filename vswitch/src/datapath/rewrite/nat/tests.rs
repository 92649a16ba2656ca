//! Translated packets against checksums computed in full.

use std::ops::ControlFlow::Continue;

use flowtable::conntrack::{self, Body, Translation, Tuple, mapped};
use flowtable::{FlowKey, eth_type, ip_proto, parse};
use proptest::prelude::*;

use super::super::testing::{Built, Spec, spec};
use super::super::{Frame, Headers};
use super::translate;

fn read(bytes: &[u8]) -> (FlowKey, Headers, Option<conntrack::Packet>) {
    let mut key = FlowKey::default();
    let layout = parse(bytes, &mut key);
    let packet = conntrack::Packet::read(bytes, &key, &layout, 0);
    (key, Headers::new(layout, &key), packet)
}

/// A tuple to translate to, of this version.
fn target(key: &FlowKey, bits: [u64; 4], ports: [u16; 2]) -> Tuple {
    let (src, dst, version) = match key.eth_type {
        eth_type::IPV4 => (mapped(bits[0] as u32), mapped(bits[1] as u32), 4),
        _ => ([bits[0], bits[1]], [bits[2], bits[3]], 6),
    };
    Tuple {
        src,
        dst,
        src_port: ports[0],
        dst_port: ports[1],
        zone: 0,
        proto: key.ip_proto,
        version,
    }
}

fn apply(built: &mut Built, translation: &Translation) {
    let (_, headers, _) = read(&built.bytes);
    let partial = built.partial();
    let mut frame = Frame {
        bytes: &mut built.bytes,
        headers,
        partial,
    };
    assert_eq!(translate(&mut frame, translation), Continue(()));
}

proptest! {
    /// Whatever is translated has the addresses and ports that it is to have, the checksums that
    /// they take, and is the same in all else.
    #[test]
    fn translated_packets_are_as_if_they_had_been_made_so(
        spec in spec(),
        bits in any::<[u64; 4]>(),
        ports in any::<[u16; 2]>(),
        source in any::<bool>(),
        destination in any::<bool>(),
    ) {
        let mut spec = spec;
        spec.fragment = None;
        spec.proto = match spec.proto {
            // A solicitation is no query.
            ip_proto::ICMPV6 => ip_proto::TCP,
            proto => proto,
        };
        spec.partial &= matches!(spec.proto, ip_proto::TCP | ip_proto::UDP);
        let mut built = spec.build();
        let before = built.bytes.clone();
        let (key, headers, _) = read(&before);
        prop_assume!(headers.l4().is_some());
        let to = target(&key, bits, ports);
        apply(&mut built, &Translation { to, source, destination, embedded: None });
        built.assert_checksums();
        let (after, ..) = read(&built.bytes);
        let mut expected = key;
        if to.is_icmp() {
            let at = built.l4 + 4;
            prop_assert_eq!(&built.bytes[at..at + 2], &to.src_port.to_be_bytes());
        }
        let has_ports = !to.is_icmp();
        if source {
            (expected.ipv4_src, expected.ipv6_src) = addresses(&key, to.src);
            expected.tp_src = if has_ports { to.src_port } else { expected.tp_src };
        }
        if destination {
            (expected.ipv4_dst, expected.ipv6_dst) = addresses(&key, to.dst);
            expected.tp_dst = if has_ports { to.dst_port } else { expected.tp_dst };
        }
        prop_assert_eq!(after, expected);
        // And back again it is what it was.
        let back = conntrack_tuple(&before, &key, &to);
        apply(&mut built, &Translation { to: back, source, destination, embedded: None });
        prop_assert_eq!(built.bytes, before);
    }

    /// An error and the packet that it embeds are translated together.
    #[test]
    fn errors_are_translated_inside_and_out(
        inner in spec(),
        bits in any::<[u64; 4]>(),
        ports in any::<[u16; 2]>(),
        source in any::<bool>(),
        destination in any::<bool>(),
        cut in 8usize..60,
    ) {
        // Half a checksum stays as it is.
        let (mut inner, cut) = (inner, cut & !1);
        (inner.fragment, inner.partial, inner.options) = (None, false, false);
        inner.tags.clear();
        if inner.proto == ip_proto::ICMPV6 || inner.proto == ip_proto::SCTP {
            inner.proto = ip_proto::UDP;
        }
        let mut inner = inner.build();
        if inner.spec.proto == ip_proto::ICMP {
            // A query has no code.
            inner.bytes[inner.l4 + 1] = 0;
            inner.set_checksums();
        }
        let mut error = error_about(&inner, cut);
        let (key, _, packet) = read(&error.bytes);
        let embedded = match packet.map(|packet| (packet.body, packet.tuple)) {
            Some((Body::Error(embedded), _)) => embedded,
            other => panic!("{other:?}"),
        };
        let mut to = target(&key, bits, ports);
        to.proto = inner.spec.proto;
        let translation = Translation { to, source, destination, embedded: Some(embedded) };
        apply(&mut error, &translation);
        error.assert_checksums();
        // Inside is what the embedded packet would have been, translated the other way.
        let mut expected = inner.clone();
        let inverse = Translation {
            to: to.reversed(),
            source: destination,
            destination: source,
            embedded: None,
        };
        apply(&mut expected, &inverse);
        let inside = &error.bytes[usize::from(embedded.l3)..];
        let whole = &expected.bytes[expected.l3..];
        let len = inside.len().min(whole.len()).min(inside_len(&inner, cut));
        prop_assert_eq!(&inside[..len], &whole[..len]);
    }
}

fn addresses(key: &FlowKey, words: [u64; 2]) -> (u32, [u64; 2]) {
    match key.eth_type {
        eth_type::IPV4 => (words[1] as u32, [0; 2]),
        _ => (0, words),
    }
}

/// The tuple that undoes a translation.
fn conntrack_tuple(before: &[u8], key: &FlowKey, to: &Tuple) -> Tuple {
    let (src, dst) = match key.eth_type {
        eth_type::IPV4 => (mapped(key.ipv4_src), mapped(key.ipv4_dst)),
        _ => (key.ipv6_src, key.ipv6_dst),
    };
    let l4 = read(before).1.l4().unwrap_or(0);
    let identifier = u16::from_be_bytes([before[l4 + 4], before[l4 + 5]]);
    let src_port = match to.is_icmp() {
        true => identifier,
        false => key.tp_src,
    };
    Tuple {
        src,
        dst,
        src_port,
        dst_port: key.tp_dst,
        ..*to
    }
}

/// How much of a packet an error embeds.
fn inside_len(inner: &Built, cut: usize) -> usize {
    (inner.l4 - inner.l3 + cut).min(inner.bytes.len() - inner.l3 - inner.spec.padding)
}

/// "Destination unreachable" for whoever sent a packet.
fn error_about(inner: &Built, cut: usize) -> Built {
    let is_v4 = inner.spec.eth_type == eth_type::IPV4;
    let mut spec = Spec::new(inner.spec.eth_type, ip_proto::ICMP);
    spec.payload = inner.bytes[inner.l3..][..inside_len(inner, cut)].to_vec();
    if !is_v4 {
        spec.proto = ip_proto::UDP;
    }
    let mut error = spec.build();
    if !is_v4 {
        error.spec.proto = ip_proto::ICMPV6;
        error.bytes[error.l3 + 6] = ip_proto::ICMPV6;
    }
    let kind = if is_v4 { 3 } else { 1 };
    error.bytes[error.l4..error.l4 + 8].copy_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    let (from, to, len) = match is_v4 {
        true => (inner.l3 + 12, error.l3 + 16, 4),
        false => (inner.l3 + 8, error.l3 + 24, 16),
    };
    let sender = inner.bytes[from..from + len].to_vec();
    error.bytes[to..to + len].copy_from_slice(&sender);
    error.set_checksums();
    error
}
