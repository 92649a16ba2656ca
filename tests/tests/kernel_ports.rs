//! `internal` and `system` ports by themselves, the kernel's own stack and tshark as judges.
//!
//! ```text
//!   a (10.9.0.1, fd09::1) eth0 ── port, the test's thread, port ── eth0 b (10.9.0.2, fd09::2)
//! ```
//! An `internal` port is made in the host's namespace; a `system` port is one end of a veth pair.

use std::path::Path;

use pmd::port::{self, Fault, LostReason};
use pmd::{
    Batch, Gso, GsoKind, Offload, Packet, PartialChecksum, Pools, Port, PortConfig, PortKind,
    TxQueue,
};
use tests::crossing::{pools, port as config};
use tests::frame::{Frame, pcap, tcp, udp};
use tests::{Background, Crossing, Netns, eventually, run};

/// Two hosts, and the port that leads to each.
struct Hosts {
    a: Netns,
    b: Netns,
    /// Where the near ends of veth pairs are.
    switch: Netns,
}

impl Hosts {
    fn new() -> Hosts {
        Hosts {
            a: Netns::new("a"),
            b: Netns::new("b"),
            switch: Netns::new("s"),
        }
    }

    fn internal(&self, pools: &Pools, mtu: u16) -> [Port; 2] {
        [&self.a, &self.b]
            .map(|host| open_in(host, &config(PortKind::Internal, "eth0", mtu, &[]), pools))
    }

    fn system(&self, pools: &Pools, mtu: u16) -> [Port; 2] {
        [("va", &self.a), ("vb", &self.b)].map(|(near, host)| {
            self.switch.veth(near, host, "eth0");
            host.ip(&format!("link set eth0 mtu {mtu}"));
            open_in(
                &self.switch,
                &config(PortKind::System, near, mtu, &[]),
                pools,
            )
        })
    }

    fn address(&self) {
        for (number, host) in [(1, &self.a), (2, &self.b)] {
            host.ip(&format!("addr add 10.9.0.{number}/24 dev eth0"));
            host.ip(&format!("addr add fd09::{number}/64 dev eth0 nodad"));
        }
    }

    /// Moves so many bytes over TCP from a to b.
    #[track_caller]
    fn tcp(&self, address: &str, bytes: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("iperf3.log");
        let _server = self.b.serve(&["iperf3", "-s", "-1"], "-t", 5201, &log);
        let client = ["iperf3", "-c", address, "-n", bytes, "-J"];
        let text = self.a.run(&client).expect_success();
        let report: serde_json::Value = serde_json::from_str(&text).expect("iperf3 prints JSON");
        let rate = report["end"]["sum_received"]["bits_per_second"]
            .as_f64()
            .expect("a rate");
        println!("TCP to {address}: {:.2} Gb/s", rate / 1e9);
    }

    /// The kernel of b found no wrong checksum.
    #[track_caller]
    fn no_checksum_errors(&self) {
        let names = [
            "TcpInCsumErrors",
            "UdpInCsumErrors",
            "Udp6InCsumErrors",
            "IpInHdrErrors",
        ];
        let text = self
            .b
            .run(&[&["nstat", "-asz"], &names[..]].concat())
            .expect_success();
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.clone().count(), names.len(), "{text}");
        assert!(
            lines.all(|line| line.split_whitespace().nth(1) == Some("0")),
            "{text}"
        );
    }
}

