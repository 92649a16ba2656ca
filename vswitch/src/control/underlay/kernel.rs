//! The kernel's addresses, routes and neighbours (rtnetlink(7)).

use std::collections::HashMap;
use std::net::IpAddr;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteNextHopFlags,
    RouteType, RouteVia,
};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tracing::debug;

use crate::action::PortNo;
use crate::control::bridge::Task;
use crate::pipeline::{Hop, Host, Neighbour, Network, Route};

/// Events as they come.
type Events = futures_util::stream::BoxStream<'static, ()>;

/// A connection to the kernel.
pub struct Kernel {
    handle: Handle,
    events: Events,
    _connection: Task,
}

/// What the kernel says, devices by their index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// By index.
    devices: HashMap<u32, Device>,
    addresses: Vec<(u32, IpAddr)>,
    /// Each with the devices of its hops.
    routes: Vec<(Vec<u32>, Route)>,
    neighbours: Vec<(u32, IpAddr, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    name: String,
    /// Ethernet address.
    mac: u64,
    mtu: u32,
}

impl Kernel {
    /// A connection that hears of every change from now on.
    pub fn open() -> Result<Kernel, String> {
        let opened = new_multicast_connection(&GROUPS).map_err(|error| error.to_string());
        let (connection, handle, messages) = opened?;
        Ok(Kernel {
            handle,
            events: messages.map(|_| ()).boxed(),
            _connection: Task::spawn(connection),
        })
    }

    /// Waits for a change. Cancel safe.
    pub async fn changed(&mut self) -> Result<(), String> {
        let event = self.events.next().await;
        event.ok_or_else(|| "the kernel closed the connection".to_owned())
    }

    /// Forgets changes that were told already.
    pub fn forget_events(&mut self) {
        while let Some(Some(())) = self.events.next().now_or_never() {}
    }

    /// Reads everything.
    pub async fn read(&mut self) -> Result<Tables, String> {
        let read = self.try_read().await;
        read.map_err(|error| error.to_string())
    }

    async fn try_read(&mut self) -> Result<Tables, rtnetlink::Error> {
        let mut tables = Tables::default();
        let mut links = self.handle.link().get().execute().boxed();
        while let Some(link) = links.try_next().await? {
            tables.add_link(link.header.index, &link.attributes);
        }
        let mut addresses = self.handle.address().get().execute().boxed();
        while let Some(address) = addresses.try_next().await? {
            tables.add_address(address.header.index, &address.attributes);
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut wanted = RouteMessage::default();
            wanted.header.address_family = family;
            let mut routes = self.handle.route().get(wanted).execute().boxed();
            while let Some(route) = routes.try_next().await? {
                tables.add_route(&route);
            }
        }
        let mut neighbours = self.handle.neighbours().get().execute().boxed();
        while let Some(neighbour) = neighbours.try_next().await? {
            tables.add_neighbour(&neighbour);
        }
        tables.addresses.sort_unstable();
        tables.neighbours.sort_unstable();
        Ok(tables)
    }

    /// Tells the kernel that a neighbour is used: it asks for one that it does not know, and looks
    /// whether one that it knew long ago still answers.
    pub async fn use_neighbour(&mut self, tables: &Tables, device: &str, address: IpAddr) {
        let mut devices = tables.devices.iter();
        let Some((index, _)) = devices.find(|(_, it)| it.name == device) else {
            return;
        };
        let neighbours = self.handle.neighbours();
        let request = neighbours
            .add(*index, address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace();
        if let Err(error) = request.execute().await {
            debug!(device, %address, %error, "the kernel does not ask for a neighbour");
        }
    }
}

impl Tables {
    /// Whether there is a device of this name.
    pub fn has_device(&self, device: &str) -> bool {
        self.devices.values().any(|it| it.name == device)
    }

    /// What concerns these ports, by the names of their devices.
    pub fn of_ports(&self, ports: &HashMap<String, PortNo>) -> Network {
        let port = |index: &u32| {
            let device = self.devices.get(index)?;
            ports.get(&device.name).copied()
        };
        let mut hosts: Vec<Host> = Vec::new();
        for (index, address) in &self.addresses {
            let (Some(port), Some(device)) = (port(index), self.devices.get(index)) else {
                continue;
            };
            match hosts.iter_mut().find(|host| host.port == port) {
                Some(host) => host.addresses.push(*address),
                None => hosts.push(Host {
                    port,
                    mac: device.mac,
                    addresses: vec![*address],
                    mtu: device.mtu,
                }),
            }
        }
        let routes = self.routes.iter().map(|(indices, route)| {
            let mut route = route.clone();
            for (hop, index) in route.hops.iter_mut().zip(indices) {
                hop.port = port(index);
            }
            route
        });
        let neighbour = |&(ref index, address, mac): &(u32, IpAddr, u64)| {
            let port = port(index)?;
            Some(Neighbour { port, address, mac })
        };
        Network {
            hosts,
            routes: routes.collect(),
            neighbours: self.neighbours.iter().filter_map(neighbour).collect(),
            paths: Vec::new(),
        }
    }

