//! Workers with real ports: rings that give back what is sent to them, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openflow::OfPort;
use pmd::{Pools, Port, PortConfig, PortControl, PortKind};

use super::rewrite::testing::Spec;
use super::testing::{Bridge, pools};
use super::{Datapath, Event, Events, Queues, WorkersConfig, limits};
use crate::action::{DropReason, PortNo};

/// A running datapath with one bridge.
struct Switch {
    bridge: Bridge,
    pools: Pools,
    datapath: Datapath,
    events: Events,
    controls: Vec<(PortNo, PortControl)>,
    origin: Instant,
}

impl Switch {
    fn start(workers: usize, idle_sleep_us_max: u32) -> Switch {
        let mut bridge = Bridge::new(0);
        let pools = pools();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let config = WorkersConfig {
            cpus: (0..workers).map(|worker| worker % cpus).collect(),
            idle_sleep_us_max,
            cache_entries: 1024,
            connections: None,
            fragments: Arc::default(),
        };
        let origin = Instant::now();
        let state = bridge.switch.publish();
        let (datapath, events) = Datapath::start(&config, &pools, state, origin).unwrap();
        Switch {
            bridge,
            pools,
            datapath,
            events,
            controls: Vec::new(),
            origin,
        }
    }

    async fn publish(&mut self) {
        self.datapath.publish(self.bridge.switch.publish());
        self.datapath.barrier().await;
    }

    /// Adds a port of this number that gives back what is sent to it.
    async fn add_ring(&mut self, test: &str, number: u32) -> PortNo {
        self.add_rings(test, number, 1).await
    }

    /// The same with several queues.
    async fn add_rings(&mut self, test: &str, number: u32, queues: usize) -> PortNo {
        let options = [
            ("dpdk-devargs", format!("net_ring_{test}{number}")),
            ("n_rxq", queues.to_string()),
        ];
        self.add_port(PortKind::Dpdk, &options, number).await
    }

    /// Adds a port that swallows what is sent to it.
    async fn add_sink(&mut self, number: u32) -> PortNo {
        self.add_port(PortKind::Null, &[], number).await
    }

    async fn add_port(
        &mut self,
        kind: PortKind,
        options: &[(&str, String)],
        number: u32,
    ) -> PortNo {
        let options = options.iter();
        let config = PortConfig {
            name: format!("p{number}"),
            kind,
            options: options
                .map(|(name, value)| (name.to_string(), value.clone()))
                .collect(),
            mtu: 1500,
            tx_queues: self.datapath.workers(),
        };
        let Port {
            rx,
            mut tx,
            control,
        } = pmd::port::open(&config, &self.pools).unwrap();
        // A ring gives back by each receive queue what is sent by the transmit queue of its number.
        if kind == PortKind::Dpdk {
            tx.truncate(rx.len());
        }
        let port = self.bridge.add_port(number);
        self.controls.push((port, control));
        let queues = Queues { rx, tx };
        self.datapath.add_port(port, queues).await.unwrap();
        self.publish().await;
        port
    }

    async fn remove_port(&mut self, port: PortNo) -> Queues {
        self.bridge.switch.remove_port(port);
        self.publish().await;
        let queues = self.datapath.remove_port(port).await.unwrap();
        self.controls.retain(|(number, _)| *number != port);
        queues
    }

    fn send(&self, in_port: OfPort, actions: &str, seed: u64) {
        let mut spec = Spec::new(flowtable::eth_type::IPV4, flowtable::ip_proto::UDP);
        spec.seed = seed;
        let out = self
            .bridge
            .packet_out(in_port, actions, &spec.build().bytes);
        self.datapath.inject(out).unwrap();
    }

    fn transmitted(&self, port: PortNo) -> u64 {
        let control = self.controls.iter().find(|(number, _)| *number == port);
        control.unwrap().1.counters().tx.packets
    }

    /// Ends everything; nothing may be left.
    async fn stop(mut self) {
        let left = self.datapath.stop().await;
        assert_eq!(left.len(), self.controls.len());
        drop(left);
        self.controls.clear();
        while self.events.try_receive().is_some() {}
        assert_eq!(self.pools.in_use(), 0);
    }
}

/// Waits until something is so: a test that hangs here has failed.
async fn until(mut so: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came to it");
}

