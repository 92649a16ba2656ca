//! OpenFlow 1.3 as its specification tells it, over packets as bytes: one packet at a time, one
//! flow after the other, everything done at once.
//!
//! Which bucket a select group takes is the switch's choice, so it is an input here: an
//! [`Interpreter`] is given choices and says how many there were ([`Interpreter::arities`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use flowtable::Field;
use openflow::{
    Action, Bucket, Ct, CtZone, GroupId, GroupKind, Instructions, Nicira, OfPort, Subfield, TableId,
};

use super::connections::{Connections, Said};
use super::tunnel::{self, Kind, Node};
use super::wire;

/// Bridges by number.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The bridges.
    pub bridges: Vec<Bridge>,
    /// Connections that are tracked.
    pub connections: Connections,
    /// Where tunnels begin, if there are any.
    pub host: Option<Host>,
}

/// The port of the switch's own address on the underlay of tunnels.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Its bridge.
    pub bridge: usize,
    /// Its OpenFlow number.
    pub port: u32,
    /// Its addresses.
    pub node: Node,
}

/// A bridge.
#[derive(Clone, Debug, Default)]
pub struct Bridge {
    /// Ports.
    pub ports: Vec<Port>,
    /// Flows, in no order. No two of a table that match the same packet have equal priority.
    pub flows: Vec<Flow>,
    /// Groups.
    pub groups: BTreeMap<u32, Group>,
    /// Meters: packets that each lets pass yet, and at first. Time stands still in between.
    pub meters: BTreeMap<u32, (u32, u32)>,
    /// Learned addresses with their VLAN: the OpenFlow port.
    pub addresses: BTreeMap<(u16, u64), u32>,
    /// Whether packets whose time to live ended go to the controller.
    pub wants_invalid_ttl: bool,
}

impl Bridge {
    /// Sets all meters to what they were at first.
    pub fn refill_meters(&mut self) {
        for (left, burst) in self.meters.values_mut() {
            *left = *burst;
        }
    }
}

/// A port.
#[derive(Clone, Debug)]
pub struct Port {
    /// OpenFlow number.
    pub number: u32,
    /// Up, as far as the carrier goes.
    pub link: bool,
    /// VLANs.
    pub vlan: Vlan,
    /// For a patch port: bridge and OpenFlow number of the other end.
    pub peer: Option<(usize, u32)>,
    /// For a tunnel: how, and to whom.
    pub tunnel: Option<(Kind, Node)>,
    /// Number in the datapath.
    pub datapath: u32,
}

/// How a port takes part in VLANs.
#[derive(Clone, Debug)]
pub struct Vlan {
    /// VLAN of untagged packets, if not 0.
    pub untagged: u16,
    /// Whether packets of that VLAN leave with a tag.
    pub tag_native: bool,
    /// Whether tagged packets come in and leave.
    pub trunk: bool,
    /// Their VLANs, empty for all.
    pub trunks: Vec<u16>,
}

/// A flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Table.
    pub table: u8,
    /// Priority.
    pub priority: u16,
    /// Cookie.
    pub cookie: u64,
    /// Fields with value and mask.
    pub fields: Vec<(Field, u128, u128)>,
    /// Instructions.
    pub instructions: Instructions,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Kind.
    pub kind: GroupKind,
    /// Buckets.
    pub buckets: Vec<Bucket>,
}

/// What became of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Datapath port and packet, sorted.
    pub sent: Vec<(u32, Vec<u8>)>,
    /// Bridge, reason, table, cookie and packet for the controller, sorted.
    pub punted: Vec<(usize, u8, u8, u64, Vec<u8>)>,
    /// Bridge, VLAN, address and OpenFlow port to be learned.
    pub learned: BTreeSet<(usize, u16, u64, u32)>,
    /// What counted the packet, how often.
    pub counted: BTreeMap<Counter, u64>,
}

/// Something that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// A flow of a bridge, by cookie.
    Flow(usize, u64),
    /// Matches of a table.
    Matched(usize, u8),
    /// Misses of a table.
    Missed(usize, u8),
    /// A group.
    Group(usize, u32),
    /// A bucket.
    Bucket(usize, u32, usize),
    /// A meter.
    Meter(usize, u32),
}

