//! The daemon from its configuration to its end: what is started in which order, and taken down
//! in the other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pmd::{Eal, EalConfig, Pools, PoolsConfig};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Notify};
use tracing::{debug, error, info};

use super::actor;
use super::bridge::Task;
use super::clock::Clock;
use super::config::{Config, ConfigFile, PortKind};
use super::configurator::Configurator;
use super::logging::{self, LogLevel};
use super::management::{self, Facts, Service};
use super::provision::Provisioner;
use super::run_dir::RunDir;
use super::tls::Tls;
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
    let cpus = Cpus::choose(file.config())?;
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
    let log = logging::start(level, file.config().log.format).map_err(anyhow::Error::msg)?;
    let run_dir = Arc::new(RunDir::lock(&file.config().run_dir)?);
    let (eal, pools) = start_dpdk(&options, file.config(), &cpus)?;
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
    let runtime = base.runtime()?;
    let code = runtime.block_on(base.serve())?;
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    Ok(code)
}

/// The CPUs of workers, and those of everything else.
#[derive(Clone, Debug)]
struct Cpus {
    workers: Vec<usize>,
    control: Vec<usize>,
}

impl Cpus {
    fn choose(config: &Config) -> anyhow::Result<Cpus> {
        let set = sched_getaffinity(None).context("reading this process's CPUs")?;
        let allowed: Vec<_> = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .collect();
        let mut workers = config.workers.cpus.clone();
        if workers.is_empty() {
            workers.extend(allowed.last());
        }
        if let Some(cpu) = workers.iter().find(|cpu| !allowed.contains(cpu)) {
            bail!("workers.cpus: no CPU {cpu} for this process; allowed are {allowed:?}");
        }
        let mut control: Vec<_> = allowed
            .iter()
            .copied()
            .filter(|cpu| !workers.contains(cpu))
            .collect();
        if control.is_empty() {
            control = allowed;
        }
        Ok(Cpus { workers, control })
    }
}

fn start_dpdk(options: &Options, config: &Config, cpus: &Cpus) -> anyhow::Result<(Eal, Pools)> {
    let mut args = config.dpdk.args.clone();
    if options.no_huge && !args.iter().any(|arg| arg == NO_HUGE) {
        args.push(NO_HUGE.to_owned());
    }
    let eal = Eal::start(EalConfig {
        control_cpus: cpus.control.clone(),
        memory_mib: config.dpdk.memory_mib as usize,
        pci: config.dpdk.pci || names_pci_device(config),
        args,
    })?;
    let memory = if eal.hugepages() {
        "hugepages"
    } else {
        "ordinary memory"
    };
    info!(
        version = eal.version(),
        memory_mib = config.dpdk.memory_mib,
        memory,
        "DPDK started"
    );
    let pools = Pools::new(&eal, &PoolsConfig::for_workers(&cpus.workers))?;
    Ok((eal, pools))
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
    /// The threads of everything but the workers, which stay off the workers' CPUs.
    fn runtime(&self) -> anyhow::Result<Runtime> {
        let cpus = self.cpus.control.clone();
        let pin = move || {
            let mut set = CpuSet::new();
            cpus.iter().for_each(|&cpu| set.set(cpu));
            if let Err(error) = sched_setaffinity(None, &set) {
                error!(%error, "control thread not kept off the workers' CPUs");
            }
        };
        pin();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.cpus.control.len().clamp(1, CONTROL_THREADS_MAX))
            .thread_name("control")
            .on_thread_start(pin)
            .enable_all()
            .build()
            .context("starting the control threads")
    }

    /// What OpenFlow connections are secured with. Files that cannot be used now may be later.
    fn tls(&self) -> Option<Arc<Tls>> {
        let tls = Arc::new(Tls::new(self.file.config().tls.clone()?));
        if let Err(error) = tls.check() {
            error!(%error, "no TLS");
        }
        Some(tls)
    }

    async fn serve(self) -> anyhow::Result<ExitCode> {
        let buffers_at_start = self.pools.in_use();
        let mut switch = Switch::new();
        let state = switch.publish();
        let origin = Instant::now();
        let config = self.file.config();
        let workers = WorkersConfig {
            cpus: self.cpus.workers.clone(),
            idle_sleep_us_max: config.workers.idle_sleep_us_max,
            cache_entries: config.workers.cache_entries as usize,
        };
        let (datapath, events) = Datapath::start(&workers, &self.pools, state.clone(), origin)?;
        let datapath = Arc::new(datapath);
        let clock = Clock::new(origin);
        let (handle, control) = actor::start(Arc::clone(&datapath), events, switch, state, clock);
        let provisioner = Provisioner::new(
            handle.clone(),
            Arc::clone(&datapath),
            self.pools.clone(),
            Arc::clone(&self.run_dir),
            self.tls(),
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
        ];
        println!(
            "vswitchd {} ready: {}",
            env!("CARGO_PKG_VERSION"),
            self.run_dir.path().display()
        );
        info!(run_dir = %self.run_dir.path().display(), "ready");
        wait_for_end(&end).await?;
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

/// Waits for SIGTERM, SIGINT or the `exit` method.
async fn wait_for_end(end: &Notify) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = end.notified() => "exit",
    };
    info!(reason, "ending");
    Ok(())
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
