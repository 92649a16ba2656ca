//! `vsctl metrics`: every counter, in the text format that Prometheus and its like take (version
//! 0.0.4), for a node exporter's textfile collector or whoever runs it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::Daemon;
use crate::failure::Failure;
use crate::management::reply::{Counts, CtStats, Pool, PortStats, Stats, Worker, Workers};
use crate::output::Output;

pub fn run(daemon: &Daemon<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut management = daemon.management()?;
    let (_, workers) = management.query::<Workers>("worker/show", Value::Null)?;
    let (_, stats) = management.query::<Stats>("stats", Value::Null)?;
    let mut page = Page::default();
    page.workers(&workers);
    page.ports(&stats);
    let (_, conntrack) = management.query::<CtStats>("ct/stats", Value::Null)?;
    page.conntrack(&conntrack);
    page.rest(&stats);
    output.answer(&page, |out| page.print(out))
}

/// All that is told.
#[derive(Default, Serialize)]
struct Page {
    metrics: Vec<Metric>,
}

/// One quantity, of each thing that has it.
#[derive(Serialize)]
struct Metric {
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    help: &'static str,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Counter,
    Gauge,
}

/// A quantity of one thing.
#[derive(Serialize)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

use Kind::{Counter, Gauge};

/// A quantity of a worker: name, kind, help and where it is.
type OfWorker = (&'static str, Kind, &'static str, fn(&Worker) -> u64);

const WORKERS: &[OfWorker] = &[
    ("packets_total", Counter, "Packets received.", |it| {
        it.packets
    }),
    (
        "batches_total",
        Counter,
        "Batches received that were not empty.",
        |it| it.batches,
    ),
    (
        "cache_hits_total",
        Counter,
        "Packets that the flow cache knew.",
        |it| it.cache.hits,
    ),
    (
        "cache_misses_total",
        Counter,
        "Packets that were translated.",
        |it| it.cache.misses,
    ),
    (
        "cache_stale_total",
        Counter,
        "Misses whose entry a change of the rules concerned.",
        |it| it.cache.stale,
    ),
    (
        "cache_renewed_total",
        Counter,
        "Entries older than the rules that no change concerned.",
        |it| it.cache.renewed,
    ),
    (
        "cache_evicted_total",
        Counter,
        "Entries that gave up their slots to others.",
        |it| it.cache.evicted,
    ),
    (
        "cache_refused_total",
        Counter,
        "Packets of new flows that were given no slot.",
        |it| it.cache.refused,
    ),
    ("cache_entries", Gauge, "Entries in the flow cache.", |it| {
        it.cache.entries.unwrap_or_default()
    }),
    ("cache_capacity", Gauge, "Slots of the flow cache.", |it| {
        it.cache.capacity.unwrap_or_default()
    }),
];

/// A quantity of a port in one direction.
type OfPort = (&'static str, &'static str, fn(&Counts) -> u64);

const PORTS: &[OfPort] = &[
    ("packets_total", "Packets.", |it| it.packets),
    ("bytes_total", "Bytes.", |it| it.bytes),
    ("drops_total", "Packets dropped.", |it| it.drops),
    ("errors_total", "Packets with errors.", |it| it.errors),
];

impl Page {
    fn add(&mut self, name: &str, kind: Kind, help: &'static str, samples: Vec<Sample>) {
        self.metrics.push(Metric {
            name: format!("vswitch_{name}"),
            kind,
            help,
            samples,
        });
    }

    fn workers(&mut self, workers: &Workers) {
        let labels = |worker: &Worker| {
            vec![
                ("worker", worker.id.to_string()),
                ("cpu", worker.cpu.to_string()),
            ]
        };
        let of_each = |value: &dyn Fn(&Worker) -> f64| {
            let each = workers.workers.iter();
            let each = each.map(|worker| Sample::new(labels(worker), value(worker)));
            each.collect::<Vec<_>>()
        };
        let seconds = |cycles: u64| cycles as f64 / workers.cycles_hz.max(1) as f64;
        let busy = of_each(&|worker| seconds(worker.busy_cycles));
        self.add(
            "worker_busy_seconds_total",
            Counter,
            "Time spent with packets.",
            busy,
        );
        let idle = of_each(&|worker| seconds(worker.idle_cycles));
        let help = "Time spent polling in vain or asleep.";
        self.add("worker_idle_seconds_total", Counter, help, idle);
        for (name, kind, help, value) in WORKERS {
            let samples = of_each(&|worker| value(worker) as f64);
            self.add(&format!("worker_{name}"), *kind, help, samples);
        }
    }

