//! Rewriting against frames whose checksums are computed in full, by other code.

use std::ops::ControlFlow::{Break, Continue};

use flowtable::{Field, FlowKey, VLAN_PRESENT, eth_type, ip_proto, parse};
use proptest::prelude::*;

use super::testing::{Built, Spec, spec};
use super::{Fate, Frame, Headers, set_field, tags, ttl};
use crate::action::{Bits, DropReason};

/// Runs `change` on the frame as `execute` would.
fn rewrite(
    bytes: &mut [u8],
    partial: Option<u16>,
    change: impl FnOnce(&mut Frame) -> Fate,
) -> Fate {
    let mut key = FlowKey::default();
    let layout = parse(bytes, &mut key);
    let headers = Headers::new(layout, &key);
    change(&mut Frame {
        bytes,
        headers,
        partial,
    })
}

fn key_of(bytes: &[u8]) -> FlowKey {
    let mut key = FlowKey::default();
    parse(bytes, &mut key);
    key
}

fn built(eth_type: u16, proto: u8) -> Built {
    Spec::new(eth_type, proto).build()
}

/// Fields that a packet of this kind has, as its key shows them.
fn fields_of(built: &Built) -> Vec<Field> {
    use Field::*;
    let mut fields = vec![EthDst, EthSrc];
    if built.tagged() {
        fields.extend([VlanVid, VlanPcp]);
    }
    fields.extend([IpDscp, IpEcn, IpTtl]);
    match built.spec.eth_type {
        eth_type::IPV4 => fields.extend([Ipv4Src, Ipv4Dst]),
        _ => fields.extend([Ipv6Src, Ipv6Dst, Ipv6Flabel]),
    }
    match built.spec.proto {
        _ if built.spec.later_fragment() => {}
        ip_proto::TCP => fields.extend([TcpSrc, TcpDst, TcpFlags]),
        ip_proto::UDP => fields.extend([UdpSrc, UdpDst]),
        ip_proto::SCTP if !built.spec.fragment() => fields.extend([SctpSrc, SctpDst]),
        ip_proto::ICMP => fields.extend([Icmpv4Code]),
        ip_proto::ICMPV6 => fields.extend([NdTarget, NdSll, NdReserved]),
        _ => {}
    }
    fields
}

proptest! {
    #[test]
    fn incremental_checksums_equal_full_ones(
        spec in spec(), pick in any::<prop::sample::Index>(), value: u128, mask: u128,
    ) {
        let mut built = spec.build();
        let fields = fields_of(&built);
        let field = fields[pick.index(fields.len())];
        let before = key_of(&built.bytes);

        let partial = built.partial();
        let fate = rewrite(&mut built.bytes, partial, |frame| set_field(frame, field, value, mask));

        prop_assert_eq!(fate, Continue(()));
        let width = if field == Field::VlanVid { 0xfff } else { field.ones() };
        let mut expected = before;
        field.write(&mut expected, value, mask & width);
        prop_assert_eq!(key_of(&built.bytes), expected);
        built.assert_checksums();
    }

    #[test]
    fn times_to_live_count_down_under_right_checksums(spec in spec()) {
        let mut built = spec.build();
        let before = key_of(&built.bytes).ip_ttl;
        let fate = rewrite(&mut built.bytes, built.spec.partial_at(), ttl::decrement_ip);
        if before < 2 {
            prop_assert_eq!(fate, Break(DropReason::InvalidTtl));
            prop_assert_eq!(key_of(&built.bytes).ip_ttl, before);
        } else {
            prop_assert_eq!(key_of(&built.bytes).ip_ttl, before - 1);
        }
        built.assert_checksums();
    }

    #[test]
    fn no_bytes_lead_out_of_bounds(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120),
        kind in prop::sample::select(vec![0u16, 0x0800, 0x86dd, 0x0806, 0x8847, 0x88e7, 0x8100]),
        pick in any::<prop::sample::Index>(), value: u128, partial: Option<u16>,
    ) {
        if bytes.len() >= 14 && kind != 0 {
            bytes[12..14].copy_from_slice(&kind.to_be_bytes());
        }
        let field = *pick.get(Field::ALL);
        let _ = rewrite(&mut bytes, partial, |frame| set_field(frame, field, value, u128::MAX));
        let _ = rewrite(&mut bytes, partial, ttl::decrement_ip);
        let _ = rewrite(&mut bytes, partial, ttl::decrement_mpls);
        let _ = rewrite(&mut bytes, partial, ttl::copy_in);
        let _ = rewrite(&mut bytes, partial, ttl::copy_out);
        let _ = tags::pop_vlan(&mut bytes);
        let _ = tags::pop_mpls(&mut bytes, 0x0800);
        let _ = tags::push_vlan(&mut bytes, 0x8100, Bits::default());
        let _ = tags::push_mpls(&mut bytes, 0x8847, 64);
        let _ = tags::push_pbb(&mut bytes, 0x88e7);
        let _ = tags::pop_pbb(&mut bytes);
    }
}