#[tokio::test]
async fn packets_go_from_port_to_port_and_are_counted() {
    let mut switch = Switch::start(1, 100);
    let there = switch.add_ring("pass", 1).await;
    let here = switch.add_sink(2).await;
    switch.bridge.flow("in_port=1,actions=output:2");
    switch.publish().await;
    for seed in 0..100 {
        switch.send(OfPort::CONTROLLER, "output:1", seed);
    }
    until(|| switch.transmitted(here) == 100).await;
    assert_eq!(switch.transmitted(there), 100);
    switch.datapath.flush_counters().await;
    assert_eq!(switch.bridge.counted(), (100, 100 * 62));
    let [statistics] = &switch.datapath.worker_statistics()[..] else {
        panic!("one worker");
    };
    assert_eq!(statistics.queues, [(there, 0, 100), (here, 0, 0)]);
    assert_eq!(statistics.hits + statistics.misses, 100);
    assert!(statistics.busy_cycles > 0 && statistics.idle_cycles > 0);
    assert!(statistics.sleeps > 0);
    switch.stop().await;
}

#[tokio::test]
async fn workers_that_may_not_sleep_do_not() {
    let mut switch = Switch::start(1, 0);
    switch.add_ring("awake", 1).await;
    until(|| switch.datapath.worker_statistics()[0].loops > 1000).await;
    assert_eq!(switch.datapath.worker_statistics()[0].sleeps, 0);
    switch.stop().await;
}

#[tokio::test]
async fn a_barrier_means_that_no_older_rule_is_used() {
    let mut switch = Switch::start(2, 100);
    let ring = switch.add_ring("barrier", 1).await;
    let sink = switch.add_sink(2).await;
    let other = switch.add_sink(3).await;
    for round in 0..50 {
        let (port, expected) = if round % 2 == 0 {
            (2, sink)
        } else {
            (3, other)
        };
        switch
            .bridge
            .flow(&format!("in_port=1,actions=output:{port}"));
        switch.publish().await;
        let before = switch.transmitted(expected);
        switch.send(OfPort::CONTROLLER, "output:1", round);
        until(|| switch.transmitted(expected) == before + 1).await;
    }
    assert_eq!(switch.transmitted(ring), 50);
    switch.stop().await;
}

#[tokio::test]
async fn a_worker_without_a_transmit_queue_hands_packets_over() {
    let mut switch = Switch::start(2, 100);
    let one = switch.add_ring("over", 1).await;
    let other = switch.add_ring("over", 2).await;
    let sink = switch.add_sink(3).await;
    let workers = switch.datapath.worker_statistics();
    let polls = |port| workers[1].queues.iter().any(|queue| queue.0 == port);
    assert!(polls(one) || polls(other), "{workers:?}");
    switch.bridge.flow("in_port=1,actions=output:2");
    switch.bridge.flow("in_port=2,actions=output:3");
    switch.publish().await;
    for seed in 0..200 {
        switch.send(OfPort::CONTROLLER, "output:1", seed);
    }
    until(|| switch.transmitted(sink) == 200).await;
    assert_eq!(
        (switch.transmitted(one), switch.transmitted(other)),
        (200, 200)
    );
    switch.stop().await;
}

#[tokio::test]
async fn every_worker_has_a_transmit_queue_where_there_are_enough() {
    let mut switch = Switch::start(2, 100);
    switch.add_rings("both", 1, 2).await;
    let sink = switch.add_sink(2).await;
    switch.bridge.flow("in_port=1,actions=output:2");
    switch.publish().await;
    for seed in 0..100 {
        switch.send(OfPort::CONTROLLER, "output:1", seed);
    }
    until(|| switch.transmitted(sink) == 100).await;
    // Packet-outs take turns among the workers, and each has its own queue.
    let queues = switch.controls[0].1.counters().tx_queues;
    let sent: Vec<u64> = queues.iter().map(|queue| queue.packets).collect();
    assert_eq!(sent, [50, 50]);
    switch.stop().await;
}

