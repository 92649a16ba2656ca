//! vhost-user ports by themselves, with dpdk-testpmd's virtio driver as the guest.
//!
//! The guest forwards what it receives back by the same device (`io`), so that what a port sends
//! it receives again. Neither side has huge pages.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pmd::port::{self, LostReason, QueueCounters};
use pmd::{Batch, FRAME_MAX, Packet, Pools, Port, PortConfig, PortKind};
use tempfile::TempDir;
use tests::crossing::{pools, port as config};
use tests::{Background, eventually};

/// A folder with the socket of a guest. There is one at a time: guests and tests poll.
struct Place {
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn new() -> Place {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Place {
            folder: tempfile::tempdir().expect("a folder"),
            _turn,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("vm.sock")
    }

    /// A port for the guest.
    fn config(&self, kind: PortKind, mtu: u16, options: &[(&str, &str)]) -> PortConfig {
        let socket = self.socket();
        let path = ("vhost-server-path", socket.to_str().expect("text"));
        config(kind, "vm", mtu, &[&[path], options].concat())
    }

    fn client(&self, pools: &Pools) -> Port {
        open(
            &self.config(PortKind::DpdkVhostUserClient, 1500, &[]),
            pools,
        )
    }

    /// A guest that serves the socket, with further arguments for its device and for testpmd.
    fn guest(&self, device: &str, arguments: &[&str]) -> Background {
        let _ = std::fs::remove_file(self.socket());
        self.testpmd(&format!(",server=1{device}"), arguments)
    }

    fn testpmd(&self, device: &str, arguments: &[&str]) -> Background {
        let device = format!("net_virtio_user0,path={}{device}", self.socket().display());
        let prefix = format!(
            "pmd-{}",
            self.folder.path().file_name().expect("a name").display()
        );
        let head = [
            "dpdk-testpmd",
            "--lcores",
            "0@0,1@0",
            "--no-pci",
            "--no-huge",
            "-m",
            "192",
        ];
        let more = [
            "--no-shconf",
            "--no-telemetry",
            "--file-prefix",
            &prefix,
            "--vdev",
            &device,
        ];
        let tail = [
            "--",
            "--forward-mode=io",
            "--auto-start",
            "--total-num-mbufs=4096",
        ];
        let period = ["--stats-period", "1"];
        let words = [&head[..], &more, &tail, &period, arguments].concat();
        Background::start(&words, &self.path("guest.log"))
    }
}

#[track_caller]
fn open(config: &PortConfig, pools: &Pools) -> Port {
    port::open(config, pools).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn wait_for_link(port: &Port, up: bool) {
    let what = if up {
        "the guest is there"
    } else {
        "the guest is gone"
    };
    eventually(what, 30, || (port.control.link().up == up).then_some(()));
}

/// Waits until the guest forwards: what comes before that, testpmd throws away.
#[track_caller]
fn wait_for_forwarding(port: &mut Port, pools: &Pools) {
    wait_for_link(port, true);
    let (mut batch, mut probe) = (Batch::new(), PROBE);
    eventually("the guest forwards", 30, || {
        probe += 1;
        send(port, 0, pools, &[frame(probe, 60)]);
        let end = Instant::now() + Duration::from_millis(100);
        while Instant::now() < end {
            port.rx.iter_mut().for_each(|rx| rx.receive(&mut batch));
            if batch
                .drain()
                .any(|packet| packet.data() == frame(probe, 60))
            {
                return Some(());
            }
        }
        None
    });
}

/// Number of the first frame that is not a test's own.
const PROBE: usize = 1 << 40;

fn frame(index: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![(index % 251) as u8; length];
    bytes[..14].copy_from_slice(&[2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 0x88, 0xb5]);
    bytes[14..22].copy_from_slice(&(index as u64).to_be_bytes());
    bytes
}

fn send(port: &mut Port, queue: usize, pools: &Pools, frames: &[Vec<u8>]) {
    let mut batch = Batch::new();
    for frame in frames {
        let packet = Packet::from_bytes(pools, frame).expect("a buffer");
        batch.push(packet).expect("room in a batch");
    }
    port.tx[queue].send(&mut batch);
    assert!(batch.is_empty());
}

/// Everything that comes in by any queue until there are so many packets.
#[track_caller]
fn receive(port: &mut Port, count: usize) -> Vec<Packet> {
    let (mut batch, mut packets) = (Batch::new(), Vec::new());
    eventually("packets from the guest", 30, || {
        for _ in 0..1000 {
            for rx in &mut port.rx {
                rx.receive(&mut batch);
                packets.extend(batch.drain());
            }
        }
        (packets.len() >= count).then_some(())
    });
    packets
}

/// Sends frames of these lengths by one queue and expects each back unchanged and in order.
#[track_caller]
fn echo(port: &mut Port, queue: usize, pools: &Pools, lengths: &[usize]) {
    for (round, lengths) in lengths.chunks(32).enumerate() {
        let frames: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(index, length)| frame(round * 32 + index, *length))
            .collect();
        send(port, queue, pools, &frames);
        let received = receive(port, frames.len());
        assert!(
            received
                .iter()
                .map(Packet::data)
                .eq(frames.iter().map(Vec::as_slice))
        );
    }
}

fn lengths() -> Vec<usize> {
    (0..640).map(|index| 60 + index * 37 % 1455).collect()
}

/// Packets go to the guest and back, and everything is counted and told.
#[track_caller]
fn passes_packets(device: &str) {
    let (place, pools) = (Place::new(), pools());
    let mut port = place.client(&pools);
    assert!(!port.control.link().up);
    assert_eq!(port.control.status()["status"], "disconnected");
    let guest = place.guest(device, &[]);
    wait_for_forwarding(&mut port, &pools);
    let before = port.control.counters();
    echo(&mut port, 0, &pools, &lengths());
    let after = port.control.counters();
    let bytes = lengths().iter().sum::<usize>() as u64;
    for (before, after) in [(before.rx, after.rx), (before.tx, after.tx)] {
        assert_eq!(after.packets - before.packets, 640);
        assert_eq!(after.bytes - before.bytes, bytes);
        assert_eq!(after.drops, before.drops);
    }
    let status = port.control.status();
    let told = |name: &str| status[name].as_str();
    assert_eq!((told("status"), told("mode")), ("connected", "client"));
    assert_eq!((told("num_of_vrings"), told("vring_1_size")), ("2", "256"));
    assert_eq!(told("socket"), place.socket().to_str().expect("text"));
    let features = u64::from_str_radix(told("features").trim_start_matches("0x"), 16);
    let packed = features.expect("a number") >> 34 & 1 == 1;
    assert_eq!(packed, device.contains("packed"));
    drop((port, guest));
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn split_rings_pass_packets() {
    passes_packets("");
}

#[test]
fn packed_rings_pass_packets() {
    passes_packets(",packed_vq=1");
}

#[test]
fn a_guest_may_enable_several_rings() {
    for n_rxq in ["1", "2"] {
        let (place, pools) = (Place::new(), pools());
        let mut config = place.config(PortKind::DpdkVhostUserClient, 1500, &[("n_rxq", n_rxq)]);
        config.tx_queues = 2;
        let mut port = open(&config, &pools);
        let guest = place.guest(",queues=2", &["--rxq=2", "--txq=2"]);
        wait_for_forwarding(&mut port, &pools);
        eventually("all rings are enabled", 30, || {
            (port.control.status()["num_of_vrings"] == "4").then_some(())
        });
        let before = port.control.counters();
        for queue in [0, 1] {
            echo(&mut port, queue, &pools, &lengths()[..64]);
        }
        let after = port.control.counters();
        assert_eq!(after.tx.drops, before.tx.drops);
        let each = |before: &[QueueCounters], after: &[QueueCounters]| -> Vec<u64> {
            let pairs = before.iter().zip(after);
            pairs
                .map(|(before, after)| after.packets - before.packets)
                .collect()
        };
        assert_eq!(each(&before.tx_queues, &after.tx_queues), [64, 64]);
        let expected: &[u64] = if n_rxq == "1" { &[128] } else { &[64, 64] };
        assert_eq!(each(&before.rx_queues, &after.rx_queues), expected);
        drop((port, guest));
        assert_eq!(pools.in_use(), 0);
    }
}

#[test]
fn a_guest_may_come_back_with_fewer_rings() {
    let (place, pools) = (Place::new(), pools());
    let mut config = place.config(PortKind::DpdkVhostUserClient, 1500, &[]);
    config.tx_queues = 2;
    let mut port = open(&config, &pools);
    for (queues, arguments) in [("2", &["--rxq=2", "--txq=2"][..]), ("1", &[])] {
        let guest = place.guest(&format!(",queues={queues}"), arguments);
        wait_for_forwarding(&mut port, &pools);
        for queue in [0, 1] {
            echo(&mut port, queue, &pools, &lengths()[..64]);
        }
        drop(guest);
        wait_for_link(&port, false);
    }
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn a_socket_is_served_and_removed() {
    let (place, pools) = (Place::new(), pools());
    let config = place.config(PortKind::DpdkVhostUser, 1500, &[]);
    let mut port = open(&config, &pools);
    assert!(place.socket().exists());
    let guest = place.testpmd("", &[]);
    wait_for_forwarding(&mut port, &pools);
    assert_eq!(port.control.status()["mode"], "server");
    echo(&mut port, 0, &pools, &lengths()[..64]);
    drop(guest);
    wait_for_link(&port, false);
    let guest = place.testpmd("", &[]);
    wait_for_forwarding(&mut port, &pools);
    echo(&mut port, 0, &pools, &lengths()[..64]);
    let error = port::open(&config, &pools)
        .map(drop)
        .expect_err("one port has it")
        .to_string();
    assert!(error.contains("is the socket of another port"), "{error}");
    drop((port, guest));
    assert!(!place.socket().exists());
    // What a process that was killed has left behind is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(place.socket()).expect("a socket"));
    let port = open(&config, &pools);
    drop(port);
    let served = std::os::unix::net::UnixListener::bind(place.socket()).expect("a socket");
    let error = port::open(&config, &pools)
        .map(drop)
        .expect_err("it is served")
        .to_string();
    assert!(error.contains("is served by another process"), "{error}");
    drop(served);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn a_guest_that_is_killed_comes_back() {
    let (place, pools) = (Place::new(), pools());
    let mut port = place.client(&pools);
    for round in 0..2 {
        let mut guest = place.guest("", &[]);
        wait_for_forwarding(&mut port, &pools);
        echo(&mut port, 0, &pools, &lengths()[..64]);
        // In the middle of traffic.
        for index in 0..50 {
            send(&mut port, 0, &pools, &[frame(index, 1000)]);
        }
        guest.signal("KILL");
        guest.wait(60);
        wait_for_link(&port, false);
        let before = port.control.counters().tx.drops.of(LostReason::Down);
        send(&mut port, 0, &pools, &[frame(0, 60), frame(1, 60)]);
        let after = port.control.counters().tx.drops.of(LostReason::Down);
        assert_eq!(after - before, 2, "round {round}");
        assert_eq!(port.control.status()["status"], "disconnected");
        assert_eq!(pools.in_use(), 0);
        // What the guest sent back before it died is gone with it.
        let mut batch = Batch::new();
        port.rx[0].receive(&mut batch);
        assert!(batch.is_empty());
    }
}

/// Ends the workers, also when the test fails.
struct Stopper<'stop>(&'stop AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_guest_is_killed_while_workers_are_in_its_rings() {
    let (place, pools) = (Place::new(), pools());
    let mut config = place.config(PortKind::DpdkVhostUserClient, 1500, &[]);
    config.tx_queues = 2;
    let Port {
        mut rx,
        mut tx,
        control,
    } = open(&config, &pools);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (_stopper, stop, pools) = (Stopper(&stop), &stop, &pools);
        for mut queue in tx.drain(..) {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = Batch::new();
                    for index in 0..32 {
                        let packet = Packet::from_bytes(pools, &frame(index, 500));
                        drop(packet.map(|packet| batch.push(packet)));
                    }
                    queue.send(&mut batch);
                    thread::sleep(Duration::from_micros(100));
                }
            });
        }
        for mut queue in rx.drain(..) {
            scope.spawn(move || {
                let mut batch = Batch::new();
                while !stop.load(Ordering::Relaxed) {
                    queue.receive(&mut batch);
                    batch.clear();
                    thread::yield_now();
                }
            });
        }
        for _ in 0..2 {
            let guest = place.guest("", &[]);
            let before = control.counters().rx.packets;
            eventually("packets come back", 30, || {
                (control.counters().rx.packets > before + 2000).then_some(())
            });
            guest.signal("KILL");
            drop(guest);
            eventually("the guest is gone", 30, || {
                (!control.link().up).then_some(())
            });
        }
    });
    drop(control);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn two_workers_share_a_ring() {
    const ROUNDS: usize = 2000;
    let (place, pools) = (Place::new(), pools());
    let options = [("n_rxq", "1")];
    let mut config = place.config(PortKind::DpdkVhostUserClient, 1500, &options);
    config.tx_queues = 2;
    let mut port = open(&config, &pools);
    let guest = place.guest("", &[]);
    wait_for_forwarding(&mut port, &pools);
    let Port {
        mut rx,
        tx,
        control,
    } = port;
    let before = control.counters().tx;
    let mut returned = Vec::new();
    // No more than the guest's rings take, which throws away what does not fit.
    let in_flight = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (worker, mut queue) in tx.into_iter().enumerate() {
            let (pools, in_flight) = (&pools, &in_flight);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    while in_flight.load(Ordering::Relaxed) > 64 {
                        thread::yield_now();
                    }
                    let mut bytes = frame(round, 60);
                    bytes[22] = worker as u8;
                    let packet = Packet::from_bytes(pools, &bytes).expect("a buffer");
                    let mut batch = Batch::new();
                    batch.push(packet).expect("room");
                    in_flight.fetch_add(1, Ordering::Relaxed);
                    queue.send(&mut batch);
                }
            });
        }
        let mut batch = Batch::new();
        eventually("everything comes back", 30, || {
            for _ in 0..1000 {
                rx[0].receive(&mut batch);
                in_flight.fetch_sub(batch.len(), Ordering::Relaxed);
                returned.extend(batch.drain().map(|packet| packet.data().to_vec()));
            }
            (returned.len() == 2 * ROUNDS).then_some(())
        });
    });
    for worker in [0, 1] {
        let mine = returned.iter().filter(|bytes| bytes[22] == worker);
        assert!(
            mine.is_sorted_by_key(|bytes| bytes[14..22].to_vec()),
            "worker {worker}"
        );
    }
    let after = control.counters().tx;
    assert_eq!(after.packets - before.packets, 2 * ROUNDS as u64);
    assert_eq!(after.drops, before.drops);
    drop((rx, control, guest));
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn a_guest_that_stands_still_loses_its_own_packets() {
    let (place, pools) = (Place::new(), pools());
    let mut port = place.client(&pools);
    // It may be slow to stop and fast to go on: its way out holds more than its way in, so that
    // it loses nothing of its own while this thread does not run.
    let guest = place.guest(",queue_size=1024", &["--rxd=256", "--txd=1024"]);
    wait_for_forwarding(&mut port, &pools);
    guest.signal("STOP");
    eventually("the guest stands still", 30, || {
        is_stopped(guest.pid()).then_some(())
    });
    let before = port.control.counters().tx;
    let full =
        |tx: QueueCounters| tx.drops.of(LostReason::Full) - before.drops.of(LostReason::Full);
    let mut sent = 0;
    while full(port.control.counters().tx) == 0 {
        assert!(sent < 10_000, "the ring takes everything");
        send(&mut port, 0, &pools, &vec![frame(sent, 60); 32]);
        sent += 32;
    }
    let tx = port.control.counters().tx;
    let taken = (tx.packets - before.packets) as usize;
    assert_eq!(taken as u64 + full(tx), sent as u64);
    assert!(taken < 1024, "{taken} packets do not fit into its way out");
    guest.signal("CONT");
    assert_eq!(receive(&mut port, taken).len(), taken);
    echo(&mut port, 0, &pools, &lengths()[..64]);
}

