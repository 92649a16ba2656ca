//! Rules, told to the switch and to the naive model alike, and random changes of them.

use flowtable::Field;
use openflow::{
    Action, Band, FlowMod, FlowModCommand, FlowStatsRequest, GroupMod, GroupModCommand, MeterMod,
    MeterModCommand, Nicira, OfPort, TableId, text,
};
use perf::judge::scenario::Rules;
use tests::naive::connections::Connections;
use tests::naive::model::{Bridge as Naive, Counter, Flow, Group, Interpreter, Model, Port, Vlan};
use tests::naive::random::{self, Random, Style, matching};
use tests::naive::wire;
use vswitch::action::{BridgeId, Learn, PortNo};
use vswitch::pipeline::{BridgeSpec, FailMode, PortSpec, Switch, VlanMode};

/// A switch and a model with the same rules.
pub struct Told {
    /// The switch, of one bridge.
    pub switch: Switch,
    /// Its ports, in the order of their OpenFlow numbers from 1.
    pub ports: Vec<PortNo>,
    /// The same for the model.
    pub model: Model,
    /// Whether connections are tracked.
    pub tracks: bool,
    bridge: BridgeId,
    /// Flows that went and may come again.
    gone: Vec<Flow>,
    next_cookie: u64,
    random: Random,
}

impl Told {
    /// The rules of a scenario.
    pub fn of(rules: &Rules) -> Told {
        let mut told = Told::none(rules.flows.len() as u64);
        told.tracks = rules.flows.iter().any(|rule| rule.contains("ct("));
        for line in &rules.meters {
            told.add_meter(&text::meter::parse(line, MeterModCommand::Add).unwrap());
        }
        for line in &rules.groups {
            told.add_group(&text::group::parse(line, GroupModCommand::Add).unwrap());
        }
        for line in rules.flows.iter().flat_map(|rule| rule.lines()) {
            let change = text::flow::parse(line, FlowModCommand::Add).unwrap();
            let added = told.add(Flow {
                table: change.table.0,
                priority: change.priority,
                cookie: 0,
                fields: change.matching.fields().collect(),
                instructions: change.instructions,
            });
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
        };
        let setup = random::setup(&mut told.random, style, false);
        setup.groups.iter().for_each(|group| told.add_group(group));
        for (change, fields) in setup.flows {
            let flow = Flow {
                table: change.table.0,
                priority: change.priority,
                cookie: 0,
                fields,
                instructions: change.instructions,
            };
            if flow.instructions.meter.is_none() {
                told.remove_alike(&flow);
                told.add(flow);
            }
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
            model: Model::default(),
            tracks: false,
            bridge: bridge.unwrap(),
            gone: Vec::new(),
            next_cookie: 1,
            random: Random(seed),
        };
        told.model.bridges.push(Naive::default());
        (1..=PORTS).for_each(|number| told.add_port(number));
        told
    }

    fn add_port(&mut self, number: u32) {
        let spec = PortSpec {
            name: format!("p{number}"),
            of_port: Some(OfPort(number)),
            vlan: VlanMode::default(),
            peer_name: None,
            tunnel: None,
        };
        let (port, _) = self.switch.add_port(self.bridge, &spec).unwrap();
        self.switch.set_link(port, true);
        self.ports.push(port);
        self.model.bridges[0].ports.push(Port {
            number,
            link: true,
            vlan: Vlan {
                untagged: 0,
                tag_native: false,
                trunk: true,
                trunks: Vec::new(),
            },
            peer: None,
            datapath: port.0,
        });
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
        let outcome = Interpreter::new(&mut self.model, &[]).receive(0, 1, frame);
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
/// Priorities of flows that come before others; those of scenarios are lower.
const FIRST_OVERRIDING: u16 = 50_000;
const OVERRIDING: u16 = 10_000;