#[track_caller]
fn open_in(netns: &Netns, config: &PortConfig, pools: &Pools) -> Port {
    netns
        .enter(|| port::open(config, pools))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// TCP in both versions of IP, in super-frames, without loss or a wrong checksum.
#[track_caller]
fn passes_super_frames(hosts: &Hosts, crossing: &Crossing) {
    hosts.address();
    assert!(hosts.a.pings("10.9.0.2") && hosts.a.pings("fd09::2"));
    for (address, bytes) in [("10.9.0.2", "300M"), ("fd09::2", "100M")] {
        let before = crossing.received(0);
        hosts.tcp(address, bytes);
        let after = crossing.received(0);
        let mean = (after.1 - before.1) / (after.0 - before.0);
        assert!(mean > 5_000, "frames of {mean} bytes on average");
    }
    hosts.no_checksum_errors();
    for control in &crossing.controls {
        let tx = control.counters().tx;
        assert_eq!(
            tx.drops.total(),
            tx.drops.of(LostReason::Down),
            "{:?}",
            tx.drops
        );
    }
}

#[test]
fn internal_ports_pass_super_frames() {
    let (hosts, pools) = (Hosts::new(), pools());
    let crossing = Crossing::start(hosts.internal(&pools, 1500));
    passes_super_frames(&hosts, &crossing);
    drop(crossing);
    assert_eq!(pools.in_use(), 0);
    // A process that another test just starts has its descriptor until it runs its program.
    eventually("the TAP is gone", 10, || {
        let shown = hosts.a.run(&["ip", "link", "show", "eth0"]);
        (!shown.status.success()).then_some(())
    });
}

#[test]
fn system_ports_pass_super_frames() {
    let (hosts, pools) = (Hosts::new(), pools());
    let crossing = Crossing::start(hosts.system(&pools, 1500));
    passes_super_frames(&hosts, &crossing);
    assert_eq!(crossing.controls[0].status()["driver_name"], "veth");
    assert_eq!(crossing.controls[0].link().speed_mbps, 10_000);
    drop(crossing);
    assert_eq!(pools.in_use(), 0);
}

/// Does in software all that a packet owes, and sees to it that frames fit the wire.
fn finish(batch: &mut Batch, to: &mut TxQueue, pools: &Pools) {
    let mut finished = Batch::new();
    for packet in batch.drain() {
        let cut = packet.segment(pools, |mut segment| {
            segment.complete_checksum();
            assert!(!segment.owes() && segment.len() <= 1514, "{segment:?}");
            if let Err(segment) = finished.push(segment) {
                to.send(&mut finished);
                drop(finished.push(segment));
            }
        });
        cut.expect("the kernel's super-frames can be cut");
    }
    to.send(&mut finished);
}

/// Sends datagrams as one super-frame each way: argument 1 is the address, 2 says which side.
const DATAGRAMS: &str = r#"
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
if sys.argv[2] == 'send':
    s.setsockopt(socket.IPPROTO_UDP, 103, 1200)
    s.sendto(bytes(i % 251 for i in range(1200 * 20 + 77)), (sys.argv[1], 7000))
else:
    s.bind((sys.argv[1], 7000)); s.settimeout(10); print('bound', flush=True)
    got = [s.recv(65535) for _ in range(21)]
    assert [len(g) for g in got] == [1200] * 20 + [77], [len(g) for g in got]
    assert b''.join(got) == bytes(i % 251 for i in range(1200 * 20 + 77))
    print('whole')
"#;

#[test]
fn what_is_finished_in_software_satisfies_the_kernel() {
    let (hosts, pools) = (Hosts::new(), pools());
    let theirs = pools.clone();
    let hand = move |batch: &mut Batch, to: &mut TxQueue| finish(batch, to, &theirs);
    let crossing = Crossing::start_with(hosts.internal(&pools, 1500), hand);
    hosts.address();
    let folder = tempfile::tempdir().expect("a folder");
    for address in ["10.9.0.2", "fd09::2"] {
        hosts.tcp(address, "20M");
        let words = hosts
            .b
            .words(&["python3", "-c", DATAGRAMS, address, "receive"]);
        let receiver = Background::start(&words, &folder.path().join("datagrams.log"));
        eventually("a socket", 30, || {
            receiver.output().contains("bound").then_some(())
        });
        hosts
            .a
            .run(&["python3", "-c", DATAGRAMS, address, "send"])
            .expect_success();
        eventually("all datagrams", 30, || {
            receiver.output().contains("whole").then_some(())
        });
    }
    hosts.no_checksum_errors();
    drop(crossing);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn jumbo_frames_pass_where_the_mtu_allows() {
    let (hosts, pools) = (Hosts::new(), pools());
    let crossing = Crossing::start(hosts.system(&pools, 9000));
    hosts.address();
    assert_eq!(crossing.controls[0].mtu(), 9000);
    for address in ["10.9.0.2", "fd09::2"] {
        assert!(hosts.a.pings_with(address, &["-M", "do", "-s", "8952"]));
    }
    drop(crossing);
    for device in ["va", "vb"] {
        hosts.switch.ip(&format!("link del {device}"));
    }
    let crossing = Crossing::start(hosts.internal(&pools, 9000));
    hosts.address();
    assert!(hosts.a.pings_with("10.9.0.2", &["-M", "do", "-s", "8972"]));
    drop(crossing);
    assert_eq!(pools.in_use(), 0);
}

/// Answers for LOCAL's addresses are LOCAL's to give only as long as the netdev is a port, and only
/// where nobody has said how the host is to answer; whatever namespace the port is closed in.
#[test]
fn a_netdev_answers_again_as_before_once_it_is_no_port() {
    let (hosts, pools) = (Hosts::new(), pools());
    let setting = |device: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{device}/arp_ignore");
        hosts.switch.run(&["cat", &path]).expect_success()
    };
    let ports = hosts.system(&pools, 1500);
    assert_eq!([setting("va"), setting("vb")], ["1\n", "1\n"]);
    let said = ["sysctl", "-qw", "net.ipv4.conf.vb.arp_ignore=2"];
    hosts.switch.run(&said).expect_success();
    drop(ports);
    assert_eq!([setting("va"), setting("vb")], ["0\n", "2\n"]);
}

/// An owing packet: TCP of `payload` bytes behind `tags`, its checksum begun and to be cut.
fn super_frame(pools: &Pools, ipv6: bool, tags: &[u16], payload: &[u8], size: u16) -> Packet {
    let segment = tcp(4000, 80, 0x18, &[1, 1, 1, 1], payload);
    let (ip, kind) = if ipv6 {
        (
            segment.ipv6(6, [0xfd; 16], [0xfc; 16]).typed(0x86dd),
            GsoKind::Tcp6,
        )
    } else {
        (
            segment.ipv4(6, [10, 0, 0, 1], [10, 0, 0, 2]).typed(0x0800),
            GsoKind::Tcp4,
        )
    };
    let tagged = tags
        .iter()
        .rev()
        .fold(ip, |frame, tpid| frame.tag(*tpid, 0x2005));
    let frame = tagged.addresses([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    owing(
        pools,
        &frame,
        14 + 4 * tags.len() + if ipv6 { 40 } else { 20 },
        16,
        (kind, size),
    )
}

/// A packet whose checksum is still to be finished; cut where `size` is not 0.
fn owing(pools: &Pools, frame: &Frame, l4: usize, offset: u16, cut: (GsoKind, u16)) -> Packet {
    let mut packet = Packet::from_bytes(pools, &frame.0).expect("a buffer");
    let l4_len = (frame.0.len() - l4) as u32;
    let ipv6 = matches!(cut.0, GsoKind::Tcp6 | GsoKind::Udp6);
    let addresses = if ipv6 {
        &frame.0[l4 - 32..l4]
    } else {
        &frame.0[l4 - 8..l4]
    };
    let words = addresses
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = words.sum::<u32>() + l4_len + if offset == 16 { 6 } else { 17 };
    let folded = (sum & 0xffff) + (sum >> 16);
    let field = l4 + usize::from(offset);
    packet.data_mut()[field..field + 2].copy_from_slice(&(folded as u16).to_be_bytes());
    let gso = (cut.1 > 0).then_some(Gso {
        kind: cut.0,
        size: cut.1,
        ecn: false,
    });
    let checksum = Some(PartialChecksum {
        start: l4 as u16,
        offset,
    });
    assert!(packet.set_offload(Offload {
        checksum,
        gso,
        valid: false
    }));
    packet
}

/// What tshark says of each frame of a capture, field by field.
fn dissected(frames: &[Vec<u8>], fields: &[&str], folder: &Path) -> Vec<Vec<String>> {
    let file = folder.join("frames.pcap");
    std::fs::write(&file, pcap(frames.iter().map(Vec::as_slice))).expect("room for a capture");
    let mut words = vec!["tshark", "-r", file.to_str().expect("text"), "-T", "fields"];
    for check in ["ip", "tcp", "udp"] {
        words.extend([
            "-o",
            match check {
                "ip" => "ip.check_checksum:TRUE",
                "tcp" => "tcp.check_checksum:TRUE",
                _ => "udp.check_checksum:TRUE",
            },
        ]);
    }
    fields.iter().for_each(|field| words.extend(["-e", field]));
    let text = run(&words).expect_success();
    text.lines()
        .map(|line| line.split('\t').map(str::to_string).collect())
        .collect()
}

#[test]
fn segments_satisfy_tshark() {
    let (pools, folder) = (pools(), tempfile::tempdir().expect("a folder"));
    let payload: Vec<u8> = (0..20_000).map(|index| (index * 13 % 255) as u8).collect();
    for ipv6 in [false, true] {
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
            let mut frames = Vec::new();
            let whole = super_frame(&pools, ipv6, tags, &payload, 1400);
            let cut = whole.segment(&pools, |mut segment| {
                segment.complete_checksum();
                frames.push(segment.data().to_vec());
            });
            cut.expect("it can be cut");
            let fields = [
                "tcp.checksum.status",
                "ip.checksum.status",
                "tcp.seq_raw",
                "tcp.payload",
            ];
            let lines = dissected(&frames, &fields, folder.path());
            assert_eq!(lines.len(), 15);
            for (index, line) in lines.iter().enumerate() {
                assert_eq!(line[0], "1", "TCP checksum of segment {index}");
                assert_eq!(
                    line[1],
                    if ipv6 { "" } else { "1" },
                    "IP checksum of segment {index}"
                );
                assert_eq!(line[2], (index * 1400).to_string());
                let bytes = &payload[index * 1400..payload.len().min((index + 1) * 1400)];
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(line[3], hex);
            }
        }
    }
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn datagrams_cut_satisfy_tshark() {
    let (pools, folder) = (pools(), tempfile::tempdir().expect("a folder"));
    let datagram = udp(4000, 53, &[0x5a; 5000]).ipv4(17, [10, 0, 0, 1], [10, 0, 0, 2]);
    let frame = datagram
        .typed(0x0800)
        .tag(0x8100, 7)
        .addresses([2; 6], [4; 6]);
    let mut frames = Vec::new();
    let whole = owing(&pools, &frame, 38, 6, (GsoKind::Udp4, 1200));
    let cut = whole.segment(&pools, |mut segment| {
        segment.complete_checksum();
        frames.push(segment.data().to_vec());
    });
    cut.expect("it can be cut");
    let fields = ["udp.checksum.status", "ip.checksum.status", "udp.length"];
    let lines = dissected(&frames, &fields, folder.path());
    let lengths: Vec<&str> = lines.iter().map(|line| &line[2][..]).collect();
    assert_eq!(lengths, ["1208", "1208", "1208", "1208", "208"]);
    assert!(
        lines.iter().all(|line| line[0] == "1" && line[1] == "1"),
        "{lines:?}"
    );
}

/// Everything that comes in by a port, until there are so many packets.
#[track_caller]
fn receive(port: &mut Port, count: usize) -> Vec<Packet> {
    let (mut batch, mut packets) = (Batch::new(), Vec::new());
    eventually("packets", 30, || {
        port.rx[0].receive(&mut batch);
        packets.extend(batch.drain());
        (packets.len() >= count).then_some(())
    });
    packets
}

fn send(port: &mut Port, packets: impl IntoIterator<Item = Packet>) {
    let mut batch = Batch::new();
    packets
        .into_iter()
        .for_each(|packet| batch.push(packet).expect("room in a batch"));
    port.tx[0].send(&mut batch);
    assert!(batch.is_empty());
}

/// Both ends of one veth pair as ports, nobody else talking on it.
fn both_ends(hosts: &Hosts, pools: &Pools) -> [Port; 2] {
    for netns in [&hosts.switch, &hosts.a] {
        netns
            .run(&["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
            .expect_success();
    }
    hosts.switch.veth("va", &hosts.a, "eth0");
    let ports = [(&hosts.switch, "va"), (&hosts.a, "eth0")]
        .map(|(netns, name)| open_in(netns, &config(PortKind::System, name, 0, &[]), pools));
    // The kernel tells of a carrier when it has time.
    eventually("both ends have a carrier", 30, || {
        ports
            .iter()
            .all(|port| port.control.link().up)
            .then_some(())
    });
    ports
}

#[test]
fn tags_that_the_kernel_takes_off_are_put_back() {
    let (hosts, pools) = (Hosts::new(), pools());
    let [mut near, mut far] = both_ends(&hosts, &pools);
    let payload = vec![9; 4000];
    for tags in [
        &[][..],
        &[0x8100],
        &[0x88a8],
        &[0x88a8, 0x8100],
        &[0x8100, 0x8100],
    ] {
        for ipv6 in [false, true] {
            for (payload, size) in [(&payload[..], 1400), (&payload[..100], 0)] {
                let sent = super_frame(&pools, ipv6, tags, payload, size);
                let (bytes, offload) = (sent.data().to_vec(), sent.offload());
                send(&mut far, [sent]);
                let received = receive(&mut near, 1);
                assert!(received[0].data() == bytes, "{tags:x?}");
                assert_eq!(received[0].offload(), offload, "{tags:x?}");
            }
        }
    }
    drop((near, far));
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn frames_keep_their_order_and_every_byte() {
    let (hosts, pools) = (Hosts::new(), pools());
    let [mut near, mut far] = both_ends(&hosts, &pools);
    let frame = |index: u32| {
        let mut bytes = vec![(index % 251) as u8; 60 + index as usize % 1400];
        bytes[..14].copy_from_slice(&[2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 0x88, 0xb5]);
        bytes[14..18].copy_from_slice(&index.to_be_bytes());
        bytes
    };
    for round in 0..50 {
        let packet = |index| Packet::from_bytes(&pools, &frame(index)).expect("a buffer");
        send(&mut far, (round * 32..round * 32 + 32).map(packet));
        for (index, packet) in (round * 32..).zip(receive(&mut near, 32)) {
            assert!(packet.data() == frame(index), "frame {index}");
        }
    }
    let (rx, tx) = (near.control.counters().rx, far.control.counters().tx);
    assert_eq!((rx.packets, rx.bytes), (1600, tx.bytes));
    assert_eq!(rx.drops.total() + tx.drops.total(), 0);
}

#[test]
fn what_does_not_fit_is_lost_by_reason() {
    let (hosts, pools) = (Hosts::new(), pools());
    let [mut near, mut far] = both_ends(&hosts, &pools);
    let plain = |length| Packet::from_bytes(&pools, &vec![2; length]).expect("a buffer");
    let too_long = super_frame(&pools, false, &[], &[1; 4000], 1480);
    send(
        &mut far,
        [plain(1514), plain(1523), plain(9000), too_long, plain(60)],
    );
    assert_eq!(receive(&mut near, 2).len(), 2);
    assert_eq!(far.control.counters().tx.drops.of(LostReason::TooLong), 3);
    far.control.set_admin_up(false).expect("a netdev goes down");
    assert!(!far.control.link().up);
    eventually("the other end loses its carrier", 30, || {
        (!near.control.link().up).then_some(())
    });
    send(&mut far, [plain(60)]);
    send(&mut near, [plain(60)]);
    assert_eq!(far.control.counters().tx.drops.of(LostReason::Down), 1);
    assert_eq!(near.control.counters().tx.drops.total(), 1);
    far.control.set_admin_up(true).expect("a netdev goes up");
    eventually("both are up", 30, || {
        (far.control.link().up && near.control.link().up).then_some(())
    });
    send(&mut far, [plain(61)]);
    assert_eq!(receive(&mut near, 1)[0].len(), 61);
    let mut tap = open_in(
        &hosts.b,
        &config(PortKind::Internal, "t", 1500, &[]),
        &pools,
    );
    send(&mut tap, [plain(1523), plain(60)]);
    let tx = tap.control.counters().tx;
    assert_eq!((tx.drops.of(LostReason::TooLong), tx.packets), (1, 1));
}

#[test]
fn a_netdev_that_goes_and_returns_is_used_again() {
    let (hosts, pools) = (Hosts::new(), pools());
    let [mut near, far] = both_ends(&hosts, &pools);
    assert!(near.control.link().up);
    hosts.switch.ip("link del va");
    let mut batch = Batch::new();
    for _ in 0..3 {
        near.rx[0].receive(&mut batch);
        send(
            &mut near,
            [Packet::from_bytes(&pools, &[2; 60]).expect("a buffer")],
        );
    }
    assert!(!near.control.link().up);
    assert_eq!(near.control.fault(), Some(Fault::Absent));
    assert_eq!(near.control.counters().tx.drops.of(LostReason::Down), 3);
    drop(far);
    hosts.switch.veth("va", &hosts.a, "eth0");
    hosts.switch.ip("link set va address 02:00:5e:10:20:32");
    let mut far = open_in(&hosts.a, &config(PortKind::System, "eth0", 0, &[]), &pools);
    eventually("a link", 30, || near.control.link().up.then_some(()));
    assert_eq!(near.control.fault(), None);
    assert_eq!(near.control.mac(), [2, 0, 0x5e, 0x10, 0x20, 0x32]);
    send(
        &mut far,
        [Packet::from_bytes(&pools, &[5; 77]).expect("a buffer")],
    );
    assert_eq!(receive(&mut near, 1)[0].len(), 77);
    send(
        &mut near,
        [Packet::from_bytes(&pools, &[5; 78]).expect("a buffer")],
    );
    assert_eq!(receive(&mut far, 1)[0].len(), 78);
}

#[test]
fn the_host_answers_arp_by_a_netdev_for_its_own_addresses_alone() {
    let (hosts, pools) = (Hosts::new(), pools());
    let _ports = hosts.system(&pools, 1500);
    hosts.address();
    hosts.switch.ip("addr add 10.9.0.8/24 dev va");
    hosts.switch.ip("addr add 10.9.0.9/32 dev lo");
    assert!(hosts.a.pings("10.9.0.8"), "the netdev's");
    assert!(hosts.a.is_cut_off_from("10.9.0.9"), "another device's");
}

#[test]
fn a_tap_is_what_it_was_asked_to_be() {
    let (hosts, pools) = (Hosts::new(), pools());
    let mac = ("mac", "02:00:5e:10:20:30");
    let mut tap = open_in(
        &hosts.a,
        &config(PortKind::Internal, "br0", 1400, &[mac]),
        &pools,
    );
    let shown = hosts.a.ip("link show br0");
    assert!(
        shown.contains("mtu 1400") && shown.contains("02:00:5e:10:20:30"),
        "{shown}"
    );
    assert!(shown.contains(",UP"), "{shown}");
    assert_eq!(tap.control.mac(), [2, 0, 0x5e, 0x10, 0x20, 0x30]);
    assert!(tap.control.link().up);
    tap.control.set_admin_up(false).expect("a TAP goes down");
    assert!(!tap.control.link().up);
    assert!(!hosts.a.ip("link show br0").contains(",UP"));
    tap.control.set_admin_up(true).expect("a TAP goes up");
    assert!(tap.control.link().up);
    hosts.a.give("br0", &hosts.b);
    assert!(
        tap.control.link().up,
        "the link is up in another namespace too"
    );
    hosts.b.ip("link set br0 down name host0");
    assert!(!tap.control.link().up);
    tap.control.set_admin_up(true).expect("it is found");
    assert!(tap.control.set_mtu(1300).expect("an MTU"));
    let shown = hosts.b.ip("link show host0");
    assert!(
        shown.contains(",UP") && shown.contains("mtu 1300"),
        "under another name in another namespace: {shown}"
    );
    hosts.b.ip("link set host0 down");
    hosts
        .b
        .ip("link set host0 name br0 address 02:00:5e:10:20:31");
    assert_eq!(tap.control.mac(), [2, 0, 0x5e, 0x10, 0x20, 0x31]);
    assert_eq!(tap.control.fault(), None);
    hosts.b.ip("link set br0 up");
    hosts.b.ip("link del br0");
    let mut batch = Batch::new();
    for _ in 0..3 {
        tap.rx[0].receive(&mut batch);
        send(
            &mut tap,
            [Packet::from_bytes(&pools, &[2; 60]).expect("a buffer")],
        );
    }
    assert!(!tap.control.link().up);
    assert!(tap.rx[0].is_gone());
    assert_eq!(tap.control.fault(), Some(Fault::Removed));
    assert!(tap.control.set_admin_up(true).is_err());
    assert_eq!(tap.control.counters().tx.drops.of(LostReason::Down), 3);
    drop(tap);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn errors_name_the_netdev_and_what_is_wrong() {
    let (hosts, pools) = (Hosts::new(), pools());
    let error = |kind, name: &str, options: &[(&str, &str)]| {
        let opened = hosts
            .a
            .enter(|| port::open(&config(kind, name, 1500, options), &pools));
        opened.map(drop).expect_err("it cannot be").to_string()
    };
    let absent = error(PortKind::System, "nic7", &[]);
    assert_eq!(
        absent,
        "port nic7: netdev nic7: there is none in this network namespace"
    );
    let tap = open_in(
        &hosts.a,
        &config(PortKind::Internal, "br0", 1500, &[]),
        &pools,
    );
    let twice = error(PortKind::Internal, "br0", &[]);
    assert!(
        twice.contains("port br0: TAP br0: ") && twice.contains("exists"),
        "{twice}"
    );
    drop(tap);
    let long = error(PortKind::Internal, "a-name-too-long-for-linux", &[]);
    assert!(long.contains("1 to 15"), "{long}");
    for value in [
        "02:00:00:00:00",
        "03:00:00:00:00:01",
        "2:0:0:0:0:1",
        "00:00:00:00:00:00",
        "x",
    ] {
        let mac = error(PortKind::Internal, "br1", &[("mac", value)]);
        assert!(mac.contains(&format!("mac cannot be \"{value}\"")), "{mac}");
    }
    let option = error(PortKind::System, "lo", &[("n_rxq", "2")]);
    assert!(option.contains("has no option n_rxq"), "{option}");
}
