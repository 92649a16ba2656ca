//! Two ports of any type, cross-connected with nothing between.
//!
//! What a port can do at best, without the pipeline: `cross internal:t1 internal:t2`, then move the
//! TAPs to two network namespaces and let iperf3 measure. Prints one line a second to stderr and
//! every counter at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use pmd::{
    BATCH_MAX, Batch, Eal, EalConfig, Pools, PoolsConfig, Port, PortConfig, RxQueue, TxQueue, port,
};

/// Cross-connects two ports.
#[derive(Debug, Parser)]
struct Arguments {
    /// `TYPE:NAME[,OPTION=VALUE]...`, twice.
    #[arg(num_args = 2)]
    ports: Vec<String>,
    /// CPU that forwards.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// CPU for everything else.
    #[arg(long, default_value_t = 0)]
    control_cpu: usize,
    /// Seconds until the end.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// MTU of both.
    #[arg(long, default_value_t = 1500)]
    mtu: u16,
    /// Finish checksums and cut super-frames in software.
    #[arg(long)]
    software: bool,
    /// Ordinary memory, even with enough huge pages.
    #[arg(long)]
    no_huge: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let args = if arguments.no_huge {
        vec!["--no-huge".to_string()]
    } else {
        vec![]
    };
    let control_cpus = vec![arguments.control_cpu];
    let eal = Eal::start(EalConfig {
        control_cpus,
        memory_mib: 256,
        args,
        ..EalConfig::default()
    })?;
    let config = PoolsConfig {
        small: 16_384,
        ..PoolsConfig::for_workers(&[arguments.cpu])
    };
    let pools = Pools::new(&eal, &config)?;
    let open = |text: &String| port::open(&config_of(text, arguments.mtu)?, &pools).context("open");
    let ports = arguments
        .ports
        .iter()
        .map(open)
        .collect::<Result<Vec<Port>>>()?;
    let (mut controls, mut queues) = (Vec::new(), Vec::new());
    for Port { rx, tx, control } in ports {
        controls.push(control);
        queues.push((rx, tx));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (until, cpu, software) = (
        stop.clone(),
        arguments.cpu,
        arguments.software.then_some(pools),
    );
    let worker = thread::spawn(move || forward(queues, cpu, software.as_ref(), &until));
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(1));
        let packets = controls.iter().map(|control| control.counters().rx.packets);
        let up = controls.iter().map(|control| control.link().up);
        eprintln!(
            "rx {:?} up {:?}",
            packets.collect::<Vec<_>>(),
            up.collect::<Vec<_>>()
        );
    }
    stop.store(true, Ordering::Relaxed);
    let queues = worker.join().expect("the worker does not panic")?;
    for control in &controls {
        println!("{:#?}\n{:#?}", control.counters(), control.status());
    }
    drop((queues, controls));
    Ok(())
}

fn config_of(text: &str, mtu: u16) -> Result<PortConfig> {
    let (kind, rest) = text.split_once(':').context("TYPE:NAME")?;
    let mut parts = rest.split(',');
    let name = parts.next().unwrap_or_default().to_string();
    let options = parts.map(|part| {
        let (key, value) = part.split_once('=').context("OPTION=VALUE")?;
        Ok((key.to_string(), value.to_string()))
    });
    let options = options.collect::<Result<BTreeMap<_, _>>>()?;
    Ok(PortConfig {
        name,
        kind: kind.parse()?,
        options,
        mtu,
        tx_queues: 1,
    })
}

type Queues = Vec<(Vec<RxQueue>, Vec<TxQueue>)>;

fn forward(
    mut queues: Queues,
    cpu: usize,
    software: Option<&Pools>,
    stop: &AtomicBool,
) -> Result<Queues> {
    let _worker = pmd::register_worker(cpu)?;
    let mut batch = Batch::new();
    while !stop.load(Ordering::Relaxed) {
        for from in 0..queues.len() {
            let to = queues.len() - 1 - from;
            for queue in 0..queues[from].0.len() {
                queues[from].0[queue].receive(&mut batch);
                if batch.is_empty() {
                    continue;
                }
                let tx = &mut queues[to].1[0];
                match software {
                    None => tx.send(&mut batch),
                    Some(pools) => finish(&mut batch, tx, pools),
                }
            }
        }
    }
    Ok(queues)
}

/// Sends a batch after doing all that its packets owe.
fn finish(batch: &mut Batch, tx: &mut TxQueue, pools: &Pools) {
    let mut out = Batch::new();
    for packet in batch.drain() {
        let emit = |mut packet: pmd::Packet| {
            packet.complete_checksum();
            if out.len() == BATCH_MAX {
                tx.send(&mut out);
            }
            drop(out.push(packet));
        };
        if let Err(reason) = packet.segment(pools, emit) {
            eprintln!("lost: {reason:?}");
        }
    }
    tx.send(&mut out);
}
