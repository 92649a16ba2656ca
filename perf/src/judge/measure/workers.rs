//! Workers beside each other, without devices: each has a packet path of its own, all one state.
//!
//! Packets are made before each batch and freed by a port that swallows them, by the same thread.
//! What the rates of two together lack of twice that of one is what they share: memory, and
//! whatever cache lines both write.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use pmd::{BATCH_MAX, Batch, Eal, EalConfig, Packet, Pools, PoolsConfig};
use vswitch::datapath::{Now, Processor};

use super::Sample;
use crate::bridge::{Bridge, CACHE_ENTRIES};
use crate::judge::generator::Traffic;
use crate::judge::machine::{CONTROL_CPU, WORKER_CPU};
use crate::judge::scenario::Rules;

/// Packets a second of so many workers together.
pub(super) fn sample(
    count: usize,
    traffic: &Traffic,
    rules: &Rules,
    seconds: f64,
) -> Result<Sample> {
    let cpus = &[WORKER_CPU, CONTROL_CPU][..count.min(2)];
    let pools = Pools::new(
        eal()?,
        &PoolsConfig {
            worker_cpus: vec![WORKER_CPU, CONTROL_CPU],
            small: 8192,
            large: 32,
        },
    )?;
    let mut bridge = Bridge::new(rules)?;
    let time = Duration::from_secs_f64(seconds);
    let processors = cpus.iter().map(|_| bridge.processor(&pools, CACHE_ENTRIES));
    let processors = processors.collect::<Result<Vec<Processor>>>()?;
    let port = bridge.ports[0];
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(|number| traffic.frame(number)).collect();
    let run = |cpu: usize, mut processor: Processor| -> Result<f64> {
        let _worker = pmd::register_worker(cpu)?;
        let (mut batch, mut packets, start) = (Batch::new(), 0, Instant::now());
        let mut frames = frames.iter().cycle();
        while start.elapsed() < time {
            for frame in frames.by_ref().take(BATCH_MAX) {
                let packet = Packet::from_bytes(&pools, frame).context("no buffer")?;
                let _ = batch.push(packet);
            }
            let ns = start.elapsed().as_nanos() as u64;
            processor.process(port, &mut batch, Now { ns });
            processor.flush();
            packets += BATCH_MAX;
        }
        Ok(packets as f64 / start.elapsed().as_secs_f64())
    };
    let run = &run;
    let rate = std::thread::scope(|scope| {
        let start = |(cpu, processor)| scope.spawn(move || run(cpu, processor));
        let threads: Vec<_> = cpus.iter().copied().zip(processors).map(start).collect();
        let ends = threads.into_iter().map(|thread| thread.join());
        ends.map(|end| end.map_err(|_| anyhow!("a worker panicked"))?)
            .sum::<Result<f64>>()
    })?;
    Ok(Sample {
        mpps: rate / 1e6,
        clock_mpps: rate / 1e6,
        ..Sample::default()
    })
}

/// One for the process.
fn eal() -> Result<&'static Eal> {
    static EAL: OnceLock<Eal> = OnceLock::new();
    if EAL.get().is_none() {
        let eal = Eal::start(EalConfig {
            control_cpus: vec![CONTROL_CPU],
            memory_mib: 64,
            ..EalConfig::default()
        })?;
        let _ = EAL.set(eal);
    }
    EAL.get().context("it was set")
}

/// As many as there are flows, and a whole number of batches.
const FRAMES: u64 = 8192;
