//! The daemon from its configuration to its end: what is started in which order, and taken down
//! in the other.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use flowtable::conntrack::Table;
use pmd::{Eal, EalConfig, Pools, PoolsConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify};
use tracing::{debug, error, info, warn};

use super::actor;
use super::bridge::Task;
use super::clock::Clock;
use super::config::{Config, ConfigFile, PortKind};
use super::configurator::Configurator;
use super::conntrack::Connections;
use super::host::{self, Cpus};
use super::logging::{self, LogLevel};
use super::management::{self, Facts, Service};
use super::provision::Provisioner;
use super::run_dir::RunDir;
use super::tls::Tls;
use super::underlay;
use crate::datapath::{Datapath, WorkersConfig};
use crate::pipeline::Switch;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Configuration file; the built-in configuration without one.
    pub config: Option<PathBuf>,
    /// Instead of the configuration's `run_dir`.
    pub run_dir: Option<PathBuf>,
    /// Instead of the configuration's log level.
    pub log_level: Option<String>,
    /// Ordinary memory even where hugepages would do.
    pub no_huge: bool,
    /// Only check the configuration.
    pub check: bool,
}

/// Runs the daemon until it is told to end.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let run_dir = options.run_dir.as_deref();
    let file = match &options.config {
        Some(path) => ConfigFile::open(path, run_dir)?,
        None => ConfigFile::built_in(run_dir)?,
    };
    let cpus = Cpus::choose(&file)?;
    host::check_memory(&file)?;
    if options.check {
        if let Some(files) = &file.config().tls {
            Tls::new(files.clone()).check()?;
        }
        println!(
            "{} is right",
            file.path()
                .map_or("the built-in configuration".into(), |it| it
                    .display()
                    .to_string())
        );
        return Ok(ExitCode::SUCCESS);
    }
    let level = options
        .log_level
        .as_deref()
        .unwrap_or(&file.config().log.level);
    let wrong = |why| anyhow!("--log-level {level}: {why}");
    let log = logging::start(level, file.config().log.format).map_err(wrong)?;
    let runtime = cpus.runtime(CONTROL_THREADS_MAX)?;
    // Before there is anything to leave behind.
    let signals = runtime.block_on(async { Signals::listen() })?;
    let run_dir = Arc::new(RunDir::lock(&file.config().run_dir)?);
    let eal = match start_dpdk(&options, &file, &cpus) {
        Ok(eal) => eal,
        Err(DpdkError::Hugepages(reason)) => {
            warn!(
                reason,
                "hugepages cannot be had: once more with ordinary memory"
            );
            drop(run_dir);
            return Err(again_without_hugepages());
        }
        Err(DpdkError::Other(error)) => return Err(error),
    };
    let pools = make_pools(&eal, &file, &cpus)?;
    let base = Base {
        started,
        file,
        cpus,
        log,
        run_dir,
        hugepages: eal.hugepages(),
        dpdk: eal.version(),
        pools,
    };
    let code = runtime.block_on(base.serve(signals))?;
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    Ok(code)
}

/// Why DPDK did not start.
enum DpdkError {
    /// It might without hugepages.
    Hugepages(String),
    /// It would not.
    Other(anyhow::Error),
}

fn start_dpdk(options: &Options, file: &ConfigFile, cpus: &Cpus) -> Result<Eal, DpdkError> {
    let config = file.config();
    let mut args = config.dpdk.args.clone();
    if options.no_huge && !args.iter().any(|arg| arg == NO_HUGE) {
        args.push(NO_HUGE.to_owned());
    }
    let memory_mib = config.dpdk.memory_mib as usize;
    let no_huge = args.iter().any(|arg| arg == NO_HUGE);
    if no_huge || pmd::free_hugepages_mib() < memory_mib {
        host::check_free_memory(file).map_err(|error| DpdkError::Other(error.into()))?;
    }
    let started = Eal::start(EalConfig {
        control_cpus: cpus.control.clone(),
        memory_mib,
        pci: config.dpdk.pci || names_pci_device(config),
        args,
    });
    let eal = started.map_err(|error| dpdk_error(file, error))?;
    let memory = if eal.hugepages() {
        "hugepages"
    } else {
        "ordinary memory"
    };
    info!(version = eal.version(), memory_mib, memory, "DPDK started");
    Ok(eal)
}

