//! `ofctl_rest`: flows, groups, meters, ports and roles are changed by REST, and all statistics
//! and features asked for.

use super::*;

/// Three hosts with fixed neighbours, so that nothing is sent but what the test sends.
fn network() -> (Network, Vec<Netns>) {
    let switch = Netns::silent("sw");
    let hosts: Vec<Netns> = (1..=3)
        .map(|number| {
            let host = host(
                &switch,
                &format!("p{number}"),
                &format!("10.0.0.{number}/24"),
            );
            host.ip(&format!("link set eth0 address 02:00:00:00:00:0{number}"));
            for other in 1..=3 {
                host.ip(&format!(
                    "neigh replace 10.0.0.{other} lladdr 02:00:00:00:00:0{other} dev eth0"
                ));
            }
            host
        })
        .collect();
    let bridge = bridge("br0", 1, &["p1", "p2", "p3"]);
    let network = Network::start(switch, &bridge, "ofctl_rest");
    network.wait("/stats/switches", |switches| *switches == json!([1]));
    (network, hosts)
}

fn flow(in_port: u32, cookie: u32, actions: Value) -> Value {
    json!({
        "dpid": 1, "table_id": 0, "priority": 100, "cookie": cookie,
        "match": { "in_port": in_port }, "actions": actions,
    })
}

fn output(port: u32) -> Value {
    json!({ "type": "OUTPUT", "port": port })
}

/// The entry of a list that has this number.
fn entry<'a>(list: &'a Value, key: &str, number: u32) -> &'a Value {
    let entries = list["1"].as_array().expect("a list");
    entries
        .iter()
        .find(|entry| entry[key] == number)
        .unwrap_or(&Value::Null)
}

