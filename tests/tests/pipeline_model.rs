//! The switch says what a naive model of OpenFlow says: made-up flows, groups, meters and packets
//! of all kinds, through translation, cache and execution, packet by packet and in batches.
//!
//! A million packets by default; `NAIVE_PACKETS` asks for another number, `NAIVE_SEED` for one
//! configuration only.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowtable::conntrack;
use openflow::{
    Band, FlowMod, FlowModCommand, FlowStatsRequest, GroupKind, MeterId, OfPort, TableId,
};
use pmd::{Batch, Eal, EalConfig, Packet, Pools, PoolsConfig};
use tests::naive::model::{
    Bridge, Counter, Flow, Group, Interpreter, Model, Outcome, Port, Vlan, advance,
};
use tests::naive::random::{
    Fields, PATCH, Random, Setup, Style, answer, change, flow, leads_ahead, matching, output,
    packet, setup,
};
use tests::naive::wire;
use vswitch::action::{BridgeId, DropReason, Learn, PortNo, PuntReason};
use vswitch::datapath::{Event, Events, Now, Outlet, PacketOut, Processor};
use vswitch::pipeline::{BridgeSpec, PortSpec, Switch, VlanMode};

#[test]
fn the_switch_agrees_with_the_naive_model() {
    let eal = Eal::start(EalConfig {
        memory_mib: 256,
        args: vec!["--no-huge".into()],
        ..EalConfig::default()
    });
    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 8192,
        large: 16,
    };
    let pools = Pools::new(&eal.unwrap(), &config).unwrap();
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let wanted = number("NAIVE_PACKETS").unwrap_or(1_000_000);
    let mut tally = Tally::default();
    match number("NAIVE_SEED") {
        Some(seed) => run(seed, &pools, &mut tally),
        None => {
            for seed in 0.. {
                run(seed, &pools, &mut tally);
                if tally.packets >= wanted {
                    break;
                }
            }
        }
    }
    println!("{tally:?}");
    assert_eq!(pools.in_use(), 0);
    if wanted >= 100_000 && number("NAIVE_SEED").is_none() {
        tally.check();
    }
}

/// What happened, to be sure that much did.
#[derive(Debug, Default)]
struct Tally {
    configurations: u64,
    packets: u64,
    sent: u64,
    punted: u64,
    learned: u64,
    /// Configurations whose counters were compared.
    counted: u64,
    skipped: u64,
    /// Packets whose program was in the cache.
    hits: u64,
    /// Entries of the cache that outlived a change of the flows.
    renewed: u64,
    /// Packets whose connections were tracked.
    tracked: u64,
    /// Configurations left early: what is known of connections depended on a choice that nobody
    /// saw.
    unsure: u64,
}

impl Tally {
    fn check(&self) {
        assert!(self.sent > self.packets / 4, "{self:?}");
        assert!(self.punted > self.packets / 1000, "{self:?}");
        assert!(self.learned > self.configurations, "{self:?}");
        assert!(self.counted > self.configurations / 2, "{self:?}");
        assert!(self.hits > self.packets / 2, "{self:?}");
        assert!(self.renewed > self.packets / 50, "{self:?}");
        assert!(self.skipped < self.packets / 1000, "{self:?}");
        assert!(self.tracked > self.packets / 50, "{self:?}");
        assert!(self.unsure < self.configurations / 20, "{self:?}");
    }
}

/// The switch and the model, set up alike.
struct Pair {
    seed: u64,
    switch: Switch,
    processor: Processor,
    events: Events,
    bridges: [BridgeId; 2],
    ports: Vec<PortNo>,
    model: Model,
    counted: BTreeMap<Counter, u64>,
    now: Now,
    pools: Pools,
    /// Copies so far that had no room for what was to be pushed.
    lost: u64,
    /// Whether it is unknown what counted some packet.
    vague: bool,
    /// Whether it is unknown which connections there are.
    unsure: bool,
    /// The cookie of the next flow that is added.
    next_cookie: u64,
}

