//! A bare two-port forwarder through `RxQueue` and `TxQueue` beside `dpdk-testpmd`.
//!
//! Both move the same packets between the same devices on the same CPU, in turns: an endless
//! replay of a generated capture (net_pcap with `infinite_rx`) to a device that drops what it is
//! sent. What is compared is therefore the cost of our I/O layer and nothing else. The result is
//! the median over the rounds, in millions of packets a second, for each number of flows.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use pmd::{Batch, Eal, EalConfig, Pools, PoolsConfig, Port, PortConfig, PortKind, port};
use serde_json::json;

/// Compares our forwarder with dpdk-testpmd's io mode on the same devices.
#[derive(Debug, Parser)]
struct Arguments {
    /// CPU that forwards.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// CPU for everything else.
    #[arg(long, default_value_t = 0)]
    control_cpu: usize,
    /// Rounds, each of both programs: many, since neighbours on the host disturb single ones.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Seconds that each program forwards in a round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Numbers of flows to try.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100_000])]
    flows: Vec<usize>,
    /// Ordinary memory, even with enough huge pages.
    #[arg(long)]
    no_huge: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

struct Comparison {
    flows: usize,
    ours_mpps: f64,
    testpmd_mpps: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let most = arguments
        .flows
        .iter()
        .copied()
        .max()
        .context("no number of flows")?;
    let args = if arguments.no_huge {
        vec!["--no-huge".to_string()]
    } else {
        Vec::new()
    };
    let control_cpus = vec![arguments.control_cpu];
    let memory_mib = memory_mib(most);
    let eal = Eal::start(EalConfig {
        control_cpus,
        memory_mib,
        pci: false,
        args,
    })?;
    let worker_cpus = vec![arguments.cpu];
    let small = buffers(most);
    let pools = Pools::new(
        &eal,
        &PoolsConfig {
            worker_cpus,
            small,
            large: LARGE,
        },
    )?;
    let files = Files::create()?;
    let results: Result<Vec<Comparison>> = arguments
        .flows
        .iter()
        .map(|&flows| compare(&arguments, flows, eal.hugepages(), &pools, &files))
        .collect();
    print(&arguments, eal.hugepages(), &results?);
    Ok(())
}

fn compare(
    arguments: &Arguments,
    flows: usize,
    hugepages: bool,
    pools: &Pools,
    files: &Files,
) -> Result<Comparison> {
    let capture = files.capture(flows)?;
    let (mut ours, mut testpmd) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        ours.push(forward(arguments, &capture, files, pools)?);
        testpmd.push(run_testpmd(arguments, flows, hugepages, &capture, files)?);
        eprintln!(
            "{flows} flows, round {round}: ours {:.1} Mpps, testpmd {:.1} Mpps",
            ours[round - 1],
            testpmd[round - 1]
        );
    }
    Ok(Comparison {
        flows,
        ours_mpps: median(ours),
        testpmd_mpps: median(testpmd),
    })
}

fn print(arguments: &Arguments, hugepages: bool, results: &[Comparison]) {
    if arguments.json {
        let rows: Vec<_> = results
            .iter()
            .map(|result| {
                json!({
                    "flows": result.flows,
                    "ours_mpps": result.ours_mpps,
                    "testpmd_mpps": result.testpmd_mpps,
                    "ratio": result.ours_mpps / result.testpmd_mpps,
                })
            })
            .collect();
        println!("{}", json!({ "hugepages": hugepages, "results": rows }));
        return;
    }
    println!(
        "{:>8} {:>12} {:>14} {:>6}",
        "flows", "ours Mpps", "testpmd Mpps", "ratio"
    );
    for Comparison {
        flows,
        ours_mpps,
        testpmd_mpps,
    } in results
    {
        let ratio = ours_mpps / testpmd_mpps;
        println!("{flows:>8} {ours_mpps:>12.2} {testpmd_mpps:>14.2} {ratio:>6.2}");
    }
}

/// Millions of packets a second that our forwarder sends.
fn forward(arguments: &Arguments, capture: &Path, files: &Files, pools: &Pools) -> Result<f64> {
    let source = open("source", &source_device(capture), pools)?;
    let sink = open("sink", &sink_device(files), pools)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (until, cpu) = (stop.clone(), arguments.cpu);
    let (mut ends, control) = (Ends::of(source.rx, sink.tx)?, sink.control);
    let mut back = Ends::of(sink.rx, source.tx)?;
    let worker = thread::spawn(move || -> Result<()> {
        let _worker = pmd::register_worker(cpu)?;
        let mut batch = Batch::new();
        while !until.load(Ordering::Relaxed) {
            ends.forward(&mut batch);
            back.forward(&mut batch);
        }
        Ok(())
    });
    thread::sleep(WARM_UP);
    let (before, start) = (control.counters().tx.packets, Instant::now());
    thread::sleep(Duration::from_secs(arguments.seconds));
    let (sent, took) = (control.counters().tx.packets - before, start.elapsed());
    stop.store(true, Ordering::Relaxed);
    worker
        .join()
        .map_err(|_| anyhow!("the worker panicked"))??;
    ensure!(
        control.counters().tx.drops.total() == 0,
        "the sink lost packets"
    );
    Ok(sent as f64 / took.as_secs_f64() / 1e6)
}

