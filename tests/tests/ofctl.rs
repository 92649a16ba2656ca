//! Stock `ovs-ofctl -O OpenFlow13` as the judge: what comes back is what went in.

use tests::{Daemon, Netns, null_bridge};

fn bridge() -> String {
    null_bridge("datapath_id = 42\nlisteners = [\"ptcp:6654:127.0.0.1\"]\n")
}

/// Flows as `ovs-ofctl` prints them; each is added, dumped and compared.
const FLOWS: &[&str] = &[
    "priority=0 actions=CONTROLLER:65535",
    "priority=1,in_port=1 actions=output:2",
    "priority=2,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=dec_ttl,output:2",
    "priority=3,dl_vlan=10,dl_vlan_pcp=3 actions=pop_vlan,output:1",
    "priority=4,ip actions=set_field:02:00:00:00:00:01->eth_dst,IN_PORT",
    "priority=5,icmp6,ipv6_dst=fd00::/16,icmp_type=135,nd_target=fd00::1 actions=NORMAL",
    "priority=35,icmp6,icmp_type=136,nd_reserved=3758096384,nd_options_type=2 \
     actions=set_field:5->nd_reserved,set_field:1->nd_options_type,IN_PORT",
    "priority=6,arp,arp_tpa=10.0.0.1,arp_op=1 actions=FLOOD",
    "priority=7,mpls,mpls_label=100,mpls_tc=1,mpls_bos=1 actions=dec_mpls_ttl,output:1",
    "priority=8,metadata=0x1/0xff actions=write_metadata:0x5/0xf,goto_table:7",
    "priority=9,udp6,tp_src=53 actions=push_vlan:0x8100,set_field:4106->vlan_vid,ALL",
    "priority=10,sctp,tp_dst=99 actions=group:1",
    "priority=11,dl_src=02:00:00:00:00:00/fe:00:00:00:00:00 actions=meter:1,clear_actions",
    "priority=12,ip,nw_tos=184 actions=write_actions(output:1),goto_table:3",
    "priority=13,tun_id=0x64 actions=set_queue:3,LOCAL",
    "priority=14,reg0=0x5,reg15=0/0xf,metadata=0x1 actions=load:0x7->NXM_NX_REG0[0..15]",
    "priority=15,pkt_mark=0x1,conj_id=10,ct_state=-trk,ct_zone=5,ct_mark=0x1/0x3,ip actions=drop",
    "priority=16,tun_src=1.2.3.4,tun_ipv6_dst=fd00::1 actions=resubmit(3,4),resubmit:LOCAL",
    "priority=17,arp actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],IN_PORT",
    "priority=23 actions=load:0->NXM_OF_IN_PORT[],resubmit(,5)",
    "priority=25,ip,nw_src=10.0.0.0/8 actions=conjunction(10,1/2),conjunction(11,2/3)",
    "priority=24 actions=pop_queue",
    "priority=18 actions=push:NXM_NX_REG1[],pop:NXM_NX_XXREG1[3..34],output:NXM_NX_REG1[0..15]",
    "priority=19 actions=clone(load:0->NXM_OF_VLAN_TCI[],output:2),note:01.02.03.04.05.06,exit",
    "priority=20,ip actions=dec_ttl(0,1),controller(reason=invalid_ttl,max_len=9,id=2),ct_clear",
    "priority=21,ct_state=+est+trk,ct_nw_src=10.0.0.0/8,ct_nw_proto=6,ct_tp_dst=8,ip actions=exit",
    "priority=26 actions=learn(table=20,hard_timeout=300,priority=100,cookie=0x5,\
     NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],\
     load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[])",
    "priority=27 actions=learn(table=2,idle_timeout=3,fin_idle_timeout=2,fin_hard_timeout=1,\
     send_flow_rem,delete_learned,limit=5,result_dst=NXM_NX_REG0[3],eth_type=0x800,\
     ip_dst=1.2.3.4,in_port=5)",
    "priority=28,tcp actions=fin_timeout(idle_timeout=5,hard_timeout=10)",
    "priority=29 actions=bundle(eth_src,0,active_backup,ofport,members:1,2)",
    "priority=30 actions=bundle_load(symmetric_l4,0,hrw,ofport,NXM_NX_REG0[0..15],members:1,LOCAL)",
    "priority=31 actions=multipath(symmetric_l3l4+udp,50,iter_hash,4,3,NXM_NX_REG0[])",
    "priority=32 actions=check_pkt_larger(1500)->NXM_NX_REG0[0],output(port=1,max_len=100)",
    "priority=33 actions=sample(probability=5,collector_set_id=1,obs_domain_id=0,obs_point_id=0)",
    "priority=34 actions=controller(userdata=00.01.02,pause,meter_id=5)",
    "priority=46,ip actions=ct(commit,table=4,zone=NXM_NX_REG6[0..15],nat(src=10.0.0.1:80-90))",
    "priority=47,ip actions=ct(commit,zone=7,exec(set_field:0x1->ct_mark)),ct(table=1,nat)",
    "priority=48,tcp actions=ct(commit,force,alg=ftp),ct_clear",
    "priority=22,ip actions=write_actions(load:0x1->OXM_OF_PKT_REG0[],resubmit(,5))",
];

