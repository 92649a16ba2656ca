//! Geneve options to and from Open vSwitch: what each end sets for its guest's packets the other
//! one matches, and tshark reads.

use super::ovs::stranger;
use super::*;
use tests::{Output, Ovs};

/// Bytes of data of the longest option (RFC 8926 §3.5).
const LONGEST: u8 = 124;
const KEY: &str = "{class=0x102,type=0x80,len=4}->tun_metadata0";
const WIDE: &str = "{class=0xffff,type=0x7,len=12}->tun_metadata5";
const STRANGE: &str = "{class=0xffff,type=0x81,len=4}->tun_metadata9";

fn told(daemon: &Daemon) -> String {
    daemon.vsctl(&["stats"]).stdout + &daemon.vsctl(&["flow", "dump", "br-int"]).stdout
}

fn scene() -> Scene {
    Scene::start_with(
        "secure",
        "[[bridge.port]]\nname = \"tun\"\nnumber = 2\ntype = \"geneve\"\n\
         options = { remote_ip = \"172.16.0.2\", key = 77 }\n",
    )
}

/// Runs `ovs-ofctl` on the stranger's bridge of guests.
#[track_caller]
pub fn ofctl(ovs: &Ovs, command: &str, arguments: &[&str]) -> Output {
    let socket = format!("unix:{}/br-int.mgmt", ovs.folder().display());
    let prefix = ["ovs-ofctl", "-O", "OpenFlow13", command, &socket];
    run(&[&prefix, arguments].concat())
}

/// Packets of a flow of ours that these words select.
#[track_caller]
fn packets(daemon: &Daemon, flow: &str) -> u64 {
    let dump = daemon.json(&["flow", "dump", "br-int", flow]);
    dump["flows"][0]["packets"].as_u64().expect("one flow")
}

#[test]
fn tunnels_geneve_options_to_and_from_open_vswitch() {
    let Scene { daemon, guest, far } = scene();
    let ours = |command: &str, arguments: &[&str]| {
        let output = daemon.ofctl(command, "br-int", arguments);
        output.expect_success()
    };
    let remote = "options:remote_ip=\"172.16.0.1\"";
    let (ovs, _guest) = stranger(
        far,
        &["type=geneve", remote, "options:key=77", "ofport_request=2"],
    );
    let maps = format!("{KEY},{WIDE}");
    ours("add-tlv-map", &[&maps]);
    ofctl(&ovs, "add-tlv-map", &[&format!("{maps},{STRANGE}")]).expect_success();
    ours(
        "add-flow",
        &["in_port=1,actions=set_field:0xabcd1234->tun_metadata0,\
           set_field:0x10000000000000000000002->tun_metadata5,output:2"],
    );
    ours(
        "add-flow",
        &["cookie=1,in_port=2,tun_metadata0=0x11223344,\
           actions=delete_field:tun_metadata0,resubmit(,1)"],
    );
    ours(
        "add-flow",
        &["table=1,priority=2,tun_metadata0,actions=drop"],
    );
    ours("add-flow", &["table=1,actions=output:1"]);
    ours("add-flow", &["cookie=2,priority=1,in_port=2,actions=drop"]);
    ofctl(&ovs, "del-flows", &[]).expect_success();
    let theirs = |value: &str| {
        let flow = format!("in_port=1,actions=set_field:{value},output:2");
        ofctl(&ovs, "add-flow", &[&flow]).expect_success();
    };
    theirs("0x11223344->tun_metadata0");
    let answer = "in_port=2,tun_metadata0=0xabcd1234/0xffffff00,\
                  tun_metadata5=0x10000000000000000000002,actions=output:1";
    ofctl(&ovs, "add-flow", &[answer]).expect_success();
    let file = capture(ovs.netns(), daemon.scratch(), || {
        assert!(guest.pings("10.1.0.2"), "{}", told(&daemon));
    });

    // What went, as tshark has it.
    let columns = [
        "geneve.option.class",
        "geneve.option.type",
        "geneve.option.unknown.data",
    ];
    let rows = dissect(&file, "geneve && ip.src == 172.16.0.1 && icmp", &columns);
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(row, ["0x0102", "0x80", "abcd1234"]);
    }
    let wide =
        "geneve.option.unknown.data == 01:00:00:00:00:00:00:00:00:00:00:02 && ip.src == 172.16.0.1";
    assert!(!dissect(&file, wide, &["frame.number"]).is_empty());
    let critical = dissect(&file, "geneve.flags.critical == 1", &["ip.src"]);
    assert!(
        critical.contains(&vec!["172.16.0.1".to_owned()]),
        "{critical:?}"
    );

    // An option that was set and deleted is not sent, and the stranger misses it.
    let sending = |deleted: &str| {
        let flow = format!(
            "in_port=1,actions=set_field:0xabcd1234->tun_metadata0,set_field:0x1000000000000000000\
             0002->tun_metadata5,{deleted}output:2"
        );
        ours("add-flow", &[&flow]);
    };
    sending("delete_field:tun_metadata0,");
    let file = capture(ovs.netns(), daemon.scratch(), || {
        assert!(guest.is_cut_off_from("10.1.0.2"));
    });
    let rows = dissect(&file, "geneve && ip.src == 172.16.0.1 && icmp", &columns);
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(row, ["0xffff", "0x07", "010000000000000000000002"]);
    }
    sending("");
    assert!(guest.pings("10.1.0.2"), "{}", told(&daemon));
    let trace = daemon.vsctl(&["trace", "br-int", "in_port=1,icmp"]);
    let trace = trace.expect_success();
    for words in [
        "output to tun, in a tunnel from 172.16.0.1 to 172.16.0.2, next hop 172.16.0.2, in by",
        // 50 bytes and two options, of 8 bytes and of 16.
        "encapsulate(74 bytes: udp,nw_src=172.16.0.1,nw_dst=172.16.0.2,tp_dst=6081)",
    ] {
        assert!(trace.contains(words), "{words}: {trace}");
    }

    // Another value is another flow's, and an option that nobody here knows is nobody's.
    theirs("0x11223345->tun_metadata0");
    let refused = packets(&daemon, "cookie=2/-1");
    eventually("the answer is refused", 30, || {
        assert!(guest.is_cut_off_from("10.1.0.2"));
        (packets(&daemon, "cookie=2/-1") > refused).then_some(())
    });
    theirs("0x11223344->tun_metadata0,set_field:1->tun_metadata9");
    let passed = packets(&daemon, "cookie=1/-1");
    eventually("an answer is dropped for its option", 30, || {
        assert!(guest.is_cut_off_from("10.1.0.2"));
        told(&daemon).contains("tunnel_option").then_some(())
    });
    assert_eq!(packets(&daemon, "cookie=1/-1"), passed);
    drop(ovs);
    daemon.stop();
}