#[test]
fn a_udp_checksum_of_zero_stays() {
    let mut built = built(eth_type::IPV4, ip_proto::UDP);
    let at = built.l4 + 6;
    built.bytes[at..at + 2].fill(0);
    let fate = rewrite(&mut built.bytes, None, |frame| {
        set_field(frame, Field::Ipv4Dst, 0x0a00_0001, u128::MAX)?;
        set_field(frame, Field::UdpDst, 53, u128::MAX)
    });
    assert_eq!(fate, Continue(()));
    assert_eq!(built.bytes[at..at + 2], [0, 0]);
    assert_eq!(key_of(&built.bytes).tp_dst, 53);
}

#[test]
fn a_udp_checksum_that_comes_to_zero_is_sent_as_ones() {
    let mut built = built(eth_type::IPV4, ip_proto::UDP);
    // The destination port that makes the ones' complement sum all ones.
    let at = built.l4 + 6;
    let checksum = u16::from_be_bytes([built.bytes[at], built.bytes[at + 1]]);
    let port = u32::from(key_of(&built.bytes).tp_dst) + u32::from(checksum);
    let port = (port & 0xffff) + (port >> 16);
    let fate = rewrite(&mut built.bytes, None, |frame| {
        set_field(frame, Field::UdpDst, port.into(), u128::MAX)
    });
    assert_eq!(fate, Continue(()));
    assert_eq!(built.bytes[at..at + 2], [0xff, 0xff]);
}

