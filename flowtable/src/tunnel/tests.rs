//! Headers as bytes, by hand and as they are made.

use std::net::IpAddr;

use super::*;

const VXLAN: &str = "0200000000020200000000010800\
    4500003a00004000 4011 0000 0a000001 0a000002\
    c000 12b5 0026 0000  08000000 00123400\
    ffffffffffff 020000000003 9999 0102030405060708";
const GENEVE: &str = "0200000000020200000000010800\
    4502 0042 0000 4000 4011 0000 0a000001 0a000002\
    c000 17c1 002e 0000  02806558 00123400 01028001 deadbeef\
    ffffffffffff 020000000003 9999 0102030405060708";
const GRE_KEYED: &str = "02000000000202000000000186dd\
    60000000 0022 2f 40 fd000000000000000000000000000001 fd000000000000000000000000000002\
    b0006558 00000000 00abcdef 00000007\
    ffffffffffff 020000000003 9999 01020304";

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(text, 16).expect("digits")
    };
    digits.chunks(2).map(byte).collect()
}

fn decode(kind: Kind, frame: &[u8]) -> Result<Inner, Fault> {
    let outer = Outer::decode(frame).expect("outer headers");
    Inner::decode(kind, frame, &outer)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn outer_headers_are_read() {
    let outer = Outer::decode(&bytes(GENEVE)).expect("outer headers");
    assert_eq!(outer.eth_dst, 0x0200_0000_0002);
    let addresses = (outer.source, outer.destination);
    assert_eq!(addresses, (address("10.0.0.1"), address("10.0.0.2")));
    assert_eq!((outer.tos, outer.ttl), (2, 64));
    assert!(outer.dont_fragment && !outer.is_fragment);
    assert_eq!(outer.carrier, Carrier::Udp(6081));
    assert_eq!((outer.start, outer.end), (34, bytes(GENEVE).len()));

    let outer = Outer::decode(&bytes(GRE_KEYED)).expect("outer headers");
    let addresses = (outer.source, outer.destination);
    assert_eq!(addresses, (address("fd00::1"), address("fd00::2")));
    assert_eq!((outer.carrier, outer.start), (Carrier::Gre, 54));
}

#[test]
fn fragments_are_told() {
    let mut frame = bytes(VXLAN);
    frame[20] = 0x20;
    let outer = Outer::decode(&frame).expect("outer headers");
    let told = (outer.is_fragment, outer.carrier);
    assert_eq!(told, (true, Carrier::Udp(4789)));
    frame[21] = 1;
    let outer = Outer::decode(&frame).expect("outer headers");
    assert_eq!((outer.is_fragment, outer.carrier), (true, Carrier::Udp(0)));
}

#[test]
fn what_is_no_udp_and_no_gre_is_none() {
    for (at, value) in [(12, 0x81), (14, 0x65), (14, 0x44), (23, 6)] {
        let mut frame = bytes(VXLAN);
        frame[at] = value;
        assert_eq!(Outer::decode(&frame), None, "{at}");
    }
}

#[test]
fn tunnels_headers_are_read() {
    let frame = bytes(VXLAN);
    let inner = decode(Kind::Vxlan, &frame).expect("a frame within");
    assert_eq!((inner.key, inner.start), (Some(0x1234), 50));
    assert_eq!((inner.end, inner.checked), (frame.len(), None));

    let frame = bytes(GENEVE);
    let inner = decode(Kind::Geneve, &frame).expect("a frame within");
    assert_eq!((inner.key, inner.start), (Some(0x1234), 58));
    assert!(inner.is_control);
    let options: Vec<_> = Options(&frame[inner.options]).collect();
    let data = &[0xde, 0xad, 0xbe, 0xef][..];
    assert_eq!(options, [Ok((0x0102, 0x80, data))]);

    let frame = bytes(GRE_KEYED);
    let inner = decode(Kind::Gre, &frame).expect("a frame within");
    assert_eq!((inner.key, inner.start), (Some(0xab_cdef), 70));
    assert_eq!(inner.checked, Some(54..frame.len()));
}

#[test]
fn padding_of_the_link_is_no_part_of_the_frame() {
    let mut frame = bytes(VXLAN);
    let end = frame.len();
    frame.extend([0; 9]);
    let inner = decode(Kind::Vxlan, &frame).expect("a frame within");
    assert_eq!(inner.end, end);
}

#[test]
fn what_is_not_understood_is_a_fault() {
    let cases = [
        (VXLAN, Kind::Vxlan, 42, 0x00),
        (VXLAN, Kind::Vxlan, 42, 0x88),
        (VXLAN, Kind::Vxlan, 49, 0x01),
        (GENEVE, Kind::Geneve, 42, 0x42),
        (GENEVE, Kind::Geneve, 44, 0x08),
        (GRE_KEYED, Kind::Gre, 54, 0xf0),
        (GRE_KEYED, Kind::Gre, 55, 0x01),
        (GRE_KEYED, Kind::Gre, 56, 0x08),
    ];
    for (text, kind, at, value) in cases {
        let mut frame = bytes(text);
        frame[at] = value;
        assert_eq!(decode(kind, &frame), Err(Fault::Header), "{kind:?} {at}");
    }
}

#[test]
fn what_is_too_short_is_a_fault() {
    for (text, kind) in [
        (VXLAN, Kind::Vxlan),
        (GENEVE, Kind::Geneve),
        (GRE_KEYED, Kind::Gre),
    ] {
        let frame = bytes(text);
        for length in 0..frame.len() {
            if let Some(outer) = Outer::decode(&frame[..length]) {
                let inner = Inner::decode(kind, &frame[..length], &outer);
                assert_eq!(inner, Err(Fault::Length), "{kind:?} {length}");
            }
        }
    }
    // A datagram that ends before the frame within is one.
    let mut frame = bytes(VXLAN);
    frame[38..40].copy_from_slice(&[0, 8 + 8 + 13]);
    assert_eq!(decode(Kind::Vxlan, &frame), Err(Fault::Length));
    let mut frame = bytes(GENEVE);
    frame[42] = 0x3f;
    assert_eq!(decode(Kind::Geneve, &frame), Err(Fault::Length));
}

#[test]
fn options_that_end_early_are_a_fault() {
    let options: Vec<_> = Options(&[1, 2, 3, 1, 0]).collect();
    assert_eq!(options, [Err(Fault::Length)]);
    let options: Vec<_> = Options(&[1, 2, 3, 0, 0]).collect();
    assert_eq!(options, [Ok((0x0102, 3, &[][..])), Err(Fault::Length)]);
}

fn template(kind: Kind, families: (&str, &str)) -> Template<'static> {
    Template {
        kind,
        eth_dst: 0x0200_0000_0002,
        eth_src: 0x0200_0000_0001,
        source: address(families.0),
        destination: address(families.1),
        tos: 0,
        ttl: 64,
        dont_fragment: true,
        port: kind.port(),
        key: Some(0x1234),
        checksum: false,
        is_control: false,
        options: &[],
    }
}

