//! What is read of frames: which can be tracked, and under which tuple.

use flowtable::conntrack::{Body, Packet, Tuple, mapped};
use flowtable::{FlowKey, parse};

use super::bench::ZONE;

fn read(frame: &[u8]) -> Option<Packet> {
    let mut key = FlowKey::default();
    let layout = parse(frame, &mut key);
    Packet::read(frame, &key, &layout, ZONE)
}

fn ipv4(proto: u8, src: u8, dst: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u8;
    let header = [
        0x45, 0, 0, len, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, src, 10, 0, 0, dst,
    ];
    [&header, payload].concat()
}

fn ipv6(next: u8, src: u8, dst: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 64];
    for last in [src, dst] {
        header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    [&header, payload].concat()
}

fn frame(kind: u16, packet: &[u8]) -> Vec<u8> {
    [&[2; 12], &kind.to_be_bytes()[..], packet].concat()
}

const UDP: [u8; 12] = [0x10, 0, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];

fn addresses(version: u8, src: u8, dst: u8) -> ([u64; 2], [u64; 2]) {
    let address = |last: u8| match version {
        4 => mapped(0x0a00_0000 | u32::from(last)),
        _ => [0xfd00 << 48, last.into()],
    };
    (address(src), address(dst))
}

fn expected(version: u8, proto: u8, ports: (u16, u16)) -> Tuple {
    let (src, dst) = addresses(version, 1, 2);
    Tuple {
        src,
        dst,
        src_port: ports.0,
        dst_port: ports.1,
        zone: ZONE,
        proto,
        version,
    }
}

#[test]
fn udp_and_protocols_without_ports() {
    let packet = read(&frame(0x0800, &ipv4(17, 1, 2, &UDP))).expect("UDP");
    assert_eq!(packet.tuple, expected(4, 17, (0x1000, 53)));
    assert_eq!(packet.body, Body::Other);
    let packet = read(&frame(0x86dd, &ipv6(17, 1, 2, &UDP))).expect("UDP");
    assert_eq!(packet.tuple, expected(6, 17, (0x1000, 53)));
    let packet = read(&frame(0x0800, &ipv4(47, 1, 2, &UDP))).expect("GRE");
    assert_eq!(packet.tuple, expected(4, 47, (0, 0)));
    // ICMP of the other version is a protocol like any other.
    let packet = read(&frame(0x0800, &ipv4(58, 1, 2, &UDP))).expect("58");
    assert_eq!(packet.body, Body::Other);
}

#[test]
fn tcp_data_ends_where_the_datagram_does() {
    let mut tcp = vec![
        0x10, 0, 0, 80, 0, 0, 0, 5, 0, 0, 0, 6, 0x50, 0x10, 0, 7, 0, 0, 0, 0,
    ];
    tcp.extend([0; 11]);
    let mut frame = frame(0x0800, &ipv4(6, 1, 2, &tcp));
    frame.extend([0; 9]);
    let packet = read(&frame).expect("TCP");
    assert_eq!(packet.tuple, expected(4, 6, (0x1000, 80)));
    let Body::Tcp(segment) = packet.body else {
        panic!("{packet:?}");
    };
    assert_eq!((segment.len, segment.seq, segment.ack), (11, 5, 6));
}

#[test]
fn what_cannot_be_tracked() {
    let mut fragment = ipv4(17, 1, 2, &UDP);
    fragment[6] = 0x20;
    let cut = ipv4(17, 1, 2, &UDP[..7]);
    for (kind, packet) in [
        (0x0806, vec![0; 28]),
        (0x0800, fragment),
        (0x0800, cut),
        (0x0800, ipv4(6, 1, 2, &[0; 19])),
        (0x0800, ipv4(1, 1, 2, &[9, 0, 0, 0, 0, 0, 0, 0])),
        (0x0800, ipv4(1, 1, 2, &[8, 1, 0, 0, 0, 0, 0, 0])),
        (0x0800, ipv4(132, 1, 2, &[0; 12])),
        (0x86dd, ipv6(58, 1, 2, &[135, 0, 0, 0, 0, 0, 0, 0])),
        (0x0800, vec![0x45, 0]),
    ] {
        assert_eq!(read(&frame(kind, &packet)), None, "{packet:?}");
    }
    assert_eq!(read(&[]), None);
}