#[test]
fn another_protocol_number_is_under_the_checksum_of_the_old_header() {
    for eth_type in [eth_type::IPV4, eth_type::IPV6] {
        for options in [false, true] {
            let mut spec = Spec::new(eth_type, ip_proto::TCP);
            spec.options = options;
            let mut built = spec.build();
            let change = |frame: &mut Frame| set_field(frame, Field::IpProto, 17, 0xff);
            assert_eq!(rewrite(&mut built.bytes, None, change), Continue(()));
            assert_eq!(key_of(&built.bytes).ip_proto, ip_proto::UDP);
            built.assert_checksums();
        }
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    for proto in [ip_proto::TCP, ip_proto::UDP, ip_proto::SCTP] {
        let mut built = built(eth_type::IPV4, proto);
        let last = built.l4 + built.spec.payload_at();
        built.bytes[last] ^= 0x40;
        let field = match proto {
            ip_proto::TCP => Field::TcpSrc,
            ip_proto::UDP => Field::UdpSrc,
            _ => Field::SctpSrc,
        };
        let change = |frame: &mut Frame| set_field(frame, field, 4711, u128::MAX);
        assert_eq!(rewrite(&mut built.bytes, None, change), Continue(()));
        built.bytes[last] ^= 0x40;
        built.assert_checksums();
    }
}

#[test]
fn icmp_types_and_codes_are_under_the_checksum() {
    let kinds = [
        (
            eth_type::IPV4,
            ip_proto::ICMP,
            Field::Icmpv4Type,
            Field::Icmpv4Code,
        ),
        (
            eth_type::IPV6,
            ip_proto::ICMPV6,
            Field::Icmpv6Type,
            Field::Icmpv6Code,
        ),
    ];
    for (eth_type, proto, kind, code) in kinds {
        let mut built = built(eth_type, proto);
        let change = |frame: &mut Frame| {
            set_field(frame, kind, 3, u128::MAX)?;
            set_field(frame, code, 9, u128::MAX)
        };
        assert_eq!(rewrite(&mut built.bytes, None, change), Continue(()));
        assert_eq!(built.bytes[built.l4..built.l4 + 2], [3, 9]);
        built.assert_checksums();
    }
}

#[test]
fn routed_ipv6_keeps_the_transport_checksum() {
    let mut spec = Spec::new(eth_type::IPV6, ip_proto::UDP);
    spec.routed = true;
    let mut built = spec.build();
    let change = |frame: &mut Frame| set_field(frame, Field::Ipv6Dst, 7, u128::MAX);
    assert_eq!(rewrite(&mut built.bytes, None, change), Continue(()));
    assert_eq!(key_of(&built.bytes).ipv6_dst, [0, 7]);
    built.assert_checksums();
}

#[test]
fn fields_of_headers_that_are_not_there_change_nothing() {
    use Field::*;
    let mut built = built(eth_type::IPV4, ip_proto::UDP);
    let before = built.bytes.clone();
    for field in [
        TcpSrc,
        Ipv6Src,
        ArpOp,
        MplsLabel,
        VlanVid,
        PbbIsid,
        NdTarget,
        NdReserved,
        NdOptionsType,
    ] {
        let change = |frame: &mut Frame| set_field(frame, field, 1, u128::MAX);
        let fate = rewrite(&mut built.bytes, None, change);
        assert_eq!(fate, Continue(()), "{}", field.name());
    }
    for change in [ttl::decrement_mpls, ttl::copy_in, ttl::copy_out] {
        assert_eq!(rewrite(&mut built.bytes, None, change), Continue(()));
    }
    assert_eq!(built.bytes, before);
}

#[test]
fn headers_cut_short_are_left_alone() {
    let whole = built(eth_type::IPV4, ip_proto::TCP);
    for (length, field) in [(33, Field::Ipv4Src), (53, Field::TcpSrc)] {
        let mut cut = whole.bytes[..length].to_vec();
        // The length that IP tells is what is there, so that only the header in question lies.
        cut[16..18].copy_from_slice(&(length as u16 - 14).to_be_bytes());
        let before = cut.clone();
        let change = |frame: &mut Frame| set_field(frame, field, 1, u128::MAX);
        let fate = rewrite(&mut cut, None, change);
        assert_eq!((fate, cut), (Continue(()), before), "{}", field.name());
    }
    let mut cut = whole.bytes[..30].to_vec();
    let fate = rewrite(&mut cut, None, ttl::decrement_ip);
    assert_eq!((fate, &cut[..]), (Continue(()), &whole.bytes[..30]));
}

#[test]
fn arp_is_rewritten() {
    let mut bytes = [
        &[0xff; 6][..],
        &[2; 6],
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &[0; 20],
    ]
    .concat();
    let set = [
        (Field::ArpOp, 2u128),
        (Field::ArpSha, 0x0a0b_0c0d_0e0f),
        (Field::ArpSpa, 0x0a00_0001),
        (Field::ArpTha, 0x0102_0304_0506),
        (Field::ArpTpa, 0x0a00_0002),
    ];
    for (field, value) in set {
        let change = |frame: &mut Frame| set_field(frame, field, value, u128::MAX);
        assert_eq!(rewrite(&mut bytes, None, change), Continue(()));
    }
    let key = key_of(&bytes);
    for (field, value) in set {
        assert_eq!(field.read(&key), value, "{}", field.name());
    }
}

#[test]
fn vlan_tags_are_pushed_and_popped() {
    let plain = built(eth_type::IPV4, ip_proto::TCP).bytes;
    let mut bytes = [&[0; tags::VLAN_LEN], &plain[..]].concat();
    tags::push_vlan(&mut bytes, 0x8100, Bits::default()).unwrap();
    assert_eq!(key_of(&bytes).vlan_tci, VLAN_PRESENT);
    let change = |frame: &mut Frame| {
        set_field(frame, Field::VlanVid, 0x1123, u128::MAX)?;
        set_field(frame, Field::VlanPcp, 5, u128::MAX)
    };
    assert_eq!(rewrite(&mut bytes, None, change), Continue(()));
    assert_eq!(bytes[12..18], [0x81, 0, 0xa1, 0x23, 8, 0]);

    let mut twice = [&[0; tags::VLAN_LEN], &bytes[..]].concat();
    tags::push_vlan(&mut twice, 0x88a8, Bits::default()).unwrap();
    assert_eq!(
        twice[12..22],
        [0x88, 0xa8, 0xa1, 0x23, 0x81, 0, 0xa1, 0x23, 8, 0]
    );

    tags::pop_vlan(&mut twice).unwrap();
    assert_eq!(twice[tags::VLAN_LEN..], bytes);
    tags::pop_vlan(&mut bytes).unwrap();
    assert_eq!(bytes[tags::VLAN_LEN..], plain);
    assert_eq!(tags::pop_vlan(&mut bytes[tags::VLAN_LEN..]), None);
}

#[test]
fn mpls_entries_are_pushed_and_popped_after_the_vlan_tag() {
    let mut spec = Spec::new(eth_type::IPV4, ip_proto::TCP);
    spec.tags = vec![0x2005];
    let plain = spec.build().bytes;
    let mut bytes = [&[0; tags::MPLS_LEN], &plain[..]].concat();
    tags::push_mpls(&mut bytes, eth_type::MPLS, 61).unwrap();
    assert_eq!(bytes[12..22], [0x81, 0, 0x20, 5, 0x88, 0x47, 0, 0, 1, 61]);
    let change = |frame: &mut Frame| {
        set_field(frame, Field::MplsLabel, 0xabcde, u128::MAX)?;
        set_field(frame, Field::MplsTc, 5, u128::MAX)
    };
    assert_eq!(rewrite(&mut bytes, None, change), Continue(()));
    assert_eq!(bytes[18..22], [0xab, 0xcd, 0xeb, 61]);

    let mut twice = [&[0; tags::MPLS_LEN], &bytes[..]].concat();
    tags::push_mpls(&mut twice, eth_type::MPLS, 9).unwrap();
    assert_eq!(
        twice[16..26],
        [0x88, 0x47, 0xab, 0xcd, 0xea, 61, 0xab, 0xcd, 0xeb, 61]
    );

    tags::pop_mpls(&mut twice, eth_type::MPLS).unwrap();
    assert_eq!(twice[tags::MPLS_LEN..], bytes);
    tags::pop_mpls(&mut bytes, eth_type::IPV4).unwrap();
    assert_eq!(bytes[tags::MPLS_LEN..], plain);
    assert_eq!(
        tags::pop_mpls(&mut bytes[tags::MPLS_LEN..], eth_type::IPV4),
        None
    );
}

#[test]
fn times_to_live_go_in_and_out_of_mpls() {
    let plain = built(eth_type::IPV4, ip_proto::UDP);
    let mut bytes = [&[0; tags::MPLS_LEN], &plain.bytes[..]].concat();
    tags::push_mpls(&mut bytes, eth_type::MPLS, 200).unwrap();
    assert_eq!(rewrite(&mut bytes, None, ttl::decrement_mpls), Continue(()));
    assert_eq!(key_of(&bytes).mpls & 0xff, 199);
    assert_eq!(rewrite(&mut bytes, None, ttl::copy_in), Continue(()));
    tags::pop_mpls(&mut bytes, eth_type::IPV4).unwrap();
    let mut popped = Built {
        bytes: bytes[tags::MPLS_LEN..].to_vec(),
        ..plain
    };
    assert_eq!(key_of(&popped.bytes).ip_ttl, 199);
    popped.assert_checksums();

    assert_eq!(rewrite(&mut popped.bytes, None, ttl::copy_in), Continue(()));
    assert_eq!(key_of(&popped.bytes).ip_ttl, 199);
    let mut bytes = [&[0; tags::MPLS_LEN], &popped.bytes[..]].concat();
    tags::push_mpls(&mut bytes, eth_type::MPLS, 1).unwrap();
    let fate = rewrite(&mut bytes, None, ttl::decrement_mpls);
    assert_eq!(fate, Break(DropReason::InvalidTtl));
    assert_eq!(rewrite(&mut bytes, None, ttl::copy_out), Continue(()));
    assert_eq!(key_of(&bytes).mpls & 0xff, 199);
}

#[test]
fn a_service_tag_is_pushed_before_the_addresses() {
    let mut spec = Spec::new(eth_type::IPV4, ip_proto::UDP);
    spec.tags = vec![0x6005];
    let plain = spec.build().bytes;
    let mut bytes = [&[0; tags::PBB_LEN], &plain[..]].concat();
    tags::push_pbb(&mut bytes, eth_type::PBB).unwrap();
    assert_eq!(bytes[..12], plain[..12]);
    assert_eq!(bytes[12..18], [0x88, 0xe7, 0x60, 0, 0, 0]);
    assert_eq!(bytes[18..], plain);
    let change = |frame: &mut Frame| set_field(frame, Field::PbbIsid, 0x01ab_cdef, u128::MAX);
    assert_eq!(rewrite(&mut bytes, None, change), Continue(()));
    assert_eq!(bytes[14..18], [0x60, 0xab, 0xcd, 0xef]);
    tags::pop_pbb(&mut bytes).unwrap();
    assert_eq!(bytes[tags::PBB_LEN..], plain);
    assert_eq!(tags::pop_pbb(&mut plain.clone()), None);
}

#[test]
fn tags_of_the_backbone_stay_before_what_the_service_tag_carried() {
    let customer = Spec::new(eth_type::IPV4, ip_proto::UDP).build().bytes;
    for vlans in [
        &[0x88, 0xa8, 0x00, 0x07][..],
        &[0x88, 0xa8, 0, 7, 0x81, 0, 0x60, 9],
    ] {
        let service = [0x88, 0xe7, 0, 0, 0, 42];
        let mut bytes = [&[0xb0; 12], vlans, &service, &customer].concat();
        tags::pop_pbb(&mut bytes).unwrap();
        let expected = [&customer[..12], vlans, &customer[12..]].concat();
        assert_eq!(bytes[tags::PBB_LEN..], expected);
        let mut short = [&[0xb0; 12], vlans, &service, &customer[..13]].concat();
        assert_eq!(tags::pop_pbb(&mut short), None);
    }
}
