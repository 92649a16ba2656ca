//! One endpoint: what it does with each packet that comes to it.

use std::net::IpAddr;

use flowtable::{FlowKey, eth_type, ip_proto};

use super::arp::Arp;
use super::frame::{Received, Tag, ethernet};
use super::icmp::{self, Error};
use super::nd::{self, Neighbour};
use super::neighbours::Neighbours;
use super::settings::Settings;

/// The switch's own addresses behind one port.
#[derive(Clone, Debug)]
pub struct Endpoint {
    settings: Settings,
    neighbours: Neighbours,
}

/// How a packet came, before anything was done with it: of which kind its link header was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Ethernet destination, 48 bits.
    pub to: u64,
    /// Ethernet source, 48 bits.
    pub from: u64,
    /// The outer VLAN tag, if there was one.
    pub tag: Option<Tag>,
}

impl Link {
    /// That of a packet with this key.
    pub fn of(key: &FlowKey) -> Link {
        Link {
            to: key.eth_dst,
            from: key.eth_src,
            tag: Tag::of(key),
        }
    }
}

/// What comes of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The frame that answers it, if one does.
    pub answer: Option<Vec<u8>>,
    /// Whether a neighbour is known now that was not, or elsewhere.
    pub is_news: bool,
}

impl Endpoint {
    /// An endpoint that knows no neighbours.
    pub fn new(settings: Settings) -> Endpoint {
        Endpoint {
            settings,
            neighbours: Neighbours::default(),
        }
    }

    /// What it is.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a packet that was sent to its port.
    pub fn receive(&mut self, frame: &[u8], now_ms: u64) -> Outcome {
        let Some(received) = Received::parse(frame) else {
            return Outcome::default();
        };
        let key = &received.key;
        if key.eth_dst != self.settings.mac && key.eth_dst & GROUP == 0 {
            return Outcome::default();
        }
        if let Some(arp) = Arp::of(key) {
            return self.resolve_v4(&received, arp, now_ms);
        }
        if let Some(neighbour) = Neighbour::of(key) {
            return self.resolve_v6(&received, &neighbour, now_ms);
        }
        Outcome {
            answer: self.answer(&received),
            is_news: false,
        }
    }

    /// Answers a packet whose time to live ended in its bridge, as which it had come by `link`. The
    /// frame is as rules have made it.
    pub fn expire(&self, frame: &[u8], link: &Link) -> Option<Vec<u8>> {
        let received = Received::parse(frame)?;
        self.tell(&received, link, Error::TimeExceeded)
    }

    /// How much a packet whose time to live ended is its own: not at all, or because its sender is
    /// on its link, because it came to its Ethernet address, or both.
    pub fn claim(&self, frame: &[u8], link: &Link) -> u8 {
        let received = Received::parse(frame);
        let source = received.and_then(|received| Some(received.addresses()?.0));
        let Some(source) = source.filter(|source| self.settings.source_for(*source).is_some())
        else {
            return 0;
        };
        let is_near = self.settings.is_near(source);
        2 * u8::from(link.to == self.settings.mac) + u8::from(is_near)
    }

    /// The frame that asks for a neighbour, if it is to be asked now.
    pub fn resolve(&mut self, address: IpAddr, now_ms: u64) -> Option<Vec<u8>> {
        let is_asked = self.neighbours.want(address, now_ms);
        self.ask(address).filter(|_| is_asked)
    }

    /// The frames that ask for neighbours again, and whether one was forgotten.
    pub fn poll(&mut self, now_ms: u64) -> (Vec<Vec<u8>>, bool) {
        let (due, has_lost) = self.neighbours.due(now_ms);
        let frames = due.into_iter().filter_map(|address| self.ask(address));
        (frames.collect(), has_lost)
    }