#[test]
fn queries_by_identifier() {
    let packet = read(&frame(
        0x0800,
        &ipv4(1, 1, 2, &[8, 0, 0, 0, 0x12, 0x34, 0, 1]),
    ));
    let packet = packet.expect("echo");
    assert_eq!(packet.tuple, expected(4, 1, (0x1234, 0x800)));
    let answer = read(&frame(
        0x0800,
        &ipv4(1, 2, 1, &[0, 0, 0, 0, 0x12, 0x34, 0, 1]),
    ));
    assert_eq!(answer.expect("answer").tuple, packet.tuple.reversed());
    let packet = read(&frame(
        0x86dd,
        &ipv6(58, 1, 2, &[128, 0, 0, 0, 0x12, 0x34, 0, 1]),
    ));
    let packet = packet.expect("echo");
    assert_eq!(packet.tuple, expected(6, 58, (0x1234, 0x8000)));
    assert_eq!(packet.body, Body::Query);
}

/// The packet that a router, 9, could not deliver from 1 to 2, which is told to 1.
#[test]
fn errors_belong_to_what_they_tell_of() {
    let undelivered = ipv4(17, 1, 2, &UDP[..8]);
    let error = [&[3, 1, 0, 0, 0, 0, 0, 0], &undelivered[..]].concat();
    let packet = read(&frame(0x0800, &ipv4(1, 9, 1, &error))).expect("error");
    assert_eq!(packet.tuple, expected(4, 17, (0x1000, 53)).reversed());
    let Body::Error(embedded) = packet.body else {
        panic!("{packet:?}");
    };
    assert_eq!((embedded.l3, embedded.l4), (14 + 20 + 8, 14 + 20 + 8 + 20));
    let stranger = ipv4(1, 9, 3, &error);
    assert_eq!(read(&frame(0x0800, &stranger)), None, "3 has not sent it");
    let short = &error[..error.len() - 1];
    assert_eq!(read(&frame(0x0800, &ipv4(1, 9, 1, short))), None);
    // An error about an error is about nothing.
    let error = [&[3, 1, 0, 0, 0, 0, 0, 0], &ipv4(1, 1, 2, &error)[..]].concat();
    assert_eq!(read(&frame(0x0800, &ipv4(1, 9, 1, &error))), None);
}

#[test]
fn errors_of_version_6_with_extension_headers() {
    let options = [&[17, 0, 1, 4, 0, 0, 0, 0], &UDP[..8]].concat();
    let hops = [&[60, 0, 1, 4, 0, 0, 0, 0], &options[..]].concat();
    let undelivered = ipv6(0, 1, 2, &hops);
    let error = [&[2, 0, 0, 0, 0, 0, 5, 0], &undelivered[..]].concat();
    let packet = read(&frame(0x86dd, &ipv6(58, 9, 1, &error))).expect("error");
    assert_eq!(packet.tuple, expected(6, 17, (0x1000, 53)).reversed());
    let Body::Error(embedded) = packet.body else {
        panic!("{packet:?}");
    };
    assert_eq!(
        (embedded.l3, embedded.l4),
        (14 + 40 + 8, 14 + 40 + 8 + 40 + 16)
    );
    for len in 0..error.len() {
        let packet = ipv6(58, 9, 1, &error[..len]);
        assert_eq!(read(&frame(0x86dd, &packet)), None, "{len}");
    }
    let echo = [
        &[3, 0, 0, 0, 0, 0, 0, 0],
        &ipv6(58, 1, 2, &[128, 0, 0, 0, 0, 7, 0, 0])[..],
    ];
    let packet = read(&frame(0x86dd, &ipv6(58, 9, 1, &echo.concat()))).expect("error");
    assert_eq!(
        (packet.tuple.src_port, packet.tuple.dst_port),
        (7, 129 << 8)
    );
}
