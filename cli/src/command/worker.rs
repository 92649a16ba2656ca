//! `vsctl worker show`: what each worker's cycles go to.

use serde_json::Value;

use super::{Daemon, watch};
use crate::arguments::Watch;
use crate::failure::Failure;
use crate::management::reply::{Worker, Workers};
use crate::output::Output;
use crate::table::{Side, Table, human};

pub fn show(daemon: &Daemon<'_>, watch: Watch, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut management = daemon.management()?;
    let read = || management.query::<Workers>("worker/show", Value::Null);
    watch::run(watch, output, read, |out, before, now| {
        table(before, now).print(out, "")
    })
}

fn table(before: Option<&Workers>, now: &Workers) -> Table {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("WORKER", Right),
        ("CPU", Right),
        ("BUSY", Right),
        ("PACKETS/S", Right),
        ("CYCLES/PACKET", Right),
        ("BATCH", Right),
        ("CACHE-HITS", Right),
        ("ENTRIES", Right),
        ("EVICTED/S", Right),
        ("QUEUES", Left),
    ]);
    for worker in &now.workers {
        let earlier = before.and_then(|before| before.workers.iter().find(|w| w.id == worker.id));
        table.row(row(
            earlier.unwrap_or(&Worker::default()),
            worker,
            now.cycles_hz,
        ));
    }
    table
}

/// What `worker` did since it was `before`.
fn row(before: &Worker, worker: &Worker, cycles_hz: u64) -> [String; 10] {
    let busy = worker.busy_cycles.saturating_sub(before.busy_cycles) as f64;
    let idle = worker.idle_cycles.saturating_sub(before.idle_cycles) as f64;
    let packets = worker.packets.saturating_sub(before.packets) as f64;
    let batches = worker.batches.saturating_sub(before.batches) as f64;
    let hits = worker.cache.hits.saturating_sub(before.cache.hits) as f64;
    let misses = worker.cache.misses.saturating_sub(before.cache.misses) as f64;
    let evicted = worker.cache.evicted.saturating_sub(before.cache.evicted) as f64;
    let seconds = (busy + idle) / cycles_hz.max(1) as f64;
    let ratio = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    let percent = |share: Option<f64>| tell(share, |share| format!("{:.1}%", 100.0 * share));
    let queues = worker
        .queues
        .iter()
        .map(|queue| format!("{}:{}", queue.port, queue.queue));
    [
        worker.id.to_string(),
        worker.cpu.to_string(),
        percent(ratio(busy, busy + idle)),
        tell(ratio(packets, seconds), human),
        tell(ratio(busy, packets), |cycles| format!("{cycles:.0}")),
        tell(ratio(packets, batches), |packets| format!("{packets:.1}")),
        percent(ratio(hits, hits + misses)),
        match (worker.cache.entries, worker.cache.capacity) {
            (Some(entries), Some(capacity)) => format!("{entries}/{capacity}"),
            _ => "-".into(),
        },
        tell(ratio(evicted, seconds), human),
        queues.collect::<Vec<_>>().join(" "),
    ]
}

/// A figure, or a dash where nothing was there to measure.
fn tell(value: Option<f64>, format: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".into(), format)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn worker(scale: u64) -> Worker {
        serde_json::from_value(json!({
            "id": 0, "cpu": 1, "busy_cycles": 300 * scale, "idle_cycles": 700 * scale,
            "batches": scale, "packets": 2 * scale,
            "cache": {"hits": 3 * scale, "misses": scale, "evicted": 4 * scale, "entries": 5,
                "capacity": 64},
            "queues": [{"port": "vm1", "queue": 0}],
        }))
        .unwrap()
    }

    #[test]
    fn figures_are_of_the_interval() {
        let wanted = [
            "0", "1", "30.0%", "2", "150", "2.0", "75.0%", "5/64", "4", "vm1:0",
        ]
        .map(String::from);
        assert_eq!(row(&worker(0), &worker(1000), 1000), wanted);
        assert_eq!(row(&worker(500), &worker(1000), 1000), wanted);
        let idle = row(&worker(1), &worker(1), 1000);
        assert_eq!(idle[2..7], ["-", "-", "-", "-", "-"].map(String::from));
    }
}
