//! Frames for properties: mostly well-formed, of every kind that the parser knows, with lengths
//! that now and then lie.

use proptest::prelude::*;
use proptest::strategy::Union;

/// A frame with up to three VLAN tags.
pub fn frame() -> impl Strategy<Value = Vec<u8>> {
    let tag = (tpid(), any::<u16>());
    let tags = prop::collection::vec(tag, 0..4);
    (any::<[u8; 12]>(), tags, payload()).prop_map(|(addresses, tags, payload)| {
        let mut frame = addresses.to_vec();
        for (tpid, tci) in tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        frame.extend(payload);
        frame
    })
}

fn tpid() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0x8100u16), Just(0x88a8u16), Just(0x9100u16)]
}

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=len_max)
}

/// An Ethernet type and what follows it, or a length and 802.2.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => typed(),
        1 => llc(bytes(30).boxed()),
        1 => llc(snap().boxed()),
    ]
}

fn typed() -> impl Strategy<Value = Vec<u8>> {
    let kinds: [(u32, u16, BoxedStrategy<Vec<u8>>); 8] = [
        (4, 0x0800, ipv4().boxed()),
        (4, 0x86dd, ipv6().boxed()),
        (2, 0x0806, arp().boxed()),
        (1, 0x8035, arp().boxed()),
        (1, 0x8847, bytes(12).boxed()),
        (1, 0x8848, bytes(12).boxed()),
        (1, 0x88e7, bytes(30).boxed()),
        (1, 0x88cc, bytes(30).boxed()),
    ];
    Union::new_weighted(
        kinds
            .into_iter()
            .map(|(weight, kind, payload)| {
                let prefix = move |payload| [kind.to_be_bytes().to_vec(), payload].concat();
                (weight, payload.prop_map(prefix).boxed())
            })
            .collect(),
    )
}

fn snap() -> impl Strategy<Value = Vec<u8>> {
    let organisation = prop_oneof![4 => Just([0, 0, 0]), 1 => any::<[u8; 3]>()];
    let other = (0u8..8, bytes(9)).prop_map(|(kind, rest)| [&[kind, 0], &rest[..]].concat());
    let typed = prop_oneof![4 => typed(), 1 => other];
    (organisation, typed)
        .prop_map(|(organisation, typed)| [&[0xaa, 0xaa, 3], &organisation[..], &typed].concat())
}

/// Puts the length before, at times another.
fn llc(payload: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (payload, lie()).prop_map(|(payload, lie)| {
        let len = (payload.len() as u16).wrapping_add_signed(lie) % 0x600;
        [len.to_be_bytes().to_vec(), payload].concat()
    })
}

/// By how much a length is wrong: mostly by nothing.
fn lie() -> impl Strategy<Value = i16> {
    prop_oneof![8 => Just(0i16), 1 => -9i16..9, 1 => any::<i16>()]
}

fn arp() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 22]>(), bytes(20))
        .prop_map(|(rest, padding)| [&[0, 1, 8, 0, 6, 4], &rest[..], &padding].concat())
}

