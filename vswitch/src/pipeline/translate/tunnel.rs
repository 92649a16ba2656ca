//! Output by a tunnel port: the packet is wrapped, and is another packet from then on, which the
//! host sends through one of the bridges it is on.
//!
//! That packet's headers follow from the port and the packet's metadata, but for a few that are
//! only known when it is wrapped; where rules look at those it is parsed again. So it goes through
//! the tables of the bridge, or through NORMAL, like any packet of the host's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flowtable::tunnel::{Header, Kind, Options, Template};
use flowtable::{Field, FlowKey, eth_type, ip_proto};

use super::super::tunnel::{Local, Tunnel};
use super::super::underlay::{NextHop, Unresolved};
use super::super::{BridgePort, Trace};
use super::Machine;
use super::strand::Strand;
use crate::action::{CountedIn, DropReason, Encapsulation, Op};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    /// By a tunnel port.
    pub(super) fn encapsulate(
        &mut self,
        strand: &Strand<'a>,
        port: &'a BridgePort,
        tunnel: &'a Tunnel,
    ) {
        // Where it goes may be in the packet's own metadata, and what happens there depends on
        // another packet's headers.
        self.scopes = None;
        self.trace.complicate();
        self.choose_by_metadata(&strand.key);
        let Some((destination, source)) = ends(tunnel, &strand.key) else {
            return self.refuse(DropReason::NoTunnelDestination);
        };
        let Some(hop) = self.state.underlay.next_hop(destination, source) else {
            return self.refuse(DropReason::NoRoute);
        };
        let Some(eth_dst) = hop.eth_dst else {
            let (port, address) = (hop.port, hop.neighbour);
            self.trace.note(format_args!("ask for {address}"));
            self.emit_with(|| Op::Resolve(Unresolved { port, address }));
            return self.refuse(DropReason::NoNeighbour);
        };
        let host = self.state.port(hop.port);
        let bridge = host.and_then(|host| self.state.bridge(host.bridge));
        let (Some(host), Some(bridge)) = (host, bridge) else {
            return self.refuse(DropReason::PortDown);
        };
        let options = match tunnel.kind {
            Kind::Geneve => strand.bridge.tlvs.encode(&strand.key),
            _ => Vec::new(),
        };
        if options.len() > Options::BYTES_MAX {
            return self.refuse(DropReason::TunnelOption);
        }
        let outer = Outgoing {
            tunnel,
            destination,
            hop,
            eth_dst,
            key: tunnel.out_key.of(strand.key.tunnel_id),
            is_told: tunnel.tells_too_big && !strand.is_wrapped,
            is_control: strand.key.tunnel_flags & FLAG_OAM != 0,
            options,
        };
        self.trace.enter(format_args!(
            "output to {}, in a tunnel from {} to {destination}, next hop {}, in by {}",
            port.name, outer.hop.source, outer.hop.neighbour, host.name
        ));
        self.count(strand, CountedIn::Shared(&port.crossed.tx));
        let mut copy = Strand::new(bridge, Some(&**host));
        copy.certain = strand.certain;
        copy.recirculations = strand.recirculations;
        copy.is_wrapped = true;
        outer.describe(&mut copy);
        copy.arrive(host);
        let body = self.collect(|machine| {
            machine.emit_with(|| Op::Encapsulate(outer.encapsulation().into()));
            machine.run(&mut copy);
        });
        self.splice(body);
        self.trace.leave();
    }

    /// Says that the packet's metadata decide.
    fn choose_by_metadata(&mut self, key: &FlowKey) {
        let addresses = u64::from(key.tunnel_src) << 32 | u64::from(key.tunnel_dst);
        let words = [key.tunnel_id, addresses, u64::from(key.tunnel_flags)];
        let ipv6 = key.tunnel_ipv6_src.iter().chain(&key.tunnel_ipv6_dst);
        for word in words.iter().chain(ipv6) {
            self.trace.choose(*word);
        }
        if key.tunnel_option_units != 0 {
            let options = key.tunnel_options.iter();
            for word in options.chain(&[key.tunnel_option_units]) {
                self.trace.choose(*word);
            }
        }
    }
}

