//! `vsctl` against the switch itself, stock `ovs-ofctl` reading beside it.

use serde_json::Value;
use tests::{Daemon, Netns, Output, eventually, null_bridge};

/// Port n2 is in VLAN 10.
fn bridge() -> String {
    null_bridge("datapath_id = 42\n") + "tag = 10\n"
}

const FLOWS: &[&str] = &[
    "priority=0,actions=CONTROLLER:128",
    "priority=1,in_port=n1,actions=output:n2",
    "priority=2,tcp,nw_src=10.0.0.0/8,tp_dst=80/0xfff0,actions=dec_ttl,mod_tp_dst:81,output:2",
    "priority=3,dl_vlan=10,dl_vlan_pcp=3,actions=strip_vlan,output:1",
    "priority=4,ip,nw_tos=184,actions=mod_dl_dst:02:00:00:00:00:01,mod_nw_tos:32,IN_PORT",
    "priority=5,icmp6,icmp_type=135,nd_target=fd00::1,actions=NORMAL",
    "priority=6,arp,nw_dst=10.0.0.1,arp_op=1,actions=FLOOD",
    "priority=7,mpls,mpls_label=100,mpls_tc=1,mpls_bos=1,actions=dec_mpls_ttl,output:1",
    "priority=8,metadata=0x1/0xff,cookie=7,send_flow_rem,actions=write_metadata:5/15,goto_table:7",
    "table=7,priority=9,udp6,udp_src=53,idle_timeout=900,actions=mod_vlan_vid:10,ALL",
    "priority=10,sctp,sctp_dst=99,hard_timeout=900,actions=group:1",
    "priority=11,dl_src=02:00:00:00:00:00/fe:00:00:00:00:00,actions=meter:1,clear_actions",
    "priority=12,dl_vlan=0xffff,actions=write_actions(set_queue:1,output:1),goto_table:3",
    "priority=13,tun_id=100,actions=push_mpls:0x8847,set_field:5->mpls_label,LOCAL",
];

/// A line without what changes from moment to moment.
fn lasting(line: &str) -> String {
    let parts = line
        .trim()
        .split(", ")
        .filter(|part| !part.starts_with("duration="));
    parts.collect::<Vec<_>>().join(", ")
}

fn lasting_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.contains("actions="))
        .map(lasting)
        .collect();
    lines.sort();
    lines
}

#[track_caller]
fn refused(output: &Output, code: i32, word: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
    assert!(output.stderr.starts_with("vsctl: "), "{}", output.stderr);
    assert!(output.stderr.contains(word), "{}", output.stderr);
}

#[test]
fn flows_groups_and_meters_are_dumped_as_ovs_ofctl_dumps_them() {
    // Counters are to be the same in one dump and the next.
    let daemon = Daemon::start_in(Netns::silent("sw"), &bridge());
    let group = "group_id=1,type=select,bucket=weight:3,watch_port:1,actions=output:n1,bucket=2";
    let meter = "meter=1,kbps,burst,stats,bands=type=drop,rate=100,burst_size=10";
    daemon
        .vsctl(&["group", "add", "br0", group])
        .expect_success();
    daemon
        .vsctl(&["meter", "add", "br0", meter])
        .expect_success();
    daemon
        .vsctl(&[&["flow", "add", "br0"], FLOWS].concat())
        .expect_success();

    let ours = daemon.vsctl(&["flow", "dump", "br0"]).expect_success();
    let stock = daemon
        .ofctl("dump-flows", "br0", &["--no-names"])
        .expect_success();
    assert_eq!(lasting_lines(&ours), lasting_lines(&stock));
    assert_eq!(lasting_lines(&ours).len(), FLOWS.len());
    let ours = daemon.vsctl(&["group", "dump", "br0"]).expect_success();
    let stock = daemon
        .ofctl("dump-groups", "br0", &["--no-names"])
        .expect_success();
    assert_eq!(lasting_lines(&ours), lasting_lines(&stock));
    let meters = daemon.vsctl(&["meter", "dump", "br0"]).expect_success();
    let wanted = "meter=1 kbps burst stats bands=type=drop rate=100 burst_size=10\n";
    assert_eq!(meters, wanted);

    // Every flow matches exactly one line, and what is printed without statistics makes it anew.
    let before = daemon
        .vsctl(&["flow", "dump", "br0", "--no-stats"])
        .expect_success();
    let file = daemon.run_dir().with_file_name("flows");
    std::fs::write(&file, &before).expect("a writable folder");
    daemon.vsctl(&["flow", "del", "br0"]).expect_success();
    assert_eq!(daemon.vsctl(&["flow", "dump", "br0"]).expect_success(), "");
    let file = file.to_str().expect("text");
    daemon
        .vsctl(&["flow", "add", "br0", "-f", file])
        .expect_success();
    let after = daemon
        .vsctl(&["flow", "dump", "br0", "--no-stats"])
        .expect_success();
    assert_eq!(lasting_lines(&after), lasting_lines(&before));
    daemon.stop();
}

