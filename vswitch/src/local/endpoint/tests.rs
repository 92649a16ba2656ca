//! What an endpoint answers, and to whom it says nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::local::frame::{checksum, icmpv6, ipv4, ipv6};
use crate::local::testing::{A, A6, B as OWN, B6 as OWN6};

const MAC: u64 = 0x0200_0000_0001;
const GUEST: u64 = 0x0200_0000_0007;
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn endpoint() -> Endpoint {
    Endpoint::new(Settings::parse(MAC, "10.0.0.1/24,fd00::1/64", "").unwrap())
}

fn frame(packet: &[u8]) -> Vec<u8> {
    let kind = match packet[0] >> 4 {
        4 => eth_type::IPV4,
        _ => eth_type::IPV6,
    };
    ethernet((MAC, GUEST), None, kind, packet)
}

/// A packet with this time to live, its checksum right.
fn v4(ends: (Ipv4Addr, Ipv4Addr), protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(ends, 0, protocol, payload);
    packet[8] = ttl;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    frame(&packet)
}

fn udp() -> [u8; 8] {
    [0, 9, 0, 9, 0, 8, 0, 0]
}

fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    endpoint().receive(frame, 0).answer
}

/// Type and code of an answer that goes back to the guest.
fn told(answer: Option<Vec<u8>>) -> Option<(u16, u16)> {
    let answer = answer?;
    let received = Received::parse(&answer).expect("right checksums");
    assert_eq!(Link::of(&received.key).to, GUEST);
    assert_eq!(Link::of(&received.key).from, MAC);
    assert!(received.is_icmp());
    Some((received.key.tp_src, received.key.tp_dst))
}

fn request(target: Ipv4Addr) -> Vec<u8> {
    let arp = Arp {
        asks: true,
        sender_mac: GUEST,
        sender: A,
        target_mac: 0,
        target,
    };
    arp.emit(BROADCAST, None)
}

#[test]
fn who_asks_for_an_address_of_its_own_is_answered() {
    let told = answer(&request(OWN)).expect("an answer");
    let arp = Received::parse(&told).and_then(|received| Arp::of(&received.key));
    let expected = Arp {
        asks: false,
        sender_mac: MAC,
        sender: OWN,
        target_mac: GUEST,
        target: A,
    };
    assert_eq!(arp, Some(expected));
    assert_eq!(answer(&request(FAR)), None);
    let told = answer(&nd::solicit(OWN6, A6, GUEST)).expect("an answer");
    let neighbour = Received::parse(&told).and_then(|received| Neighbour::of(&received.key));
    let told = neighbour.map(|neighbour| (neighbour.solicits, neighbour.target, neighbour.mac));
    assert_eq!(told, Some((false, OWN6, MAC)));
    assert_eq!(answer(&nd::solicit(A6, OWN6, GUEST)), None);
}

#[test]
fn tags_come_back() {
    let mut tagged = request(OWN);
    tagged.splice(12..12, [0x81, 0, 0x60, 7]);
    let told = answer(&tagged).expect("an answer");
    assert_eq!(told[12..16], [0x81, 0, 0x60, 7]);
    assert_eq!(told[16..18], [8, 6]);
}

#[test]
fn packets_end_as_a_router_has_them_end() {
    for (to, ttl, expected) in [
        (FAR, 64, (3, 0)),
        (Ipv4Addr::new(10, 0, 0, 9), 64, (3, 1)),
        (FAR, 1, (11, 0)),
        (FAR, 0, (11, 0)),
        (OWN, 1, (3, 3)),
    ] {
        let packet = v4((A, to), ip_proto::UDP, ttl, &udp());
        assert_eq!(told(answer(&packet)), Some(expected), "{to} {ttl}");
    }
    let packet = v4((A, OWN), 253, 64, &[]);
    assert_eq!(told(answer(&packet)), Some((3, 2)));
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    for (to, ttl, expected) in [(far, 64, (1, 0)), (far, 1, (3, 0)), (OWN6, 64, (4, 1))] {
        let packet = frame(&ipv6((A6, to), 0, (253, ttl), &[]));
        assert_eq!(told(answer(&packet)), Some(expected), "{to} {ttl}");
    }
}

