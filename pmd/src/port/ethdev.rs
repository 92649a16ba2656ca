//! The `dpdk` port: a NIC by its PCI address, or any virtual device of DPDK's.
//!
//! The device is hot-added when the port opens and removed when the last of its queues and its
//! control has gone, so that no queue ever polls a device that is not there. Options: see
//! `settings`. What a device cannot do for a packet (checksums, segmentation) is done in software
//! before it is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{
    ControlKind, Link, LostReason, Port, PortConfig, PortControl, PortCounters, PortError, RxKind,
    RxQueue, TxKind, TxQueue,
};
use crate::{Pools, ffi};

mod device;
mod queue;
mod settings;

use device::{Attached, Device, open_ports};
pub(crate) use queue::{Rx, Tx};
use settings::Settings;

pub(super) fn check(config: &PortConfig) -> Result<(), PortError> {
    Settings::of(config).map(drop)
}

pub(super) fn open(config: &PortConfig, pools: &Pools) -> Result<Port, PortError> {
    let settings = Settings::of(config)?;
    let attached = Attached::new(config, &settings)?;
    let device = Arc::new(Device::start(attached, config, &settings, pools)?);
    let rx = |queue| {
        RxQueue::new(RxKind::Ethdev(Rx::new(
            device.clone(),
            queue,
            pools.clone(),
        )))
    };
    let tx = |queue| {
        TxQueue::new(TxKind::Ethdev(Tx::new(
            device.clone(),
            queue,
            pools.clone(),
        )))
    };
    Ok(Port {
        rx: (0..device.rx_counters.len()).map(rx).collect(),
        tx: (0..device.tx_counters.len()).map(tx).collect(),
        control: PortControl::new(ControlKind::Ethdev(Control {
            device: device.clone(),
        })),
    })
}

/// Control of a device.
#[derive(Debug)]
pub(crate) struct Control {
    device: Arc<Device>,
}

impl Control {
    pub(super) fn link(&self) -> Link {
        let mut link = ffi::rte_eth_link::default();
        // SAFETY: the port is open as long as `device` lives; `link` outlives the call.
        let known = unsafe { ffi::rte_eth_link_get_nowait(self.device.port(), &mut link) } == 0;
        let speed = link.link_speed;
        Link {
            up: known && self.device.is_up() && link.link_status() != 0,
            speed_mbps: if speed == ffi::RTE_ETH_SPEED_NUM_UNKNOWN {
                0
            } else {
                speed
            },
            full_duplex: link.link_duplex() != 0,
        }
    }

    pub(super) fn set_admin_up(&mut self, up: bool) {
        self.device.admin_up.store(up, Ordering::Relaxed);
        let _alone = open_ports();
        let port = self.device.port();
        // SAFETY: the port is open as long as `device` lives. A device that cannot do this stays
        // up, and its queues drop what is sent.
        unsafe {
            if up {
                ffi::rte_eth_dev_set_link_up(port)
            } else {
                ffi::rte_eth_dev_set_link_down(port)
            }
        };
    }

    pub(super) fn mac(&self) -> [u8; 6] {
        self.device.mac
    }

    pub(super) fn mtu(&self) -> u16 {
        self.device.mtu
    }

    pub(super) fn numa(&self) -> usize {
        self.device.node
    }

    pub(super) fn counters(&self) -> PortCounters {
        let mut counters = PortCounters::of(&self.device.rx_counters, &self.device.tx_counters);
        let mut stats = ffi::rte_eth_stats::default();
        // SAFETY: the port is open as long as `device` lives; `stats` outlives the call.
        if unsafe { ffi::rte_eth_stats_get(self.device.port(), &mut stats) } == 0 {
            counters.rx.drops.add(LostReason::Missed, stats.imissed);
            counters.rx.drops.add(LostReason::Device, stats.ierrors);
            counters.rx.drops.add(LostReason::NoBuffer, stats.rx_nombuf);
            counters.tx.drops.add(LostReason::Device, stats.oerrors);
        }
        counters
    }

