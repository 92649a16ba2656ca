//! TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792), ICMPv6 (RFC 4443).

use super::bytes::{header, u16_at};
use super::{Layout, nd};
use crate::{FlowKey, eth_type, ip_proto};

/// Reads the transport header at `at`. The length in a UDP header is left to the receiver: in a
/// first fragment it rightly tells of more than is there.
#[inline(always)]
pub(super) fn parse(packet: &[u8], at: usize, key: &mut FlowKey, layout: &mut Layout) {
    let whole = match key.ip_proto {
        ip_proto::TCP => tcp(packet, at, key),
        ip_proto::UDP => ports::<UDP_LEN>(packet, at, key),
        ip_proto::SCTP => ports::<SCTP_LEN>(packet, at, key),
        ip_proto::ICMP if key.eth_type == eth_type::IPV4 => icmp(packet, at, key),
        ip_proto::ICMPV6 if key.eth_type == eth_type::IPV6 => icmpv6(packet, at, key),
        _ => None,
    };
    if whole.is_some() {
        layout.l4 = at as u16;
    }
}

#[inline(always)]
fn tcp(packet: &[u8], at: usize, key: &mut FlowKey) -> Option<()> {
    let tcp = header::<TCP_LEN>(packet, at)?;
    let header_len = usize::from(tcp[12] >> 4) * 4;
    if header_len < TCP_LEN || at + header_len > packet.len() {
        return None;
    }
    key.tp_src = u16_at(tcp, 0);
    key.tp_dst = u16_at(tcp, 2);
    key.tcp_flags = u16_at(tcp, 12) & 0xfff;
    Some(())
}

#[inline(always)]
fn ports<const LEN: usize>(packet: &[u8], at: usize, key: &mut FlowKey) -> Option<()> {
    let transport = header::<LEN>(packet, at)?;
    key.tp_src = u16_at(transport, 0);
    key.tp_dst = u16_at(transport, 2);
    Some(())
}

fn icmp(packet: &[u8], at: usize, key: &mut FlowKey) -> Option<()> {
    let icmp = header::<ICMP_LEN>(packet, at)?;
    key.tp_src = icmp[0].into();
    key.tp_dst = icmp[1].into();
    Some(())
}

fn icmpv6(packet: &[u8], at: usize, key: &mut FlowKey) -> Option<()> {
    icmp(packet, at, key)?;
    nd::parse(packet, at, key);
    Some(())
}

const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;
const SCTP_LEN: usize = 12;
const ICMP_LEN: usize = 8;
