//! The management socket: JSON-RPC 1.0 over `<run_dir>/vswitchd.sock`, for `vsctl` and any other
//! program. docs/management.md is its specification.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pmd::Pools;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::actor::Handle;
use super::configurator::Configurator;
use super::conntrack::Connections;
use super::logging::LogLevel;
use super::run_dir::SocketFile;
use crate::datapath::Datapath;

mod change;
mod conntrack;
mod error;
mod params;
mod show;
mod stats;
mod table;
mod trace;

use error::CallError;
use params::Params;

/// What methods work with.
#[derive(Debug)]
pub struct Service {
    /// The control task.
    pub handle: Handle,
    /// The configuration and what carries it out.
    pub configurator: Mutex<Configurator>,
    /// The workers.
    pub datapath: Arc<Datapath>,
    /// The connections that workers track.
    pub connections: Arc<Connections>,
    /// Packet buffers.
    pub pools: Pools,
    /// The level of logs.
    pub log: LogLevel,
    /// What does not change.
    pub facts: Facts,
    /// Told when the daemon is to end.
    pub end: Arc<Notify>,
}

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When it was started.
    pub started: Instant,
    /// DPDK's version.
    pub dpdk: String,
    /// Whether packets live in hugepages.
    pub hugepages: bool,
    /// Memory for packets.
    pub memory_mib: u32,
    /// CPUs of the workers.
    pub worker_cpus: Vec<usize>,
    /// Entries of each worker's flow cache.
    pub cache_entries: u32,
    /// Where sockets live.
    pub run_dir: PathBuf,
}

