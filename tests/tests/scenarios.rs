//! What a cloud does with its switches, scenario by scenario, each driven over OpenFlow 1.3 by a
//! controller of its own and with real stacks at the ends; docs/scenarios.md is made of them.

use std::path::Path;

use serde_json::{Value, json};
use tests::{Background, Cloud, Guest, GuestOptions, Netns, eventually};

#[path = "scenarios/balancer.rs"]
mod balancer;
#[path = "scenarios/dhcp.rs"]
mod dhcp;
#[path = "scenarios/dvr.rs"]
mod dvr;
#[path = "scenarios/dvr_edge.rs"]
mod dvr_edge;
#[path = "scenarios/edge.rs"]
mod edge;
#[path = "scenarios/fabric.rs"]
mod fabric;
#[path = "scenarios/floating.rs"]
mod floating;
#[path = "scenarios/metadata.rs"]
mod metadata;
#[path = "scenarios/overlapping.rs"]
mod overlapping;
#[path = "scenarios/provider.rs"]
mod provider;
#[path = "scenarios/redundancy.rs"]
mod redundancy;
#[path = "scenarios/routed_tenants.rs"]
mod routed_tenants;
#[path = "scenarios/same_network.rs"]
mod same_network;
#[path = "scenarios/security.rs"]
mod security;
#[path = "scenarios/snat.rs"]
mod snat;
#[path = "scenarios/tenant_networks.rs"]
mod tenant_networks;
#[path = "scenarios/trunk.rs"]
mod trunk;
#[path = "scenarios/two_tenants.rs"]
mod two_tenants;

fn mac(number: u32) -> String {
    format!("02:00:00:00:00:{number:02x}")
}

/// A guest in words of an intent.
fn member(node: u32, port: u32, network: u32, number: u32) -> Value {
    json!({
        "node": node, "port": port, "network": network, "mac": mac(number),
        "address": format!("10.0.0.{number}"),
    })
}

/// A web server on a guest that says `text` to everybody, and from when on it listens.
#[track_caller]
fn serve(guest: &Netns, text: &str, folder: &Path) -> Background {
    let pages = folder.join(format!("pages-{}", guest.name()));
    std::fs::create_dir(&pages).expect("room for a page");
    std::fs::write(pages.join("index.html"), text).expect("room for a page");
    let pages = pages.to_str().expect("text");
    let words = ["busybox", "httpd", "-f", "-p", "80", "-h", pages];
    let log = folder.join(format!("{}.log", guest.name()));
    guest.serve(&words, "-t", 80, &log)
}

/// What the web server at `address` says to a guest, "" if it is not reached.
fn browse(guest: &Netns, address: &str) -> String {
    let url = format!("http://{address}/");
    guest.run(&["curl", "-s", "--max-time", "5", &url]).stdout
}

/// The same guest as the virtual machine at its port.
fn machine(mut guest: Value) -> Value {
    guest["mac"] = MACHINE_MAC.into();
    guest
}

/// Starts the machine of a cloud, at the port `vm` of a node, whose `eth0` has this address, with
/// prefix length or none.
#[track_caller]
fn power_on(cloud: &Cloud, node: usize, address: &str) -> Guest {
    let options = GuestOptions {
        address: address.to_string(),
        ..GuestOptions::new(1)
    };
    Guest::start(options, &cloud.node(node).run_dir().join("vm.sock"))
}

/// What the web server at `address` says to a machine that asks so many times, for three seconds
/// each; "" if it is not reached.
fn browse_by(machine: &mut Guest, address: &str, tries: u64) -> String {
    let ask = format!("timeout 3 wget -q -O - http://{address}/ 2>/dev/null");
    let again = format!("[ $n -lt {tries} ] || exit 1; sleep 1");
    let command = format!("(n=0; until {ask}; do n=$((n + 1)); {again}; done)");
    let (text, code) = machine.run(&command, 4 * tries + 60);
    if code == 0 {
        text.trim().to_string()
    } else {
        String::new()
    }
}

/// The address of a cloud's machine: QEMU's guest of number 1.
const MACHINE_MAC: &str = "52:54:00:00:00:01";