/// Ones' complement sum over 16-bit words, by the definition.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn what_is_written_is_what_is_read() {
    let within =
        bytes("ffffffffffff 020000000003 0800 45000014000000004006 0000 01020304 05060708");
    let completion = Completion {
        port: 50_000,
        identification: 7,
        tos: 0xba,
        ttl: 9,
    };
    for kind in [Kind::Vxlan, Kind::Geneve, Kind::Gre] {
        for families in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            for key in [None, Some(0), Some(0xab_cdef)] {
                for checksum in [false, true] {
                    let options: &[u8] = match kind {
                        Kind::Geneve => &[1, 2, 0x80, 1, 9, 9, 9, 9],
                        _ => &[],
                    };
                    let header = Header::new(&Template {
                        key,
                        checksum,
                        options,
                        tos: 3,
                        ..template(kind, families)
                    });
                    let mut frame = vec![0xee; header.len()];
                    frame.extend(&within);
                    header.write(&mut frame, completion);
                    let outer = Outer::decode(&frame).expect("outer headers");
                    assert_eq!((outer.tos, outer.ttl), (0xba, 9));
                    assert_eq!(outer.source, address(families.0));
                    assert_eq!((outer.start, outer.end), (header.carrier(), frame.len()));
                    if outer.source.is_ipv4() {
                        assert_eq!(sum(&frame[14..34]), 0xffff, "{kind:?}");
                    }
                    if kind != Kind::Gre {
                        assert_eq!(outer.carrier, Carrier::Udp(kind.port()));
                        assert_eq!(be16(&frame, outer.start), Some(50_000));
                    }
                    let inner = Inner::decode(kind, &frame, &outer).expect("a frame within");
                    let no_key = (kind != Kind::Gre).then_some(0);
                    assert_eq!(inner.key, key.or(no_key));
                    assert_eq!(&frame[inner.start..inner.end], within);
                    assert_eq!(&frame[inner.options], options);
                    assert_eq!(header.checksum(frame.len()).is_some(), checksum);
                }
            }
        }
    }
}

