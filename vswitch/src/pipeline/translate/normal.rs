//! NORMAL: the learning bridge (IEEE 802.1Q §8, OpenFlow 1.3.5 §4.5), with access and trunk
//! ports.
//!
//! A packet belongs to the VLAN of its outer tag, or of the port where it has none; VLAN 0 is
//! that of untagged packets on trunks. It leaves tagged or not as the port that sends it wants.

use std::fmt;

use flowtable::{Field, FlowKey, VLAN_PRESENT};
use openflow::Action;

use super::super::{BridgePort, Trace, scope};
use super::strand::{List, Strand};
use super::{Machine, Step, way};
use crate::action::{DropReason, Learn, Op};

/// Addresses that bridges keep to themselves: spanning tree, pause, LACP, LLDP and their kin
/// (IEEE 802.1Q §8.6.3).
const RESERVED: std::ops::RangeInclusive<u64> = 0x0180_c200_0000..=0x0180_c200_000f;

/// Bit of an Ethernet address that makes it a group's.
const MULTICAST: u64 = 1 << 40;

/// Bits of a tag that are the VLAN id.
const VID: u16 = 0x0fff;

/// TPID of tags that NORMAL pushes.
const TPID: u16 = 0x8100;

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    pub(super) fn normal(&mut self, strand: &mut Strand<'a>) {
        self.trace.complicate();
        // What it makes of the tag, and where the sender is.
        self.trace.choose(way::tag(strand.key.vlan_tci));
        let Some(vlan) = admitted_vlan(strand) else {
            let name = strand.port.map_or("", |port| &port.name);
            let vid = vid(&strand.key);
            self.trace
                .note(format_args!("{name} does not carry VLAN {vid}"));
            return self.refuse(DropReason::Vlan);
        };
        if RESERVED.contains(&strand.key.eth_dst) {
            self.trace.choose(way::RESERVED_ADDRESS);
            self.trace
                .note(format_args!("the destination is a bridge's own"));
            return self.refuse(DropReason::Normal);
        }
        self.trace.choose(strand.key.eth_src);
        self.ask(scope::addresses(strand.bridge.id), u16::MAX);
        self.learn(strand, vlan);
        self.forward(strand, vlan);
    }

    /// Sees to it that the bridge knows where the sender is. Packets of the controller tell
    /// nothing.
    fn learn(&mut self, strand: &Strand<'a>, vlan: u16) {
        let (mac, Some(port)) = (strand.key.eth_src, strand.port) else {
            return;
        };
        if mac & MULTICAST != 0 {
            return;
        }
        match strand.bridge.macs.get(&(vlan, mac)) {
            Some(entry) if entry.port == port.number => self.heard.push(entry.heard.clone()),
            _ => {
                self.trace.note(format_args!(
                    "learn {} vlan {vlan} on {}",
                    Mac(mac),
                    port.name
                ));
                let (bridge, port) = (strand.bridge.id, port.number);
                self.emit(Op::Learn(Learn {
                    bridge,
                    vlan,
                    mac,
                    port,
                }));
            }
        }
    }

    fn forward(&mut self, strand: &Strand<'a>, vlan: u16) {
        let bridge = strand.bridge;
        let learned = bridge.macs.get(&(vlan, strand.key.eth_dst));
        let ingress = strand.port.map(|port| port.number);
        let learned = learned.and_then(|entry| self.state.port(entry.port));
        let number = learned.map(|port| port.number);
        self.trace.choose(way::port(number));
        match learned {
            Some(port) if Some(port.number) == ingress => {
                self.trace
                    .note(format_args!("the destination is behind {}", port.name));
                self.refuse(DropReason::Normal);
            }
            Some(port) if T::WANTS_PROGRAM || self.leads_on(port) => {
                self.send_tagged(strand, vlan, vec![port]);
            }
            // The way ends here.
            Some(_) => {}
            None => {
                self.trace.note(format_args!("flood vlan {vlan}"));
                let ports = bridge.ports().map(|port| &**port);
                let wanted = |port: &&BridgePort| {
                    let leads_on = T::WANTS_PROGRAM || self.leads_on(port);
                    port.flood && Some(port.number) != ingress && leads_on
                };
                let ports = ports.filter(wanted).collect();
                self.send_tagged(strand, vlan, ports);
            }
        }
    }

    /// By those of `ports` that carry the VLAN: as the packet is, or with a tag the less or more.
    fn send_tagged(&mut self, strand: &Strand<'a>, vlan: u16, ports: Vec<&'a BridgePort>) {
        let carrying = ports.into_iter().filter(|port| port.vlan.carries(vlan));
        let (tagged, untagged): (Vec<_>, Vec<_>) = carrying.partition(|port| port.vlan.tags(vlan));
        if tagged.is_empty() && untagged.is_empty() {
            self.trace
                .note(format_args!("no other port carries VLAN {vlan}"));
            return self.refuse(DropReason::Vlan);
        }
        let has_tag = strand.key.vlan_tci & VLAN_PRESENT != 0;
        let (alike, unlike) = match has_tag {
            true => (tagged, untagged),
            false => (untagged, tagged),
        };
        self.send_as(strand, vlan, alike, has_tag);
        self.send_as(strand, vlan, unlike, !has_tag);
    }

    fn send_as(&mut self, strand: &Strand<'a>, vlan: u16, ports: Vec<&'a BridgePort>, tag: bool) {
        if ports.is_empty() {
            return;
        }
        let tci = strand.key.vlan_tci;
        let vid = Action::SetField {
            field: Field::VlanVid,
            value: (VLAN_PRESENT | vlan).into(),
            mask: Field::VlanVid.ones(),
        };
        let change = match (tci & VLAN_PRESENT != 0, tag) {
            (true, true) if tci & VID == vlan => vec![],
            (true, true) => vec![vid],
            (false, true) => vec![Action::PushVlan(TPID), vid],
            (true, false) => vec![Action::PopVlan],
            (false, false) => vec![],
        };
        let mut copy = strand.copy(Step::Actions(List::Made(change.into()), 0));
        let body = self.collect(|machine| {
            machine.run(&mut copy);
            machine.send_all(&copy, ports.into_iter());
        });
        self.splice(body);
    }
}

/// The VLAN of a packet; `None` if its port does not carry that VLAN.
fn admitted_vlan(strand: &Strand<'_>) -> Option<u16> {
    let vid = vid(&strand.key);
    match strand.port {
        Some(port) => port.vlan.admit(vid),
        None => Some(vid),
    }
}

/// The VLAN id of the outer tag, 0 for none.
fn vid(key: &FlowKey) -> u16 {
    match key.vlan_tci {
        tci if tci & VLAN_PRESENT != 0 => tci & VID,
        _ => 0,
    }
}

/// An address as people write it.
struct Mac(u64);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, a, b, c, d, e, g] = self.0.to_be_bytes();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
