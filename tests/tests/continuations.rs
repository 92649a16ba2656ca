//! Packets that wait for a controller and go on when it lets them: stock `ovs-ofctl monitor` with
//! `resume` is the controller, which gives every packet back as it came.

use tests::{Background, Daemon, Netns, eventually};

const FLOWS: &[&str] = &[
    "table=0,in_port=1,actions=load:7->NXM_NX_REG3[],push:NXM_OF_IN_PORT[],resubmit(,1),output:2",
    "table=1,actions=controller(userdata=aa.bb.cc,pause),load:9->NXM_NX_REG4[],resubmit(,2)",
    "table=2,reg3=7,reg4=9,cookie=5,actions=pop:NXM_NX_REG5[]",
    "table=0,in_port=2,actions=output:1",
];

fn start() -> (Daemon, [Netns; 2]) {
    Daemon::start_between_hosts(FLOWS)
}

#[test]
fn stock_ovs_ofctl_lets_interrupted_packets_go_on() {
    let (daemon, hosts) = start();
    assert!(
        hosts[0].is_cut_off_with("10.0.0.2", &["-c", "1"]),
        "nobody resumes"
    );
    let log = daemon.scratch().join("monitor.log");
    let socket = format!("unix:{}/br0.mgmt", daemon.run_dir().display());
    let unixctl = format!("--unixctl={}", daemon.scratch().join("ctl").display());
    let words = [
        "ovs-ofctl",
        "-OOpenFlow13",
        &unixctl,
        "--no-names",
        "monitor",
    ];
    let words = words.into_iter().chain([&socket, "65534", "resume"]);
    let words: Vec<String> = words.map(str::to_string).collect();
    let _monitor = Background::start(&words, &log);
    eventually("a ping comes back", 60, || {
        hosts[0]
            .pings_with("10.0.0.2", &["-c", "1", "-W", "1"])
            .then_some(())
    });
    let text = eventually("the monitor prints what it gave back", 30, || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("NXT_RESUME").then_some(text)
    });
    for part in [
        "NXT_PACKET_IN2 (OF1.3)",
        "table_id=1",
        "reg3=0x7",
        "in_port=1",
        "(via action)",
        "userdata=aa.bb.cc",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let filter = ["cookie=5/-1"];
    let counted = daemon.ofctl("dump-flows", "br0", &filter).expect_success();
    assert!(
        !counted.contains("n_packets=0,"),
        "they got there: {counted}"
    );
    daemon.stop();
}

#[test]
fn flows_mean_controllers_by_number() {
    let (daemon, hosts) = start();
    let flow = "table=0,in_port=1,actions=controller(id=3,userdata=01),controller(userdata=02)";
    daemon.ofctl("add-flow", "br0", &[flow]).expect_success();
    let socket = format!("unix:{}/br0.mgmt", daemon.run_dir().display());
    let log = daemon.scratch().join("monitor.log");
    let control = daemon.scratch().join("ofctl.sock");
    let unixctl = format!("--unixctl={}", control.display());
    let words = [
        "ovs-ofctl",
        "-OOpenFlow13",
        "-Pnxt_packet_in2",
        &unixctl,
        "monitor",
        &socket,
        "65534",
    ];
    let words: Vec<String> = words.iter().map(|word| (*word).to_string()).collect();
    let _monitor = Background::start(&words, &log);
    let said = |what: &str| {
        eventually(what, 60, || {
            // It goes to controllers only.
            assert!(hosts[0].is_cut_off_with("10.0.0.2", &["-c", "1"]));
            let text = std::fs::read_to_string(&log).ok()?;
            text.contains(what).then_some(text)
        })
    };
    let text = said("userdata=02");
    assert!(!text.contains("userdata=01"), "{text}");
    // NXT_SET_CONTROLLER_ID: number 3.
    let message = "040400180000006300002320000000140000000000000003";
    let words = [
        "ovs-appctl",
        "-t",
        &control.display().to_string(),
        "ofctl/send",
        message,
    ];
    tests::run(&words).expect_success();
    said("userdata=01");
    daemon.stop();
}