    fn ports(&mut self, stats: &Stats) {
        for (direction, counts) in DIRECTIONS {
            for (name, help, value) in PORTS {
                let samples = stats.ports.iter().map(|port| {
                    let labels = vec![("bridge", port.bridge.clone()), ("port", port.name.clone())];
                    Sample::new(labels, value(counts(port)) as f64)
                });
                let name = format!("port_{direction}_{name}");
                self.add(&name, Counter, help, samples.collect());
            }
        }
        let reasons = stats.ports.iter().flat_map(|port| {
            port.drops.iter().map(|(reason, count)| {
                let labels = vec![
                    ("bridge", port.bridge.clone()),
                    ("port", port.name.clone()),
                    ("reason", reason.clone()),
                ];
                Sample::new(labels, *count as f64)
            })
        });
        let help = "Drops by reason of packets that came in by the port or were to leave by it.";
        self.add(
            "port_drops_by_reason_total",
            Counter,
            help,
            reasons.collect(),
        );
    }

    fn conntrack(&mut self, stats: &CtStats) {
        let by = |label: &'static str, counts: &BTreeMap<String, u64>| {
            let each = counts.iter();
            let each =
                each.map(|(name, count)| Sample::new(vec![(label, name.clone())], *count as f64));
            each.collect::<Vec<_>>()
        };
        let one = |value: u64| vec![Sample::new(Vec::new(), value as f64)];
        let help = "Tracked connections by protocol.";
        self.add(
            "ct_connections",
            Gauge,
            help,
            by("protocol", &stats.protocols),
        );
        let help = "Tracked TCP connections by state.";
        self.add(
            "ct_tcp_connections",
            Gauge,
            help,
            by("state", &stats.tcp_states),
        );
        let help = "Connections that there can be.";
        self.add("ct_capacity", Gauge, help, one(stats.capacity));
        let help = "Bytes of memory that connections have taken so far.";
        self.add("ct_memory_bytes", Gauge, help, one(stats.memory_used_bytes));
        let help = "Connections that others have announced.";
        self.add("ct_expected", Gauge, help, one(stats.expected));
        let help = "What connection tracking counts: packets, connections, and packets refused.";
        self.add(
            "ct_events_total",
            Counter,
            help,
            by("event", &stats.counters),
        );
        let mut fragments = stats.fragments.clone();
        let held = fragments.remove("held").unwrap_or(0);
        let help = "Fragments that wait to be tracked, and their datagrams.";
        self.add("ct_fragments_held", Gauge, help, one(held));
        let help = "Datagrams completed, expired and evicted, and fragments refused.";
        self.add("ct_fragments_total", Counter, help, by("event", &fragments));
    }

    /// Packet buffers, and what control counts.
    fn rest(&mut self, stats: &Stats) {
        let pools = |value: fn(&Pool) -> u64| {
            let each = stats.pools.iter().map(|pool| {
                let labels = vec![("pool", pool.name.clone()), ("numa", pool.numa.to_string())];
                Sample::new(labels, value(pool) as f64)
            });
            each.collect::<Vec<_>>()
        };
        self.add(
            "pool_buffers",
            Gauge,
            "Packet buffers.",
            pools(|pool| pool.buffers),
        );
        self.add(
            "pool_buffers_in_use",
            Gauge,
            "Those in use.",
            pools(|pool| pool.in_use),
        );
        let control = stats
            .control
            .iter()
            .map(|(what, count)| Sample::new(vec![("what", what.clone())], *count as f64));
        let help = "What the control thread counts.";
        self.add("control_total", Counter, help, control.collect());
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for metric in &self.metrics {
            let kind = match metric.kind {
                Counter => "counter",
                Gauge => "gauge",
            };
            let name = &metric.name;
            writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help)?;
            for sample in &metric.samples {
                let labels = sample.labels.iter();
                let labels = labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value)));
                let labels = labels.collect::<Vec<_>>().join(",");
                writeln!(out, "{name}{{{labels}}} {}", sample.value)?;
            }
        }
        Ok(())
    }
}

impl Sample {
    fn new(labels: Vec<(&'static str, String)>, value: f64) -> Sample {
        Sample { labels, value }
    }
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', r#"\""#);
    text.replace('\n', r"\n")
}

/// What a port counts in one direction.
type Direction = (&'static str, fn(&PortStats) -> &Counts);

/// Both directions of a port.
const DIRECTIONS: &[Direction] = &[("rx", |port| &port.rx), ("tx", |port| &port.tx)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        let labels = vec![("port", "a\\b\"c\nd".to_string())];
        page.add("x", Gauge, "Help.", vec![Sample::new(labels, 1.5)]);
        let mut text = Vec::new();
        page.print(&mut text).unwrap();
        let wanted = "# HELP vswitch_x Help.\n# TYPE vswitch_x gauge\n\
                      vswitch_x{port=\"a\\\\b\\\"c\\nd\"} 1.5\n";
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }
}
