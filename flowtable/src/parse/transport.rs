//! TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792), ICMPv6 (RFC 4443).

use super::bytes::u16_at;
use super::{Layout, nd};
use crate::{FlowKey, eth_type, ip_proto};

/// Reads the transport header that the payload of an IP datagram starts with. The length in a UDP
/// header is left to the receiver: in a first fragment it rightly tells of more than is there.
#[inline(always)]
pub(super) fn parse(payload: &[u8], key: &mut FlowKey, layout: &mut Layout) {
    let whole = match key.ip_proto {
        ip_proto::TCP => tcp(payload, key),
        ip_proto::UDP => ports::<UDP_LEN>(payload, key),
        ip_proto::SCTP => ports::<SCTP_LEN>(payload, key),
        ip_proto::ICMP if key.eth_type == eth_type::IPV4 => icmp(payload, key),
        ip_proto::ICMPV6 if key.eth_type == eth_type::IPV6 => icmpv6(payload, key),
        _ => None,
    };
    if whole.is_some() {
        layout.l4 = layout.end - payload.len() as u16;
    }
}

#[inline(always)]
fn tcp(payload: &[u8], key: &mut FlowKey) -> Option<()> {
    let tcp = payload.first_chunk::<TCP_LEN>()?;
    let header_len = usize::from(tcp[12] >> 4) * 4;
    if header_len < TCP_LEN || header_len > payload.len() {
        return None;
    }
    key.tp_src = u16_at(tcp, 0);
    key.tp_dst = u16_at(tcp, 2);
    key.tcp_flags = u16_at(tcp, 12) & 0xfff;
    Some(())
}

#[inline(always)]
fn ports<const LEN: usize>(payload: &[u8], key: &mut FlowKey) -> Option<()> {
    let transport = payload.first_chunk::<LEN>()?;
    key.tp_src = u16_at(transport, 0);
    key.tp_dst = u16_at(transport, 2);
    Some(())
}

fn icmp(payload: &[u8], key: &mut FlowKey) -> Option<()> {
    let icmp = payload.first_chunk::<ICMP_LEN>()?;
    key.tp_src = icmp[0].into();
    key.tp_dst = icmp[1].into();
    Some(())
}

fn icmpv6(payload: &[u8], key: &mut FlowKey) -> Option<()> {
    let (header, body) = payload.split_first_chunk::<ICMP_LEN>()?;
    icmp(payload, key)?;
    nd::parse(header, body, key);
    Some(())
}

const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;
const SCTP_LEN: usize = 12;
const ICMP_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(kind: u16, proto: u8, packet: &[u8]) -> (FlowKey, bool) {
        let mut key = FlowKey {
            eth_type: kind,
            ip_proto: proto,
            ..FlowKey::default()
        };
        let mut layout = Layout {
            end: 4 + packet.len() as u16,
            ..Layout::default()
        };
        parse(packet, &mut key, &mut layout);
        (key, layout.l4 == 4)
    }

    #[test]
    fn tcp() {
        let mut packet = [0; 24];
        packet[..4].copy_from_slice(&[0, 80, 0x1f, 0x90]);
        (packet[12], packet[13]) = (0x61, 0x12);
        let (key, whole) = parsed(0x0800, 6, &packet);
        assert_eq!((key.tp_src, key.tp_dst, key.tcp_flags), (80, 8080, 0x112));
        assert!(whole);
        let (key, whole) = parsed(0x0800, 6, &packet[..23]);
        assert_eq!((key.tp_src, key.tcp_flags, whole), (0, 0, false));
        packet[12] = 0x40;
        assert_eq!(parsed(0x86dd, 6, &packet).0.tp_dst, 0);
    }

    #[test]
    fn ports_need_a_whole_header() {
        for (proto, len) in [(17, 8), (132, 12), (6, 20)] {
            let mut packet = vec![1; len];
            if let Some(offset) = packet.get_mut(12) {
                *offset = 0x50;
            }
            let (key, whole) = parsed(0x0800, proto, &packet);
            assert_eq!((key.tp_src, key.tp_dst, whole), (0x101, 0x101, true));
            for len in 0..len {
                let (key, whole) = parsed(0x0800, proto, &packet[..len]);
                assert_eq!((key.tp_src, whole), (0, false));
            }
        }
    }

    #[test]
    fn icmp_belongs_to_its_version() {
        let echo = [8, 1, 0, 0, 0, 0, 0, 0];
        for (kind, proto, whole) in [
            (0x0800, 1, true),
            (0x86dd, 58, true),
            (0x86dd, 1, false),
            (0x0800, 58, false),
        ] {
            let (key, found) = parsed(kind, proto, &echo);
            assert_eq!(found, whole);
            assert_eq!(
                (key.tp_src, key.tp_dst),
                if whole { (8, 1) } else { (0, 0) }
            );
        }
        assert_eq!(parsed(0x0800, 1, &echo[..7]).0.tp_src, 0);
    }
}