    fn add_link(&mut self, index: u32, attributes: &[LinkAttribute]) {
        let (mut name, mut mac, mut mtu) = (None, 0, u32::MAX);
        for attribute in attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text.clone()),
                LinkAttribute::Address(bytes) => mac = mac_of(bytes).unwrap_or(0),
                LinkAttribute::Mtu(most) => mtu = *most,
                _ => {}
            }
        }
        if let Some(name) = name {
            self.devices.insert(index, Device { name, mac, mtu });
        }
    }

    fn add_address(&mut self, index: u32, attributes: &[AddressAttribute]) {
        let mut address = None;
        for attribute in attributes {
            match attribute {
                // Of a link between two, the other end is there as well.
                AddressAttribute::Local(own) => address = Some(*own),
                AddressAttribute::Address(own) => address = address.or(Some(*own)),
                _ => {}
            }
        }
        self.addresses
            .extend(address.map(|address| (index, address)));
    }

    /// Adds a route of the main table to other hosts, with all its next hops whose link is up.
    fn add_route(&mut self, message: &RouteMessage) {
        let header = &message.header;
        let mut route = Route {
            prefix: match header.address_family {
                AddressFamily::Inet => IpAddr::from([0; 4]),
                _ => IpAddr::from([0; 16]),
            },
            length: header.destination_prefix_length,
            metric: 0,
            source: None,
            mtu: None,
            hops: Vec::new(),
        };
        let (mut table, mut devices) = (u32::from(header.table), Vec::new());
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Destination(prefix) => {
                    route.prefix = ip_of(prefix).unwrap_or(route.prefix);
                }
                RouteAttribute::PrefSource(source) => route.source = ip_of(source),
                RouteAttribute::Priority(metric) => route.metric = *metric,
                RouteAttribute::Metrics(metrics) => {
                    let mtu = |metric: &RouteMetric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    };
                    route.mtu = metrics.iter().find_map(mtu);
                }
                RouteAttribute::MultiPath(hops) => {
                    for hop in hops.iter().filter(|hop| !hop.flags.intersects(GONE)) {
                        let (device, way) = hop_of(&hop.attributes);
                        devices.push(device.unwrap_or(hop.interface_index));
                        let weight = 1 + u16::from(hop.hops);
                        route.hops.push(Hop { weight, ..way });
                    }
                }
                _ => {}
            }
        }
        if route.hops.is_empty() {
            let (device, way) = hop_of(&message.attributes);
            // A prefix that the host does not reach has no device, and hides wider ones.
            let device = device.filter(|_| header.kind == RouteType::Unicast);
            devices.push(device.unwrap_or(0));
            route.hops.push(way);
        }
        let is_main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
        if is_main && !matches!(header.kind, RouteType::Multicast | RouteType::Broadcast) {
            self.routes.push((devices, route));
        }
    }

    fn add_neighbour(&mut self, message: &NeighbourMessage) {
        let is_known = matches!(
            message.header.state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
        );
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => {
                    address = Some(IpAddr::V4(*ip));
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => {
                    address = Some(IpAddr::V6(*ip));
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => mac = mac_of(bytes),
                _ => {}
            }
        }
        if let (true, Some(address), Some(mac)) = (is_known, address, mac) {
            self.neighbours.push((message.header.ifindex, address, mac));
        }
    }
}

/// The device and the gateway that a route leads to.
fn hop_of(attributes: &[RouteAttribute]) -> (Option<u32>, Hop) {
    let (mut device, mut gateway) = (None, None);
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip_of(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some((*address).into()),
            _ => {}
        }
    }
    let hop = Hop {
        port: None,
        gateway,
        weight: 1,
    };
    (device, hop)
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn mac_of(bytes: &[u8]) -> Option<u64> {
    let bytes: [u8; 6] = bytes.try_into().ok()?;
    Some(
        bytes
            .iter()
            .fold(0, |mac, byte| mac << 8 | u64::from(*byte)),
    )
}

/// Of a next hop that packets cannot be sent to.
const GONE: RouteNextHopFlags = RouteNextHopFlags::Dead.union(RouteNextHopFlags::Linkdown);
/// What there is to hear of.
const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Neigh,
];