/// Packets of one configuration, and how often each goes again in batches.
const PACKETS: usize = 100;
const BATCHES: usize = 20;
/// How often flows are changed and some of the packets come again.
const ROUNDS: usize = 8;

/// Time between packets: meters refill, and connections end that nobody uses for a while.
const STEP_NS: u64 = 23_000_000_000;

/// More connections than there are packets.
const CONNECTIONS: usize = 1 << 12;

/// Ways through select groups that are tried for one packet.
const CHOICES_MAX: usize = 1000;

fn run(seed: u64, pools: &Pools, tally: &mut Tally) {
    let mut random = Random(seed);
    let tight_meters = random.one_in(8);
    let setups = [
        setup(&mut random, style(seed, 0), tight_meters),
        setup(&mut random, style(seed, 1), tight_meters),
    ];
    let mut pair = Pair::new(seed, pools, &setups);
    tally.configurations += 1;
    pair.go(&mut random, tight_meters, tally);
    tally.unsure += u64::from(pair.unsure);
    pair.compare_counters(tally);
    let cache = pair.processor.statistics();
    tally.hits += cache.hits;
    tally.renewed += cache.renewed;
}

/// In every fourth configuration packets stay as they are: only then most of the cache outlives a
/// change of the flows. In three of eight connections are tracked.
fn style(seed: u64, bridge: usize) -> Style {
    Style {
        second: bridge == 1,
        plain: seed % 4 == 3,
        tracks: matches!(seed % 8, 1 | 2 | 5),
    }
}

trait PickPort {
    fn pick_port(&mut self) -> OfPort;
}

impl PickPort for Random {
    fn pick_port(&mut self) -> OfPort {
        self.pick(&[OfPort::CONTROLLER, OfPort::ANY, OfPort(1), OfPort(2)])
    }
}

impl Pair {
    fn new(seed: u64, pools: &Pools, setups: &[Setup; 2]) -> Pair {
        let mut switch = Switch::new();
        let mut model = Model::default();
        let mut ports = Vec::new();
        let bridges = ["br0", "br1"].map(|name| {
            let spec = BridgeSpec {
                name: name.into(),
                ..BridgeSpec::default()
            };
            switch.add_bridge(&spec).unwrap()
        });
        for (index, setup) in setups.iter().enumerate() {
            let bridge = set_up(&mut switch, bridges[index], index, setup);
            ports.extend(bridge.ports.iter().map(|port| PortNo(port.datapath)));
            model.bridges.push(bridge);
        }
        // Sometimes there is room for very few flows, so that most packets are new ones.
        let entries = if seed % 8 == 2 { 1 } else { 4096 };
        let (mut processor, events) = Processor::new(pools, entries, switch.publish()).unwrap();
        for port in &ports {
            processor.add_outlet(*port, Outlet::Capture(Vec::new()));
        }
        let connections = conntrack::Table::new(CONNECTIONS, seed, |_, _| ());
        processor.track_in(&Arc::new(connections.unwrap()), &Arc::default());
        model.connections.now_s = 1;
        Pair {
            seed,
            switch,
            processor,
            events,
            bridges,
            ports,
            model,
            counted: BTreeMap::new(),
            now: Now { ns: 1_000_000_000 },
            pools: pools.clone(),
            lost: 0,
            vague: false,
            unsure: false,
            next_cookie: 1000,
        }
    }

    /// Packets, one by one and many at once, and changes of the flows.
    fn go(&mut self, random: &mut Random, tight_meters: bool, tally: &mut Tally) {
        let mut packets = Vec::new();
        for _ in 0..PACKETS {
            let (bridge, port) = (random.below(2), 1 + random.below(4) as u32);
            let bytes = self.packet(random, &packets);
            self.receive(bridge, port, &bytes, tally);
            packets.push((bridge, port, bytes));
            if random.one_in(10) {
                // The cache makes room for wide masks here.
                self.processor.maintain(self.now);
                let style = style(self.seed, bridge);
                let list = [change(random, style), output(random, style)];
                self.packet_out(bridge, random.pick_port(), &list, tally);
            }
            if self.unsure {
                return;
            }
        }
        if !tight_meters {
            self.receive_batches(random, &packets, tally);
        }
        for _ in 0..ROUNDS {
            self.change_flows(random);
            for _ in 0..PACKETS / 4 {
                let (bridge, port, bytes) = &packets[random.below(packets.len())];
                self.receive(*bridge, *port, bytes, tally);
                if self.unsure {
                    return;
                }
            }
        }
    }

