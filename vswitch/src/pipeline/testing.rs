//! A switch set up and asked in text, for the tests of this module.
//!
//! A script is a list of lines:
//!
//! ```text
//! bridge br1                          what follows is about this bridge; it starts with br0
//! port p1 1 tag=10                    or trunks=10,20, native=10, native-tagged=10, peer=p9, down
//! flow priority=1,in_port=1,actions=output:2
//! group group_id=1,type=all,bucket=output:2
//! meter meter=1,pktps,bands=type=drop,rate=1
//! learn p1 vlan=10 aa:bb:cc:dd:ee:ff
//! packet p1 tcp,nw_dst=10.0.0.1       a packet comes in by p1
//! out output:NORMAL ; arp             a controller sends a packet with these actions
//! > p2,p3                             what becomes of it
//! grant                               control does what it asks for
//! wait 2000                           milliseconds go by
//! ```

use flowtable::{Field, FlowKey, KeyHash, Pair};
use openflow::text::{self, Ports};
use openflow::{FlowModCommand, GroupModCommand, MeterModCommand, OfPort};

use super::*;
use crate::action::{Account, BridgeId, Cache, Learn, Op, PortNo, Program, Routine, Tallies};

/// A switch, and the bridge that is spoken of.
pub struct Script {
    /// The switch.
    pub switch: Switch,
    /// The bridge.
    pub bridge: BridgeId,
    /// Recirculation points.
    pub points: Points,
    /// What was decided before.
    programs: Programs,
    cache: Cache,
    /// What the last packet met.
    pub last: Program,
    /// The last recirculation point.
    point: Option<u32>,
    now_ms: u64,
}

/// Runs a script; panics where something is not as it says.
pub fn run(script: &str) -> Script {
    let mut world = Script::new();
    world.run(script);
    world
}

impl Script {
    /// A switch with the bridge br0.
    pub fn new() -> Script {
        let mut switch = Switch::new();
        let bridge = add_bridge(&mut switch, "br0");
        Script {
            switch,
            bridge,
            points: Points::new(),
            programs: Programs::new(),
            cache: Cache::new(1024, 7),
            last: Program::default(),
            point: None,
            now_ms: 0,
        }
    }