/// Whether all threads of a process are stopped.
fn is_stopped(process: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it is there");
    let mut states = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        // The name, in brackets, may hold anything.
        text.rsplit(") ").next()?.chars().next()
    });
    states.all(|state| state == 'T')
}

#[test]
fn long_frames_are_in_one_piece() {
    let (place, pools) = (Place::new(), pools());
    let mut port = open(
        &place.config(PortKind::DpdkVhostUserClient, 9000, &[]),
        &pools,
    );
    let guest = place.guest("", &["--max-pkt-len=9100", "--mbuf-size=10000"]);
    wait_for_forwarding(&mut port, &pools);
    echo(
        &mut port,
        0,
        &pools,
        &[60, 1514, 2048, 2049, 9014, 9022, 60, 9000],
    );
    let too_long = Packet::from_bytes(&pools, &frame(0, 9023)).expect("a buffer");
    let longest = Packet::from_bytes(&pools, &frame(0, FRAME_MAX)).expect("a buffer");
    let mut batch = Batch::new();
    batch.push(too_long).expect("room");
    batch.push(longest).expect("room");
    port.tx[0].send(&mut batch);
    assert_eq!(port.control.counters().tx.drops.of(LostReason::TooLong), 2);
    drop((port, guest));
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn hundreds_of_ports_come_and_go_beside_one_that_is_busy() {
    const PORTS: usize = 256;
    let (place, pools) = (Place::new(), pools());
    let mut busy = place.client(&pools);
    let guest = place.guest("", &[]);
    wait_for_forwarding(&mut busy, &pools);
    let before = busy.control.counters();
    let threads = count(Path::new("/proc/self/task"));
    let descriptors = count(Path::new("/proc/self/fd"));
    let mut others = Vec::new();
    for index in 0..PORTS - 1 {
        let path = place.path(&format!("{index}.sock"));
        let options = [("vhost-server-path", path.to_str().expect("text"))];
        let config = config(
            PortKind::DpdkVhostUserClient,
            &format!("p{index}"),
            1500,
            &options,
        );
        others.push(open(&config, &pools));
        if index % 16 == 0 {
            echo(&mut busy, 0, &pools, &[60; 8]);
        }
    }
    // Threads of tests come and go by themselves: none for each port is what matters.
    assert!(count(Path::new("/proc/self/task")) < threads + PORTS / 16);
    assert!(count(Path::new("/proc/self/fd")) <= descriptors + PORTS);
    let mut batch = Batch::new();
    for port in &mut others {
        port.rx[0].receive(&mut batch);
        assert!(batch.is_empty() && !port.control.link().up);
    }
    while let Some(port) = others.pop() {
        drop(port);
        if others.len() % 16 == 0 {
            echo(&mut busy, 0, &pools, &[60; 8]);
        }
    }
    let after = busy.control.counters();
    assert_eq!(
        (after.rx.drops, after.tx.drops),
        (before.rx.drops, before.tx.drops)
    );
    drop((busy, guest));
    assert_eq!(pools.in_use(), 0);
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("proc is mounted").count()
}

#[test]
fn a_port_that_is_down_passes_nothing() {
    let (place, pools) = (Place::new(), pools());
    let mut port = place.client(&pools);
    let guest = place.guest("", &[]);
    wait_for_forwarding(&mut port, &pools);
    port.control.set_admin_up(false).expect("a guest goes down");
    assert!(!port.control.link().up);
    send(&mut port, 0, &pools, &[frame(0, 60)]);
    assert_eq!(port.control.counters().tx.drops.of(LostReason::Down), 1);
    port.control.set_admin_up(true).expect("a guest goes up");
    assert!(port.control.link().up);
    echo(&mut port, 0, &pools, &[60; 8]);
    drop((port, guest));
    assert_eq!(pools.in_use(), 0);
}