#[test]
fn flows_are_selected_modified_and_deleted() {
    let daemon = Daemon::start(&bridge());
    let count = |filter: &str| {
        let dump = daemon.json(&["flow", "dump", "br0", filter]);
        dump["flows"].as_array().expect("flows").len()
    };
    let add = [
        "priority=5,tcp,actions=1",
        "priority=6,tcp,tp_dst=80,cookie=7,actions=2",
    ];
    daemon
        .vsctl(&["flow", "add", "br0", add[0], add[1], "udp,actions=1"])
        .expect_success();
    assert_eq!(
        (count("tcp"), count("ip"), count("tcp,tp_dst=80")),
        (2, 3, 1)
    );
    assert_eq!(
        (count("cookie=7/-1"), count("out_port=n2"), count("table=3")),
        (1, 1, 0)
    );
    daemon
        .vsctl(&["flow", "mod", "--strict", "br0", "priority=5,tcp,actions=2"])
        .expect_success();
    assert_eq!(count("out_port=2"), 2);
    daemon
        .vsctl(&["flow", "mod", "br0", "ip,actions=drop"])
        .expect_success();
    assert_eq!(count("out_port=2"), 0);
    daemon
        .vsctl(&["flow", "del", "--strict", "br0", "priority=5,tcp"])
        .expect_success();
    daemon
        .vsctl(&["flow", "del", "br0", "udp"])
        .expect_success();
    assert_eq!(count(""), 1);
    daemon.stop();
}

#[test]
fn a_long_file_goes_in_and_comes_out() {
    const COUNT: usize = 20_000;
    let daemon = Daemon::start(&bridge());
    let file = daemon.run_dir().with_file_name("flows");
    let line = |n: usize| {
        format!(
            "ip,nw_dst=10.{}.{}.{},actions=1",
            n >> 16,
            n >> 8 & 255,
            n & 255
        )
    };
    let text: Vec<String> = (0..COUNT).map(line).collect();
    std::fs::write(&file, text.join("\n")).expect("a writable folder");
    let sent = daemon.json(&["flow", "add", "br0", "-f", file.to_str().expect("text")]);
    assert_eq!(sent["sent"], COUNT);
    let dump = daemon.json(&["flow", "dump", "br0"]);
    assert_eq!(dump["flows"].as_array().map(Vec::len), Some(COUNT));
    let show = daemon.json(&["show"]);
    assert_eq!(show["bridges"][0]["flows"], COUNT);
    daemon.vsctl(&["flow", "del", "br0"]).expect_success();
    assert_eq!(daemon.json(&["show"])["bridges"][0]["flows"], 0);
    daemon.stop();
}

#[test]
fn every_command_answers_in_text_and_json() {
    let daemon = Daemon::start(&bridge());
    let hexadecimal = format!("{}0800{}", "525400000001525400000002", "00".repeat(46));
    let commands: &[&[&str]] = &[
        &["show"],
        &["show", "br0"],
        &["port", "list"],
        &["port", "list", "br0"],
        &["flow", "dump", "br0"],
        &["group", "dump", "br0"],
        &["group", "dump", "br0", "--stats"],
        &["meter", "dump", "br0"],
        &["meter", "dump", "br0", "--stats"],
        &["controller", "list"],
        &["mac", "dump", "br0"],
        &["mac", "flush", "br0"],
        &["stats"],
        &["stats", "br0", "--queues"],
        &["metrics"],
        &["table", "show"],
        &["table", "show", "br0", "--hash-tables"],
        &["worker", "show"],
        &["trace", "br0", "in_port=n1,tcp,tp_dst=80"],
        &["trace", "br0", "--in-port", "n1", &hexadecimal],
        &["trace", "br0", "in_port=n1,ip", "--ct-next", "trk,est"],
        &["log", "set"],
        &["version"],
    ];
    for command in commands {
        let text = daemon.vsctl(command).expect_success();
        let tails = text.lines().filter(|line| line.ends_with(' '));
        assert_eq!(tails.count(), 0, "{command:?}: {text}");
        assert!(daemon.json(command).is_object(), "{command:?}");
    }
    let watched = daemon.vsctl(&["--json", "stats", "--watch=0.1", "--count", "2"]);
    let lines = watched.expect_success();
    let lines = lines.lines().map(serde_json::from_str::<Value>);
    assert_eq!(lines.filter(|line| line.is_ok()).count(), 3);
    daemon.stop();
}

