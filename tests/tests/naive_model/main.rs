//! The packet path, cached and uncached, agrees with a naive linear model over seeded random
//! rules, groups and packets. The model knows nothing of keys, caches or incremental checksums:
//! what leaves the switch must be, byte for byte, what a structured packet written anew is.
//!
//! `NAIVE_MODEL_PACKETS` asks for another number than a million, `NAIVE_MODEL_SEED` for another
//! start.

mod model;
mod packet;
mod random;

use std::sync::Arc;

use openflow::{FlowMod, FlowModCommand, OfPort};
use pmd::{Batch, Eal, EalConfig, Packet, Pools, PoolsConfig};
use vswitch::action::PortNo;
use vswitch::datapath::{Now, Outlet, Processor};
use vswitch::pipeline::{BridgeSpec, FailMode, PortSpec, Switch, VlanMode};

use model::{Model, Outputs};
use random::{PORTS, Random};

const PACKETS: u64 = 1_000_000;
const RULES: u16 = 60;
const PACKETS_PER_WORLD: u64 = 4_000;
const DIFFERENT_PACKETS: u64 = 300;
const CACHE_ENTRIES: usize = 4_096;

/// The switch, its model and what both were told.
struct World {
    switch: Switch,
    bridge: vswitch::action::BridgeId,
    ports: Vec<PortNo>,
    model: Model,
    priority: u16,
    refused: u64,
}

impl World {
    fn new(random: &mut Random) -> World {
        let mut switch = Switch::new();
        let spec = BridgeSpec {
            name: "br0".into(),
            fail_mode: FailMode::Secure,
            ..Default::default()
        };
        let bridge = switch.add_bridge(&spec).expect("the first bridge");
        let add = |number: &u32| {
            let spec = PortSpec {
                name: format!("p{number}"),
                of_port: Some(OfPort(*number)),
                vlan: VlanMode::default(),
                peer_name: None,
            };
            let (port, _) = switch.add_port(bridge, &spec).expect("four ports");
            switch.set_link(port, true);
            port
        };
        let ports = PORTS.iter().map(add).collect();
        let mut model = Model {
            ports: PORTS.to_vec(),
            ..Model::default()
        };
        for group in random::groups(random) {
            switch
                .group_mod(bridge, &group, 0)
                .expect("a group like others");
            model.groups.insert(group.group.0, group);
        }
        World {
            switch,
            bridge,
            ports,
            model,
            priority: 0,
            refused: 0,
        }
    }

    /// Adds a rule; one that the switch refuses is in neither.
    fn add(&mut self, random: &mut Random) {
        self.priority += 1;
        let rule = random::rule(random, self.priority);
        match self.switch.flow_mod(self.bridge, &rule, 0) {
            Ok(_) => self.model.rules.push(rule),
            Err(_) => self.refused += 1,
        }
    }

    fn remove(&mut self, random: &mut Random) {
        let index = random.below(self.model.rules.len() as u64) as usize;
        let mut rule = self.model.rules.remove(index);
        rule.command = FlowModCommand::DeleteStrict;
        self.switch
            .flow_mod(self.bridge, &rule, 0)
            .expect("deletes are never refused");
    }
}

/// What came of the comparison.
#[derive(Debug, Default)]
struct Tally {
    packets: u64,
    sent: u64,
    unspecified: u64,
    rules: u64,
    refused: u64,
}

#[test]
fn cached_and_uncached_agree_with_the_model() {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.map_or(default, |text| text.parse().expect("a number"))
    };
    let args = vec!["--no-huge".to_string()];
    let eal = Eal::start(EalConfig {
        memory_mib: 256,
        args,
        ..EalConfig::default()
    });
    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 4096,
        large: 32,
    };
    let pools = Pools::new(&eal.expect("DPDK starts"), &config).expect("256 MiB");
    let mut random = Random(number("NAIVE_MODEL_SEED", 0x5eed_0000_0001));
    let wanted = number("NAIVE_MODEL_PACKETS", PACKETS);
    let mut tally = Tally::default();
    while tally.packets < wanted {
        world(&pools, &mut random, &mut tally);
    }
    println!("{tally:?}");
    assert!(
        tally.sent > tally.packets / 4,
        "most packets must go somewhere: {tally:?}"
    );
    assert!(
        tally.unspecified < tally.packets / 4,
        "most must be specified: {tally:?}"
    );
    assert!(
        tally.refused < tally.rules / 4,
        "most rules must be accepted: {tally:?}"
    );
}