    /// A packet, perhaps what answers one of the last.
    fn packet(&self, random: &mut Random, before: &[(usize, u32, Vec<u8>)]) -> Vec<u8> {
        let last = &before[before.len().saturating_sub(3)..];
        match style(self.seed, 0).tracks && !last.is_empty() && random.one_in(2) {
            true => answer(&last[random.below(last.len())].2),
            false => packet(random),
        }
    }

    /// One packet, by itself.
    fn receive(&mut self, bridge: usize, in_port: u32, bytes: &[u8], tally: &mut Tally) {
        self.process(bridge, in_port, &[bytes]);
        let got = self.collect();
        let what = format!("bridge {bridge} port {in_port}");
        let play = |model: &mut Model, choices: &[usize]| {
            let mut interpreter = Interpreter::new(model, choices);
            let outcome = interpreter.receive(bridge, in_port, bytes);
            (outcome, interpreter.arities, interpreter.has_tracked)
        };
        self.compare(&what, bytes, got, play, tally);
    }

    fn packet_out(
        &mut self,
        bridge: usize,
        in_port: OfPort,
        actions: &[openflow::Action],
        tally: &mut Tally,
    ) {
        if self
            .switch
            .check_actions(self.bridges[bridge], actions)
            .is_err()
        {
            return;
        }
        let bytes = packet(&mut Random(self.seed));
        let out = PacketOut {
            bridge: self.bridges[bridge],
            in_port,
            actions: actions.into(),
            frame: bytes.clone(),
            resumed: None,
        };
        self.processor.inject(out, self.now);
        self.processor.flush();
        let got = self.collect();
        let what = format!("out of bridge {bridge} as from {in_port}: {actions:?}");
        let play = |model: &mut Model, choices: &[usize]| {
            let mut interpreter = Interpreter::new(model, choices);
            let outcome = interpreter.packet_out(bridge, in_port.0, actions, &bytes);
            (outcome, interpreter.arities, interpreter.has_tracked)
        };
        self.compare(&what, &bytes, got, play, tally);
    }

    /// Packets again, many at once, so that most are in the cache. Those that teach the bridge
    /// something are left out, and those that are tracked: they may overtake each other.
    fn receive_batches(
        &mut self,
        random: &mut Random,
        packets: &[(usize, u32, Vec<u8>)],
        tally: &mut Tally,
    ) {
        let mut known = Vec::new();
        for (bridge, in_port, bytes) in packets {
            let connections = self.model.connections.clone();
            let mut interpreter = Interpreter::new(&mut self.model, &[]);
            let outcome = interpreter.receive(*bridge, *in_port, bytes);
            let is_one = interpreter.arities.is_empty() && !interpreter.has_tracked;
            let settled = is_one && outcome.learned.is_empty();
            self.model.connections = connections;
            if settled && outcome.punted.is_empty() {
                known.push((*bridge, *in_port, bytes, outcome));
            }
        }
        for _ in 0..BATCHES {
            let (bridge, in_port) = (random.below(2), 1 + random.below(4) as u32);
            let here: Vec<_> = known
                .iter()
                .filter(|(b, p, ..)| (*b, *p) == (bridge, in_port))
                .collect();
            if here.is_empty() {
                continue;
            }
            let chosen: Vec<_> = (0..32).map(|_| here[random.below(here.len())]).collect();
            let frames: Vec<&[u8]> = chosen.iter().map(|(_, _, bytes, _)| &bytes[..]).collect();
            self.process(bridge, in_port, &frames);
            let got = self.collect();
            let mut expected: Vec<_> = chosen.iter().flat_map(|(.., o)| blanked(&o.sent)).collect();
            expected.sort();
            if !got.lost {
                assert_eq!(got.outcome.sent, expected, "seed {}: a batch", self.seed);
            }
            for (counter, count) in chosen.iter().flat_map(|(.., outcome)| &outcome.counted) {
                *self.counted.entry(*counter).or_default() += count;
            }
            tally.packets += 32;
            tally.sent += expected.len() as u64;
        }
    }