/// A dump's line without what changes by itself: duration and counters.
fn bare(line: &str) -> String {
    let line = line.trim().replace("reset_counts ", "");
    let parts = line.split(", ").filter(|part| {
        let volatile = ["duration=", "n_packets=", "n_bytes=", "cookie=", "table="];
        !volatile.iter().any(|name| part.starts_with(name))
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn dump(daemon: &Daemon) -> Vec<String> {
    let text = daemon
        .ofctl("dump-flows", "br0", &["--no-names"])
        .expect_success();
    let mut flows: Vec<String> = text
        .lines()
        .filter(|line| line.contains("actions="))
        .map(bare)
        .collect();
    flows.sort();
    flows
}

#[test]
fn flows_come_back_as_they_went_in() {
    let daemon = Daemon::start_in(Netns::silent("sw"), &bridge());
    let accepted = |command: &str, argument: &str| {
        daemon.ofctl(command, "br0", &[argument]).expect_success();
    };
    accepted("add-group", "group_id=1,type=all,bucket=actions=output:2");
    accepted(
        "add-meter",
        "meter=1,kbps,burst,stats,bands=type=drop,rate=100,burst_size=10",
    );
    for flow in FLOWS {
        accepted("add-flow", &flow.replace(" actions", ",actions"));
    }
    let mut wanted: Vec<String> = FLOWS.iter().map(|flow| (*flow).to_string()).collect();
    wanted.sort();
    assert_eq!(dump(&daemon), wanted);

    let has = |text: &str| dump(&daemon).iter().any(|flow| flow.contains(text));
    accepted("mod-flows", "tcp,actions=output:1");
    assert!(has(
        "priority=2,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=output:1"
    ));
    accepted("del-flows", "ip");
    assert!(!has("tcp") && !has("nw_tos"), "all that match ip are gone");
    daemon
        .ofctl("del-flows", "br0", &["--strict", "priority=1,in_port=1"])
        .expect_success();
    assert!(
        !has("priority=1,"),
        "the one of equal match and priority is gone"
    );
    assert!(has("priority=3,"), "and no other");
    daemon.ofctl("del-flows", "br0", &[]).expect_success();
    assert_eq!(dump(&daemon), Vec::<String>::new());
    daemon.stop();
}

#[test]
fn groups_meters_ports_and_tables_are_told() {
    let daemon = Daemon::start_in(Netns::silent("sw"), &bridge());
    let group =
        "group_id=7,type=select,bucket=weight:3,actions=output:1,bucket=weight:1,actions=output:2";
    daemon.ofctl("add-group", "br0", &[group]).expect_success();
    let groups = daemon.ofctl("dump-groups", "br0", &[]).expect_success();
    assert!(
        groups.contains("group_id=7,type=select") && groups.contains("weight:3"),
        "{groups}"
    );
    daemon
        .ofctl(
            "mod-group",
            "br0",
            &["group_id=7,type=all,bucket=actions=output:1"],
        )
        .expect_success();
    let groups = daemon.ofctl("dump-groups", "br0", &[]).expect_success();
    assert!(groups.contains("group_id=7,type=all"), "{groups}");
    daemon
        .ofctl("dump-group-stats", "br0", &[])
        .expect_success();
    daemon
        .ofctl("dump-group-features", "br0", &[])
        .expect_success();
    daemon
        .ofctl("del-groups", "br0", &["group_id=7"])
        .expect_success();
    let groups = daemon.ofctl("dump-groups", "br0", &[]).expect_success();
    assert!(!groups.contains("group_id=7"), "{groups}");

    let meter = "meter=3,pktps,burst,stats,bands=type=drop,rate=1000,burst_size=100";
    daemon.ofctl("add-meter", "br0", &[meter]).expect_success();
    let meters = daemon.ofctl("dump-meters", "br0", &[]).expect_success();
    assert!(
        meters.contains("meter=3 pktps burst stats") && meters.contains("rate=1000"),
        "{meters}"
    );
    daemon
        .ofctl("meter-stats", "br0", &["meter=3"])
        .expect_success();
    daemon.ofctl("meter-features", "br0", &[]).expect_success();
    daemon
        .ofctl("del-meter", "br0", &["meter=3"])
        .expect_success();

    let show = daemon.ofctl("show", "br0", &[]).expect_success();
    assert!(show.contains("dpid:000000000000002a"), "{show}");
    assert!(
        show.contains("1(n1)") && show.contains("2(n2)") && show.contains("LOCAL(br0)"),
        "{show}"
    );
    let ports = daemon.ofctl("dump-ports", "br0", &[]).expect_success();
    assert!(ports.contains("3 ports"), "{ports}");
    let tables = daemon.ofctl("dump-tables", "br0", &[]).expect_success();
    assert!(tables.contains("table 0"), "{tables}");
    daemon
        .ofctl("dump-table-features", "br0", &[])
        .expect_success();
    daemon.ofctl("dump-desc", "br0", &[]).expect_success();
    daemon.ofctl("dump-aggregate", "br0", &[]).expect_success();
    daemon.ofctl("queue-stats", "br0", &[]).expect_success();
    daemon
        .ofctl("mod-port", "br0", &["1", "no-forward"])
        .expect_success();
    assert!(
        daemon
            .ofctl("show", "br0", &[])
            .expect_success()
            .contains("NO_FWD")
    );

    // The same over TCP.
    let words = [
        "ovs-ofctl",
        "-O",
        "OpenFlow13",
        "dump-flows",
        "tcp:127.0.0.1:6654",
    ];
    daemon.netns().run(&words).expect_success();
    daemon.stop();
}

#[test]
fn refusals_carry_the_error_of_the_specification() {
    let daemon = Daemon::start_in(Netns::silent("sw"), &bridge());
    let refused = |command: &str, argument: &str, error: &str| {
        let output = daemon.ofctl(command, "br0", &[argument]);
        assert!(
            !output.status.success(),
            "{command} {argument} was accepted"
        );
        assert!(
            output.stderr.contains(error),
            "{command} {argument}: {}",
            output.stderr
        );
    };
    refused("add-flow", "actions=group:99", "OFPBAC_BAD_OUT_GROUP");
    refused(
        "add-flow",
        "actions=meter:99,output:1",
        "OFPMMFC_INVALID_METER",
    );
    refused(
        "mod-group",
        "group_id=5,type=all,bucket=actions=output:1",
        "OFPGMFC_UNKNOWN_GROUP",
    );
    refused(
        "mod-meter",
        "meter=5,kbps,bands=type=drop,rate=1",
        "OFPMMFC_UNKNOWN_METER",
    );
    daemon
        .ofctl("add-flow", "br0", &["priority=5,ip,actions=output:1"])
        .expect_success();
    refused(
        "add-flow",
        "check_overlap,priority=5,in_port=1,actions=output:2",
        "OFPFMFC_OVERLAP",
    );
    daemon.stop();
}
