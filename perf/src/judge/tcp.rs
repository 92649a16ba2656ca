//! TCP by iperf3 through our daemon and Open vSwitch: between guests, a guest and the host, hosts.
//!
//! All that is not the switch's worker is on the control CPU. Both switches learn addresses
//! (NORMAL) and have their defaults. Frames from Linux hosts reach Open vSwitch's `system` ports
//! with checksums that are still to be completed, which it does not do, so the hosts complete them
//! there, as its guide to userspace tunnels and virtual devices says.

use std::path::Path;

use anyhow::{Context, Result};
use tests::{Background, Daemon, Guest, GuestOptions, Netns, Ovs, eventually, netns};

use super::contender::Kind;
use super::machine::CONTROL_CPU;

/// Who speaks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Two QEMU guests on vhost-user ports.
    Guests,
    /// Such a guest and a namespace on an `internal` port.
    GuestAndInternal,
    /// Two namespaces on `internal` ports.
    Internals,
    /// Two namespaces behind `system` ports.
    Systems,
}

/// Millions of bits a second; `None` if it is no switch.
pub fn mbps(kind: Kind, between: Between, seconds: f64) -> Result<Option<f64>> {
    if kind == Kind::Testpmd {
        return Ok(None);
    }
    let (netns, hosts) = match between {
        Between::Systems => netns::hosts(),
        _ => (
            Netns::new("sw"),
            [1, 2].map(|number| Netns::new(&format!("h{number}"))),
        ),
    };
    let switch = Switch::start(kind, netns, between);
    let rate = match between {
        Between::Guests => {
            let mut guests = [1, 2].map(|number| boot(&switch, number));
            await_ping(&mut guests[0]);
            guests[1].succeed("iperf3 -s -D </dev/null >/dev/null 2>&1", 10);
            guest_rate(&mut guests[0], seconds)?
        }
        Between::GuestAndInternal => {
            switch.give(2, &hosts[1]);
            let mut guest = boot(&switch, 1);
            await_ping(&mut guest);
            let _server = serve(&hosts[1], switch.folder());
            guest_rate(&mut guest, seconds)?
        }
        Between::Internals => {
            (1..)
                .zip(&hosts)
                .for_each(|(number, host)| switch.give(number, host));
            host_rate(&hosts, switch.folder(), seconds)?
        }
        Between::Systems => {
            if kind == Kind::Ovs {
                hosts.iter().for_each(complete_checksums);
            }
            host_rate(&hosts, switch.folder(), seconds)?
        }
    };
    Ok(Some(rate))
}

/// One of the two with a bridge of two ports.
enum Switch {
    Ours(Daemon),
    Ovs(Ovs),
}

impl Switch {
    fn start(kind: Kind, netns: Netns, between: Between) -> Switch {
        let kinds = match between {
            Between::Guests => [GUEST, GUEST],
            Between::GuestAndInternal => [GUEST, "internal"],
            Between::Internals => ["internal", "internal"],
            Between::Systems => ["system", "system"],
        };
        let ports = [1, 2].into_iter().zip(kinds);
        if kind == Kind::Ours {
            let tables = ports.map(|(number, kind)| table(number, kind));
            let tables = BRIDGE.to_string() + &tables.collect::<String>();
            return Switch::Ours(Daemon::start_in(netns, &tables));
        }
        let ovs = Ovs::start(netns);
        ovs.add_bridge("br0", &[]);
        for (number, kind) in ports {
            let path = format!("{}/p{number}.sock", ovs.folder().display());
            let option = format!("options:vhost-server-path={path}");
            let kind_setting = format!("type={kind}");
            let settings = match kind {
                GUEST => vec![kind_setting.as_str(), &option],
                _ => vec![kind_setting.as_str()],
            };
            ovs.add_interface("br0", &format!("p{number}"), &settings);
        }
        Switch::Ovs(ovs)
    }

    /// Where guests' sockets are.
    fn folder(&self) -> &Path {
        match self {
            Switch::Ours(daemon) => daemon.scratch(),
            Switch::Ovs(ovs) => ovs.folder(),
        }
    }