/// Options longer than 16 bytes, of which flows match and set all or a part.
#[test]
fn tunnels_long_geneve_options_to_and_from_open_vswitch() {
    let Scene { daemon, guest, far } = scene();
    let ours = |command: &str, arguments: &[&str]| {
        let output = daemon.ofctl(command, "br-int", arguments);
        output.expect_success()
    };
    let remote = "options:remote_ip=\"172.16.0.1\"";
    let (ovs, _guest) = stranger(
        far,
        &["type=geneve", remote, "options:key=77", "ofport_request=2"],
    );
    let digits = |first: u8| -> String {
        let bytes = (first..first + LONGEST).map(|byte| format!("{byte:02x}"));
        bytes.collect()
    };
    let (sent, answer) = (digits(0x11), digits(0x61));
    let map = format!("{{class=0x102,type=0x7,len={LONGEST}}}->tun_metadata3");
    ours("add-tlv-map", &[&map]);
    ofctl(&ovs, "add-tlv-map", &[&map]).expect_success();
    // All but the last byte, and that by itself.
    let set = format!(
        "in_port=1,actions=set_field:0x{}00->tun_metadata3,\
         load:0x{}->NXM_NX_TUN_METADATA3[0..7],output:2",
        &sent[..246],
        &sent[246..]
    );
    ours("add-flow", &[&set]);
    let matching = format!(
        "cookie=1,in_port=2,tun_metadata3=0x{answer},\
         actions=move:NXM_NX_TUN_METADATA3[960..991]->NXM_NX_REG0[0..31],resubmit(,1)"
    );
    ours("add-flow", &[&matching]);
    let masked = format!(
        "table=1,reg0=0x{},tun_metadata3=0x{}{zeros}/0xffff{zeros},actions=output:1",
        &answer[..8],
        &answer[..4],
        zeros = "0".repeat(244)
    );
    ours("add-flow", &[&masked]);
    ofctl(&ovs, "del-flows", &[]).expect_success();
    for flow in [
        format!("in_port=1,actions=set_field:0x{answer}->tun_metadata3,output:2"),
        format!("in_port=2,tun_metadata3=0x{sent},actions=output:1"),
    ] {
        ofctl(&ovs, "add-flow", &[&flow]).expect_success();
    }
    let file = capture(ovs.netns(), daemon.scratch(), || {
        assert!(guest.pings("10.1.0.2"), "{}", told(&daemon));
    });
    for (source, data) in [("172.16.0.1", &sent), ("172.16.0.2", &answer)] {
        let rows = dissect(
            &file,
            // The kernel beside Open vSwitch calls the port unreachable, and quotes.
            &format!("geneve && icmp && icmp.type != 3 && ip.src == {source}"),
            &["geneve.option.unknown.data"],
        );
        assert!(!rows.is_empty());
        for row in rows {
            assert_eq!(row, [data.as_str()]);
        }
    }
    assert!(packets(&daemon, "cookie=1/-1") > 0);

    // Stock `ovs-ofctl` and `vsctl` show what was said.
    let [whole, high] = [&matching, &masked].map(|flow| {
        let start = flow.find("tun_metadata3").expect("an option");
        flow[start..].split(",actions").next().expect("a match")
    });
    let set = format!(
        "set_field:0x{}00->tun_metadata3,set_field:0x{}/0xff->tun_metadata3",
        &sent[..246],
        &sent[246..]
    );
    for dump in [
        ours("dump-flows", &[]),
        daemon.vsctl(&["flow", "dump", "br-int"]).expect_success(),
    ] {
        for words in [whole, high, &set, "NXM_NX_TUN_METADATA3[960..991]"] {
            assert!(dump.contains(words), "{words}: {dump}");
        }
    }

    // Another byte is another option's.
    let other = format!(
        "in_port=1,actions=set_field:0x{}00->tun_metadata3,output:2",
        &sent[..246]
    );
    ours("add-flow", &[&other]);
    assert!(guest.is_cut_off_from("10.1.0.2"));
    drop(ovs);
    daemon.stop();
}

