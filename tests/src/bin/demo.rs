//! The demonstration of `make demo`: two guests, a controller, a file between them, a flow that
//! blocks one, and what the switch has to say about it.

use std::path::PathBuf;

use tests::{Controller, Daemon, Guest, GuestOptions};

const BRIDGE: &str = r#"
[[bridge]]
name = "br0"
fail_mode = "secure"
controllers = ["tcp:127.0.0.1:6653"]
[[bridge.port]]
name = "vm1"
number = 1
type = "dpdkvhostuserclient"
options = { vhost-server-path = "RUN_DIR/vm1.sock" }
[[bridge.port]]
name = "vm2"
number = 2
type = "dpdkvhostuserclient"
options = { vhost-server-path = "RUN_DIR/vm2.sock" }
"#;

const BLOCK: &str = "priority=100,icmp,nw_src=10.0.0.1,actions=drop";
const UNBLOCK: &str = "priority=100,icmp,nw_src=10.0.0.1";

fn main() {
    say("Starting vswitchd: bridge br0 in secure mode, vhost-user ports vm1 and vm2");
    let daemon = Daemon::start(BRIDGE);
    say("Starting os-ken's simple_switch_13, an OpenFlow 1.3 learning controller");
    let application = "os_ken.app.simple_switch_13";
    let controller = Controller::start(daemon.netns(), application, 6653, daemon.scratch());

    say("Booting two QEMU guests (a Debian kernel, emulated: about four seconds each)");
    let mut one = boot(&daemon, 1);
    let mut two = boot(&daemon, 2);
    println!("  vm1 is 10.0.0.1, vm2 is 10.0.0.2");
    transfer(&mut one, &mut two);
    block_and_unblock(&daemon, &mut one);
    show(&daemon);

    say("Done: ending guests, controller and switch");
    drop((one, two, controller));
    daemon.stop();
    println!("  every packet buffer was returned and nothing was left behind");
}

fn boot(daemon: &Daemon, number: u8) -> Guest {
    let socket: PathBuf = daemon.run_dir().join(format!("vm{number}.sock"));
    Guest::boot(GuestOptions::new(number), &socket)
}

fn transfer(one: &mut Guest, two: &mut Guest) {
    say("vm1 pings vm2");
    print_indented(&one.succeed("ping -c 3 10.0.0.2", 30));
    say("vm1 fetches a file of 16 MiB from vm2 over TCP");
    two.succeed(
        "dd if=/dev/urandom of=/tmp/file bs=1M count=16 2>/dev/null",
        60,
    );
    two.succeed("httpd -p 80 -h /tmp", 10);
    one.succeed("wget -q -O /tmp/file http://10.0.0.2/file", 120);
    let sent = two.succeed("md5sum < /tmp/file", 60);
    let received = one.succeed("md5sum < /tmp/file", 60);
    println!("  sent     {}  received {}", sent.trim(), received.trim());
    assert_eq!(sent.trim(), received.trim(), "the file arrived changed");
}

fn block_and_unblock(daemon: &Daemon, one: &mut Guest) {
    say("A flow blocks the pings of vm1");
    println!("  vsctl flow add br0 {BLOCK}");
    daemon
        .vsctl(&["flow", "add", "br0", BLOCK])
        .expect_success();
    assert!(!one.pings("10.0.0.2", 2), "the flow did not block");
    println!("  no answer any more");
    println!("  vsctl flow del --strict br0 {UNBLOCK}");
    daemon
        .vsctl(&["flow", "del", "--strict", "br0", UNBLOCK])
        .expect_success();
    assert!(
        one.pings("10.0.0.2", 5),
        "the flow's removal did not unblock"
    );
    println!("  vm2 answers again");
}

fn show(daemon: &Daemon) {
    say("The flows, as stock ovs-ofctl reads them");
    print_indented(&daemon.ofctl("dump-flows", "br0", &[]).expect_success());
    let trace = "in_port=1,dl_src=52:54:00:00:00:01,dl_dst=52:54:00:00:00:02,dl_type=0x0800";
    let commands: [&[&str]; 3] = [&["stats"], &["worker", "show"], &["trace", "br0", trace]];
    for command in commands {
        say(&format!("vsctl {}", command.join(" ")));
        print_indented(&daemon.vsctl(command).expect_success());
    }
}

fn say(text: &str) {
    println!("\n== {text}");
}

fn print_indented(text: &str) {
    for line in text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        println!("  {line}");
    }
}
