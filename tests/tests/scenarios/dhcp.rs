//! Addresses by DHCP: each tenant's guests are served by their own tenant's dnsmasq alone
//!
//! ```text
//!    a 10.0.0.1, network 1 ── 1 ┐                 ┌ 11 ── dnsmasq 10.0.0.11, network 1
//!    b 10.0.0.1, network 2 ── 2 ┼ br-int, node 1 ─┤
//!   vm 10.0.0.3, network 2 ── 3 ┘                 └ 12 ── dnsmasq 10.0.0.12, network 2
//! ```
//!
//! A guest that answers as a server is not heard. `vm` is a virtual machine. Controller:
//! `networks.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

/// A server that gives the MAC of guest 1 the address 10.0.0.1, and that of a machine 10.0.0.3, and
/// says who is their router.
#[track_caller]
fn serve_dhcp(server: &Netns, router: &str, folder: &Path) -> Background {
    let lease_file = folder.join(format!("{}.leases", server.name()));
    let options = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--no-ping",
        "--interface=eth0",
        "--bind-interfaces",
        "--dhcp-authoritative",
        "--pid-file=",
        "--log-dhcp",
        "--log-facility=-",
        "--dhcp-range=10.0.0.0,static,255.255.255.0,1h",
    ];
    let host = format!("--dhcp-host={},10.0.0.1", mac(1));
    let machine = format!("--dhcp-host={MACHINE_MAC},10.0.0.3");
    let router = format!("--dhcp-option=option:router,{router}");
    let leases = format!("--dhcp-leasefile={}", lease_file.display());
    let words = [&options[..], &[&host, &machine, &router, &leases]].concat();
    let log = folder.join(format!("{}.log", server.name()));
    server.serve(&words, "-u", 67, &log)
}

/// What the guest is told, line by line as `udhcpc` puts it into its script's environment.
fn ask(guest: &Netns, folder: &Path) -> String {
    let script = folder.join("udhcpc.sh");
    let told = folder.join(format!("{}.told", guest.name()));
    let text = "#!/bin/sh\n[ \"$1\" != bound ] || env >\"$TOLD\"\n";
    std::fs::write(&script, text).expect("room for a script");
    tests::run(&["chmod", "755", script.to_str().expect("text")]).expect_success();
    let told_to = format!("TOLD={}", told.display());
    let script = script.to_str().expect("text");
    let options = [
        "-i", "eth0", "-f", "-q", "-n", "-t", "10", "-T", "1", "-s", script,
    ];
    let words = [&["env", &told_to, "busybox", "udhcpc"], &options[..]].concat();
    guest.run(&words);
    std::fs::read_to_string(told).unwrap_or_default()
}

/// What a machine is told: its address and its router.
fn ask_by(machine: &mut Guest) -> String {
    let script = "#!/bin/sh\n[ $1 != bound ] || echo $ip $router >/tmp/told\n";
    machine.succeed(
        &format!("printf '{script}' >/tmp/bound; chmod 755 /tmp/bound"),
        60,
    );
    let ask = "udhcpc -i eth0 -f -q -n -t 10 -T 2 -s /tmp/bound >/dev/null 2>&1; cat /tmp/told";
    machine.succeed(ask, 120).trim().to_string()
}

#[test]
fn s06_dhcp_by_tenant() {
    let mut plan = Plan::new(1);
    plan.bridge("br-int");
    let guests = [("a", 1), ("b", 2)].map(|(name, port)| plan.guest(name, port, &mac(1), ""));
    plan.machine("vm", 3, "");
    let servers = [11, 12].map(|number| {
        let address = format!("10.0.0.{number}/24");
        plan.guest(&format!("dhcp{number}"), number, &mac(number), &address)
    });
    let server = |port, network| {
        let mut server = member(1, port, network, port);
        server["dhcp_server"] = true.into();
        server
    };
    let all = [
        member(1, 1, 1, 1),
        member(1, 2, 2, 1),
        machine(member(1, 3, 2, 3)),
        server(11, 1),
        server(12, 2),
    ];
    let cloud = Cloud::start("networks", [plan], &json!({ "guests": all }));
    let folder = cloud.scratch();
    let mut vm = power_on(&cloud, 1, "");
    let mut running = vec![
        serve_dhcp(&servers[0], "10.0.0.11", folder),
        serve_dhcp(&servers[1], "10.0.0.12", folder),
    ];
    let captures = servers
        .each_ref()
        .map(|server| Capture::start(server, "eth0", folder));
    for (guest, router) in guests.iter().zip(["10.0.0.11", "10.0.0.12"]) {
        let told = ask(guest, folder);
        assert!(told.contains("ip=10.0.0.1\n"), "{told}");
        assert!(told.contains(&format!("router={router}\n")), "{told}");
        guest.ip("addr add 10.0.0.1/24 dev eth0");
        assert!(guest.pings(router), "with the address it was given");
    }
    assert_eq!(
        ask_by(&mut vm),
        "10.0.0.3 10.0.0.12",
        "what a machine is told"
    );
    vm.succeed("ip addr add 10.0.0.3/24 dev eth0", 60);
    assert!(vm.pings("10.0.0.12", 30), "with the address it was given");
    assert!(!vm.pings("10.0.0.11", 2), "the other tenant's server");
    drop(vm);
    let of_machine = format!("dhcp.hw.mac_addr == {MACHINE_MAC}");
    captures[1].wait(&of_machine, &["dhcp.option.dhcp"]);
    assert_eq!(captures[0].count(&of_machine), 0, "not asked");
    for (capture, address) in captures.iter().zip(["10.0.0.12", "10.0.0.11"]) {
        capture.wait("dhcp.option.dhcp == 5", &["ip.src"]);
        let other = format!("ip.addr == {address} || arp.src.proto_ipv4 == {address}");
        assert_eq!(capture.count(&other), 0, "nothing of the other tenant");
    }

    // Network 2 loses its server, and what a guest sends as a server comes to nobody.
    running.truncate(1);
    guests[1].ip("addr flush dev eth0");
    let forget = std::fs::remove_file(folder.join(format!("{}.told", guests[1].name())));
    forget.expect("it was told before");
    assert_eq!(
        ask(&guests[1], folder),
        "",
        "network 1's server is not for network 2"
    );
    guests[0].run(&[
        "busybox",
        "nc",
        "-u",
        "-p",
        "67",
        "-w",
        "1",
        "10.0.0.11",
        "68",
    ]);
    servers[0].ip("neigh flush all");
    assert!(guests[0].pings("10.0.0.11"));
    captures[0].wait(
        "arp.src.proto_ipv4 == 10.0.0.11 && arp.opcode == 1",
        &["arp"],
    );
    assert_eq!(
        captures[0].count("ip.src == 10.0.0.1 && udp.srcport == 67"),
        0,
        "no server"
    );
    let flow = "in_port=1,eth_src=02:00:00:00:00:01,eth_dst=ff:ff:ff:ff:ff:ff,\
                udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67";
    cloud.document("6", include_str!("dhcp.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
