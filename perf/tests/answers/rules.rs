//! Rules, told to the switch and to the naive model alike, and random changes of them.

use flowtable::Field;
use openflow::{
    Action, Band, FlowMod, FlowModCommand, FlowStatsRequest, GroupMod, GroupModCommand, MeterMod,
    MeterModCommand, Nicira, OfPort, TableId, text,
};
use perf::judge::scenario::Rules;
use perf::judge::tunnels::{self, Tunnels};
use tests::naive::connections::Connections;
use tests::naive::model::{
    Bridge as Naive, Counter, Flow, Group, Host, Interpreter, Model, Port, Vlan,
};
use tests::naive::random::{self, Random, Style, matching};
use tests::naive::tunnel::{Kind, Node};
use tests::naive::wire;
use vswitch::action::{BridgeId, Learn, PortNo};
use vswitch::pipeline::{
    self, BridgeSpec, FailMode, Hop, Key, Local, Neighbour, Network, PortSpec, Route, Switch,
    Tunnel, VlanMode,
};

/// A switch and a model with the same rules.
pub struct Told {
    /// The switch, of one bridge.
    pub switch: Switch,
    /// Its ports that send, in the order of their OpenFlow numbers from 1, and an underlay's.
    pub ports: Vec<PortNo>,
    /// Tunnel ports.
    pub tunnels: Vec<PortNo>,
    /// Where packets come in: as a rule, and now and then. Bridge of the model, OpenFlow number and
    /// number in the datapath.
    pub inlets: [(usize, u32, PortNo); 2],
    /// The same for the model.
    pub model: Model,
    /// Whether connections are tracked.
    pub tracks: bool,
    /// Whether packets of different conversations may become those of one.
    pub mixes: bool,
    bridge: BridgeId,
    /// Flows that went and may come again.
    gone: Vec<Flow>,
    next_cookie: u64,
    random: Random,
}

impl Told {
    /// The rules of a scenario, with its tunnels.
    pub fn of(rules: &Rules, tunnels: Option<Tunnels>) -> Told {
        let mut told = Told::none(rules.flows.len() as u64);
        if let Some(tunnels) = tunnels {
            told.add_tunnels(tunnels);
        }
        told.tracks = rules.flows.iter().any(|rule| rule.contains("ct("));
        for line in &rules.meters {
            told.add_meter(&text::meter::parse(line, MeterModCommand::Add).unwrap());
        }
        for line in &rules.groups {
            told.add_group(&text::group::parse(line, GroupModCommand::Add).unwrap());
        }
        for line in rules.flows.iter().flat_map(|rule| rule.lines()) {
            let change = text::flow::parse(line, FlowModCommand::Add).unwrap();
            let added = told.add(naive_flow(change));
            assert!(added, "{line}");
        }
        told.switch.publish();
        told
    }

    /// Rules of all kinds.
    pub fn random(seed: u64) -> Told {
        let mut told = Told::none(seed);
        let style = Style {
            second: false,
            plain: seed % 4 == 3,
            tracks: seed % 4 == 1,
        };
        (told.tracks, told.mixes) = (style.tracks, style.tracks);
        let setup = random::setup(&mut told.random, style, false);
        setup.meters.iter().for_each(|meter| told.add_meter(meter));
        setup.groups.iter().for_each(|group| told.add_group(group));
        for (change, fields) in setup.flows {
            let flow = Flow {
                table: change.table.0,
                priority: change.priority,
                cookie: 0,
                fields,
                instructions: change.instructions,
            };
            told.remove_alike(&flow);
            told.add(flow);
        }
        told.switch.publish();
        told
    }