fn names<'a>(list: impl Iterator<Item = &'a Value>) -> Vec<&'a str> {
    let mut names: Vec<_> = list.filter_map(Value::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn ofctl_rest_changes_everything_and_asks_for_it() {
    let (network, hosts) = network();
    change_flows(&network, &hosts);
    change_groups_and_meters(&network, &hosts);
    change_ports_and_roles(&network, &hosts);
    ask_for_what_is_there(&network);
    ask_for_features(&network);
    network.daemon.stop();
}

fn ask_for_what_is_there(network: &Network) {
    let description = &network.get("/stats/desc/1")["1"];
    assert_eq!(description["mfr_desc"], "vswitch");
    assert_eq!(description["dp_desc"], "br0");

    let ports = network.get("/stats/portdesc/1");
    for number in 1..=3 {
        let port = entry(&ports, "port_no", number);
        assert_eq!(port["name"], format!("p{number}"), "{ports}");
        // Live, neither down nor blocked.
        assert_eq!((&port["config"], &port["state"]), (&json!(0), &json!(4)));
    }
    assert_eq!(ports["1"].as_array().map(Vec::len), Some(4), "{ports}");
    let queues = network.get("/stats/queue/1/1");
    assert_eq!(entry(&queues, "port_no", 1)["queue_id"], 0, "{queues}");
    let queues = network.get("/stats/queueconfig/1/2");
    assert_eq!(queues["1"][0]["queues"][0]["queue_id"], 0, "{queues}");
    let port = network.get("/stats/port/1/3");
    assert_eq!(port["1"].as_array().map(Vec::len), Some(1), "{port}");
    assert_eq!(port["1"][0]["port_no"], 3, "{port}");
}

fn ask_for_features(network: &Network) {
    let groups = &network.get("/stats/groupfeatures/1")["1"][0];
    let kinds = names(groups["types"].as_array().into_iter().flatten());
    assert_eq!(kinds, ["ALL", "FF", "INDIRECT", "SELECT"]);
    let can = names(groups["capabilities"].as_array().into_iter().flatten());
    let all = [
        "CHAINING",
        "CHAINING_CHECKS",
        "SELECT_LIVENESS",
        "SELECT_WEIGHT",
    ];
    assert_eq!(can, all);
    assert_eq!(groups["max_groups"][0]["ALL"], 1 << 20, "{groups}");
    let meters = &network.get("/stats/meterfeatures/1")["1"][0];
    assert_eq!(meters["max_meter"], 1 << 18, "{meters}");
    assert_eq!(meters["band_types"], json!(["DROP", "DSCP_REMARK"]));
    let can = names(meters["capabilities"].as_array().into_iter().flatten());
    assert_eq!(can, ["BURST", "KBPS", "PKTPS", "STATS"]);

    let tables = network.wait("/stats/tablefeatures/1", |tables| {
        tables["1"].as_array().map(Vec::len) == Some(254)
    });
    for table in tables["1"].as_array().expect("a list") {
        assert_eq!(table["max_entries"], 4_000_000);
        let kinds = table["properties"].as_array().expect("a list").iter();
        let kinds = names(kinds.map(|property| &property["type"]));
        assert_eq!(kinds, PROPERTIES);
    }
    let tables = network.get("/stats/table/1");
    assert_eq!(tables["1"].as_array().map(Vec::len), Some(254));
}

fn change_flows(network: &Network, hosts: &[Netns]) {
    assert!(hosts[0].is_cut_off_from("10.0.0.2"), "no flows, no way");
    let post = |what: &str, flow: Value| network.post(&format!("/stats/flowentry/{what}"), &flow);
    post("add", flow(1, 5, json!([output(2)])));
    post("add", flow(2, 7, json!([output(1)])));
    network.wait("/stats/flow/1", |flows| {
        flows["1"].as_array().map(Vec::len) == Some(2)
    });
    assert!(hosts[0].pings("10.0.0.2"), "flows there and back");

    // Two pings and their answers of 98 bytes.
    let flows = network.get("/stats/flow/1");
    for flow in flows["1"].as_array().expect("a list") {
        let counts = (&flow["packet_count"], &flow["byte_count"]);
        assert_eq!(counts, (&json!(2), &json!(196)), "{flows}");
        assert_eq!(flow["priority"], 100);
    }
    let there = entry(&flows, "cookie", 5);
    assert_eq!(there["actions"], json!(["OUTPUT:2"]), "{flows}");
    assert_eq!(there["match"], json!({ "in_port": 1 }), "{flows}");
    let by_cookie = json!({ "cookie": 7, "cookie_mask": 0xff });
    let some = network.post("/stats/flow/1", &by_cookie);
    assert_eq!(some["1"].as_array().map(Vec::len), Some(1), "{some}");
    let sums = &network.get("/stats/aggregateflow/1")["1"][0];
    let wanted = json!({ "flow_count": 2, "packet_count": 4, "byte_count": 392 });
    assert_eq!(*sums, wanted);
    let tables = network.get("/stats/table/1");
    let first = entry(&tables, "table_id", 0);
    assert_eq!(first["active_count"], 2);
    // Two pings before there were flows.
    assert_eq!(
        (&first["lookup_count"], &first["matched_count"]),
        (&json!(6), &json!(4))
    );
    let ports = network.get("/stats/port/1");
    for (port, (received, sent)) in [(1, (4, 2)), (2, (2, 2)), (3, (0, 0))] {
        let port = entry(&ports, "port_no", port);
        let counts = (&port["rx_packets"], &port["tx_packets"]);
        assert_eq!(counts, (&json!(received), &json!(sent)), "{ports}");
    }

    post("modify_strict", flow(1, 5, json!([])));
    reaches_no_longer(&hosts[0], "10.0.0.2");
    let every = json!({ "dpid": 1, "match": {}, "actions": [output(3)] });
    post("modify", every);
    let actions = |wanted: Value| {
        move |flows: &Value| {
            let mut flows = flows["1"].as_array().into_iter().flatten();
            flows.all(|flow| flow["actions"] == wanted)
        }
    };
    network.wait("/stats/flow/1", actions(json!(["OUTPUT:3"])));
    post("delete_strict", flow(1, 0, json!([])));
    network.wait("/stats/flow/1", |flows| {
        flows["1"][0]["cookie"] == 7 && flows["1"][1].is_null()
    });
    post(
        "delete",
        json!({ "dpid": 1, "cookie": 7, "cookie_mask": 0xff }),
    );
    network.wait("/stats/flow/1", |flows| flows["1"] == json!([]));
    let mut short = flow(3, 9, json!([]));
    short["hard_timeout"] = json!(1);
    post("add", short);
    post("add", flow(1, 5, json!([output(2)])));
    network.wait("/stats/flow/1", |flows| {
        entry(flows, "cookie", 9).is_null() && !entry(flows, "cookie", 5).is_null()
    });
    network.change("DELETE", "/stats/flowentry/clear/1", &json!({}));
    network.wait("/stats/flow/1", |flows| flows["1"] == json!([]));
}

fn change_groups_and_meters(network: &Network, hosts: &[Netns]) {
    let group = |actions: [Value; 2]| {
        let buckets = actions.map(|action| json!({ "weight": 0, "actions": [action] }));
        json!({ "dpid": 1, "type": "ALL", "group_id": 5, "buckets": buckets })
    };
    network.post("/stats/groupentry/add", &group([output(3), output(3)]));
    network.post("/stats/groupentry/modify", &group([output(2), output(3)]));
    network.wait("/stats/groupdesc/1", |groups| {
        let buckets = &groups["1"][0]["buckets"];
        buckets[0]["actions"] == json!(["OUTPUT:2"]) && buckets[1]["actions"] == json!(["OUTPUT:3"])
    });
    let meter = |rate: u32| {
        let bands = json!([{ "type": "DROP", "rate": rate, "burst_size": 500 }]);
        json!({ "dpid": 1, "flags": ["KBPS", "BURST"], "meter_id": 9, "bands": bands })
    };
    network.post("/stats/meterentry/add", &meter(1000));
    network.post("/stats/meterentry/modify", &meter(50_000));
    network.wait("/stats/meterconfig/1", |meters| {
        let meter = entry(meters, "meter_id", 9);
        meter["bands"][0] == json!({ "type": "DROP", "rate": 50_000, "burst_size": 500 })
    });
    let through_group = json!([{ "type": "GROUP", "group_id": 5 }]);
    let through_meter = json!([{ "type": "METER", "meter_id": 9 }, output(1)]);
    network.post("/stats/flowentry/add", &flow(1, 5, through_group));
    network.post("/stats/flowentry/add", &flow(2, 7, through_meter));
    network.wait("/stats/flow/1", |flows| {
        flows["1"].as_array().map(Vec::len) == Some(2)
    });
    assert!(
        hosts[0].pings("10.0.0.2"),
        "by the group, back by the meter"
    );

    let groups = &network.get("/stats/group/1/5")["1"];
    let count = json!({ "packet_count": 2, "byte_count": 196 });
    assert_eq!(groups[0]["bucket_stats"], json!([count, count]), "{groups}");
    let counts = (&groups[0]["ref_count"], &groups[0]["packet_count"]);
    assert_eq!(counts, (&json!(1), &json!(2)), "{groups}");
    let meters = &network.get("/stats/meter/1/9")["1"];
    let counts = (&meters[0]["flow_count"], &meters[0]["packet_in_count"]);
    assert_eq!(counts, (&json!(1), &json!(2)), "{meters}");
    let band = json!({ "packet_band_count": 0, "byte_band_count": 0 });
    assert_eq!(meters[0]["band_stats"], json!([band]), "{meters}");

    let group = json!({ "dpid": 1, "group_id": 5 });
    network.post("/stats/groupentry/delete", &group);
    network.wait("/stats/flow/1", |flows| entry(flows, "cookie", 5).is_null());
    assert_eq!(network.get("/stats/groupdesc/1")["1"], json!([]));
    let meter = json!({ "dpid": 1, "meter_id": 9 });
    network.post("/stats/meterentry/delete", &meter);
    network.wait("/stats/flow/1", |flows| flows["1"] == json!([]));
    let meters = network.get("/stats/meterconfig/1");
    assert!(entry(&meters, "meter_id", 9).is_null(), "{meters}");
}

fn change_ports_and_roles(network: &Network, hosts: &[Netns]) {
    network.post("/stats/flowentry/add", &flow(1, 5, json!([output(2)])));
    network.post("/stats/flowentry/add", &flow(2, 7, json!([output(1)])));
    reaches(&hosts[0], "10.0.0.2");
    for (config, reached) in [(1, false), (0, true), (1 << 5, false), (0, true)] {
        let change = json!({ "dpid": 1, "port_no": 2, "config": config, "mask": 0x21 });
        network.post("/stats/portdesc/modify", &change);
        network.wait("/stats/portdesc/1", |ports| {
            entry(ports, "port_no", 2)["config"] == config
        });
        match reached {
            true => reaches(&hosts[0], "10.0.0.2"),
            false => reaches_no_longer(&hosts[0], "10.0.0.2"),
        }
    }
    let role = |wanted: &'static str| move |roles: &Value| roles["1"][0]["role"] == wanted;
    network.wait("/stats/role/1", role("EQUAL"));
    for wanted in ["MASTER", "SLAVE", "EQUAL"] {
        network.post("/stats/role", &json!({ "dpid": 1, "role": wanted }));
        network.wait("/stats/role/1", role(wanted));
    }
}

/// Properties of a table; those of the table-miss flow are the same and need not be told.
const PROPERTIES: [&str; 8] = [
    "APPLY_ACTIONS",
    "APPLY_SETFIELD",
    "INSTRUCTIONS",
    "MATCH",
    "NEXT_TABLES",
    "WILDCARDS",
    "WRITE_ACTIONS",
    "WRITE_SETFIELD",
];