    /// Adds a flow, modifies one and deletes one, or some of that.
    fn change_flows(&mut self, random: &mut Random) {
        for index in 0..2 {
            let style = style(self.seed, index);
            if random.one_in(3) {
                let cookie = self.next_cookie;
                self.next_cookie += 1;
                let (mut flow, mut fields) = flow(random, cookie, style);
                if !random.one_in(4) {
                    self.move_near(index, random, &mut flow, &mut fields);
                }
                self.add_flow(index, flow, fields);
            }
            if random.one_in(3) {
                let (other, _) = flow(random, 0, style);
                self.change_flow(index, random, FlowModCommand::ModifyStrict, other);
            }
            if random.one_in(3) {
                let (other, _) = flow(random, 0, style);
                self.change_flow(index, random, FlowModCommand::DeleteStrict, other);
            }
        }
        self.processor.set_state(self.switch.publish());
        self.processor.maintain(self.now);
    }

    /// Has a new flow match nearly what an old one matches, so that most entries of the cache are
    /// as good as before.
    fn move_near(
        &self,
        index: usize,
        random: &mut Random,
        new: &mut FlowMod,
        new_fields: &mut Vec<Fields>,
    ) {
        let flows = &self.model.bridges[index].flows;
        if flows.is_empty() {
            return;
        }
        let old = &flows[random.below(flows.len())];
        let mut fields = old.fields.clone();
        let Some((_, value, mask)) = fields.last_mut() else {
            return;
        };
        *value ^= *mask & mask.wrapping_neg();
        new.table = TableId(old.table);
        new.priority = 1 + new.cookie as u16;
        new.matching = matching(&fields);
        *new_fields = fields;
    }

    fn add_flow(&mut self, index: usize, flow: FlowMod, fields: Vec<Fields>) {
        let id = self.bridges[index];
        if !leads_ahead(flow.table.0, &flow.instructions)
            || self.switch.flow_mod(id, &flow, self.now.ms()).is_err()
        {
            return;
        }
        let new = Flow {
            table: flow.table.0,
            priority: flow.priority,
            cookie: flow.cookie,
            fields,
            instructions: flow.instructions,
        };
        let flows = &mut self.model.bridges[index].flows;
        let alike = |old: &Flow| (old.table, old.priority) == (new.table, new.priority);
        if let Some(place) = flows.iter().position(alike) {
            // It goes on with the counters of the one whose place it takes.
            let old = Counter::Flow(index, flows.remove(place).cookie);
            let count = self.counted.remove(&old).unwrap_or(0);
            self.counted.insert(Counter::Flow(index, new.cookie), count);
        }
        flows.push(new);
    }

    /// Deletes a flow, or gives it the instructions of another.
    fn change_flow(
        &mut self,
        index: usize,
        random: &mut Random,
        command: FlowModCommand,
        other: FlowMod,
    ) {
        let flows = &mut self.model.bridges[index].flows;
        if flows.is_empty() {
            return;
        }
        let place = random.below(flows.len());
        let flow = &mut flows[place];
        let change = FlowMod {
            command,
            table: TableId(flow.table),
            priority: flow.priority,
            matching: matching(&flow.fields),
            ..other
        };
        if !leads_ahead(flow.table, &change.instructions) {
            return;
        }
        let (id, now_ms) = (self.bridges[index], self.now.ms());
        if self.switch.flow_mod(id, &change, now_ms).is_err() {
            return;
        }
        match command {
            FlowModCommand::DeleteStrict => drop(flows.remove(place)),
            _ => flow.instructions = change.instructions,
        }
    }