#[test]
fn tables_tell_what_they_are_made_of_and_their_worst_case() {
    let daemon = Daemon::start(&bridge());
    let add = |flow: &str| {
        daemon.vsctl(&["flow", "add", "br0", flow]).expect_success();
    };
    add("table=0,priority=2,udp,actions=goto_table:3");
    add("table=0,priority=1,ip,nw_dst=10.0.0.0/8,actions=goto_table:3");
    for priority in 1..=4 {
        add(&format!(
            "table=3,priority={priority},tcp,tp_dst=80,actions=output:1"
        ));
    }
    add("table=3,priority=1,tcp,tp_dst=81,actions=output:1");
    add("table=9,tcp,actions=output:1");
    let shown = daemon.json(&["table", "show", "br0"]);
    let told = |number: u64| {
        let tables = shown["tables"].as_array().expect("tables").iter();
        let mut tables = tables.filter(|table| table["table"] == number);
        let table = tables.next().expect("the table");
        let figures = ["flows", "masks", "probes_max", "compares_max"];
        let figures = figures.map(|name| table[name].as_u64().expect("a number"));
        assert!(table["memory_bytes"].as_u64() > Some(0), "{table}");
        let structure = table["structure"].as_str().expect("a word").to_owned();
        (figures, structure, table["reachable"] == true)
    };
    assert_eq!(told(0), ([2, 2, 2, 2], "tuples".into(), true));
    assert_eq!(told(3), ([5, 1, 1, 4], "hash".into(), true));
    assert_eq!(told(9), ([1, 1, 1, 1], "hash".into(), false));
    let entry = &shown["entries"][0];
    assert_eq!(
        (&entry["bridge"], &entry["tables"]),
        (&"br0".into(), &2.into())
    );
    assert_eq!(
        (&entry["probes_max"], &entry["compares_max"]),
        (&3.into(), &6.into())
    );
    assert!(
        entry["ports"]
            .as_array()
            .is_some_and(|ports| !ports.is_empty())
    );

    let text = daemon.vsctl(&["table", "show"]).expect_success();
    let worst = text.lines().find(|line| line.starts_with("worst case"));
    assert!(
        worst.is_some_and(|line| line.ends_with("br0: tables 2, probes 3, compares 6")),
        "{text}"
    );

    // With many masks some share a hash table; the worst case is far below their number.
    let flow = |number: u32| {
        let (from, to) = (8 + number % 8 * 3, 8 + number / 8 % 8 * 3);
        let source = format!("10.{}.{}.0/{from}", number % 250, number % 7);
        let destination = format!("20.{}.{}.0/{to}", number % 199, number % 11);
        let ends = format!("nw_src={source},nw_dst={destination},tp_dst={number}");
        format!("table=9,udp,{ends},actions=drop")
    };
    let flows: Vec<String> = (0..400).map(flow).collect();
    let file = daemon.run_dir().with_file_name("flows");
    std::fs::write(&file, flows.join("\n")).expect("a writable folder");
    let file = file.to_str().expect("text");
    daemon
        .vsctl(&["flow", "add", "br0", "-f", file])
        .expect_success();
    let merged = eventually("few probes", 30, || {
        let shown = daemon.json(&["table", "show", "br0"]);
        let tables = shown["tables"].as_array().expect("tables").clone();
        let table = tables.into_iter().find(|table| table["table"] == 9);
        table.filter(|table| table["probes_max"].as_u64() < Some(20))
    });
    assert_eq!(merged["structure"], "merged tuples");
    assert!(merged["masks"].as_u64() > Some(60), "{merged}");
    let tables = merged["hash_tables"].as_array().expect("hash tables");
    let flows = tables.iter().filter_map(|table| table["flows"].as_u64());
    assert_eq!(Some(flows.sum()), merged["flows"].as_u64());
    assert!(
        tables
            .iter()
            .any(|table| table["masks"].as_u64() > Some(10))
    );
    daemon.stop();
}