fn dpdk_error(file: &ConfigFile, error: pmd::Error) -> DpdkError {
    let args = &file.config().dpdk.args;
    match error {
        pmd::Error::Eal {
            reason,
            hugepages: true,
            ..
        } if ["memory", "hugepage"]
            .iter()
            .any(|word| reason.contains(word)) =>
        {
            DpdkError::Hugepages(reason)
        }
        pmd::Error::Eal { reason, .. } if reason.contains("argument") && !args.is_empty() => {
            let message = format!("dpdk.args = {args:?}: DPDK takes them not: {reason}");
            DpdkError::Other(file.error_at("args", "dpdk", message).into())
        }
        error => DpdkError::Other(error.into()),
    }
}

/// EAL starts once in a process, so that another try takes another program in this process's
/// place; the error, if there is none.
fn again_without_hugepages() -> anyhow::Error {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let itself = std::env::current_exe().unwrap_or_else(|_| program.into());
    let mut again = Command::new(itself);
    again.args(arguments).arg(NO_HUGE);
    anyhow::Error::new(again.exec()).context("starting again without hugepages")
}

fn make_pools(eal: &Eal, file: &ConfigFile, cpus: &Cpus) -> anyhow::Result<Pools> {
    let config = PoolsConfig::for_workers(&cpus.workers);
    Pools::new(eal, &config).map_err(|error| {
        let message = format!(
            "dpdk.memory_mib = {}: too little for the packet buffers of {} workers: give {} or \
             more ({error})",
            file.config().dpdk.memory_mib,
            cpus.workers.len(),
            config.memory_mib(),
        );
        file.error_at("memory_mib", "dpdk", message).into()
    })
}

/// Whether any port is a PCI device: `0000:01:00.0` or `01:00.0`.
fn names_pci_device(config: &Config) -> bool {
    let ports = config.bridges.iter().flat_map(|bridge| &bridge.ports);
    let mut dpdk = ports.filter(|port| port.kind == PortKind::Dpdk);
    dpdk.any(|port| {
        let device = port.options.get("dpdk-devargs").map_or("", String::as_str);
        let address = device.split(',').next().unwrap_or_default();
        address.split(':').count() >= 2 && address.contains('.')
    })
}

/// What is there before the workers.
struct Base {
    started: Instant,
    file: ConfigFile,
    cpus: Cpus,
    log: LogLevel,
    run_dir: Arc<RunDir>,
    hugepages: bool,
    dpdk: String,
    pools: Pools,
}

impl Base {
    /// What OpenFlow connections are secured with. Files that cannot be used now may be later.
    fn tls(&self) -> Option<Arc<Tls>> {
        let tls = Arc::new(Tls::new(self.file.config().tls.clone()?));
        if let Err(error) = tls.check() {
            error!(%error, "no TLS");
        }
        Some(tls)
    }

    /// The table of connections, with room for as many as the configuration says.
    fn connections(&self, clock: Clock) -> anyhow::Result<Connections> {
        let count = self.file.config().conntrack.connections;
        let secret = RandomState::new().hash_one(std::process::id());
        let (prepare, vacate) = (pmd::prefer_huge_pages, pmd::vacate);
        let table = Table::vacated(count as usize, secret, prepare, vacate);
        let table = table.map(|table| Arc::new(table.fetched_by(pmd::prefetch)));
        let connections = table.and_then(|table| Connections::new(table, clock));
        connections.ok_or_else(|| {
            let message = format!("conntrack.connections = {count}: no memory for so many");
            self.file
                .error_at("connections", "conntrack", message)
                .into()
        })
    }