#[test]
fn a_checksum_covers_the_pseudo_header_and_all_that_follows() {
    for (kind, families) in [
        (Kind::Vxlan, ("10.0.0.1", "10.0.0.2")),
        (Kind::Geneve, ("fd00::1", "fd00::2")),
        (Kind::Gre, ("10.0.0.1", "10.0.0.2")),
    ] {
        let checksum = true;
        let header = Header::new(&Template {
            checksum,
            ..template(kind, families)
        });
        let mut frame = vec![0; header.len()];
        frame.extend([0x5a; 61]);
        let completion = Completion {
            port: 60_000,
            identification: 0,
            tos: 0,
            ttl: 64,
        };
        header.write(&mut frame, completion);
        let (at, pseudo) = header.checksum(frame.len()).expect("a checksum");
        let start = header.carrier();
        let mut all = vec![0, 0];
        all.extend(pseudo.to_be_bytes());
        all.extend(&frame[start..]);
        let value = !sum(&all);
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        let outer = Outer::decode(&frame).expect("outer headers");
        let inner = Inner::decode(kind, &frame, &outer).expect("a frame within");
        assert_eq!(inner.checked, Some(start..frame.len()));
        // What a receiver sums, from the addresses in the frame.
        let mut whole = frame[start..].to_vec();
        whole.extend([0; 1]);
        if kind != Kind::Gre {
            let addresses = if start == 34 { 26..34 } else { 22..54 };
            whole.extend(&frame[addresses]);
            whole.extend([0, 17]);
            whole.extend(((frame.len() - start) as u16).to_be_bytes());
        }
        let odd = (frame.len() - start) % 2 == 1;
        assert!(odd, "the byte between pads");
        assert_eq!(sum(&whole), 0xffff, "{kind:?}");
    }
}

fn udp(source: u8, port: u16, fragment: u8) -> Vec<u8> {
    let mut frame =
        bytes("020000000002 020000000001 0800 45000024000000004011 0000 0a000001 0a000002");
    frame[29] = source;
    frame[20] = fragment;
    frame.extend(port.to_be_bytes());
    frame.extend([0, 53, 0, 16, 0, 0, 1, 2, 3, 4]);
    frame
}

#[test]
fn flows_have_ports_of_their_own_within_the_range() {
    let mut ports: Vec<_> = (0..64)
        .map(|port| entropy(&udp(1, 1000 + port, 0)))
        .collect();
    assert!(ports.iter().all(|port| *port >= 49_152));
    assert_eq!(entropy(&udp(1, 1000, 0)), ports[0]);
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() > 56, "{ports:?}");
    assert_ne!(entropy(&udp(1, 1000, 0)), entropy(&udp(2, 1000, 0)));
    let fragments = [0x20, 0x20].map(|fragment| entropy(&udp(1, 1000, fragment)));
    assert_eq!(fragments[0], entropy(&udp(1, 2000, 0x20)));
    let mut tagged = udp(1, 1000, 0);
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    assert_eq!(entropy(&tagged), entropy(&udp(1, 1000, 0)));
    for length in 0..tagged.len() {
        assert!(entropy(&tagged[..length]) >= 49_152);
    }
}

#[test]
fn type_of_service_and_time_to_live_are_found_behind_tags() {
    let mut frame = udp(1, 1, 0);
    (frame[15], frame[22]) = (0xb9, 33);
    assert_eq!(tos_and_ttl(&frame), Some((0xb9, 33)));
    frame.splice(12..12, [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]);
    assert_eq!(tos_and_ttl(&frame), Some((0xb9, 33)));
    assert_eq!(tos_and_ttl(&bytes(VXLAN)[50..]), None);
}