    /// Moves an internal port's device to a host.
    fn give(&self, number: u8, host: &Netns) {
        let switch = match self {
            Switch::Ours(daemon) => daemon.netns(),
            Switch::Ovs(ovs) => ovs.netns(),
        };
        switch.give(&format!("p{number}"), host);
        host.ip(&format!("addr add 10.0.0.{number}/24 dev p{number}"));
    }

    fn socket(&self, number: u8) -> std::path::PathBuf {
        match self {
            Switch::Ours(daemon) => daemon.run_dir().join(format!("p{number}.sock")),
            Switch::Ovs(ovs) => ovs.folder().join(format!("p{number}.sock")),
        }
    }
}

fn table(number: u8, kind: &str) -> String {
    let options = match kind {
        GUEST => format!("options = {{ vhost-server-path = \"RUN_DIR/p{number}.sock\" }}\n"),
        _ => String::new(),
    };
    format!("[[bridge.port]]\nname = \"p{number}\"\ntype = \"{kind}\"\n{options}")
}

fn boot(switch: &Switch, number: u8) -> Guest {
    Guest::boot(GuestOptions::new(number), &switch.socket(number))
}

fn await_ping(guest: &mut Guest) {
    assert!(
        guest.pings("10.0.0.2", 20),
        "no answer to the guest's pings"
    );
}

fn complete_checksums(host: &Netns) {
    let off = [
        "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off",
    ];
    host.run(&off).expect_success();
}

/// iperf3's server in a host, once it listens.
fn serve(host: &Netns, folder: &Path) -> Background {
    let cpu = CONTROL_CPU.to_string();
    let server = host.words(&["taskset", "-c", &cpu, "iperf3", "-s", "-1"]);
    let server = Background::start(&server, &folder.join("iperf3.log"));
    eventually("iperf3 listens", 30, || {
        let listening = host.run(&["ss", "-Hltn", "sport = 5201"]);
        (!listening.stdout.is_empty()).then_some(())
    });
    server
}

fn host_rate(hosts: &[Netns; 2], folder: &Path, seconds: f64) -> Result<f64> {
    assert!(hosts[0].pings("10.0.0.2"), "no answer to the host's pings");
    let _server = serve(&hosts[1], folder);
    let (cpu, seconds) = (CONTROL_CPU.to_string(), iperf_seconds(seconds));
    let client = ["taskset", "-c", &cpu, "iperf3", "-c", "10.0.0.2"];
    let text = hosts[0].run(&[&client[..], &["-O", WARM_UP, "-t", &seconds, "-J"]].concat());
    let report: serde_json::Value = serde_json::from_str(&text.expect_success())?;
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(rate.context("iperf3 tells no rate")? / 1e6)
}

fn guest_rate(client: &mut Guest, seconds: f64) -> Result<f64> {
    let seconds = iperf_seconds(seconds);
    let command = format!("iperf3 -c 10.0.0.2 -O {WARM_UP} -t {seconds} -f m </dev/null");
    let text = client.succeed(&command, 60);
    let line = text.lines().find(|line| line.contains("receiver"));
    let words: Vec<&str> = line.context("no summary")?.split_whitespace().collect();
    let unit = words.iter().position(|word| *word == "Mbits/sec");
    let place = unit.and_then(|unit| unit.checked_sub(1));
    Ok(words[place.context("no rate in Mbits/sec")?].parse()?)
}

/// A guest is emulated, and its rate differs from second to second.
fn iperf_seconds(seconds: f64) -> String {
    (seconds.max(0.5) * 4.0).round().to_string()
}

/// Seconds that are left out: TCP takes a while to reach its rate, and QEMU to translate guests.
const WARM_UP: &str = "2";
const BRIDGE: &str = "[[bridge]]\nname = \"br0\"\nfail_mode = \"standalone\"\n";
const GUEST: &str = "dpdkvhostuserclient";
