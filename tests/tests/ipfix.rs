//! Samples that flows take, as tshark reads what collectors get of them (IPFIX, RFC 7011).

use tests::netns::silent_hosts;
use tests::{Capture, Daemon};

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

#[test]
fn collectors_hear_of_what_flows_sample() {
    let (switch, hosts) = silent_hosts::<2>();
    let sets = "[[ipfix]]\nid = 7\ntargets = [\"127.0.0.1:4739\"]\n";
    let port = |i| format!("[[bridge.port]]\nname = \"p{i}\"\nnumber = {i}\ntype = \"system\"\n");
    let bridge = "[[bridge]]\nname = \"br0\"\nfail_mode = \"secure\"\n";
    let daemon = Daemon::start_in(switch, &[sets, bridge, &port(1), &port(2)].concat());
    let capture = Capture::start(daemon.netns(), "lo", daemon.scratch());
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