    fn none(seed: u64) -> Told {
        let mut switch = Switch::new();
        let bridge = switch.add_bridge(&BridgeSpec {
            name: "br0".into(),
            fail_mode: FailMode::Secure,
            ..BridgeSpec::default()
        });
        let mut told = Told {
            switch,
            ports: Vec::new(),
            tunnels: Vec::new(),
            inlets: [(0, 1, PortNo(0)), (0, 3, PortNo(0))],
            model: Model::default(),
            tracks: false,
            mixes: false,
            bridge: bridge.unwrap(),
            gone: Vec::new(),
            next_cookie: 1,
            random: Random(seed),
        };
        told.model.bridges.push(Naive::default());
        for number in 1..=PORTS {
            let port = told.add_port((told.bridge, 0), number, None);
            told.ports.push(port);
        }
        told.inlets = [1, 3].map(|number| (0, number, told.ports[number as usize - 1]));
        told
    }

    fn add_port(
        &mut self,
        (bridge, place): (BridgeId, usize),
        number: u32,
        tunnel: Option<(Kind, Node)>,
    ) -> PortNo {
        let spec = PortSpec {
            name: format!("p{place}-{number}"),
            of_port: Some(OfPort(number)),
            vlan: VlanMode::default(),
            peer_name: None,
            tunnel: tunnel.map(|(kind, node)| ends(kind, node)),
        };
        let (port, _) = self.switch.add_port(bridge, &spec).unwrap();
        self.switch.set_link(port, true);
        self.model.bridges[place].ports.push(Port {
            number,
            link: true,
            vlan: Vlan {
                untagged: 0,
                tag_native: false,
                trunk: true,
                trunks: Vec::new(),
            },
            peer: None,
            tunnel,
            datapath: port.0,
        });
        port
    }

    /// A port for each node, and a bridge between the host and the nodes.
    fn add_tunnels(&mut self, tunnels: Tunnels) {
        let kind = match tunnels.kind {
            tunnels::Kind::Vxlan => Kind::Vxlan,
            tunnels::Kind::Geneve => Kind::Geneve,
        };
        let nodes = (0..tunnels::NODES).map(|node| Node {
            mac: tunnels::node_mac(node),
            address: tunnels::node_address(node).octets(),
        });
        let nodes: Vec<Node> = nodes.collect();
        for (number, node) in (0..).zip(&nodes) {
            let number = tunnels::node_port(number);
            let port = self.add_port((self.bridge, 0), number, Some((kind, *node)));
            self.tunnels.push(port);
        }
        let underlay = self.switch.add_bridge(&BridgeSpec {
            name: tunnels::BRIDGE.into(),
            fail_mode: FailMode::Secure,
            ..BridgeSpec::default()
        });
        let underlay = underlay.unwrap();
        self.model.bridges.push(Naive::default());
        let [host, uplink] = [HOST, UPLINK].map(|number| {
            let port = self.add_port((underlay, 1), number, None);
            self.ports.push(port);
            port
        });
        for (from, to) in [(HOST, UPLINK), (UPLINK, HOST)] {
            let line = format!("in_port={from},actions=output:{to}");
            let change = text::flow::parse(&line, FlowModCommand::Add).unwrap();
            self.switch.flow_mod(underlay, &change, 0).unwrap();
            self.model.bridges[1].flows.push(naive_flow(change));
        }
        let own = Node {
            mac: tunnels::own_mac(),
            address: tunnels::OWN_ADDRESS.octets(),
        };
        self.model.host = Some(Host {
            bridge: 1,
            port: HOST,
            node: own,
        });
        self.switch.set_network(network(host, own, &nodes));
        if tunnels.unwraps {
            self.inlets[0] = (1, UPLINK, uplink);
        }
    }

    /// A meter that is never exhausted here.
    fn add_meter(&mut self, meter: &MeterMod) {
        self.switch.meter_mod(self.bridge, meter, 0).unwrap();
        assert!(matches!(meter.bands[0], Band::Drop { .. }));
        let meters = &mut self.model.bridges[0].meters;
        meters.insert(meter.meter.0, (u32::MAX, u32::MAX));
    }

    fn add_group(&mut self, group: &GroupMod) {
        if self.switch.group_mod(self.bridge, group, 0).is_ok() {
            let (kind, buckets) = (group.kind, group.buckets.clone());
            let groups = &mut self.model.bridges[0].groups;
            groups.insert(group.group.0, Group { kind, buckets });
        }
    }