#[test]
fn nothing_is_said_to_groups_and_about_what_is_for_others() {
    let echo = |ends| {
        let mut message = [8, 0, 0, 0, 0, 9, 0, 1];
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        v4(ends, ip_proto::ICMP, 64, &message)
    };
    assert_eq!(told(answer(&echo((A, OWN)))), Some((0, 0)));
    for to in [Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::BROADCAST] {
        assert_eq!(answer(&echo((A, to))), None, "{to}");
    }
    assert_eq!(answer(&echo((Ipv4Addr::new(10, 0, 0, 255), FAR))), None);
    let mut other = echo((A, OWN));
    other[5] = 9;
    assert_eq!(answer(&other), None, "another's address");
    other[..6].fill(0xff);
    assert_eq!(answer(&other), None, "for all");
    let mut wrong = echo((A, OWN));
    wrong[37] ^= 1;
    assert_eq!(answer(&wrong), None, "a wrong checksum");
    let reply = icmpv6((A6, OWN6), 0, 64, vec![129, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(answer(&frame(&reply)), None);
}

#[test]
fn no_frame_cut_short_makes_trouble() {
    let long = v4((A, FAR), ip_proto::UDP, 64, &udp());
    for frame in [long, request(OWN), nd::solicit(OWN6, A6, GUEST)] {
        for length in 0..frame.len() {
            let _ = answer(&frame[..length]);
            let _ = endpoint().expire(&frame[..length], &Link::default());
        }
    }
}

#[test]
fn the_endpoint_with_the_address_that_a_packet_came_to_answers_for_its_end() {
    let endpoint = endpoint();
    let link = |to| Link {
        to,
        from: GUEST,
        tag: None,
    };
    let near = v4((A, FAR), 253, 1, &[]);
    let far = v4((FAR, A), 253, 1, &[]);
    let claims = [&near, &far].map(|frame| [MAC, 9].map(|to| endpoint.claim(frame, &link(to))));
    assert_eq!(claims, [[3, 1], [2, 0]]);
    assert_eq!(told(endpoint.expire(&near, &link(MAC))), Some((11, 0)));
    let alone = Endpoint::new(Settings::parse(MAC, "fd00::1/64", "").unwrap());
    assert_eq!(
        alone.claim(&near, &link(MAC)),
        0,
        "no address of the family"
    );
}

#[test]
fn neighbours_are_asked_for_and_believed_once_asked() {
    let mut endpoint = endpoint();
    let is_news = |endpoint: &mut Endpoint| endpoint.receive(&request(OWN), 5).is_news;
    assert!(!is_news(&mut endpoint), "nobody asked");
    let asked = endpoint.resolve(A.into(), 0).expect("a request");
    let arp = Received::parse(&asked).and_then(|received| Arp::of(&received.key));
    let arp = arp.expect("ARP");
    assert!(arp.asks && (arp.sender, arp.target) == (OWN, A));
    assert_eq!(endpoint.resolve(A.into(), 1), None);
    let reply = arp.answer(GUEST).emit(MAC, None);
    assert!(endpoint.receive(&reply, 5).is_news);
    let known: Vec<_> = endpoint.neighbours().collect();
    assert_eq!(known, [(IpAddr::from(A), GUEST)]);

    let asked = endpoint.resolve(A6.into(), 0).expect("a solicitation");
    let received = Received::parse(&asked).expect("right checksums");
    let solicited = Neighbour::of(&received.key).expect("a solicitation");
    let told = solicited.advertise(GUEST, 0, None);
    assert!(endpoint.receive(&told, 6).is_news);
    assert_eq!(endpoint.neighbours().count(), 2);
    let (again, _) = endpoint.poll(6 + crate::local::limits::REACHABLE_MS);
    assert_eq!(again.len(), 2);
}