#[test]
fn settings_are_changed_and_told() {
    let daemon = Daemon::start(&bridge());
    let does = |words: &[&str]| {
        daemon.vsctl(words).expect_success();
    };
    let port = |name: &str| {
        let list = daemon.json(&["port", "list", "br0"]);
        let ports = list["ports"].as_array().expect("ports").clone();
        ports.into_iter().find(|port| port["name"] == name)
    };
    does(&[
        "port", "add", "br0", "n7", "--type", "null", "--number", "7", "--tag", "5",
    ]);
    assert_eq!(port("n7").map(|port| port["tag"].clone()), Some(5.into()));
    does(&["port", "add", "br0", "n7", "--type", "null", "--may-exist"]);
    does(&[
        "port", "set", "br0", "n7", "--tag", "none", "--trunks", "1,2", "--down",
    ]);
    let changed = port("n7").expect("the port");
    assert_eq!(changed["trunks"], serde_json::json!([1, 2]));
    assert_eq!(
        (&changed["tag"], &changed["admin_up"]),
        (&Value::Null, &false.into())
    );
    does(&["port", "del", "br0", "n7"]);
    does(&["port", "del", "br0", "n7", "--if-exists"]);
    assert_eq!(port("n7"), None);

    does(&[
        "bridge",
        "add",
        "br1",
        "--fail-mode",
        "secure",
        "--datapath-id",
        "2b",
    ]);
    does(&["bridge", "set", "br1", "--fail-mode", "standalone"]);
    let show = daemon.json(&["show", "br1"]);
    assert_eq!(show["bridges"][0]["datapath_id"], "000000000000002b");
    assert_eq!(show["bridges"][0]["fail_mode"], "standalone");
    does(&["bridge", "del", "br1"]);
    does(&["bridge", "del", "br1", "--if-exists"]);

    does(&[
        "controller",
        "set",
        "br0",
        "tcp:127.0.0.1:1",
        "tcp:127.0.0.1:2",
    ]);
    does(&["controller", "del", "br0", "tcp:127.0.0.1:1"]);
    let controllers = daemon.json(&["controller", "list", "br0"]);
    assert_eq!(controllers["controllers"][0]["target"], "tcp:127.0.0.1:2");
    does(&["controller", "del", "br0"]);
    assert_eq!(
        daemon.json(&["controller", "list"])["controllers"],
        serde_json::json!([])
    );
    daemon.stop();
}

#[test]
fn refusals_say_why_and_scripts_can_tell_them_apart() {
    let daemon = Daemon::start(&bridge());
    let says = |words: &[&str]| daemon.vsctl(words);
    refused(&says(&["flow", "dump", "br9"]), 1, "br0");
    refused(&says(&["port", "list", "br9"]), 1, "br0");
    refused(&says(&["port", "del", "br0", "n9"]), 1, "n1");
    refused(
        &says(&["port", "add", "br0", "n9", "--type", "nul"]),
        2,
        "null",
    );
    refused(
        &says(&["flow", "add", "br0", "actions=group:99"]),
        1,
        "BAD_OUT_GROUP",
    );
    refused(
        &says(&["flow", "add", "br0", "actions=output:n9"]),
        2,
        "n1, n2",
    );
    refused(
        &says(&["flow", "add", "br0", "tcp_dst=80,actions=1"]),
        2,
        "tcp or tcp6",
    );
    refused(
        &says(&["flow", "add", "br0", "ip,nw_dts=1.1.1.1,actions=1"]),
        2,
        "nw_dst",
    );
    refused(&says(&["log", "set", "loud"]), 2, "debug");
    refused(&says(&["trace", "br0", "in_port=n9,tcp"]), 2, "n1");
    let unknown = ["trace", "br0", "in_port=n1,ip", "--ct-next", "old"];
    refused(&says(&unknown), 2, "old");
    refused(
        &says(&["group", "mod", "br0", "group_id=9,type=all"]),
        1,
        "UNKNOWN_GROUP",
    );
    daemon.stop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run_dir = folder.path().to_str().expect("text");
    let vsctl = tests::binary("vsctl");
    let vsctl = vsctl.to_str().expect("text");
    refused(
        &tests::run(&[vsctl, "--run-dir", run_dir, "show"]),
        3,
        "vswitchd",
    );
    refused(
        &tests::run(&[vsctl, "--run-dir", run_dir, "flow", "dump", "br0"]),
        3,
        "vswitchd",
    );
}