/// Where a packet goes, and from where if that is said; none if nothing says where.
fn ends(tunnel: &Tunnel, key: &FlowKey) -> Option<(IpAddr, Option<IpAddr>)> {
    let destination = tunnel.remote.or_else(|| {
        let ipv4 = (key.tunnel_dst != 0).then(|| Ipv4Addr::from(key.tunnel_dst).into());
        ipv4.or_else(|| ipv6(key.tunnel_ipv6_dst))
    })?;
    let source = match tunnel.local {
        Local::Address(address) => Some(address),
        Local::Any => None,
        Local::Flow if destination.is_ipv4() => {
            (key.tunnel_src != 0).then(|| Ipv4Addr::from(key.tunnel_src).into())
        }
        Local::Flow => ipv6(key.tunnel_ipv6_src),
    };
    let source = source.filter(|source| source.is_ipv4() == destination.is_ipv4());
    Some((destination, source))
}

fn ipv6(words: [u64; 2]) -> Option<IpAddr> {
    let bits = u128::from(words[0]) << 64 | u128::from(words[1]);
    (bits != 0).then(|| Ipv6Addr::from_bits(bits).into())
}

/// A packet that is about to be wrapped.
struct Outgoing<'a> {
    tunnel: &'a Tunnel,
    destination: IpAddr,
    hop: NextHop,
    eth_dst: u64,
    key: Option<u64>,
    /// Whether who sent it is told if it is too big.
    is_told: bool,
    /// Whether it is a control packet of a Geneve tunnel.
    is_control: bool,
    /// Geneve options.
    options: Vec<u8>,
}

impl Outgoing<'_> {
    fn encapsulation(&self) -> Encapsulation {
        let tunnel = self.tunnel;
        let header = Header::new(&Template {
            kind: tunnel.kind,
            eth_dst: self.eth_dst,
            eth_src: self.hop.eth_src,
            source: self.hop.source,
            destination: self.destination,
            tos: self.tos(),
            ttl: self.ttl(),
            dont_fragment: tunnel.dont_fragment,
            port: tunnel.port,
            key: self.key.map(|key| key & tunnel.kind.key_max()),
            checksum: self.has_checksum(),
            is_control: self.is_control,
            options: &self.options,
        });
        let mut encapsulation = Encapsulation::new(header);
        encapsulation.inherits_tos = tunnel.tos.is_none();
        encapsulation.inherits_ttl = tunnel.ttl.is_none();
        encapsulation.frame_len_max = self.hop.mtu as usize + ETHERNET_HEADER;
        encapsulation.is_told = self.is_told;
        encapsulation
    }

    fn has_checksum(&self) -> bool {
        let asked = self.tunnel.kind != Kind::Gre && self.destination.is_ipv6();
        self.tunnel.checksum.unwrap_or(asked)
    }

    fn tos(&self) -> u8 {
        self.tunnel.tos.unwrap_or(0) & !ECN
    }

    fn ttl(&self) -> u8 {
        self.tunnel.ttl.unwrap_or(TTL_DEFAULT)
    }

    /// What the packet looks like once it is wrapped.
    fn describe(&self, strand: &mut Strand<'_>) {
        let is_udp = self.tunnel.kind != Kind::Gre;
        let key = &mut strand.key;
        key.eth_dst = self.eth_dst;
        key.eth_src = self.hop.eth_src;
        key.ip_proto = if is_udp { ip_proto::UDP } else { GRE };
        key.ip_tos = self.tos();
        key.ip_ttl = self.ttl();
        match (self.hop.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                key.eth_type = eth_type::IPV4;
                (key.ipv4_src, key.ipv4_dst) = (source.to_bits(), destination.to_bits());
            }
            (source, destination) => {
                key.eth_type = eth_type::IPV6;
                (key.ipv6_src, key.ipv6_dst) = (words(source), words(destination));
            }
        }
        if is_udp {
            key.tp_dst = self.tunnel.port;
            strand.forget(Field::UdpSrc);
        }
        strand.forget(Field::IpEcn);
        if self.tunnel.tos.is_none() {
            strand.forget(Field::IpDscp);
        }
        if self.tunnel.ttl.is_none() {
            strand.forget(Field::IpTtl);
        }
    }
}

fn words(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

const GRE: u8 = 47;
/// Bytes before an IP packet on the way: the host's frames have no tag.
const ETHERNET_HEADER: usize = 14;
/// Bit of `tun_flags` for control packets of a tunnel (ovs-fields(7)).
const FLAG_OAM: u16 = 1;
/// The bits of a type of service that tell congestion (RFC 3168 §5).
const ECN: u8 = 3;
/// As Open vSwitch has it.
const TTL_DEFAULT: u8 = 64;
