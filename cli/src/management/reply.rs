//! The results of the management methods, as far as text is made of them; JSON output is the
//! daemon's own. `docs/management.md` says what each member means.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Show {
    pub version: String,
    pub pid: u32,
    pub uptime_s: u64,
    pub run_dir: String,
    pub config_file: Option<String>,
    pub hugepages: bool,
    pub memory_mib: u64,
    pub worker_cpus: Vec<u32>,
    pub bridges: Vec<Bridge>,
}

#[derive(Deserialize)]
pub struct Bridge {
    pub name: String,
    pub datapath_id: String,
    pub fail_mode: String,
    pub listeners: Vec<String>,
    /// Why it does not listen there, by listener.
    #[serde(default)]
    pub listener_errors: BTreeMap<String, String>,
    pub controllers: Vec<Controller>,
    pub ports: Vec<Port>,
    pub flows: u64,
    pub groups: u64,
    pub meters: u64,
    pub macs: u64,
}

#[derive(Deserialize)]
pub struct Controller {
    pub bridge: String,
    pub target: String,
    pub connected: bool,
    pub role: String,
    pub since_s: u64,
    pub error: Option<String>,
    #[serde(default)]
    pub notices_dropped: u64,
    #[serde(default)]
    pub packet_ins_dropped: u64,
}

#[derive(Deserialize)]
pub struct Port {
    pub bridge: String,
    pub name: String,
    pub number: Option<u32>,
    #[serde(rename = "type")]
    pub kind: String,
    pub tag: Option<u16>,
    pub trunks: Vec<u16>,
    pub mtu: u32,
    pub mac: Option<String>,
    pub admin_up: bool,
    pub link_up: bool,
    pub speed_mbps: Option<u64>,
    pub error: Option<String>,
}

#[derive(Deserialize)]
pub struct Ports {
    pub ports: Vec<Port>,
}

#[derive(Deserialize)]
pub struct Controllers {
    pub controllers: Vec<Controller>,
}

#[derive(Deserialize)]
pub struct Macs {
    pub entries: Vec<Mac>,
}

#[derive(Deserialize)]
pub struct Mac {
    pub port: String,
    pub number: u32,
    pub vlan: u16,
    pub mac: String,
    pub age_s: u64,
}

#[derive(Deserialize)]
pub struct CtPage {
    pub connections: Vec<Ct>,
    pub next: Option<u32>,
}

#[derive(Deserialize)]
pub struct Ct {
    pub protocol: u8,
    pub zone: u16,
    pub original: CtTuple,
    pub reply: CtTuple,
    pub mark: u32,
    pub label: String,
    pub tcp_state: Option<String>,
    pub helper: Option<String>,
}

#[derive(Deserialize)]
pub struct CtTuple {
    pub src: String,
    pub dst: String,
    pub src_port: u16,
    pub dst_port: u16,
}

#[derive(Deserialize)]
pub struct CtStats {
    pub connections: u64,
    pub capacity: u64,
    pub memory_bytes: u64,
    pub memory_used_bytes: u64,
    pub expected: u64,
    pub zones: u64,
    pub protocols: BTreeMap<String, u64>,
    pub tcp_states: BTreeMap<String, u64>,
    pub counters: BTreeMap<String, u64>,
    pub fragments: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
pub struct CtLimits {
    pub default: u32,
    pub zones: Vec<CtZone>,
}

#[derive(Deserialize)]
pub struct CtZone {
    pub zone: u16,
    pub limit: u32,
    pub own: bool,
    pub policy: Option<String>,
    pub connections: u32,
}

#[derive(Deserialize)]
pub struct Flushed {
    pub flushed: u64,
}

#[derive(Deserialize)]
pub struct Stats {
    pub now_ns: u64,
    pub ports: Vec<PortStats>,
    pub pools: Vec<Pool>,
    #[serde(default)]
    pub control: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
pub struct PortStats {
    pub bridge: String,
    pub name: String,
    pub rx: Counts,
    pub tx: Counts,
    pub drops: BTreeMap<String, u64>,
    pub rx_queues: Vec<QueueCounts>,
    pub tx_queues: Vec<QueueCounts>,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub struct Counts {
    pub packets: u64,
    pub bytes: u64,
    pub drops: u64,
    pub errors: u64,
}

#[derive(Deserialize)]
pub struct QueueCounts {
    pub packets: u64,
    pub bytes: u64,
    pub worker: Option<u32>,
}

#[derive(Deserialize)]
pub struct Pool {
    pub name: String,
    pub numa: i64,
    pub buffer_bytes: u64,
    pub buffers: u64,
    pub in_use: u64,
}

#[derive(Deserialize)]
pub struct Workers {
    pub cycles_hz: u64,
    pub workers: Vec<Worker>,
}

#[derive(Clone, Default, Deserialize)]
pub struct Worker {
    pub id: u32,
    pub cpu: u32,
    pub busy_cycles: u64,
    pub idle_cycles: u64,
    pub batches: u64,
    pub packets: u64,
    pub cache: Cache,
    pub queues: Vec<Queue>,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub struct Cache {
    pub hits: u64,
    pub misses: u64,
    #[serde(default)]
    pub stale: u64,
    #[serde(default)]
    pub renewed: u64,
    #[serde(default)]
    pub evicted: u64,
    #[serde(default)]
    pub refused: u64,
    pub entries: Option<u64>,
    pub capacity: Option<u64>,
}

#[derive(Clone, Deserialize)]
pub struct Queue {
    pub port: String,
    pub queue: u32,
}

#[derive(Deserialize)]
pub struct Trace {
    pub point: Option<u32>,
    pub flow: String,
    pub steps: Vec<Node>,
    pub final_flow: String,
    pub mask: String,
    pub actions: Vec<String>,
    pub drop: Option<String>,
    /// What becomes of it at each recirculation point that it comes to.
    #[serde(default)]
    pub continued: Vec<Trace>,
}

#[derive(Deserialize)]
pub struct Node {
    pub text: String,
    pub children: Vec<Node>,
}

#[derive(Deserialize)]
pub struct Version {
    pub name: String,
    pub version: String,
    pub dpdk: String,
    pub openflow: Vec<String>,
}

#[derive(Deserialize)]
pub struct LogFilter {
    pub filter: String,
}

#[derive(Deserialize)]
pub struct Tables {
    pub tables: Vec<FlowTable>,
    pub entries: Vec<Entry>,
}

#[derive(Deserialize)]
pub struct FlowTable {
    pub bridge: String,
    pub table: u8,
    pub flows: u64,
    pub masks: u64,
    pub structure: String,
    pub reachable: bool,
    pub probes_max: u64,
    pub compares_max: u64,
    pub memory_bytes: u64,
    pub hash_tables: Vec<HashTable>,
}

#[derive(Deserialize)]
pub struct HashTable {
    pub hashed_bits: u64,
    pub masks: u64,
    pub flows: u64,
    pub stack_max: u64,
    pub memory_bytes: u64,
}

/// The worst case of packets that come in by some ports of a bridge.
#[derive(Deserialize)]
pub struct Entry {
    pub bridge: String,
    pub ports: Vec<String>,
    pub tables: u64,
    pub probes_max: u64,
    pub compares_max: u64,
}