fn ipv4() -> impl Strategy<Value = Vec<u8>> {
    let options = (0usize..=10).prop_map(|words| vec![1; words * 4]);
    let fragment = prop_oneof![
        6 => Just(0u16),
        1 => Just(0x4000),
        1 => Just(0x2000),
        1 => Just(0x2001),
        1 => any::<u16>(),
    ];
    let addresses = any::<[u8; 8]>();
    let rest = (any::<u8>(), any::<u8>(), addresses, lie(), bytes(10));
    (options, fragment, transport(), rest).prop_map(|(options, fragment, transport, rest)| {
        let (proto, payload) = transport;
        let (tos, ttl, addresses, lie, padding) = rest;
        let total = 20 + options.len() + payload.len();
        let mut packet = vec![0x45 + options.len() as u8 / 4, tos];
        packet.extend((total as u16).wrapping_add_signed(lie).to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([ttl, proto, 0, 0]);
        packet.extend(addresses);
        [packet, options, payload, padding].concat()
    })
}

fn ipv6() -> impl Strategy<Value = Vec<u8>> {
    let extensions = prop_oneof![
        3 => Just(Vec::new()),
        3 => prop::collection::vec(extension(), 1..5),
        1 => prop::collection::vec(extension(), 10..20),
    ];
    let rest = (
        any::<[u8; 4]>(),
        any::<u8>(),
        any::<[u8; 32]>(),
        lie(),
        bytes(10),
    );
    (extensions, transport(), rest).prop_map(|(extensions, transport, rest)| {
        let (mut next, mut payload) = transport;
        let (first, hops, addresses, lie, padding) = rest;
        for (kind, mut header) in extensions.into_iter().rev() {
            if let Some(byte) = header.first_mut() {
                *byte = next;
            }
            payload = [header, payload].concat();
            next = kind;
        }
        let mut packet = vec![0x60 | (first[0] % 16), first[1], first[2], first[3]];
        packet.extend(
            (payload.len() as u16)
                .wrapping_add_signed(lie)
                .to_be_bytes(),
        );
        packet.extend([next, hops]);
        packet.extend(addresses);
        [packet, payload, padding].concat()
    })
}

/// An extension header with its number; the first byte is written later.
fn extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let sized = (0u8..3, prop_oneof![Just(0u8), Just(43), Just(60)]).prop_map(|(units, kind)| {
        let mut header = vec![0; 8 + usize::from(units) * 8];
        header[1] = units;
        (kind, header)
    });
    let authentication = (1u8..5).prop_map(|words| {
        let mut header = vec![0; 8 + usize::from(words) * 4];
        header[1] = words;
        (51, header)
    });
    let offset = prop_oneof![2 => Just(0u16), 2 => Just(1), 1 => 0u16..16, 1 => any::<u16>()];
    let fragment = offset.prop_map(|offset| {
        let [a, b] = offset.to_be_bytes();
        (44, vec![0, 0, a, b, 0, 0, 0, 9])
    });
    prop_oneof![6 => sized, 2 => authentication, 2 => fragment]
}

/// A protocol and its header with a bit of payload.
fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let tcp = (any::<[u8; 12]>(), 0u8..=15, bytes(50)).prop_map(|(start, words, rest)| {
        (
            6,
            [&start[..], &[(words << 4) | 1], &[0; 7], &rest].concat(),
        )
    });
    let fixed = |proto: u8| bytes(30).prop_map(move |payload| (proto, payload));
    prop_oneof![
        3 => tcp,
        2 => fixed(17),
        2 => fixed(132),
        1 => fixed(1),
        1 => fixed(58),
        1 => fixed(59),
        1 => fixed(50),
        1 => (any::<u8>(), bytes(30)),
        4 => neighbour(),
    ]
}

/// A neighbour solicitation or advertisement with options.
fn neighbour() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let link = (1u8..=2, 1u8..=2, any::<[u8; 14]>()).prop_map(|(kind, units, rest)| {
        let mut option = [&[kind, units], &rest[..]].concat();
        option.truncate(usize::from(units) * 8);
        option
    });
    let other = (3u8..6, 1u8..3).prop_map(|(kind, units)| {
        let mut option = vec![0; usize::from(units) * 8];
        option[..2].copy_from_slice(&[kind, units]);
        option
    });
    let option = prop_oneof![4 => link, 2 => other.clone(), 1 => bytes(9)];
    let options = prop_oneof![
        4 => prop::collection::vec(option, 0..4),
        2 => prop::collection::vec(other, 15..19),
    ];
    let kind = (134u8..=137, prop_oneof![4 => Just(0u8), 1 => Just(1u8)]);
    (kind, any::<[u8; 16]>(), options).prop_map(|((kind, code), target, options)| {
        let header = [kind, code, 0, 0, 0, 0, 0, 0];
        (58, [&header[..], &target, &options.concat()].concat())
    })
}

/// A DNS query whose IPv4 datagram has this total length.
pub fn udp_over_ipv4(total: usize) -> Vec<u8> {
    let mut frame = vec![0; 14 + total];
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[16..18].copy_from_slice(&(total as u16).to_be_bytes());
    frame[23] = 17;
    frame[36..38].copy_from_slice(&53u16.to_be_bytes());
    frame
}