/// One packet, anywhere.
#[derive(Clone, Debug)]
struct Packet {
    bytes: Vec<u8>,
    bridge: usize,
    in_port: u32,
    metadata: u64,
    tunnel: u64,
    registers: [u32; 16],
    ct_state: u8,
    ct_zone: u16,
    /// What connection tracking said last.
    said: Option<Said>,
    table: u8,
    cookie: u64,
    miss: bool,
    ended: bool,
    /// The action set.
    set: Vec<Action>,
}

/// Runs one packet through a model.
pub struct Interpreter<'a> {
    model: &'a mut Model,
    outcome: Outcome,
    choices: Vec<usize>,
    /// Copies that go on in a table with what connection tracking said.
    later: VecDeque<(Packet, u8)>,
    /// Whether the packet was tracked: the same may be another's fate the next time.
    pub has_tracked: bool,
    /// How many buckets there were to choose from, choice by choice.
    pub arities: Vec<usize>,
}

impl<'a> Interpreter<'a> {
    /// With these choices; the first bucket where they end.
    pub fn new(model: &'a mut Model, choices: &[usize]) -> Interpreter<'a> {
        Interpreter {
            model,
            outcome: Outcome::default(),
            choices: choices.to_vec(),
            later: VecDeque::new(),
            has_tracked: false,
            arities: Vec::new(),
        }
    }

    /// A packet that comes in by a port.
    pub fn receive(&mut self, bridge: usize, in_port: u32, bytes: &[u8]) -> Outcome {
        let mut packet = new_packet(bridge, in_port, bytes.to_vec());
        self.pipeline(&mut packet, 0);
        self.finish()
    }

    /// A packet that a controller sends.
    pub fn packet_out(
        &mut self,
        bridge: usize,
        in_port: u32,
        actions: &[Action],
        bytes: &[u8],
    ) -> Outcome {
        let mut packet = new_packet(bridge, in_port, bytes.to_vec());
        self.apply(&mut packet, actions);
        self.finish()
    }

    fn finish(&mut self) -> Outcome {
        while let Some((mut packet, table)) = self.later.pop_front() {
            self.pipeline(&mut packet, table);
        }
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.sent.sort();
        outcome.punted.sort();
        outcome
    }

    fn count(&mut self, counter: Counter) {
        *self.outcome.counted.entry(counter).or_default() += 1;
    }

    fn pipeline(&mut self, packet: &mut Packet, first: u8) {
        if self.pass(packet, first) && !packet.ended {
            let list = in_order(&std::mem::take(&mut packet.set));
            packet.cookie = u64::MAX;
            self.apply(packet, &list);
        }
    }

    /// From table to table; `false` after one that has no flow for the packet.
    fn pass(&mut self, packet: &mut Packet, first: u8) -> bool {
        let mut next = Some(first);
        while let Some(table) = next {
            let Some(flow) = self.find(packet, table) else {
                self.count(Counter::Missed(packet.bridge, table));
                return false;
            };
            self.count(Counter::Matched(packet.bridge, table));
            self.count(Counter::Flow(packet.bridge, flow.cookie));
            packet.table = table;
            packet.cookie = flow.cookie;
            packet.miss = flow.priority == 0 && flow.fields.is_empty();
            next = self.follow(packet, &flow.instructions);
            if packet.ended {
                return true;
            }
        }
        true
    }

    fn find(&self, packet: &Packet, table: u8) -> Option<Flow> {
        // One look at each field: there may be thousands of flows.
        let mut values = [None; 256];
        let mut matches = |flow: &&Flow| {
            let mut fields = flow.fields.iter();
            fields.all(|(field, value, mask)| {
                let found = &mut values[*field as usize];
                *found.get_or_insert_with(|| read(packet, *field)) & mask == value & mask
            })
        };
        let flows = self.model.bridges[packet.bridge].flows.iter();
        let matching = flows.filter(|flow| flow.table == table && matches(flow));
        matching.max_by_key(|flow| flow.priority).cloned()
    }

    fn follow(&mut self, packet: &mut Packet, instructions: &Instructions) -> Option<u8> {
        if let Some(meter) = instructions.meter {
            self.meter(packet, meter.0);
        }
        if let Some(list) = instructions.apply.as_ref().filter(|_| !packet.ended) {
            self.apply(packet, list);
        }
        let set = &mut packet.set;
        if instructions.clear {
            set.clear();
        }
        for action in instructions.write.iter().flat_map(|list| list.iter()) {
            set.retain(|old| kind(old) != kind(action));
            set.push(action.clone());
        }
        if let Some((value, mask)) = instructions.metadata {
            packet.metadata = packet.metadata & !mask | value & mask;
        }
        instructions.goto.map(|table: TableId| table.0)
    }

    fn meter(&mut self, packet: &mut Packet, meter: u32) {
        self.count(Counter::Meter(packet.bridge, meter));
        if let Some((left, _)) = self.model.bridges[packet.bridge].meters.get_mut(&meter) {
            packet.ended = *left == 0;
            *left = left.saturating_sub(1);
        }
    }

    fn apply(&mut self, packet: &mut Packet, list: &[Action]) {
        for action in list {
            if packet.ended {
                return;
            }
            self.carry_out(packet, action);
        }
    }

    fn carry_out(&mut self, packet: &mut Packet, action: &Action) {
        let bytes = &mut packet.bytes;
        match *action {
            Action::Output { port, .. } => self.output(packet, port),
            Action::Group(group) => self.group(packet, group),
            Action::SetQueue(_) => {}
            Action::SetField { field, value, mask } => write(packet, field, value, mask),
            Action::SetMplsTtl(ttl) => wire::write(bytes, Field::MplsTtl, ttl.into()),
            Action::SetNwTtl(ttl) => wire::write(bytes, Field::IpTtl, ttl.into()),
            Action::PushVlan(tpid) => wire::push_vlan(bytes, tpid),
            Action::PopVlan => wire::pop_vlan(bytes),
            Action::PushMpls(kind) => wire::push_mpls(bytes, kind),
            Action::PopMpls(kind) => wire::pop_mpls(bytes, kind),
            Action::PushPbb(kind) => wire::push_pbb(bytes, kind),
            Action::PopPbb => wire::pop_pbb(bytes),
            Action::CopyTtlIn => wire::copy_ttl(bytes, true),
            Action::CopyTtlOut => wire::copy_ttl(bytes, false),
            Action::DecMplsTtl => self.decrement(packet, Field::MplsTtl),
            Action::DecNwTtl => self.decrement(packet, Field::IpTtl),
            Action::Nicira(ref action) => self.nicira(packet, action),
        }
    }

    fn nicira(&mut self, packet: &mut Packet, action: &Nicira) {
        match *action {
            Nicira::Load { dst, value } => write_bits(packet, dst, value.into()),
            Nicira::Move { src, dst } => {
                let value = read_bits(packet, src);
                write_bits(packet, dst, value);
            }
            Nicira::Resubmit {
                in_port: None,
                table,
                by_connection: false,
            } => self.resubmit(packet, table.map_or(packet.table, |table| table.0)),
            Nicira::Ct(ref ct) => self.track(packet, ct),
            ref other => panic!("the model has no {other:?}"),
        }
    }

    /// A copy goes on with what is found out; the packet itself as if it had not been tracked.
    fn track(&mut self, packet: &mut Packet, ct: &Ct) {
        assert!(!ct.forces && ct.alg == 0, "the model has no {ct:?}");
        self.has_tracked = true;
        let zone = match ct.zone {
            CtZone::Number(zone) => zone,
            CtZone::Field(source) => read_bits(packet, source) as u16,
        };
        let connections = &mut self.model.connections;
        let state = connections.track(&mut packet.bytes, (ct, zone), &mut packet.said);
        let Some(state) = state else {
            packet.ended = true;
            return;
        };
        (packet.ct_state, packet.ct_zone) = (state, zone);
        if let Some(table) = ct.table {
            self.later.push_back((packet.clone(), table.0));
        }
        (packet.ct_state, packet.ct_zone) = (0, 0);
    }

    /// What flows say from this table on, up to where it would end; then the packet is where it
    /// was.
    fn resubmit(&mut self, packet: &mut Packet, table: u8) {
        let place = (packet.table, packet.cookie, packet.miss);
        self.pass(packet, table);
        (packet.table, packet.cookie, packet.miss) = place;
    }

    fn decrement(&mut self, packet: &mut Packet, field: Field) {
        if !wire::decrement(&mut packet.bytes, field) {
            packet.ended = true;
            if self.model.bridges[packet.bridge].wants_invalid_ttl {
                self.punt(packet, 2);
            }
        }
    }

    fn output(&mut self, packet: &Packet, port: OfPort) {
        match port {
            OfPort::IN_PORT => self.send(packet, packet.in_port),
            OfPort::TABLE => self.pipeline(&mut packet.clone(), 0),
            OfPort::CONTROLLER => self.punt(packet, u8::from(!packet.miss)),
            OfPort::NORMAL => self.normal(packet),
            OfPort::FLOOD | OfPort::ALL => {
                for port in self.model.bridges[packet.bridge].ports.clone() {
                    if port.number != packet.in_port {
                        self.send(packet, port.number);
                    }
                }
            }
            OfPort(port) if port != packet.in_port => self.send(packet, port),
            _ => {}
        }
    }

    fn punt(&mut self, packet: &Packet, reason: u8) {
        let (table, cookie) = (packet.table, packet.cookie);
        let bytes = packet.bytes.clone();
        self.outcome
            .punted
            .push((packet.bridge, reason, table, cookie, bytes));
    }

    fn send(&mut self, packet: &Packet, number: u32) {
        let ports = &self.model.bridges[packet.bridge].ports;
        let Some(port) = ports.iter().find(|port| port.number == number) else {
            return;
        };
        match (port.peer, port.tunnel) {
            (Some((bridge, in_port)), _) => {
                let mut packet = new_packet(bridge, in_port, packet.bytes.clone());
                self.pipeline(&mut packet, 0);
            }
            (None, Some(ends)) => self.wrap(packet, ends),
            (None, None) if self.is_host(packet.bridge, number) => {
                let datapath = port.datapath;
                self.unwrap(packet, datapath);
            }
            (None, None) => {
                let sent = (port.datapath, packet.bytes.clone());
                self.outcome.sent.push(sent);
            }
        }
    }

    fn is_host(&self, bridge: usize, number: u32) -> bool {
        let host = self.model.host;
        host.is_some_and(|host| (host.bridge, host.port) == (bridge, number))
    }

    /// Into a tunnel: the wrapped packet is the host's.
    fn wrap(&mut self, packet: &Packet, (kind, to): (Kind, Node)) {
        let host = self.model.host.unwrap();
        let network = packet.tunnel as u32;
        let outer = tunnel::wrap(kind, host.node, to, network, &packet.bytes);
        self.pipeline(&mut new_packet(host.bridge, host.port, outer), 0);
    }

    /// To the host: out of a tunnel, if there is one that it came by.
    fn unwrap(&mut self, packet: &Packet, datapath: u32) {
        let host = self.model.host.unwrap();
        let found = tunnel::unwrap(&packet.bytes, host.node);
        let way = found.and_then(|(kind, source, network, inner)| {
            let came_by = |port: &Port| {
                let tunnel = port.tunnel;
                tunnel.is_some_and(|(own, node)| (own, node.address) == (kind, source))
            };
            let mut bridges = self.model.bridges.iter().enumerate();
            let ports = |(number, bridge): (usize, &Bridge)| {
                let port = bridge.ports.iter().find(|port| came_by(port));
                port.map(|port| (number, port.number))
            };
            bridges.find_map(ports).map(|to| (to, network, inner))
        });
        match way {
            Some(((bridge, in_port), network, inner)) => {
                let mut packet = new_packet(bridge, in_port, inner);
                packet.tunnel = network.into();
                self.pipeline(&mut packet, 0);
            }
            None => self.outcome.sent.push((datapath, packet.bytes.clone())),
        }
    }

    fn group(&mut self, packet: &Packet, id: GroupId) {
        let Some(group) = self.model.bridges[packet.bridge].groups.get(&id.0).cloned() else {
            return;
        };
        self.count(Counter::Group(packet.bridge, id.0));
        let live = |bucket: &Bucket| self.is_live(packet.bridge, bucket);
        let chosen: Vec<usize> = match group.kind {
            GroupKind::All | GroupKind::Indirect => (0..group.buckets.len()).collect(),
            GroupKind::FastFailover => group.buckets.iter().position(live).into_iter().collect(),
            GroupKind::Select => {
                let all = group.buckets.iter().enumerate();
                let usable = all.filter(|(_, bucket)| bucket.weight > 0 && live(bucket));
                let usable: Vec<_> = usable.map(|(index, _)| index).collect();
                self.choose(&usable).into_iter().collect()
            }
        };
        for index in chosen {
            self.count(Counter::Bucket(packet.bridge, id.0, index));
            let mut set: Vec<Action> = Vec::new();
            for action in group.buckets[index].actions.iter() {
                set.retain(|old| kind(old) != kind(action));
                set.push(action.clone());
            }
            let mut copy = packet.clone();
            copy.cookie = u64::MAX;
            self.apply(&mut copy, &in_order(&set));
        }
    }

    fn choose(&mut self, usable: &[usize]) -> Option<usize> {
        if usable.len() < 2 {
            return usable.first().copied();
        }
        let choice = self.choices.get(self.arities.len()).copied().unwrap_or(0);
        self.arities.push(usable.len());
        usable.get(choice).copied()
    }

    fn is_live(&self, bridge: usize, bucket: &Bucket) -> bool {
        let bridge_ref = &self.model.bridges[bridge];
        let watches_port = bucket.watch_port != OfPort::ANY;
        let watches_group = bucket.watch_group != GroupId::ANY;
        let port_live = || {
            let mut ports = bridge_ref.ports.iter();
            ports.any(|port| port.number == bucket.watch_port.0 && port.link)
        };
        let group_live = || {
            let group = bridge_ref.groups.get(&bucket.watch_group.0);
            group.is_some_and(|group| {
                group
                    .buckets
                    .iter()
                    .any(|bucket| self.is_live(bridge, bucket))
            })
        };
        !watches_port && !watches_group
            || watches_port && port_live()
            || watches_group && group_live()
    }

    /// The learning bridge.
    fn normal(&mut self, packet: &Packet) {
        let bridge = self.model.bridges[packet.bridge].clone();
        let tag = wire::read(&packet.bytes, Field::VlanVid).map(|vid| vid as u16 & 0xfff);
        let vid = tag.unwrap_or(0);
        let ingress = bridge
            .ports
            .iter()
            .find(|port| port.number == packet.in_port);
        let destination = wire::value(&packet.bytes, Field::EthDst) as u64;
        let vlan = match ingress {
            Some(port) if vid == 0 && port.vlan.untagged != 0 => Some(port.vlan.untagged),
            Some(port) => carries(&port.vlan, vid).then_some(vid),
            None => Some(vid),
        };
        let Some(vlan) = vlan.filter(|_| destination & !0xf != 0x0180_c200_0000) else {
            return;
        };
        let source = wire::value(&packet.bytes, Field::EthSrc) as u64;
        if let Some(port) = ingress.filter(|_| source >> 40 & 1 == 0)
            && bridge.addresses.get(&(vlan, source)) != Some(&port.number)
        {
            let learned = (packet.bridge, vlan, source, port.number);
            self.outcome.learned.insert(learned);
        }
        let known = bridge.addresses.get(&(vlan, destination));
        for port in &bridge.ports {
            let wanted = known.is_none_or(|known| port.number == *known);
            let native = vlan != 0 && port.vlan.untagged == vlan;
            let carried = native || carries(&port.vlan, vlan);
            if wanted && carried && port.number != packet.in_port {
                self.send_in_vlan(packet, port, vlan, tag);
            }
        }
    }

    fn send_in_vlan(&mut self, packet: &Packet, port: &Port, vlan: u16, tag: Option<u16>) {
        let native = port.vlan.untagged == vlan && !port.vlan.tag_native;
        let mut copy = packet.clone();
        match tag {
            Some(_) if native || vlan == 0 => wire::pop_vlan(&mut copy.bytes),
            None if native || vlan == 0 => {}
            Some(_) => wire::write(&mut copy.bytes, Field::VlanVid, vlan.into()),
            None => {
                wire::push_vlan(&mut copy.bytes, 0x8100);
                wire::write(&mut copy.bytes, Field::VlanVid, vlan.into());
            }
        }
        self.send(&copy, port.number);
    }
}

/// The next list of choices for an [`Interpreter`] that had so many to choose from each time;
/// `false` after the last.
pub fn advance(choices: &mut [usize], arities: &[usize]) -> bool {
    for (choice, arity) in choices.iter_mut().zip(arities).rev() {
        *choice += 1;
        if *choice < *arity {
            return true;
        }
        *choice = 0;
    }
    false
}

fn new_packet(bridge: usize, in_port: u32, bytes: Vec<u8>) -> Packet {
    Packet {
        bytes,
        bridge,
        in_port,
        metadata: 0,
        tunnel: 0,
        registers: [0; 16],
        ct_state: 0,
        ct_zone: 0,
        said: None,
        table: 0,
        cookie: u64::MAX,
        miss: false,
        ended: false,
        set: Vec::new(),
    }
}

/// Whether tagged packets of a VLAN pass; VLAN 0 stands for untagged ones of a port that has no
/// VLAN for them.
fn carries(vlan: &Vlan, vid: u16) -> bool {
    vlan.trunk && (vlan.trunks.is_empty() || vlan.trunks.contains(&vid))
        || vlan.trunk && vid != 0 && vid == vlan.untagged
}

/// What a match compares.
fn read(packet: &Packet, field: Field) -> u128 {
    match field {
        Field::InPort | Field::InPhyPort => packet.in_port.into(),
        Field::Metadata => packet.metadata.into(),
        Field::TunnelId => packet.tunnel.into(),
        Field::CtState => packet.ct_state.into(),
        Field::CtZone => packet.ct_zone.into(),
        field => match register(field) {
            Some(number) => packet.registers[number].into(),
            None => wire::value(&packet.bytes, field),
        },
    }
}

/// Sets the bits of `mask`.
fn write(packet: &mut Packet, field: Field, value: u128, mask: u128) {
    let new = read(packet, field) & !mask | value & mask;
    match field {
        Field::Metadata => packet.metadata = new as u64,
        Field::TunnelId => packet.tunnel = new as u64,
        field => match register(field) {
            Some(number) => packet.registers[number] = new as u32,
            None => wire::write(&mut packet.bytes, field, new),
        },
    }
}

fn read_bits(packet: &Packet, src: Subfield) -> u128 {
    read(packet, src.field) >> src.offset & src.ones()
}

fn write_bits(packet: &mut Packet, dst: Subfield, value: u128) {
    write(packet, dst.field, value << dst.offset, dst.mask());
}

/// The number of a register.
fn register(field: Field) -> Option<usize> {
    (Field::Reg0..=Field::Reg15)
        .contains(&field)
        .then(|| field as usize - Field::Reg0 as usize)
}

/// What there is one of in an action set.
fn kind(action: &Action) -> (u8, Option<Field>) {
    match action {
        Action::CopyTtlIn => (1, None),
        Action::PopVlan => (2, None),
        Action::PopMpls(_) => (3, None),
        Action::PopPbb => (4, None),
        Action::PushMpls(_) => (5, None),
        Action::PushPbb(_) => (6, None),
        Action::PushVlan(_) => (7, None),
        Action::CopyTtlOut => (8, None),
        Action::DecMplsTtl => (9, None),
        Action::DecNwTtl => (10, None),
        Action::SetField { field, .. } => (11, Some(*field)),
        Action::SetMplsTtl(_) => (12, None),
        Action::SetNwTtl(_) => (13, None),
        Action::SetQueue(_) => (14, None),
        Action::Group(_) => (15, None),
        Action::Output { .. } => (16, None),
        Action::Nicira(_) => (17, None),
    }
}

/// An action set in the order of the specification: time to live inwards, pops, pushes, time to
/// live outwards, decrements, sets, queue, then group or else output.
fn in_order(set: &[Action]) -> Vec<Action> {
    let stage = |action: &Action| match kind(action).0 {
        kind @ (1..=8 | 14..) => kind,
        9 | 10 => 9,
        _ => 11,
    };
    let mut list = set.to_vec();
    list.sort_by_key(stage);
    if list.iter().any(|action| matches!(action, Action::Group(_))) {
        list.retain(|action| !matches!(action, Action::Output { .. }));
    }
    list
}