/// Listens and serves until dropped.
pub async fn serve(socket: (UnixListener, SocketFile), service: Arc<Service>) {
    let (listener, _file) = socket;
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        if clients.len() >= CLIENTS_MAX {
            clients.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(clients.spawn(client(stream, Arc::clone(&service)))),
            Err(error) => {
                warn!(%error, "management connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one client's requests in order.
async fn client(stream: UnixStream, service: Arc<Service>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let request = match read_request(&mut reader).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                let _ = writer.write_all(&reply(Value::Null, Err(error))).await;
                return;
            }
        };
        let (id, result) = answer(request, &service).await;
        if writer.write_all(&reply(id, result)).await.is_err() {
            return;
        }
    }
}

/// The next request; `None` at the end.
async fn read_request(
    reader: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
) -> Result<Option<Value>, CallError> {
    let mut line = Vec::new();
    let read = reader
        .take(LINE_BYTES_MAX + 1)
        .read_until(b'\n', &mut line)
        .await;
    let whole = line.ends_with(b"\n") || (line.len() as u64) <= LINE_BYTES_MAX;
    match read {
        Ok(0) | Err(_) => Ok(None),
        Ok(_) if !whole => {
            let message = format!("a request is longer than {LINE_BYTES_MAX} bytes");
            Err(CallError::bad_request(message))
        }
        Ok(_) => {
            let parsed = serde_json::from_slice(&line);
            parsed
                .map(Some)
                .map_err(|error| CallError::bad_request(format!("not JSON: {error}")))
        }
    }
}

async fn answer(request: Value, service: &Arc<Service>) -> (Value, Result<Value, CallError>) {
    let Value::Object(mut request) = request else {
        let error = CallError::bad_request("a request is a JSON object".to_owned());
        return (Value::Null, Err(error));
    };
    let id = request.remove("id").unwrap_or(Value::Null);
    let Some(Value::String(method)) = request.remove("method") else {
        let error = CallError::bad_request("a request has a method, a string".to_owned());
        return (id, Err(error));
    };
    let params = request.remove("params").unwrap_or(Value::Null);
    debug!(method, %params, "management request");
    let result = match Params::new(params) {
        Ok(params) => call(&method, params, service).await,
        Err(error) => Err(error),
    };
    (id, result)
}

fn reply(id: Value, result: Result<Value, CallError>) -> Vec<u8> {
    let reply = match result {
        Ok(result) => json!({ "id": id, "result": result, "error": null }),
        Err(error) => json!({ "id": id, "result": null, "error": error.to_json() }),
    };
    let mut bytes = reply.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

async fn call(method: &str, params: Params, service: &Arc<Service>) -> Result<Value, CallError> {
    match method {
        "version" => service.version(params),
        "show" => service.show(params).await,
        "bridge/add" => service.bridge_add(params).await,
        "bridge/del" => service.bridge_del(params).await,
        "bridge/set" => service.bridge_set(params).await,
        "port/add" => service.port_add(params).await,
        "port/del" => service.port_del(params).await,
        "port/set" => service.port_set(params).await,
        "port/list" => service.port_list(params).await,
        "controller/set" => service.controller_set(params).await,
        "controller/del" => service.controller_del(params).await,
        "controller/list" => service.controller_list(params).await,
        "mac/dump" => service.mac_dump(params).await,
        "mac/flush" => service.mac_flush(params).await,
        "ct/dump" => service.ct_dump(params).await,
        "ct/flush" => service.ct_flush(params).await,
        "ct/stats" => service.ct_stats(params).await,
        "ct/limits" => service.ct_limits(params).await,
        "ct/set" => service.ct_set(params).await,
        "ct/zone/set" => service.ct_zone_set(params).await,
        "stats" => service.stats(params).await,
        "table/show" => service.table_show(params).await,
        "worker/show" => service.worker_show(params).await,
        "trace" => service.trace(params).await,
        "log/set" => service.log_set(params),
        "exit" => service.exit(params),
        _ => Err(CallError::unknown_method(method, METHODS)),
    }
}

impl Service {
    fn version(&self, params: Params) -> Result<Value, CallError> {
        params.read::<params::Nothing>()?;
        Ok(json!({
            "name": "vswitchd",
            "version": env!("CARGO_PKG_VERSION"),
            "dpdk": self.facts.dpdk,
            "openflow": ["1.3"],
        }))
    }

    fn log_set(&self, params: Params) -> Result<Value, CallError> {
        let params: params::LogSet = params.read()?;
        if let Some(filter) = params.filter {
            let set = self.log.set(&filter);
            set.map_err(|why| CallError::bad_params(format!("filter = \"{filter}\": {why}")))?;
            info!(filter, "log level set");
        }
        Ok(json!({ "filter": self.log.level() }))
    }

    fn exit(&self, params: Params) -> Result<Value, CallError> {
        params.read::<params::Nothing>()?;
        let end = Arc::clone(&self.end);
        tokio::spawn(async move {
            sleep(EXIT_PAUSE).await;
            end.notify_one();
        });
        Ok(json!({}))
    }
}

/// Begins to listen in a locked run folder.
pub fn bind(path: &std::path::Path) -> io::Result<(UnixListener, SocketFile)> {
    let (listener, file) = SocketFile::bind(path)?;
    Ok((UnixListener::from_std(listener)?, file))
}

/// Every method, for who misspells one.
const METHODS: &[&str] = &[
    "version",
    "show",
    "bridge/add",
    "bridge/del",
    "bridge/set",
    "port/add",
    "port/del",
    "port/set",
    "port/list",
    "controller/set",
    "controller/del",
    "controller/list",
    "mac/dump",
    "mac/flush",
    "ct/dump",
    "ct/flush",
    "ct/stats",
    "ct/limits",
    "ct/set",
    "ct/zone/set",
    "stats",
    "table/show",
    "worker/show",
    "trace",
    "log/set",
    "exit",
];
/// Longest request: a trace of the longest packet in hexadecimal is 128 KiB.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Clients at a time: operators and their scripts.
const CLIENTS_MAX: usize = 64;
/// When file descriptors are short, some may be free again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for the reply to `exit` to leave.
const EXIT_PAUSE: Duration = Duration::from_millis(20);