/// One set of rules, changed half way, and the packets that meet it.
fn world(pools: &Pools, random: &mut Random, tally: &mut Tally) {
    let mut world = World::new(random);
    for _ in 0..RULES {
        world.add(random);
    }
    let state = world.switch.publish();
    let mut cached = processor(pools, CACHE_ENTRIES, &world, Arc::clone(&state));
    let mut uncached = processor(pools, 0, &world, state);
    let packets: Vec<packet::Packet> = (0..DIFFERENT_PACKETS)
        .map(|_| random::packet(random))
        .collect();
    for round in 0..PACKETS_PER_WORLD {
        if round == PACKETS_PER_WORLD / 2 {
            for _ in 0..RULES / 4 {
                world.remove(random);
                world.add(random);
            }
            let state = world.switch.publish();
            cached.set_state(Arc::clone(&state));
            uncached.set_state(state);
        }
        let packet = &packets[random.below(DIFFERENT_PACKETS) as usize];
        let port = random.below(PORTS.len() as u64) as usize;
        tally.packets += 1;
        let Ok((expected, met)) = world.model.process(PORTS[port], packet) else {
            tally.unspecified += 1;
            continue;
        };
        tally.sent += u64::from(!expected.is_empty());
        for (name, processor) in [("cached", &mut cached), ("uncached", &mut uncached)] {
            let actual = run(processor, pools, &world, port, &packet.bytes());
            if actual != expected {
                explain(&world, &met, packet, &expected, &actual);
                panic!(
                    "port {}: the {name} answer differs from the model's",
                    PORTS[port]
                );
            }
        }
    }
    tally.rules += u64::from(world.priority);
    tally.refused += world.refused;
}

fn processor(
    pools: &Pools,
    entries: usize,
    world: &World,
    state: Arc<vswitch::pipeline::State>,
) -> Processor {
    let (mut processor, _) = Processor::new(pools, entries, state).expect("queues for events");
    for port in &world.ports {
        processor.add_outlet(*port, Outlet::Capture(Vec::new()));
    }
    processor
}

fn run(
    processor: &mut Processor,
    pools: &Pools,
    world: &World,
    port: usize,
    frame: &[u8],
) -> Outputs {
    let mut batch = Batch::new();
    batch.push(Packet::from_bytes(pools, frame).expect("a free buffer"));
    processor.process(world.ports[port], &mut batch, Now { ns: 0 });
    processor.flush();
    let mut outputs = Outputs::new();
    for (index, number) in world.ports.iter().enumerate() {
        let frames: Vec<Vec<u8>> = processor
            .captured(*number)
            .iter()
            .map(|packet| packet.data().to_vec())
            .collect();
        if !frames.is_empty() {
            outputs.insert(PORTS[index], frames);
        }
    }
    outputs
}

/// Prints what the packet met and what came of it.
fn explain(
    world: &World,
    met: &[&FlowMod],
    packet: &packet::Packet,
    expected: &Outputs,
    actual: &Outputs,
) {
    for rule in met {
        let fields: Vec<_> = rule.matching.fields().collect();
        println!(
            "table {} priority {}: {fields:x?}",
            rule.table, rule.priority
        );
        println!("    {:?}", rule.instructions);
    }
    for group in world.model.groups.values() {
        println!("{group:?}");
    }
    println!("{packet:x?}");
    for (name, outputs) in [("model", expected), ("switch", actual)] {
        for (port, frames) in outputs {
            for frame in frames {
                let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
                println!("{name} port {port}: {hex}");
            }
        }
    }
}
