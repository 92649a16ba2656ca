//! A real controller, os-ken's learning switch, takes the switch over and gives it back.

use tests::netns::hosts;
use tests::{Controller, Daemon, eventually};

fn bridge(fail_mode: &str) -> String {
    let head = format!("[[bridge]]\nname = \"br0\"\nfail_mode = \"{fail_mode}\"\n");
    let controllers = "controllers = [\"tcp:127.0.0.1:6653\"]\n";
    let port = |i| format!("[[bridge.port]]\nname = \"p{i}\"\nnumber = {i}\ntype = \"system\"\n");
    head + controllers + &port(1) + &port(2)
}

#[test]
fn a_learning_controller_connects_hosts_and_its_flows_outlive_it() {
    let (switch, hosts) = hosts::<2>();
    let daemon = Daemon::start_in(switch, &bridge("secure"));
    assert!(
        hosts[0].is_cut_off_from("10.0.0.2"),
        "secure without a controller forwards nothing"
    );

    let application = "os_ken.app.simple_switch_13";
    let controller = Controller::start(daemon.netns(), application, 6653, daemon.scratch());
    eventually("the controller's flows connect the hosts", 60, || {
        hosts[0].pings("10.0.0.2").then_some(())
    });
    let flows = daemon.ofctl("dump-flows", "br0", &[]).expect_success();
    assert!(
        flows.contains("actions=CONTROLLER:65535"),
        "the table-miss flow: {flows}"
    );
    assert!(
        flows.contains("in_port=1") || flows.contains("in_port=p1"),
        "learned: {flows}"
    );

    let block = "priority=100,ip,nw_dst=10.0.0.2,actions=drop";
    daemon.ofctl("add-flow", "br0", &[block]).expect_success();
    assert!(hosts[0].is_cut_off_from("10.0.0.2"), "blocked by a flow");
    let blocked = "priority=100,ip,nw_dst=10.0.0.2";
    daemon
        .ofctl("del-flows", "br0", &["--strict", blocked])
        .expect_success();
    assert!(hosts[0].pings("10.0.0.2"), "and unblocked");

    drop(controller);
    assert!(
        hosts[0].pings("10.0.0.2"),
        "flows stay when the controller goes"
    );
    daemon.stop();
}

#[test]
fn standalone_forwards_without_a_controller() {
    let (switch, hosts) = hosts::<2>();
    let daemon = Daemon::start_in(switch, &bridge("standalone"));
    eventually("the switch falls back to learning by itself", 60, || {
        hosts[0].pings("10.0.0.2").then_some(())
    });
    daemon.stop();
}