    async fn serve(self, signals: Signals) -> anyhow::Result<ExitCode> {
        let buffers_at_start = self.pools.in_use();
        let mut switch = Switch::new();
        let state = switch.publish();
        let origin = Instant::now();
        let config = self.file.config();
        let clock = Clock::new(origin);
        let connections = Arc::new(self.connections(clock)?);
        let fragments = Arc::clone(connections.fragments());
        let workers = WorkersConfig {
            cpus: self.cpus.workers.clone(),
            idle_sleep_us_max: config.workers.idle_sleep_us_max,
            cache_entries: config.workers.cache_entries as usize,
            connections: Some(Arc::clone(connections.table())),
            fragments: Arc::clone(&fragments),
        };
        let (datapath, events) = Datapath::start(&workers, &self.pools, state.clone(), origin)?;
        let datapath = Arc::new(datapath);
        let (handle, control) = actor::start(
            Arc::clone(&datapath),
            Arc::clone(&connections),
            events,
            switch,
            state,
            clock,
        );
        let provisioner = Provisioner::new(
            handle.clone(),
            Arc::clone(&datapath),
            self.pools.clone(),
            Arc::clone(&self.run_dir),
            self.tls(),
            Arc::clone(&connections),
        );
        let facts = Facts {
            started: self.started,
            dpdk: self.dpdk.clone(),
            hugepages: self.hugepages,
            memory_mib: config.dpdk.memory_mib,
            worker_cpus: self.cpus.workers.clone(),
            cache_entries: config.workers.cache_entries,
            run_dir: self.run_dir.path().to_owned(),
        };
        let end = Arc::new(Notify::new());
        let service = Arc::new(Service {
            handle: handle.clone(),
            configurator: Mutex::new(Configurator::new(self.file, provisioner)),
            datapath: Arc::clone(&datapath),
            connections,
            pools: self.pools.clone(),
            log: self.log,
            facts,
            end: Arc::clone(&end),
        });
        service.configurator.lock().await.start().await?;
        let socket = management::bind(&self.run_dir.management_socket())?;
        let tasks = [
            Task::spawn(management::serve(socket, Arc::clone(&service))),
            Task::spawn(retry(Arc::clone(&service))),
            Task::spawn(underlay::run(handle.clone())),
            Task::spawn(Arc::clone(&service.connections).warm()),
        ];
        println!(
            "vswitchd {} ready: {}",
            env!("CARGO_PKG_VERSION"),
            self.run_dir.path().display()
        );
        info!(run_dir = %self.run_dir.path().display(), "ready");
        let reason = signals.wait(&end).await;
        info!(reason, "ending");
        // Whoever holds it is in the middle of a change of ports, which must run to its end.
        let configurator = service.configurator.lock().await;
        for task in tasks {
            task.end().await;
        }
        configurator.stop().await?;
        drop(configurator);
        for (number, queues) in datapath.stop().await {
            debug!(number = number.0, "port was left");
            drop(queues);
        }
        handle.with(actor::Actor::end).await?;
        drop(handle);
        drop(service);
        let _ = control.await;
        // No worker is left to bring what they wait for.
        fragments.expire(u64::MAX, &mut Vec::new());
        Ok(balance(&self.pools, buffers_at_start))
    }
}

/// Tries ports again that could not be opened.
async fn retry(service: Arc<Service>) {
    loop {
        tokio::time::sleep(RETRY_PAUSE).await;
        if service.configurator.lock().await.retry().await.is_err() {
            return;
        }
    }
}

/// What ends the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Remembers them from now on. SIGHUP counts unless whoever started the daemon ignores it, as
    /// nohup(1) does.
    fn listen() -> anyhow::Result<Signals> {
        let listen = |kind, name| signal(kind).context(format!("listening for {name}"));
        let hangup = (!host::is_hangup_ignored())
            .then(|| listen(SignalKind::hangup(), "SIGHUP"))
            .transpose()?;
        Ok(Signals {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hangup,
        })
    }

    /// Waits for one, or for the `exit` method.
    async fn wait(mut self, end: &Notify) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
            () = end.notified() => "exit",
        }
    }
}

/// Every packet buffer should be where it was before the first port.
fn balance(pools: &Pools, at_start: usize) -> ExitCode {
    let in_use = pools.in_use();
    if in_use == at_start {
        debug!(in_use, "packet buffers balance");
        return ExitCode::SUCCESS;
    }
    error!(in_use, at_start, "packet buffers leak");
    ExitCode::FAILURE
}

/// EAL's word for ordinary memory.
const NO_HUGE: &str = "--no-huge";
/// One thread for the control task, one for its connections.
const CONTROL_THREADS_MAX: usize = 2;
/// How soon a port that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// What still runs after that is a blocking call of the kernel's.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(2);