    fn process(&mut self, bridge: usize, in_port: u32, frames: &[&[u8]]) {
        let ports = &self.model.bridges[bridge].ports;
        let port = ports.iter().find(|port| port.number == in_port).unwrap();
        let mut batch = Batch::new();
        for frame in frames {
            let packet = Packet::from_bytes(&self.pools, frame).unwrap();
            assert!(batch.push(packet).is_ok());
        }
        self.processor
            .process(PortNo(port.datapath), &mut batch, self.now);
        self.processor.flush();
    }

    /// What the switch made of it.
    fn collect(&mut self) -> Got {
        let mut outcome = Outcome::default();
        for port in &self.ports {
            let packets = self.processor.captured(*port);
            let bytes = packets
                .iter()
                .map(|packet| (port.0, packet.data().to_vec()));
            outcome.sent.extend(bytes);
        }
        let mut learns = Vec::new();
        while let Some(event) = self.events.try_receive() {
            match event {
                Event::Learn(learn) => learns.push(learn),
                Event::Wish(_) => {}
                Event::Delivery(delivery) => panic!("{delivery:?}: no bridge has endpoints"),
                Event::Resolve(_) => unreachable!("no tunnels here"),
                Event::Sampled(_) => unreachable!("no collectors here"),
                Event::PacketIn(packet_in) => {
                    let punt = &packet_in.punt;
                    let reason = match punt.reason {
                        PuntReason::NoMatch => 0,
                        PuntReason::Action => 1,
                        PuntReason::InvalidTtl => 2,
                    };
                    let bridge = self.index(punt.bridge);
                    let bytes = packet_in.packet.data().to_vec();
                    let punted = (bridge, reason, punt.table.0, punt.cookie, bytes);
                    outcome.punted.push(punted);
                }
            }
        }
        outcome.sent = blanked(&outcome.sent);
        outcome.sent.sort();
        blank_punted(&mut outcome);
        for learn in &learns {
            let port = self.switch.state().port(learn.port).unwrap();
            let learned = (
                self.index(learn.bridge),
                learn.vlan,
                learn.mac,
                port.of_port.0,
            );
            outcome.learned.insert(learned);
        }
        let lost_before = self.lost;
        self.lost = self.count_lost();
        let lost = self.lost > lost_before;
        Got {
            outcome,
            learns,
            lost,
        }
    }

    fn index(&self, bridge: BridgeId) -> usize {
        usize::from(bridge == self.bridges[1])
    }

    fn count_lost(&mut self) -> u64 {
        let mut origins: Vec<_> = self.ports.iter().copied().map(Some).collect();
        origins.push(None);
        let mut lost = 0;
        for origin in origins {
            lost += self.processor.drops(origin).of(DropReason::NoBuffer);
        }
        lost
    }

    /// Whether the switch did one of the things that the model may do.
    fn compare(
        &mut self,
        what: &str,
        bytes: &[u8],
        got: Got,
        play: impl Fn(&mut Model, &[usize]) -> (Outcome, Vec<usize>, bool),
        tally: &mut Tally,
    ) {
        tally.packets += 1;
        tally.sent += got.outcome.sent.len() as u64;
        tally.punted += got.outcome.punted.len() as u64;
        tally.learned += got.learns.len() as u64;
        tally.skipped += u64::from(got.lost);
        let mut has_tracked = false;
        let mut choices = Vec::new();
        let mut tried = Vec::new();
        let mut agreeing: Vec<(Model, BTreeMap<Counter, u64>)> = Vec::new();
        loop {
            let mut model = self.model.clone();
            let (mut outcome, arities, tracked) = play(&mut model, &choices);
            has_tracked |= tracked;
            let counted = std::mem::take(&mut outcome.counted);
            outcome.sent = blanked(&outcome.sent);
            outcome.sent.sort();
            blank_punted(&mut outcome);
            match outcome == got.outcome || got.lost {
                true => agreeing.push((model, counted)),
                false => tried.push(outcome),
            }
            choices.resize(arities.len(), 0);
            if !advance(&mut choices, &arities) || tried.len() + agreeing.len() > CHOICES_MAX {
                break;
            }
        }
        // Where choices cannot be told apart from outside, counters tell nothing.
        self.vague |= agreeing
            .iter()
            .any(|(_, counted)| *counted != agreeing[0].1);
        let mut models = agreeing.iter().map(|(model, _)| &model.connections);
        self.unsure |= models.any(|connections| *connections != agreeing[0].0.connections);
        tally.tracked += u64::from(has_tracked);
        match agreeing.into_iter().next() {
            None => self.complain(what, bytes, &got.outcome, &tried),
            Some((model, counted)) => {
                self.model = model;
                for (counter, count) in counted {
                    *self.counted.entry(counter).or_default() += count;
                }
            }
        }
        self.learn(got.learns);
    }