    /// Neighbours that have answered, with their Ethernet addresses.
    pub fn neighbours(&self) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        self.neighbours.iter()
    }

    fn ask(&self, address: IpAddr) -> Option<Vec<u8>> {
        let mac = self.settings.mac;
        match (address, self.settings.source_for(address)?) {
            (IpAddr::V4(target), IpAddr::V4(sender)) => {
                let arp = Arp {
                    asks: true,
                    sender_mac: mac,
                    sender,
                    target_mac: 0,
                    target,
                };
                Some(arp.emit(BROADCAST, None))
            }
            (IpAddr::V6(target), IpAddr::V6(source)) => Some(nd::solicit(target, source, mac)),
            _ => None,
        }
    }

    fn resolve_v4(&mut self, received: &Received<'_>, arp: Arp, now_ms: u64) -> Outcome {
        let is_asked = arp.asks && self.settings.has(arp.target.into());
        let mac = self.settings.mac;
        Outcome {
            answer: is_asked.then(|| arp.answer(mac).emit(arp.sender_mac, received.tag())),
            is_news: self.hear(arp.sender.into(), arp.sender_mac, now_ms),
        }
    }

    fn resolve_v6(
        &mut self,
        received: &Received<'_>,
        neighbour: &Neighbour,
        now_ms: u64,
    ) -> Outcome {
        let mac = self.settings.mac;
        if !neighbour.solicits {
            return Outcome {
                answer: None,
                is_news: self.hear(neighbour.target.into(), neighbour.mac, now_ms),
            };
        }
        let is_asked = self.settings.has(neighbour.target.into());
        let advertise = || neighbour.advertise(mac, received.key.eth_src, received.tag());
        Outcome {
            answer: is_asked.then(advertise),
            is_news: self.hear(neighbour.source.into(), neighbour.mac, now_ms),
        }
    }

    /// A neighbour says its Ethernet address. That of a group, or its own, is none.
    fn hear(&mut self, address: IpAddr, mac: u64, now_ms: u64) -> bool {
        let is_one = mac != 0 && mac & GROUP == 0 && mac != self.settings.mac;
        is_one && self.neighbours.heard(address, mac, now_ms)
    }

    fn answer(&self, received: &Received<'_>) -> Option<Vec<u8>> {
        let (_, destination) = received.addresses()?;
        let link = Link::of(&received.key);
        if link.to & GROUP != 0 {
            return None;
        }
        if !self.settings.has(destination) {
            let error = match received.key.ip_ttl {
                0 | 1 => Error::TimeExceeded,
                _ if self.settings.is_near(destination) => Error::NoHost,
                _ => Error::NoRoute,
            };
            return self.tell(received, &link, error);
        }
        if let Some(reply) = icmp::echo_reply(received) {
            return Some(self.frame(&link, &reply));
        }
        match received.key.ip_proto {
            ip_proto::ICMP | ip_proto::ICMPV6 => None,
            ip_proto::UDP => self.tell(received, &link, Error::NoPort),
            _ => self.tell(received, &link, Error::NoProtocol),
        }
    }

    /// The frame that tells the sender of an error.
    fn tell(&self, received: &Received<'_>, link: &Link, error: Error) -> Option<Vec<u8>> {
        let (source, destination) = received.addresses()?;
        let is_broadcast = |address| {
            let mut links = self.settings.addresses.iter();
            links.any(|own| own.is_broadcast(address))
        };
        let is_group = link.from & GROUP != 0 || link.to & GROUP != 0;
        if is_group || is_broadcast(source) || is_broadcast(destination) {
            return None;
        }
        let own = match self.settings.has(destination) {
            true => destination,
            false => self.settings.source_for(source)?,
        };
        let packet = icmp::error(received, own, error)?;
        Some(self.frame(link, &packet))
    }

    /// A frame back to where a packet came from.
    fn frame(&self, link: &Link, packet: &[u8]) -> Vec<u8> {
        let kind = match packet.first().map(|first| first >> 4) {
            Some(4) => eth_type::IPV4,
            _ => eth_type::IPV6,
        };
        ethernet((link.from, self.settings.mac), link.tag, kind, packet)
    }
}

/// Bit of an Ethernet address that makes it a group's.
const GROUP: u64 = 1 << 40;
const BROADCAST: u64 = 0xffff_ffff_ffff;

#[cfg(test)]
mod tests;
