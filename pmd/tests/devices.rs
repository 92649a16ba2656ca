//! DPDK's devices and threads through the public API: captures in and out, frames in pieces, and
//! one more than there may be.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io, thread};

use pmd::port::LostReason;
use pmd::{
    Batch, Eal, EalConfig, Gso, GsoKind, Offload, Packet, PartialChecksum, Pools, PoolsConfig,
    Port, PortConfig, PortError, PortKind, port,
};

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

/// Two virtual devices that are the two ends of one vhost-user socket.
#[test]
fn a_device_that_segments_is_given_super_frames() {
    let (_alone, pools) = alone();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("vhost.sock");
    let socket = socket.display();
    let host = format!("net_vhost0,iface={socket},tso=1,legacy-ol-flags=1");
    let mut host = open(&host, &pools).unwrap();
    let mut guest = open(&format!("net_virtio_user0,path={socket}"), &pools).unwrap();
    wait_until(|| host.control.link().up && guest.control.link().up);
    assert_eq!(guest.control.status()["tx_tso_offload"], "true");
    let mut batch = Batch::new();
    for packet in [tcp(&pools, 100, None), tcp(&pools, 30_000, Some(1448))] {
        batch.push(packet).unwrap();
    }
    let owed: Vec<Offload> = batch.iter().map(Packet::offload).collect();
    guest.tx[0].send(&mut batch);
    wait_until(|| {
        host.rx[0].receive(&mut batch);
        batch.len() == 2
    });
    assert_eq!(
        batch.iter().map(Packet::len).collect::<Vec<_>>(),
        [154, 30_054]
    );
    assert_eq!(batch.iter().map(Packet::offload).collect::<Vec<_>>(), owed);

    // The other end cannot: it gets whole packets, each right by itself.
    host.tx[0].send(&mut batch);
    wait_until(|| {
        guest.rx[0].receive(&mut batch);
        batch.len() == 22
    });
    assert!(
        batch
            .iter()
            .all(|packet| !packet.owes() && packet.len() <= 1502)
    );
    assert!(
        batch
            .iter()
            .all(|packet| transport_sum(packet.data()) == 0xffff)
    );
    drop(batch);
    drop((guest, host));
    assert_eq!(pools.in_use(), 0);
}

/// The sum over pseudo-header and segment (RFC 9293 §3.1): all ones where the checksum is right.
fn transport_sum(frame: &[u8]) -> u32 {
    let segment = &frame[34..];
    let words = frame[26..34].chunks(2).chain(segment.chunks(2));
    let words = words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>() + 6 + segment.len() as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

/// TCP over IPv4 that owes its checksum.
fn tcp(pools: &Pools, payload: u16, segment: Option<u16>) -> Packet {
    let mut frame = vec![7; 54 + usize::from(payload)];
    frame[12..34].copy_from_slice(&[
        0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    frame[16..18].copy_from_slice(&(payload + 40).to_be_bytes());
    frame[34..54].copy_from_slice(&[
        0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    let pseudo = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 6 + 20 + payload;
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let mut packet = Packet::from_bytes(pools, &frame).unwrap();
    let checksum = Some(PartialChecksum {
        start: 34,
        offset: 16,
    });
    let gso = segment.map(|size| Gso {
        kind: GsoKind::Tcp4,
        size,
        ecn: false,
    });
    assert!(packet.set_offload(Offload {
        checksum,
        gso,
        valid: false
    }));
    packet
}

fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not within five seconds");
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