    fn complain(&self, what: &str, bytes: &[u8], got: &Outcome, tried: &[Outcome]) -> ! {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let show = |outcome: &Outcome| {
            let mut text = String::new();
            for (port, bytes) in &outcome.sent {
                text += &format!("  port {port} {}\n", hex(bytes));
            }
            for (bridge, reason, table, cookie, bytes) in &outcome.punted {
                text += &format!("  punt {bridge} {reason} {table} {cookie} {}\n", hex(bytes));
            }
            text + &format!("  learn {:x?}\n", outcome.learned)
        };
        let mut text = format!("seed {}: {what}\n  {}\n", self.seed, hex(bytes));
        for bridge in self.bridges {
            text += &format!("bridge {}\n", bridge.0);
            let request = FlowStatsRequest::default();
            for flow in self.switch.flows(bridge, &request) {
                text += &format!("  {:x} {flow}\n", flow.cookie);
            }
            for group in self
                .switch
                .group_desc(bridge, openflow::GroupId::ALL.asked())
            {
                text += &format!("  {group:?}\n");
            }
        }
        text += &format!("the switch:\n{}", show(got));
        for outcome in tried.iter().take(4) {
            text += &format!("the model:\n{}", show(outcome));
        }
        panic!("{text}");
    }

    /// Both learn what the switch told.
    fn learn(&mut self, learns: Vec<Learn>) {
        for learn in learns {
            self.switch.learn(learn, self.now.ms());
            let port = self.switch.state().port(learn.port).unwrap().of_port.0;
            let bridge = self.index(learn.bridge);
            let addresses = &mut self.model.bridges[bridge].addresses;
            addresses.insert((learn.vlan, learn.mac), port);
        }
        self.processor.set_state(self.switch.publish());
        self.now.ns += STEP_NS;
        self.model.connections.now_s = self.now.ns / 1_000_000_000;
        for bridge in &mut self.model.bridges {
            bridge.refill_meters();
        }
    }

    fn compare_counters(&mut self, tally: &mut Tally) {
        if self.lost > 0 || self.vague || self.unsure {
            return;
        }
        tally.counted += 1;
        self.processor.flush_counters();
        for (index, bridge) in self.bridges.iter().enumerate() {
            let mut got: BTreeMap<Counter, u64> = BTreeMap::new();
            let request = FlowStatsRequest::default();
            for flow in self.switch.flows(*bridge, &request) {
                got.insert(Counter::Flow(index, flow.cookie), flow.counters.read().0);
            }
            let state = self.switch.state().bridge(*bridge).unwrap();
            for table in (0..4).filter_map(|id| state.table(TableId(id))) {
                got.insert(Counter::Matched(index, table.id.0), table.matched.read().0);
                got.insert(Counter::Missed(index, table.id.0), table.missed.read().0);
            }
            let groups = openflow::GroupId::ALL.asked();
            for group in self.switch.group_stats(*bridge, groups, 0) {
                got.insert(Counter::Group(index, group.group.0), group.packets);
                for (at, bucket) in group.buckets.iter().enumerate() {
                    got.insert(Counter::Bucket(index, group.group.0, at), bucket.packets);
                }
            }
            for meter in self.switch.meter_stats(*bridge, MeterId::ALL.asked(), 0) {
                got.insert(Counter::Meter(index, meter.meter.0), meter.packets);
            }
            for (counter, count) in got {
                let expected = self.counted.get(&counter).copied().unwrap_or(0);
                assert_eq!(count, expected, "seed {}: {counter:?}", self.seed);
            }
        }
    }
}