    /// Both know where the destination of a frame is, at port 2, and its source, at port 1.
    pub fn teach(&mut self, frame: &[u8]) {
        let vlan = wire::read(frame, Field::VlanVid).map_or(0, |vid| vid as u16 & 0xfff);
        let ends = [(Field::EthSrc, 1), (Field::EthDst, 2)];
        for (field, number) in ends {
            let mac = wire::value(frame, field) as u64;
            let addresses = &mut self.model.bridges[0].addresses;
            if mac >> 40 & 1 == 1 || addresses.contains_key(&(vlan, mac)) {
                continue;
            }
            addresses.insert((vlan, mac), number);
            let learn = Learn {
                bridge: self.bridge,
                vlan,
                mac,
                port: self.ports[number as usize - 1],
            };
            self.switch.learn(learn, 0);
        }
    }

    /// Deletes a flow, adds one or changes what one does.
    pub fn change(&mut self, frames: &[Vec<u8>]) {
        if self.flows().is_empty() {
            return;
        }
        let place = self.pick(frames);
        match self.random.below(4) {
            0 => self.delete(place),
            1 => self.modify(place),
            2 if !self.gone.is_empty() => {
                let again = self.random.below(self.gone.len());
                let flow = self.gone.swap_remove(again);
                self.remove_alike(&flow);
                self.add(flow);
            }
            _ => {
                let mut flow = self.flows()[place].clone();
                flow.priority = FIRST_OVERRIDING + self.next_cookie as u16 % OVERRIDING;
                flow.instructions = self.of_another(place).instructions;
                if is_clear(&flow) {
                    self.remove_alike(&flow);
                    self.add(flow);
                }
            }
        }
    }

    fn flows(&self) -> &[Flow] {
        &self.model.bridges[0].flows
    }

    /// The place of a flow, of one that some frame meets as a rule.
    fn pick(&mut self, frames: &[Vec<u8>]) -> usize {
        let any = self.random.below(self.flows().len());
        if self.random.one_in(4) {
            return any;
        }
        let frame = &frames[self.random.below(frames.len())];
        let (bridge, port, _) = self.inlets[0];
        let outcome = Interpreter::new(&mut self.model, &[]).receive(bridge, port, frame);
        // Nobody has seen that packet.
        self.model.connections = Connections::default();
        let met: Vec<_> = outcome.counted.keys().filter_map(flow_cookie).collect();
        let Some(&cookie) = met.get(self.random.below(met.len().max(1))) else {
            return any;
        };
        let place = self.flows().iter().position(|flow| flow.cookie == cookie);
        place.unwrap_or(any)
    }

    /// Any flow of the same table.
    fn of_another(&mut self, place: usize) -> Flow {
        let table = self.flows()[place].table;
        let same = self.flows().iter().filter(|flow| flow.table == table);
        let count = same.count();
        let chosen = self.random.below(count);
        let mut same = self.flows().iter().filter(|flow| flow.table == table);
        same.nth(chosen).unwrap().clone()
    }

    fn delete(&mut self, place: usize) {
        let flow = self.model.bridges[0].flows.remove(place);
        self.tell(FlowModCommand::DeleteStrict, &flow);
        self.gone.push(flow);
    }

    fn modify(&mut self, place: usize) {
        let mut flow = self.flows()[place].clone();
        flow.instructions = self.of_another(place).instructions;
        if is_clear(&flow) && self.tell(FlowModCommand::ModifyStrict, &flow) {
            self.model.bridges[0].flows[place] = flow;
        }
    }

    /// Deletes the flow of the same table, priority and match, so that another counts from 0.
    fn remove_alike(&mut self, new: &Flow) {
        let alike = |flow: &Flow| {
            (flow.table, flow.priority) == (new.table, new.priority)
                && matching(&flow.fields) == matching(&new.fields)
        };
        if let Some(place) = self.flows().iter().position(alike) {
            self.delete(place);
        }
    }

