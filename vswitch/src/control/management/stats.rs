//! Methods that show what was counted: ports, packet buffers, workers.

use std::collections::BTreeMap;

use pmd::port::{PortCounters, QueueCounters};
use serde_json::{Value, json};

use super::super::actor::Actor;
use super::super::agent::Agent;
use super::super::ports::Port;
use super::params::{self, Params};
use super::{CallError, Service};
use crate::action::{BridgeId, PortNo};
use crate::datapath::{Drops, WorkerStatistics};

impl Service {
    pub(super) async fn stats(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Of = params.read()?;
        self.datapath.flush_counters().await;
        let workers = self.datapath.worker_statistics();
        let show = move |actor: &Actor, id| Value::Array(actor.port_stats_json(id, &workers));
        let ports = self.each(params.bridge.as_deref(), show).await?;
        let (now_ns, control) = self.handle.with(|actor| actor.control_json()).await?;
        Ok(json!({
            "now_ns": now_ns,
            "control": control,
            "ports": super::show::flatten(ports),
            "pools": self.pools_json(),
        }))
    }

    fn pools_json(&self) -> Vec<Value> {
        let pools = self.pools.list();
        let show = |pool: &pmd::PoolStatus| {
            json!({
                "name": pool.name,
                "numa": pool.numa,
                "buffer_bytes": pool.buffer_bytes,
                "buffers": pool.buffers,
                "in_use": pool.in_use,
            })
        };
        pools.iter().map(show).collect()
    }

    pub(super) async fn worker_show(&self, params: Params) -> Result<Value, CallError> {
        params.read::<params::Nothing>()?;
        let read = self.handle.with(|actor| {
            let names = actor.ports.iter();
            let names = names.map(|(number, port)| (*number, port.settings.name.clone()));
            (actor.clock, names.collect::<BTreeMap<_, _>>())
        });
        let (clock, names) = read.await?;
        let workers = self.datapath.worker_statistics();
        let capacity = self.facts.cache_entries;
        let show = |(id, worker)| worker_json(id, worker, capacity, &names);
        Ok(json!({
            "now_ns": clock.now_ns(),
            "cycles_hz": pmd::cycles_hz(),
            "workers": workers.iter().enumerate().map(show).collect::<Vec<_>>(),
        }))
    }
}

impl Actor {
    /// What was dropped between controllers and workers; and when.
    fn control_json(&self) -> (u64, Value) {
        let notices = self
            .bridges
            .values()
            .map(|bridge| bridge.agent.notices_dropped());
        let agents = self.bridges.values().map(|bridge| &bridge.agent);
        let limited = agents.map(Agent::packet_ins_limited);
        let control = json!({
            "packet_outs_dropped": self.injections_dropped(),
            "packet_ins_limited": limited.sum::<u64>(),
            "notices_dropped": notices.sum::<u64>(),
            "samples_dropped": self.datapath.samples_lost() + self.exporter.lost(),

        });
        (self.clock.now_ns(), control)
    }

    fn port_stats_json(&self, id: BridgeId, workers: &[WorkerStatistics]) -> Vec<Value> {
        let Some(bridge) = self.bridges.get(&id) else {
            return Vec::new();
        };
        let ports = self.ports.iter().filter(|(_, port)| port.bridge == id);
        let mut ports: Vec<_> = ports.collect();
        ports.sort_by_key(|(_, port)| port.of_port);
        let show = |(number, port): (&PortNo, &Port)| {
            let drops = self.datapath.drops(*number);
            let mut shown = counters_json(&port.counters(), &drops, *number, workers);
            shown["bridge"] = json!(bridge.settings.name);
            shown["name"] = json!(port.settings.name);
            shown["number"] = json!(port.of_port.0);
            shown
        };
        ports.into_iter().map(show).collect()
    }
}

fn counters_json(
    counters: &PortCounters,
    drops: &Drops,
    number: PortNo,
    workers: &[WorkerStatistics],
) -> Value {
    let server = |queue: usize| {
        let serves = |worker: &WorkerStatistics| {
            worker
                .queues
                .iter()
                .any(|served| (served.0, served.1) == (number, queue))
        };
        workers.iter().position(serves)
    };
    let sender = |queue: usize| (queue < workers.len()).then_some(queue);
    let mut reasons = BTreeMap::new();
    let device = counters.rx.drops.iter().chain(counters.tx.drops.iter());
    let device = device.map(|(reason, count)| (reason.label(), count));
    let datapath = drops.iter().map(|(reason, count)| (reason.label(), count));
    for (reason, count) in device.chain(datapath).filter(|(_, count)| *count > 0) {
        *reasons.entry(reason).or_insert(0) += count;
    }
    json!({
        "rx": direction_json(&counters.rx),
        "tx": direction_json(&counters.tx),
        "drops": reasons,
        "rx_queues": queues_json(&counters.rx_queues, server),
        "tx_queues": queues_json(&counters.tx_queues, sender),
    })
}

fn direction_json(counters: &QueueCounters) -> Value {
    let errors = super::super::ports::errors(&counters.drops);
    json!({
        "packets": counters.packets,
        "bytes": counters.bytes,
        "drops": counters.drops.total() - errors,
        "errors": errors,
    })
}

fn queues_json(queues: &[QueueCounters], worker: impl Fn(usize) -> Option<usize>) -> Vec<Value> {
    let show = |(queue, counters): (usize, &QueueCounters)| {
        json!({
            "packets": counters.packets,
            "bytes": counters.bytes,
            "worker": worker(queue),
        })
    };
    queues.iter().enumerate().map(show).collect()
}

fn worker_json(
    id: usize,
    worker: &WorkerStatistics,
    capacity: u32,
    names: &BTreeMap<PortNo, String>,
) -> Value {
    let queues = worker.queues.iter().filter_map(|(number, queue, _)| {
        Some(json!({ "port": names.get(number)?, "queue": queue }))
    });
    json!({
        "id": id,
        "cpu": worker.cpu,
        "busy_cycles": worker.busy_cycles,
        "idle_cycles": worker.idle_cycles,
        "batches": worker.batches,
        "packets": worker.packets,
        "recirculated": worker.recirculated,
        "cache": {
            "hits": worker.hits,
            "misses": worker.misses,
            "stale": worker.stale,
            "renewed": worker.renewed,
            "evicted": worker.evicted,
            "refused": worker.refused,
            "entries": worker.cache_entries,
            "capacity": capacity,
        },
        "queues": queues.collect::<Vec<_>>(),
    })
}