/// What the switch made of packets.
struct Got {
    outcome: Outcome,
    learns: Vec<Learn>,
    /// Some copy had no room for what was to be pushed.
    lost: bool,
}

fn blanked(sent: &[(u32, Vec<u8>)]) -> Vec<(u32, Vec<u8>)> {
    let list = sent.iter();
    list.map(|(port, bytes)| (*port, wire::without_fragment_checksum(bytes)))
        .collect()
}

fn blank_punted(outcome: &mut Outcome) {
    for (.., bytes) in &mut outcome.punted {
        *bytes = wire::without_fragment_checksum(bytes);
    }
    outcome.punted.sort();
}

/// Sets a bridge up in the switch; what the switch refuses the model does not get either.
fn set_up(switch: &mut Switch, id: BridgeId, index: usize, setup: &Setup) -> Bridge {
    let mut bridge = Bridge {
        wants_invalid_ttl: setup.wants_invalid_ttl,
        ..Bridge::default()
    };
    switch.set_wants_invalid_ttl(id, setup.wants_invalid_ttl);
    for (number, link, vlan) in &setup.ports {
        let port = add_port(switch, id, *number, vlan, None);
        switch.set_link(port, *link);
        bridge.ports.push(Port {
            number: *number,
            link: *link,
            vlan: vlan.clone(),
            peer: None,
            tunnel: None,
            datapath: port.0,
        });
    }
    let all = Vlan {
        untagged: 0,
        tag_native: false,
        trunk: true,
        trunks: Vec::new(),
    };
    let patch = add_port(switch, id, PATCH, &all, Some(1 - index));
    bridge.ports.push(Port {
        number: PATCH,
        link: true,
        vlan: all,
        peer: Some((1 - index, PATCH)),
        tunnel: None,
        datapath: patch.0,
    });
    for meter in &setup.meters {
        switch.meter_mod(id, meter, 0).unwrap();
        if let Band::Drop { burst, .. } = meter.bands[0] {
            bridge.meters.insert(meter.meter.0, (burst, burst));
        }
    }
    for group in &setup.groups {
        if switch.group_mod(id, group, 0).is_ok() {
            let (kind, buckets): (GroupKind, _) = (group.kind, group.buckets.clone());
            bridge.groups.insert(group.group.0, Group { kind, buckets });
        }
    }
    for (flow, fields) in &setup.flows {
        if switch.flow_mod(id, flow, 0).is_err() {
            continue;
        }
        bridge
            .flows
            .retain(|old| (old.table, old.priority) != (flow.table.0, flow.priority));
        bridge.flows.push(Flow {
            table: flow.table.0,
            priority: flow.priority,
            cookie: flow.cookie,
            fields: fields.clone(),
            instructions: flow.instructions.clone(),
        });
    }
    bridge
}

fn add_port(
    switch: &mut Switch,
    bridge: BridgeId,
    number: u32,
    vlan: &Vlan,
    peer: Option<usize>,
) -> PortNo {
    let trunks = vlan.trunks.clone().into_boxed_slice();
    let tag = vlan.untagged;
    let spec = PortSpec {
        name: match peer {
            Some(peer) => format!("patch{}", 1 - peer),
            None => format!("port{}-{number}", bridge.0),
        },
        of_port: Some(OfPort(number)),
        vlan: match (vlan.untagged, vlan.trunk) {
            (0, _) => VlanMode::Trunk(trunks),
            (tag, false) => VlanMode::Access(tag),
            _ if vlan.tag_native => VlanMode::NativeTagged { tag, trunks },
            _ => VlanMode::NativeUntagged { tag, trunks },
        },
        peer_name: peer.map(|peer| format!("patch{peer}")),
        tunnel: None,
    };
    switch.add_port(bridge, &spec).unwrap().0
}