#[tokio::test]
async fn queues_are_spread_anew_when_ports_come_and_go() {
    let mut switch = Switch::start(2, 100);
    let polled = |switch: &Switch| {
        let workers = switch.datapath.worker_statistics();
        let queues = workers.iter().map(|worker| worker.queues.len());
        queues.collect::<Vec<_>>()
    };
    let mut ports = Vec::new();
    for number in 1..=4 {
        ports.push(switch.add_ring("spread", number).await);
    }
    assert_eq!(polled(&switch), [2, 2]);
    let of_first: Vec<PortNo> = switch.datapath.worker_statistics()[0]
        .queues
        .iter()
        .map(|queue| queue.0)
        .collect();
    for port in &of_first {
        switch.remove_port(*port).await;
    }
    assert_eq!(polled(&switch), [1, 1]);
    let sink = switch.add_sink(9).await;
    switch.bridge.flow("actions=output:9");
    switch.publish().await;
    ports.retain(|port| !of_first.contains(port));
    for port in ports {
        let number = switch.bridge.number(port);
        switch.send(OfPort::CONTROLLER, &format!("output:{number}"), 1);
    }
    until(|| switch.transmitted(sink) == 2).await;
    switch.stop().await;
}

#[tokio::test]
async fn no_packet_of_another_port_is_lost_while_ports_come_and_go() {
    let mut switch = Switch::start(2, 100);
    let lap = switch.add_ring("lap", 1).await;
    switch.bridge.flow("in_port=1,actions=IN_PORT");
    switch.publish().await;
    for seed in 0..64 {
        switch.send(OfPort::CONTROLLER, "output:1", seed);
    }
    for _ in 0..10 {
        let guest = switch.add_ring("guest", 2).await;
        let before = switch.transmitted(lap);
        until(|| switch.transmitted(lap) > before).await;
        drop(switch.remove_port(guest).await);
    }
    switch
        .bridge
        .flow("priority=65535,in_port=1,actions=CONTROLLER:64");
    switch.publish().await;
    let mut came = 0;
    while came < 32 {
        let Event::PacketIn(_) = switch.events.receive().await else {
            panic!("nothing is learned here");
        };
        came += 1;
    }
    // What was more than the port's share of the controller at one time was dropped there.
    let dropped = switch.datapath.drops(lap);
    until(|| {
        while switch.events.try_receive().is_some() {
            came += 1;
        }
        let dropped = switch.datapath.drops(lap);
        came + dropped.of(DropReason::PuntQueueFull) == 64
    })
    .await;
    assert!(dropped.total() <= 64 - limits::PUNTS_PER_PORT as u64);
    switch.stop().await;
}

#[tokio::test]
async fn control_hears_of_packets_as_they_come() {
    let mut switch = Switch::start(1, 100);
    let ring = switch.add_ring("hear", 1).await;
    switch.bridge.flow("actions=CONTROLLER:65535");
    switch.publish().await;
    for seed in 0..200 {
        switch.send(OfPort::CONTROLLER, "output:1", seed);
        let Event::PacketIn(packet_in) = switch.events.receive().await else {
            panic!("nothing is learned here");
        };
        assert_eq!(packet_in.punt.metadata.in_port, 1);
        assert_eq!(packet_in.packet.len(), 62);
    }
    assert_eq!(switch.datapath.drops(ring).total(), 0);
    switch.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_said() {
    let mut switch = Switch::start(1, 100);
    let port = switch.add_sink(1).await;
    let error = |result: Result<(), super::Error>| result.unwrap_err().to_string();
    let again = switch.datapath.add_port(port, Queues::default()).await;
    assert_eq!(error(again), format!("port number {} is in use", port.0));
    let high = PortNo(limits::PORTS_MAX as u32);
    let range = switch.datapath.add_port(high, Queues::default()).await;
    assert_eq!(
        error(range),
        "port number 65536 is out of range (0 to 65535)"
    );
    let free = PortNo(port.0 + 1);
    let mute = switch.datapath.add_port(free, Queues::default()).await;
    assert!(error(mute).ends_with("has no transmit queue"));
    assert!(switch.datapath.remove_port(free).await.is_none());
    let none = WorkersConfig {
        cpus: Vec::new(),
        ..WorkersConfig::default()
    };
    let state = switch.bridge.switch.publish();
    let failed = Datapath::start(&none, &switch.pools, Arc::clone(&state), switch.origin);
    assert_eq!(
        failed.unwrap_err().to_string(),
        "no CPU is named for a worker"
    );
    let absent = WorkersConfig {
        cpus: vec![0, 1023],
        ..WorkersConfig::default()
    };
    let failed = Datapath::start(&absent, &switch.pools, state, switch.origin);
    assert!(failed.unwrap_err().to_string().contains("1023"));
    switch.stop().await;
}