    /// Adds a flow with a cookie of its own, unless the switch refuses it.
    fn add(&mut self, mut flow: Flow) -> bool {
        flow.cookie = self.next_cookie;
        self.next_cookie += 1;
        let taken = self.tell(FlowModCommand::Add, &flow);
        if taken {
            self.model.bridges[0].flows.push(flow);
        }
        taken
    }

    fn tell(&mut self, command: FlowModCommand, flow: &Flow) -> bool {
        let change = FlowMod {
            command,
            table: TableId(flow.table),
            priority: flow.priority,
            cookie: match command {
                FlowModCommand::Add => flow.cookie,
                _ => 0,
            },
            matching: matching(&flow.fields),
            instructions: flow.instructions.clone(),
            ..text::flow::parse("actions=drop", FlowModCommand::Add).unwrap()
        };
        self.switch.flow_mod(self.bridge, &change, 0).is_ok()
    }

    /// Packets that each flow has counted, by cookie.
    pub fn counted(&self) -> Vec<(u64, u64)> {
        let all = FlowStatsRequest::default();
        let flows = self.switch.flows(self.bridge, &all);
        let counts = flows.map(|flow| (flow.cookie, flow.counters.read().0));
        counts.collect()
    }
}

/// A flow as the model has it.
fn naive_flow(change: FlowMod) -> Flow {
    Flow {
        table: change.table.0,
        priority: change.priority,
        cookie: 0,
        fields: change.matching.fields().collect(),
        instructions: change.instructions,
    }
}

/// A tunnel of a kind to a node; packets say in which network.
fn ends(kind: Kind, node: Node) -> Tunnel {
    let kind = match kind {
        Kind::Vxlan => flowtable::tunnel::Kind::Vxlan,
        Kind::Geneve => flowtable::tunnel::Kind::Geneve,
    };
    Tunnel {
        kind,
        remote: Some(node.address.into()),
        local: Local::Any,
        in_key: Key::Flow,
        out_key: Key::Flow,
        port: kind.port(),
        checksum: None,
        tos: Some(0),
        ttl: Some(64),
        dont_fragment: true,
        tells_too_big: false,
    }
}

/// All nodes are on the link of the host, and known.
fn network(port: PortNo, own: Node, nodes: &[Node]) -> Network {
    let number = |mac: [u8; 6]| mac.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let host = pipeline::Host {
        port,
        mac: number(own.mac),
        addresses: vec![own.address.into()],
        mtu: 1500,
    };
    let link = Route {
        prefix: own.address.into(),
        length: 24,
        metric: 0,
        source: None,
        mtu: None,
        hops: vec![Hop {
            port: Some(port),
            gateway: None,
            weight: 1,
        }],
    };
    let neighbours = nodes.iter().map(|node| Neighbour {
        port,
        address: node.address.into(),
        mac: number(node.mac),
    });
    Network {
        hosts: vec![host],
        routes: vec![link],
        neighbours: neighbours.collect(),
        paths: Vec::new(),
    }
}

/// Whether a flow translates only sources that it names. Others might want the port that one has,
/// and which they get is the switch's choice.
fn is_clear(flow: &Flow) -> bool {
    let apply = flow.instructions.apply.as_deref().unwrap_or_default();
    let mut actions = Action::all(apply);
    let translates =
        actions.any(|action| matches!(action, Action::Nicira(Nicira::Nat(nat)) if nat.is_new()));
    let mut fields = flow.fields.iter();
    !translates || fields.any(|(field, ..)| *field == Field::Ipv4Src)
}

/// The cookie of the flow that a counter is of.
pub fn flow_cookie(counter: &Counter) -> Option<u64> {
    match counter {
        Counter::Flow(_, cookie) => Some(*cookie),
        _ => None,
    }
}

/// Ports of the bridge.
const PORTS: u32 = 4;
/// Ports of the bridge of the underlay: the switch's own, and where nodes are.
const HOST: u32 = 100;
const UPLINK: u32 = 1;
/// Priorities of flows that come before others; those of scenarios are lower.
const FIRST_OVERRIDING: u16 = 50_000;
const OVERRIDING: u16 = 10_000;