/// Who was mapped and is used stays mapped; `vsctl` shows what stock `ovs-ofctl` set and dumps.
#[test]
fn tunnels_tlv_table_as_ovs_ofctl_has_it() {
    let scene = scene();
    let ofctl =
        |command: &str, arguments: &[&str]| scene.daemon.ofctl(command, "br-int", arguments);
    ofctl("add-tlv-map", &[&format!("{KEY},{WIDE}")]).expect_success();
    assert_eq!(
        scene
            .daemon
            .vsctl(&["tlv", "show", "br-int"])
            .expect_success(),
        format!("{KEY}\n{WIDE}\n")
    );
    let dump = ofctl("dump-tlv-map", &[]).expect_success();
    for words in ["max option space=256", "tun_metadata0", "tun_metadata5"] {
        assert!(dump.contains(words), "{dump}");
    }
    for (map, error) in [
        (KEY, "NXTTMFC_ALREADY_MAPPED"),
        (
            "{class=0x102,type=0x80,len=4}->tun_metadata1",
            "NXTTMFC_DUP_ENTRY",
        ),
        (
            "{class=1,type=1,len=124}->tun_metadata1,{class=1,type=2,len=120}->tun_metadata2",
            "NXTTMFC_TABLE_FULL",
        ),
        (
            "{class=1,type=1,len=5}->tun_metadata1",
            "NXTTMFC_BAD_OPT_LEN",
        ),
    ] {
        let refused = ofctl("add-tlv-map", &[map]);
        assert!(refused.stderr.contains(error), "{map}: {}", refused.stderr);
    }
    let flow = "tun_metadata0=0x5/0xf,\
                actions=move:NXM_NX_TUN_METADATA0[0..15]->NXM_NX_REG0[0..15],\
                set_field:0x1->tun_metadata5,delete_field:tun_metadata0,output:1";
    scene
        .daemon
        .vsctl(&["flow", "add", "br-int", flow])
        .expect_success();
    ofctl("add-flow", &["table=3,tun_metadata5,actions=drop"]).expect_success();
    let printed = scene
        .daemon
        .vsctl(&["flow", "dump", "br-int", "--no-stats"]);
    let printed = printed.expect_success();
    let shown = flow.replace(",actions=", " actions=");
    assert!(printed.contains(&shown), "{printed}");
    assert!(printed.contains("tun_metadata5 actions=drop"), "{printed}");
    let printed = ofctl("dump-flows", &[]).expect_success();
    assert!(printed.contains("tun_metadata0=0x5/0xf"), "{printed}");
    assert!(printed.contains("delete_field:tun_metadata0,"), "{printed}");
    let used = ofctl("del-tlv-map", &[KEY]);
    assert!(
        used.stderr.contains("NXTTMFC_INVALID_TLV_DEL"),
        "{}",
        used.stderr
    );
    let unmapped = ofctl("add-flow", &["tun_metadata1=1,actions=drop"]);
    assert!(
        unmapped.stderr.contains("NXFMFC_INVALID_TLV_FIELD"),
        "{}",
        unmapped.stderr
    );
    ofctl("del-flows", &[]).expect_success();
    ofctl("del-tlv-map", &[KEY]).expect_success();
    assert_eq!(
        scene
            .daemon
            .vsctl(&["tlv", "show", "br-int"])
            .expect_success(),
        format!("{WIDE}\n")
    );
    ofctl("del-tlv-map", &[]).expect_success();
    assert_eq!(
        scene
            .daemon
            .vsctl(&["tlv", "show", "br-int"])
            .expect_success(),
        ""
    );
    scene.daemon.stop();
}
