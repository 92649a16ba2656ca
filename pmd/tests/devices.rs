//! DPDK's devices and threads through the public API: captures in and out, frames in pieces, and
//! one more than there may be.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fs, io, thread};

use pmd::port::LostReason;
use pmd::{Batch, Eal, EalConfig, Pools, PoolsConfig, Port, PortConfig, PortError, PortKind, port};

/// EAL takes 32 devices in all, and one test takes them all.
fn alone() -> (MutexGuard<'static, ()>, Pools) {
    static EAL: OnceLock<Eal> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let args = vec!["--no-huge".to_string()];
    let config = EalConfig {
        memory_mib: 512,
        args,
        ..EalConfig::default()
    };
    let eal = EAL.get_or_init(|| Eal::start(config).unwrap());
    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 16_384,
        large: 4,
    };
    (alone, Pools::new(eal, &config).unwrap())
}

fn open(device: &str, pools: &Pools) -> Result<Port, PortError> {
    let options = [
        ("dpdk-devargs", device),
        ("n_rxq_desc", "64"),
        ("n_txq_desc", "64"),
    ];
    let options = options.map(|(key, value)| (key.to_string(), value.to_string()));
    let config = PortConfig {
        name: "p".into(),
        kind: PortKind::Dpdk,
        options: BTreeMap::from(options),
        mtu: 1500,
        tx_queues: 1,
    };
    port::open(&config, pools)
}

fn receive_all(port: &mut Port) -> Batch {
    let mut batch = Batch::new();
    loop {
        let before = batch.len();
        port.rx[0].receive(&mut batch);
        if batch.len() == before {
            return batch;
        }
    }
}

#[test]
fn a_capture_passes_unchanged() {
    let (_alone, pools) = alone();
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (
        directory.path().join("in.pcap"),
        directory.path().join("out.pcap"),
    );
    let frames: Vec<Vec<u8>> = (0..20_u8)
        .map(|index| vec![index; 60 + 70 * index as usize])
        .collect();
    write_capture(&from, &frames).unwrap();
    let device = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        from.display(),
        to.display()
    );
    let mut port = open(&device, &pools).unwrap();
    let mut batch = receive_all(&mut port);
    assert_eq!(batch.len(), 20);
    port.tx[0].send(&mut batch);
    let counters = port.control.counters();
    assert_eq!(
        (counters.tx.packets, counters.tx.bytes),
        (20, counters.rx.bytes)
    );
    drop(port);
    assert_eq!(read_capture(&to), frames);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn frames_in_pieces_are_put_in_one_as_long_as_there_are_buffers() {
    let (_alone, pools) = alone();
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("jumbo.pcap");
    let lengths = [60, 3000, 1500, 9000, 2049, 9018, 64];
    let frames: Vec<Vec<u8>> = lengths
        .iter()
        .map(|&length| (0..length).map(|index| index as u8).collect())
        .collect();
    write_capture(&from, &frames).unwrap();
    let mut port = open(&format!("net_pcap1,rx_pcap={}", from.display()), &pools).unwrap();
    let held = pools.allocate(60_000).unwrap();
    let batch = receive_all(&mut port);
    // Three of the four large buffers are left for the four long frames.
    let kept: Vec<&[u8]> = frames
        .iter()
        .map(Vec::as_slice)
        .filter(|frame| frame.len() != 9018)
        .collect();
    assert_eq!(
        batch.iter().map(|packet| packet.data()).collect::<Vec<_>>(),
        kept
    );
    let counters = port.control.counters();
    assert_eq!(counters.rx_queues[0].drops.of(LostReason::NoBuffer), 1);
    assert_eq!(counters.rx.packets, 6);
    drop((batch, held, port));
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn one_device_too_many_is_an_error_that_says_how_many_there_may_be() {
    let (_alone, pools) = alone();
    let mut ports: Vec<Port> = (0..32)
        .map(|index| open(&format!("net_ring_many{index}"), &pools).unwrap())
        .collect();
    let error = open("net_ring_many32", &pools).unwrap_err();
    assert_eq!(
        error.to_string(),
        "port p: DPDK has 32 devices already, and takes no more"
    );
    ports.pop();
    ports.push(open("net_ring_many32", &pools).unwrap());
    drop(ports);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn more_workers_than_there_are_places_for_are_refused_and_the_places_come_back() {
    let (_alone, pools) = alone();
    for _ in 0..2 {
        let barrier = Arc::new(Barrier::new(WORKERS));
        let spawn = |_| {
            let (pools, barrier) = (pools.clone(), barrier.clone());
            thread::spawn(move || {
                let worker = pmd::register_worker(0);
                let packet = pools.allocate(60);
                barrier.wait();
                assert!(packet.is_some());
                worker.is_ok()
            })
        };
        let threads: Vec<_> = (0..WORKERS).map(spawn).collect();
        let registered = threads.into_iter().map(|thread| thread.join().unwrap());
        let registered = registered.filter(|&registered| registered).count();
        assert!(
            (100..WORKERS).contains(&registered),
            "{registered} registered"
        );
        assert_eq!(pools.in_use(), 0);
    }
}

/// More than EAL has places for.
const WORKERS: usize = 140;

fn write_capture(path: &Path, frames: &[Vec<u8>]) -> io::Result<()> {
    let mut bytes = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 1]
        .map(u32::to_le_bytes)
        .concat();
    for frame in frames {
        let length = frame.len() as u32;
        bytes.extend([0, 0, length, length].map(u32::to_le_bytes).concat());
        bytes.extend(frame);
    }
    fs::write(path, bytes)
}

fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut frames) = (&bytes[24..], Vec::new());
    while let Some((header, after)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let (frame, after) = after.split_at(length);
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}
