//! A Linux guest and the host's kernel across a vhost-user and an `internal` port, nothing between:
//! what either leaves to be done arrives done, or is left to the other.
//!
//! ```text
//!   guest eth0 (10.0.0.1, fd00::1) ── vm, the test's thread, br0 ── (10.0.0.2, fd00::2) h
//! ```

use std::path::Path;

use pmd::port::{self, LostReason};
use pmd::{Pools, PortKind};
use tempfile::TempDir;
use tests::crossing::{pools, port as config};
use tests::netns::wrong_checksums;
use tests::{Background, Crossing, Guest, GuestOptions, Netns, eventually};

struct Pair {
    guest: Guest,
    host: Netns,
    /// Port 0 is the guest's, port 1 the host's.
    crossing: Crossing,
    folder: TempDir,
}

impl Pair {
    fn new(options: GuestOptions, pools: &Pools) -> Pair {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("vm.sock");
        let path = [("vhost-server-path", socket.to_str().expect("text"))];
        let host = Netns::new("h");
        let vm = config(PortKind::DpdkVhostUserClient, "vm", 1500, &path);
        let br0 = config(PortKind::Internal, "br0", 1500, &[]);
        let vm = port::open(&vm, pools).expect("the socket need not be there");
        let br0 = host.enter(|| port::open(&br0, pools)).expect("a TAP");
        host.ip("addr add 10.0.0.2/24 dev br0");
        host.ip("addr add fd00::2/64 dev br0 nodad");
        let crossing = Crossing::start([vm, br0]);
        let mut guest = Guest::boot(options, &socket);
        guest.succeed("ip addr add fd00::1/64 dev eth0", 30);
        guest.succeed("iperf3 -s -D </dev/null >/dev/null 2>&1", 30);
        // An address may not be used before the guest knows that nobody else has it.
        eventually("IPv6 works", 30, || guest.pings("fd00::2", 1).then_some(()));
        Pair {
            guest,
            host,
            crossing,
            folder,
        }
    }

    /// Moves data over TCP, from the host to the guest or back; the mean length of the frames that
    /// the sender's port received.
    #[track_caller]
    fn tcp(&mut self, to_guest: bool, ipv6: bool) -> u64 {
        let before = self.crossing.received(usize::from(to_guest));
        if to_guest {
            let address = if ipv6 { "fd00::1" } else { "10.0.0.1" };
            let client = ["iperf3", "-c", address, "-n", "16M"];
            eventually("the guest listens", 30, || {
                self.host.run(&client).status.success().then_some(())
            });
        } else {
            let _server = serve(&self.host, self.folder.path());
            let address = if ipv6 { "fd00::2" } else { "10.0.0.2" };
            let client = format!("iperf3 -c {address} -n 16M </dev/null 2>&1");
            self.guest.succeed(&client, 240);
        }
        let after = self.crossing.received(usize::from(to_guest));
        (after.1 - before.1) / (after.0 - before.0)
    }

    /// Neither kernel found a wrong checksum, and no port lost what it could have kept.
    #[track_caller]
    fn no_errors(&mut self) {
        let own = self.guest.succeed("grep ^Tcp: /proc/net/snmp", 30);
        let other = self
            .host
            .run(&["grep", "^Tcp:", "/proc/net/snmp"])
            .expect_success();
        for text in [own, other] {
            assert_eq!(wrong_checksums(&text), 0, "{text}");
        }
        for control in &self.crossing.controls {
            let counters = control.counters();
            assert_eq!(counters.rx.drops.total(), 0, "{:?}", counters.rx.drops);
            for reason in [
                LostReason::Malformed,
                LostReason::TooLong,
                LostReason::NoBuffer,
            ] {
                assert_eq!(counters.tx.drops.of(reason), 0, "{:?}", counters.tx.drops);
            }
        }
    }
}

fn serve(host: &Netns, folder: &Path) -> Background {
    host.serve(&["iperf3", "-s", "-1"], "-t", 5201, &folder.join("log"))
}

#[test]
fn super_frames_pass_in_both_directions() {
    let pools = pools();
    let mut pair = Pair::new(GuestOptions::new(1), &pools);
    for ipv6 in [false, true] {
        for to_guest in [false, true] {
            let mean = pair.tcp(to_guest, ipv6);
            assert!(
                mean > 3_000,
                "to guest {to_guest}, IPv6 {ipv6}: {mean} bytes on average"
            );
        }
    }
    pair.no_errors();
    drop(pair);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn a_guest_without_offloads_gets_finished_frames() {
    let pools = pools();
    let options = GuestOptions {
        offloads: false,
        packed: true,
        ..GuestOptions::new(1)
    };
    let mut pair = Pair::new(options, &pools);
    let features = pair.crossing.controls[0].status()["features"].clone();
    let features = u64::from_str_radix(features.trim_start_matches("0x"), 16).expect("a number");
    assert_eq!(features & 0x7fc3, 0, "{features:#x}");
    for ipv6 in [false, true] {
        assert!(pair.tcp(false, ipv6) <= 1514);
        let sent = |pair: &Pair| pair.crossing.controls[0].counters().tx;
        let before = sent(&pair);
        assert!(
            pair.tcp(true, ipv6) > 3_000,
            "the host leaves frames to be cut"
        );
        let after = sent(&pair);
        assert!((after.bytes - before.bytes) / (after.packets - before.packets) <= 1514);
    }
    pair.no_errors();
    drop(pair);
    assert_eq!(pools.in_use(), 0);
}
