//! Samples that flows take, as tshark reads what collectors get of them (IPFIX, RFC 7011).

use tests::frame::udp;
use tests::netns::silent_hosts;
use tests::{Capture, Daemon, Netns};

/// Columns of a record, with what tshark calls them.
const COLUMNS: [&str; 10] = [
    "cflow.observation_point_id",
    "cflow.direction",
    "cflow.inputint",
    "cflow.outputint",
    "cflow.srcaddr",
    "cflow.dstaddr",
    "cflow.protocol",
    "cflow.packets",
    "cflow.octets",
    "cflow.layer2_octet_delta_count",
];

/// The records of the messages that `filter` lets pass. Errors, which embed messages, say that
/// nobody listens.
fn records(capture: &Capture, filter: &str) -> Vec<Vec<String>> {
    let rows = capture.wait(&format!("!icmp && {filter}"), &COLUMNS);
    let mut records = Vec::new();
    for row in rows {
        let columns: Vec<Vec<&str>> = row.iter().map(|cell| cell.split(';').collect()).collect();
        for at in 0..columns[0].len() {
            let record = columns.iter().map(|column| column[at].to_owned());
            records.push(record.collect());
        }
    }
    records
}

/// A bridge without flows between two hosts that are silent, set 7, and what its collector is sent.
fn scene() -> (Daemon, [Netns; 2], Capture) {
    let (switch, hosts) = silent_hosts::<2>();
    let sets = "[[ipfix]]\nid = 7\ntargets = [\"127.0.0.1:4739\"]\n";
    let port = |i| format!("[[bridge.port]]\nname = \"p{i}\"\nnumber = {i}\ntype = \"system\"\n");
    let bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n";
    let daemon = Daemon::start_in(switch, &[sets, bridge, &port(1), &port(2)].concat());
    let capture = Capture::start(daemon.netns(), "lo", daemon.scratch());
    (daemon, hosts, capture)
}

#[test]
fn collectors_hear_of_what_flows_sample() {
    let (daemon, hosts, capture) = scene();
    let add = |flow: &str| daemon.ofctl("add-flow", "br0", &[flow]).expect_success();
    let sample = "actions=sample(probability=65535,collector_set_id=";
    add("priority=0,actions=NORMAL");
    add(&format!(
        "icmp,{sample}7,obs_domain_id=5,obs_point_id=6),NORMAL"
    ));
    add(&format!(
        "udp,udp_dst=53,{sample}7,obs_domain_id=8,obs_point_id=9,sampling_port=2,egress),NORMAL"
    ));
    add(&format!("udp,udp_dst=54,{sample}1),NORMAL"));
    assert!(hosts[0].pings_with("10.0.0.2", &["-c", "1", "-s", "56"]));
    for port in [54, 53] {
        let send = format!("echo -n 12345678 > /dev/udp/10.0.0.2/{port}");
        hosts[0].run(&["bash", "-c", &send]).expect_success();
    }
    let told = |filter: &str| records(&capture, filter);
    let (one, two) = ("10.0.0.1", "10.0.0.2");
    let echo = ["6", "0", "1", "0", one, two, "1", "1", "84", "98"];
    let answer = ["6", "0", "2", "0", two, one, "1", "1", "84", "98"];
    assert!(
        told("cflow.icmp_ipv4_type == 8 && cflow.od_id == 5")
            .contains(&echo.map(Into::into).into())
    );
    assert!(
        told("cflow.icmp_ipv4_type == 0 && cflow.od_id == 5")
            .contains(&answer.map(Into::into).into())
    );
    let datagram = ["9", "1", "1", "2", one, two, "17", "1", "36", "50"];
    assert_eq!(told("cflow.dstport == 53 && cflow.od_id == 8"), [datagram]);
    // Nobody listens to set 1, and nothing that was sent is no IPFIX.
    assert_eq!(
        capture.count("cflow.dstport == 54 || _ws.malformed && !icmp"),
        0
    );
    let stats = daemon.json(&["stats"]);
    assert_eq!(stats["control"]["samples_dropped"], 0, "{stats}");
    daemon.stop();
}