/// One direction.
struct Ends {
    rx: pmd::RxQueue,
    tx: pmd::TxQueue,
}

impl Ends {
    fn of(mut rx: Vec<pmd::RxQueue>, mut tx: Vec<pmd::TxQueue>) -> Result<Ends> {
        let rx = rx.pop().context("no receive queue")?;
        let tx = tx.pop().context("no transmit queue")?;
        Ok(Ends { rx, tx })
    }

    #[inline]
    fn forward(&mut self, batch: &mut Batch) {
        self.rx.receive(batch);
        if !batch.is_empty() {
            self.tx.send(batch);
        }
    }
}

fn open(name: &str, device: &str, pools: &Pools) -> Result<Port> {
    let options = [
        ("dpdk-devargs", device),
        ("n_rxq_desc", "512"),
        ("n_txq_desc", "512"),
    ];
    let options = options.map(|(key, value)| (key.to_string(), value.to_string()));
    let config = PortConfig {
        name: name.into(),
        kind: PortKind::Dpdk,
        options: options.into(),
        mtu: 1500,
        tx_queues: 1,
    };
    Ok(port::open(&config, pools)?)
}

/// Millions of packets a second that testpmd sends, as it says itself.
fn run_testpmd(
    arguments: &Arguments,
    flows: usize,
    hugepages: bool,
    capture: &Path,
    files: &Files,
) -> Result<f64> {
    let memory: &[&str] = if hugepages {
        &["--in-memory"]
    } else {
        &["--no-huge", "--no-shconf"]
    };
    // It takes a moment to start, and the last of its periods, of two seconds, is cut short.
    let seconds = (arguments.seconds + 3).to_string();
    let output = Command::new("timeout")
        .args([
            "-s",
            "INT",
            &seconds,
            "dpdk-testpmd",
            "--no-pci",
            "--no-telemetry",
        ])
        .args(memory)
        .args(["-m", &memory_mib(flows).to_string()])
        .args([
            "--lcores",
            &format!("0@{},1@{}", arguments.control_cpu, arguments.cpu),
        ])
        .args([
            "--vdev",
            &source_device(capture),
            "--vdev",
            &sink_device(files),
            "--",
        ])
        .args(["--forward-mode=io", "--auto-start", "--stats-period", "1"])
        .arg(format!("--total-num-mbufs={}", buffers(flows)))
        .stdin(Stdio::null())
        .output()
        .context("dpdk-testpmd (Debian: dpdk-dev) cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rates = text.lines().filter_map(|line| {
        let (_, after) = line.split_once("Tx-pps:")?;
        after.split_whitespace().next()?.parse::<f64>().ok()
    });
    let rates: Vec<f64> = rates
        .filter(|&rate| rate > 0.0)
        .map(|rate| rate / 1e6)
        .collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !rates.is_empty(),
        "dpdk-testpmd reports no rates:\n{text}{errors}"
    );
    Ok(median(rates))
}

fn source_device(capture: &Path) -> String {
    format!("net_pcap0,rx_pcap={},infinite_rx=1", capture.display())
}

fn sink_device(files: &Files) -> String {
    format!("net_pcap1,rx_pcap={}", files.path("empty.pcap").display())
}

/// Enough for the whole capture, which net_pcap keeps in buffers, and for what is on its way.
fn buffers(flows: usize) -> usize {
    flows + 16_384
}

/// Buffers of 2 KiB with their headers, and as much again as DPDK needs besides.
fn memory_mib(flows: usize) -> usize {
    buffers(flows) * 2_432 / (1 << 20) + 64
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Captures in a directory of their own, which goes with it.
struct Files {
    directory: PathBuf,
}

impl Files {
    fn create() -> Result<Files> {
        let name = format!("forward-{}", std::process::id());
        let files = Files {
            directory: std::env::temp_dir().join(name),
        };
        fs::create_dir(&files.directory)?;
        files.write("empty.pcap", 0)?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A capture with one frame of each flow.
    fn capture(&self, flows: usize) -> Result<PathBuf> {
        self.write(&format!("{flows}.pcap"), flows)
    }

    fn write(&self, name: &str, frames: usize) -> Result<PathBuf> {
        let path = self.path(name);
        let mut file = BufWriter::new(File::create(&path)?);
        file.write_all(&PCAP_HEADER.map(u32::to_le_bytes).concat())?;
        for flow in 0..frames as u32 {
            let frame = frame(flow);
            let length = frame.len() as u32;
            file.write_all(&[0, 0, length, length].map(u32::to_le_bytes).concat())?;
            file.write_all(&frame)?;
        }
        file.flush()?;
        Ok(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("{} stays: {error}", self.directory.display());
        }
    }
}

/// UDP in IPv4, 64 bytes on the wire with the check sequence; flows differ in source address.
fn frame(flow: u32) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
    frame[26..30].copy_from_slice(&(0x0a00_0000 + flow).to_be_bytes());
    frame[30..34].copy_from_slice(&[192, 168, 0, 1]);
    frame[34..40].copy_from_slice(&[0x10, 0, 0x20, 0, 0, 26]);
    frame
}

/// Magic number, version 2.4, no time zone, no accuracy, longest frame, Ethernet.
const PCAP_HEADER: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1];
const WARM_UP: Duration = Duration::from_millis(500);
/// None is used; a pool cannot be empty.
const LARGE: usize = 64;