    /// Goes on with more lines.
    pub fn run(&mut self, script: &str) {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "bridge" => self.bridge(rest),
                "port" => self.port(rest),
                "flow" => self.flow(rest, FlowModCommand::Add),
                "delete" => self.flow(rest, FlowModCommand::Delete),
                "group" => self.group(rest),
                "meter" => self.meter(rest),
                "learn" => self.learn(rest),
                "packet" => self.packet(rest),
                "again" => self.again(rest),
                "out" => self.packet_out(rest),
                "grant" => self.grant(),
                "wait" => self.wait(rest.parse().unwrap()),
                ">" => assert_eq!(self.answer(), rest, "after {line:?} in\n{script}"),
                _ => panic!("what is {line:?}?"),
            }
        }
    }

    /// A port's datapath number.
    pub fn number(&self, name: &str) -> PortNo {
        let mut ports = self.switch.state().ports.values();
        let port = ports.find(|port| port.name == name);
        port.unwrap_or_else(|| panic!("no port {name}")).number
    }

    /// What the last packet met, as text with the names of the ports.
    pub fn answer(&self) -> String {
        let state = self.switch.state();
        let name = |number: PortNo| match state.port(number) {
            Some(port) => port.name.clone(),
            None => number.0.to_string(),
        };
        crate::action::text::describe(&self.last, &name).replace("output:", "")
    }

    fn bridge(&mut self, name: &str) {
        let mut bridges = self.switch.state().bridges();
        let known = bridges
            .find(|bridge| bridge.name == name)
            .map(|bridge| bridge.id);
        drop(bridges);
        self.bridge = known.unwrap_or_else(|| add_bridge(&mut self.switch, name));
    }

    fn port(&mut self, line: &str) {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_string();
        let of_port = match words.next().unwrap() {
            "LOCAL" => OfPort::LOCAL,
            number => OfPort(number.parse().unwrap()),
        };
        let mut spec = PortSpec {
            name,
            of_port: Some(of_port),
            vlan: VlanMode::default(),
            peer_name: None,
            tunnel: None,
        };
        let mut up = true;
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let vlans = || value.split(',').map(|vlan| vlan.parse().unwrap()).collect();
            let tag = || value.parse().unwrap();
            let trunks = Box::default;
            match key {
                "tag" => spec.vlan = VlanMode::Access(tag()),
                "trunks" => spec.vlan = VlanMode::Trunk(vlans()),
                "native" => {
                    spec.vlan = VlanMode::NativeUntagged {
                        tag: tag(),
                        trunks: trunks(),
                    }
                }
                "native-tagged" => {
                    spec.vlan = VlanMode::NativeTagged {
                        tag: tag(),
                        trunks: trunks(),
                    };
                }
                "peer" => spec.peer_name = Some(value.into()),
                "down" => up = false,
                _ => panic!("what is {word:?}?"),
            }
        }
        let (number, _) = self.switch.add_port(self.bridge, &spec).unwrap();
        self.switch.set_link(number, up);
    }

    fn flow(&mut self, line: &str, command: FlowModCommand) {
        let change = text::flow::parse(line, command).unwrap_or_else(|e| panic!("{line}: {e}"));
        let done = self.switch.flow_mod(self.bridge, &change, self.now_ms);
        done.unwrap_or_else(|e| panic!("{line}: {e}"));
    }

    fn group(&mut self, line: &str) {
        let command = GroupModCommand::Add;
        let change = text::group::parse(line, command).unwrap_or_else(|e| panic!("{line}: {e}"));
        let done = self.switch.group_mod(self.bridge, &change, self.now_ms);
        done.unwrap_or_else(|e| panic!("{line}: {e}"));
    }

    fn meter(&mut self, line: &str) {
        let command = MeterModCommand::Add;
        let change = text::meter::parse(line, command).unwrap_or_else(|e| panic!("{line}: {e}"));
        let done = self.switch.meter_mod(self.bridge, &change, self.now_ms);
        done.unwrap_or_else(|e| panic!("{line}: {e}"));
    }

    fn learn(&mut self, line: &str) {
        let [port, vlan, mac] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("learn PORT vlan=N MAC, not {line:?}");
        };
        let port = self.number(port);
        let learn = Learn {
            bridge: self.switch.state().port(port).unwrap().bridge,
            vlan: vlan.strip_prefix("vlan=").unwrap().parse().unwrap(),
            mac: key(&format!("dl_src={mac}")).eth_src,
            port,
        };
        self.switch.learn(learn, self.now_ms);
    }

    fn packet(&mut self, line: &str) {
        let (port, headers) = line.split_once(' ').unwrap_or((line, ""));
        self.translate(Ingress::Port(self.number(port)), headers);
    }

    /// The packet that was to be parsed again is, at the point where it went.
    fn again(&mut self, headers: &str) {
        let point = self.point.expect("a recirculation");
        self.translate(Ingress::Point(point), headers);
    }

    /// What the last packet asks for is done.
    fn grant(&mut self) {
        for op in &self.last.ops {
            if let Op::Wish(wish) = op {
                self.switch.grant(wish, self.now_ms);
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        while self.switch.expire(self.now_ms).1 {}
        while self.switch.forget_learned(self.now_ms).1 {}
    }

    fn packet_out(&mut self, line: &str) {
        let (actions, headers) = line.split_once(" ; ").unwrap_or((line, ""));
        let (in_port, actions) = actions.split_once(' ').unwrap();
        let flow = text::flow::parse(&format!("actions={actions}"), FlowModCommand::Add);
        let ingress = Ingress::PacketOut {
            bridge: self.bridge,
            in_port: Ports::default().parse(in_port).unwrap(),
            actions: flow.unwrap().instructions.apply.unwrap_or_default(),
        };
        self.translate(ingress, headers);
    }

    fn translate(&mut self, ingress: Ingress, headers: &str) {
        let state = self.switch.publish();
        let mut context = Context {
            state: &state,
            points: &mut self.points,
        };
        let key = key(headers);
        let cache = &mut self.cache;
        let mut known = Pair::default();
        let programs = &mut self.programs;
        let arrivals = [arrival(&key)];
        let mut books = Books {
            cache,
            tallies: &mut Tallies::default(),
        };
        programs.decide(&mut context, &ingress, arrivals, &mut books, |it| {
            known = it.pair
        });
        self.last = translate(&mut context, ingress.clone(), &key, &mut NoTrace);
        assert_eq!(kept_as_text(cache, known), as_text(&self.last));
        let program = &self.last;
        programs::assert_plain_line_agrees(&mut context, &ingress, &key, program);
        for op in &self.last.ops {
            if let crate::action::Op::Recirculate(point) = op {
                self.point = Some(*point);
            }
        }
    }
}

/// A packet of a flow that finds room in a cache.
pub fn arrival(key: &FlowKey) -> Arrival<'_> {
    Arrival {
        key,
        hash: KeyHash::default(),
        bytes: 60,
        is_stale: false,
    }
}

/// All that a program says.
pub fn as_text(program: &Program) -> String {
    sides_as_text(program, program)
}

/// The same of a program that is kept in a cache.
pub fn kept_as_text(cache: &Cache, pair: Pair) -> String {
    let (routine, account) = (cache.code(pair.code()), cache.account_of(pair));
    let (Routine(done), Account(counted)) = routine.zip(account).expect("it is kept");
    sides_as_text(done, counted)
}

fn sides_as_text(done: &Program, counted: &Program) -> String {
    let (counters, heard, scopes) = (&counted.counters, &counted.heard, counted.scopes);
    let (ops, drop, straight) = (&done.ops, done.drop, &done.straight);
    let behind = &counted.behind;
    format!("{ops:?} {drop:?} {straight:?} {counters:?} {behind:?} {heard:?} {scopes:?}")
}

/// A key with the fields that a match in text requires.
pub fn key(headers: &str) -> FlowKey {
    let matching = text::flow::parse_match(headers, &Ports::default());
    let mut key = matching.unwrap_or_else(|e| panic!("{headers}: {e}")).key();
    if key.eth_dst == 0 {
        Field::EthDst.write(&mut key, 0x0200_0000_0002, u128::MAX);
    }
    if key.eth_src == 0 {
        // A group's address, which bridges do not learn.
        Field::EthSrc.write(&mut key, 0x0300_0000_0001, u128::MAX);
    }
    key
}

fn add_bridge(switch: &mut Switch, name: &str) -> BridgeId {
    let spec = BridgeSpec {
        name: name.into(),
        ..BridgeSpec::default()
    };
    switch.add_bridge(&spec).unwrap()
}