/// What domain and point are called may stand in fields, in a form of the action that is younger
/// than the stock tools here.
#[test]
fn collectors_hear_what_is_in_fields() {
    let (daemon, hosts, capture) = scene();
    let sample = "sample(probability=65535,collector_set_id=7,obs_domain_id=NXM_NX_REG0[],\
                  obs_point_id=NXM_OF_UDP_DST[])";
    for flow in [
        "priority=0,actions=NORMAL",
        &format!("udp,actions=set_field:5->reg0,{sample},NORMAL"),
    ] {
        daemon.vsctl(&["flow", "add", "br0", flow]).expect_success();
    }
    for port in [54, 53] {
        let send = format!("echo -n 12345678 > /dev/udp/10.0.0.2/{port}");
        hosts[0].run(&["bash", "-c", &send]).expect_success();
    }
    for port in ["53", "54"] {
        let told = records(
            &capture,
            &format!("cflow.od_id == 5 && cflow.dstport == {port}"),
        );
        assert!(told.iter().any(|record| record[0] == port), "{told:?}");
    }
    daemon.stop();
}

/// Of packets over IPv6, plain and with a VLAN tag, tshark reads what they were.
#[test]
fn collectors_hear_of_ipv6_and_vlans() {
    let (daemon, hosts, capture) = scene();
    let sample = "sample(probability=65535,collector_set_id=7,obs_domain_id=5,obs_point_id=6)";
    for matching in ["priority=0", "icmp6,icmp_type=128", "udp6", "dl_vlan=9,udp"] {
        let sample = if matching == "priority=0" { "" } else { sample };
        let flow = format!("{matching},actions={sample},NORMAL").replace("=,", "=");
        daemon.ofctl("add-flow", "br0", &[&flow]).expect_success();
    }
    for (host, number) in hosts.iter().zip(1..) {
        host.run(&["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0"])
            .expect_success();
        host.ip(&format!("addr add fd00::{number}/64 dev eth0 nodad"));
    }
    assert!(hosts[0].pings_with("fd00::2", &["-c", "1", "-s", "56", "-F", "0x12345"]));
    let send = "echo -n 12345678 > /dev/udp/fd00::2/53";
    hosts[0].run(&["bash", "-c", send]).expect_success();
    let datagram = udp(4000, 53, b"12345678").ipv4(17, [10, 9, 0, 1], [10, 9, 0, 2]);
    let tagged = datagram.typed(0x0800).tag(0x8100, 5 << 13 | 9);
    let frame = tagged.addresses([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8]);
    let hex: String = frame.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let send = "import socket, sys; wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); \
         wire.bind(('eth0', 0)); wire.send(bytes.fromhex(sys.argv[1]))";
    hosts[0]
        .run(&["python3", "-c", send, &hex])
        .expect_success();
    // All that is told of IPv6, with the bytes of the IP packet and of the frame.
    let columns = [
        "cflow.srcaddrv6",
        "cflow.dstaddrv6",
        "cflow.ip_version",
        "cflow.protocol",
        "cflow.ipv6flowlabel",
        "cflow.octets",
        "cflow.layer2_octet_delta_count",
    ];
    let first = |filter: &str, columns: &[&str]| -> Vec<String> {
        let rows = capture.wait(&format!("!icmp && !icmpv6 && {filter}"), columns);
        let first = |cell: &String| cell.split(';').next().unwrap_or_default().to_owned();
        rows[0].iter().map(first).collect()
    };
    let echo = ["fd00::1", "fd00::2", "6", "58", "74565", "104", "118"];
    assert_eq!(first("cflow.icmp_ipv6_type == 128", &columns), echo);
    let datagram = first("cflow.dstport == 53 && cflow.ip_version == 6", &columns);
    assert_eq!(datagram[..4], ["fd00::1", "fd00::2", "6", "17"]);
    assert_eq!(datagram[5..], ["56", "70"]);
    let columns = [
        "cflow.vlanid",
        "cflow.dot1q_vlan_id",
        "cflow.dot1q_priority",
        "cflow.srcaddr",
        "cflow.octets",
        "cflow.layer2_octet_delta_count",
    ];
    let tagged = first("cflow.dstport == 53 && cflow.vlanid", &columns);
    assert_eq!(tagged, ["9", "9", "5", "10.9.0.1", "36", "54"]);
    assert_eq!(
        capture.count("cflow && _ws.malformed && !icmp && !icmpv6"),
        0
    );
    daemon.stop();
}