    pub(super) fn status(&self) -> BTreeMap<String, String> {
        let device = &self.device;
        let rows = [
            ("driver_name", device.driver.clone()),
            ("port_no", device.port().to_string()),
            ("numa_id", device.node.to_string()),
            ("n_rxq", device.rx_counters.len().to_string()),
            ("n_txq", device.tx_counters.len().to_string()),
            ("n_rxq_desc", device.rx_descriptors.to_string()),
            ("n_txq_desc", device.tx_descriptors.to_string()),
            (
                "tx_checksum_offload",
                device.does(ffi::SHIM_TX_CHECKSUM).to_string(),
            ),
            (
                "tx_tso_offload",
                device.does(ffi::SHIM_TX_TCP_SEGMENT).to_string(),
            ),
        ];
        rows.into_iter()
            .map(|(name, value)| (name.to_string(), value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;
    use crate::testing::pools;
    use crate::{Batch, Gso, GsoKind, Offload, Packet, PartialChecksum, PortKind, register_worker};

    fn dpdk(name: &str, options: &[(&str, &str)]) -> PortConfig {
        let options = options
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        PortConfig {
            name: name.into(),
            kind: PortKind::Dpdk,
            options: options.collect(),
            mtu: 1500,
            tx_queues: 1,
        }
    }

    /// A port that receives what it sends: a ring of DPDK's for each queue.
    fn ring(name: &str, pools: &Pools) -> Port {
        open(
            &dpdk(name, &[("dpdk-devargs", name), ("n_rxq_desc", "64")]),
            pools,
        )
        .unwrap()
    }

    fn batch(pools: &Pools, frames: &[Vec<u8>]) -> Batch {
        let mut batch = Batch::new();
        for frame in frames {
            batch
                .push(Packet::from_bytes(pools, frame).unwrap())
                .unwrap();
        }
        batch
    }

    fn error(name: &str, options: &[(&str, &str)]) -> String {
        open(&dpdk(name, options), &pools())
            .map(drop)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_ring_gives_back_what_was_sent() {
        let pools = pools();
        let mut port = ring("net_ring_back", &pools);
        let frames: Vec<Vec<u8>> = (0..32)
            .map(|index| vec![index; 60 + index as usize])
            .collect();
        let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
        for round in 1..=3 {
            let mut sent = batch(&pools, &frames);
            port.tx[0].send(&mut sent);
            assert!(sent.is_empty());
            let mut received = Batch::new();
            port.rx[0].receive(&mut received);
            assert_eq!(
                received.iter().map(Packet::data).collect::<Vec<_>>(),
                frames
            );
            let counters = port.control.counters();
            for direction in [counters.rx, counters.tx, counters.rx_queues[0]] {
                assert_eq!(
                    (direction.packets, direction.bytes),
                    (32 * round, bytes * round)
                );
                assert_eq!(direction.drops.total(), 0);
            }
        }
        assert!(port.control.link().up);
        assert_eq!(port.control.status()["driver_name"], "net_ring");
        drop(port);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn what_a_full_device_does_not_take_is_lost_and_counted() {
        let pools = pools();
        let mut port = ring("net_ring_full", &pools);
        let frames = vec![vec![0; 60]; 32];
        let mut sent = 0;
        while port.control.counters().tx.drops.total() == 0 {
            assert!(sent < 10_000, "the ring takes everything");
            port.tx[0].send(&mut batch(&pools, &frames));
            sent += 32;
        }
        let tx = port.control.counters().tx;
        assert_eq!(tx.packets + tx.drops.of(LostReason::Full), sent);
        assert_eq!(tx.bytes, tx.packets * 60);
        assert_eq!(pools.in_use() as u64, tx.packets);
        let mut received = Batch::new();
        loop {
            port.rx[0].receive(&mut received);
            if received.is_empty() {
                break;
            }
            received.clear();
        }
        assert_eq!(port.control.counters().rx.packets, tx.packets);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn too_long_frames_and_a_port_that_is_down_lose_packets_by_reason() {
        let pools = pools();
        let mut port = ring("net_ring_long", &pools);
        let frames = [vec![1; 1522], vec![2; 1523], vec![3; 60]];
        port.tx[0].send(&mut batch(&pools, &frames));
        let mut received = Batch::new();
        port.rx[0].receive(&mut received);
        assert_eq!(
            received.iter().map(Packet::len).collect::<Vec<_>>(),
            [1522, 60]
        );
        assert_eq!(port.control.counters().tx.drops.of(LostReason::TooLong), 1);
        port.control.set_admin_up(false).unwrap();
        assert!(!port.control.link().up);
        port.tx[0].send(&mut batch(&pools, &frames));
        assert_eq!(port.control.counters().tx.drops.of(LostReason::Down), 3);
        port.control.set_admin_up(true).unwrap();
        assert!(port.control.link().up);
        drop(received);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn several_queues_count_apart() {
        let pools = pools();
        let mut config = dpdk(
            "nulls",
            &[("dpdk-devargs", "net_null7,size=60"), ("n_rxq", "3")],
        );
        config.tx_queues = 3;
        let mut port = open(&config, &pools).unwrap();
        assert_eq!((port.rx.len(), port.tx.len()), (3, 3));
        let mut packets = Batch::new();
        port.rx[2].receive(&mut packets);
        assert_eq!(packets.len(), 64);
        port.tx[1].send(&mut packets);
        let counters = port.control.counters();
        let count = |queues: &[crate::port::QueueCounters]| -> Vec<u64> {
            queues.iter().map(|queue| queue.packets).collect()
        };
        assert_eq!(count(&counters.rx_queues), [0, 0, 64]);
        assert_eq!(count(&counters.tx_queues), [0, 64, 0]);
        drop(port);
        assert_eq!(pools.in_use(), 0);
    }

    /// A UDP datagram of `payload` zero bytes in IPv4, its checksum still to be completed.
    fn datagram(payload: usize) -> Vec<u8> {
        let mut frame = vec![0; 42 + payload];
        let length = |bytes: usize| ((bytes + payload) as u16).to_be_bytes();
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&length(28));
        (frame[22], frame[23]) = (64, 17);
        frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame[38..40].copy_from_slice(&length(8));
        // The sum of addresses and protocol, and of the length.
        let pseudo = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 8 + payload as u16;
        frame[40..42].copy_from_slice(&pseudo.to_be_bytes());
        frame
    }

    #[test]
    fn what_a_packet_owes_is_done_where_the_device_cannot() {
        let pools = pools();
        let mut port = ring("net_ring_owes", &pools);
        let mut sent = batch(&pools, &[datagram(18), datagram(2500), vec![9; 60]]);
        let checksum = Some(PartialChecksum {
            start: 34,
            offset: 6,
        });
        let gso = Some(Gso {
            kind: GsoKind::Udp4,
            size: 1000,
            ecn: false,
        });
        let mut owing = sent.iter_mut();
        let small = Offload {
            checksum,
            ..Offload::default()
        };
        assert!(owing.next().unwrap().set_offload(small));
        assert!(owing.next().unwrap().set_offload(Offload { gso, ..small }));
        port.tx[0].send(&mut sent);
        let mut received = Batch::new();
        port.rx[0].receive(&mut received);
        let lengths: Vec<usize> = received.iter().map(Packet::len).collect();
        assert_eq!(lengths, [60, 1042, 1042, 542, 60]);
        assert!(received.iter().all(|packet| !packet.owes()));
        // Complement of the sum of the pseudo-header, the ports, the length and no payload.
        let expected = !(0x0a00_u16 + 1 + 0x0a00 + 2 + 17 + 26 + 26);
        let first = received.iter().next().unwrap();
        assert_eq!(first.data()[40..42], expected.to_be_bytes());
        drop(received);
        assert_eq!(port.control.counters().tx.packets, 5);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn a_port_comes_and_goes_while_another_is_polled() {
        let pools = pools();
        let mut polled = ring("net_ring_polled", &pools);
        let stop = Arc::new(AtomicBool::new(false));
        let (until, theirs) = (stop.clone(), pools.clone());
        let worker = thread::spawn(move || {
            let _worker = register_worker(0).unwrap();
            let (mut packets, mut laps) = (batch(&theirs, &vec![vec![7; 60]; 32]), 0_u64);
            while !until.load(Ordering::Relaxed) {
                polled.tx[0].send(&mut packets);
                polled.rx[0].receive(&mut packets);
                assert_eq!(packets.len(), 32, "lost packets in lap {laps}");
                laps += 1;
            }
            packets.clear();
            (polled, laps)
        });
        for round in 0..20 {
            let mut other = ring("net_ring_guest", &pools);
            other.tx[0].send(&mut batch(&pools, &[vec![round; 60]]));
            let mut received = Batch::new();
            other.rx[0].receive(&mut received);
            assert_eq!(received.iter().next().unwrap().data()[0], round);
        }
        stop.store(true, Ordering::Relaxed);
        let (polled, laps) = worker.join().unwrap();
        let counters = polled.control.counters();
        assert_eq!(
            (counters.rx.packets, counters.tx.packets),
            (32 * laps, 32 * laps)
        );
        assert_eq!(counters.rx.drops.total() + counters.tx.drops.total(), 0);
        drop(polled);
        assert_eq!(pools.in_use(), 0);
    }

    #[test]
    fn a_device_lives_until_its_last_queue_is_gone() {
        let pools = pools();
        let Port {
            mut rx,
            mut tx,
            control,
        } = ring("net_ring_late", &pools);
        drop(control);
        tx[0].send(&mut batch(&pools, &[vec![1; 60]]));
        let mut received = Batch::new();
        rx[0].receive(&mut received);
        assert_eq!(received.len(), 1);
        let again = error("late", &[("dpdk-devargs", "net_ring_late")]);
        assert!(again.contains("in use already"), "{again}");
        drop((rx, tx));
        drop(ring("net_ring_late", &pools));
    }

    #[test]
    fn jumbo_frames_pass_where_the_mtu_allows() {
        let pools = pools();
        let options = [("dpdk-devargs", "net_ring_jumbo"), ("n_rxq_desc", "64")];
        let config = PortConfig {
            mtu: 9000,
            ..dpdk("jumbo", &options)
        };
        let mut port = open(&config, &pools).unwrap();
        port.tx[0].send(&mut batch(&pools, &[vec![5; 9022]]));
        let mut received = Batch::new();
        port.rx[0].receive(&mut received);
        assert_eq!(received.iter().map(Packet::len).collect::<Vec<_>>(), [9022]);
    }

    #[test]
    fn errors_say_what_dpdk_says() {
        let unknown = error("u", &[("dpdk-devargs", "net_nothing0")]);
        assert!(unknown.contains("port u: net_nothing0: "), "{unknown}");
        let absent = error(
            "p",
            &[("dpdk-devargs", "net_pcap9,rx_pcap=/nonexistent.pcap")],
        );
        assert!(absent.contains("/nonexistent.pcap"), "{absent}");
        let queues = error("q", &[("dpdk-devargs", "net_ring_q"), ("n_rxq", "100")]);
        assert!(
            queues.contains("n_rxq cannot be \"100\", only 1 to 16"),
            "{queues}"
        );
        let pci = error("c", &[("dpdk-devargs", "0000:ff:1f.7")]);
        assert!(pci.contains("0000:ff:1f.7"), "{pci}");
    }
}
