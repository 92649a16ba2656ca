//! Open vSwitch on DPDK, as Debian has it, with its defaults.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::{Netns, run};

use super::{Besides, Port, join_underlay};
use crate::judge::frames::mac_text;
use crate::judge::tunnels::{self, NODES, Tunnels, node_address, node_mac, node_port, own_mac};

pub(super) struct Ovs {
    switch: tests::Ovs,
}

impl Ovs {
    pub(super) fn start(ports: &[Port], besides: Besides) -> Result<Ovs> {
        let switch = tests::Ovs::start(Netns::new("ovs"));
        switch.add_bridge("br0", &["fail_mode=secure", "protocols=OpenFlow13"]);
        if besides.tunnels.is_some() {
            let mac = format!("other_config:hwaddr=\"{}\"", mac_text(own_mac()));
            switch.add_bridge(tunnels::BRIDGE, &["protocols=OpenFlow13", &mac]);
        }
        let numbered: Vec<(usize, &Port)> = (1..).zip(ports).collect();
        for some in numbered.chunks(PORTS_AT_ONCE) {
            let words: Vec<String> = some
                .iter()
                .flat_map(|one| addition(besides.bridge_of(one.0), *one))
                .collect();
            switch.vsctl(&words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let ovs = Ovs { switch };
        if let Some(tunnels) = besides.tunnels {
            ovs.add_tunnels(tunnels)?;
        }
        if let Some(count) = besides.connections {
            ovs.appctl(&["dpctl/ct-set-maxconns", &count.to_string()])?;
        }
        Ok(ovs)
    }

    /// A tunnel to each node, and where that is.
    fn add_tunnels(&self, tunnels: Tunnels) -> Result<()> {
        join_underlay(self.switch.netns());
        for node in 0..NODES {
            let address = node_address(node).to_string();
            let settings = [
                format!("type={}", tunnels.kind.name()),
                format!("options:remote_ip={address}"),
                "options:key=flow".into(),
                format!("ofport_request={}", node_port(node)),
            ];
            let settings = settings.each_ref().map(String::as_str);
            self.switch
                .add_interface("br0", &format!("t{node}"), &settings);
            let mac = mac_text(node_mac(node));
            self.appctl(&["tnl/neigh/set", tunnels::BRIDGE, &address, &mac])?;
        }
        Ok(())
    }

    /// Connections that it tracks.
    pub(super) fn connections(&self) -> Result<f64> {
        let text = self.appctl(&["dpctl/ct-get-nconns"])?;
        let number = text.trim().parse();
        number.with_context(|| format!("ct-get-nconns said '{text}'"))
    }

    /// Lets it forget them.
    pub(super) fn end_connections(&self) -> Result<()> {
        self.appctl(&["dpctl/flush-conntrack"]).map(drop)
    }

    pub(super) fn pid(&self) -> u32 {
        self.switch.pid()
    }

    pub(super) fn bridge(&self) -> PathBuf {
        self.switch.folder().join("br0.mgmt")
    }

    /// Cycles spent with packets, and how many.
    pub(super) fn cycles(&self) -> Result<(f64, f64)> {
        let text = self.appctl(&["dpif-netdev/pmd-stats-show"])?;
        let pmd = text.split("pmd thread").nth(1).context("no PMD thread")?;
        let number = |name: &str| {
            let line = pmd.lines().find_map(|line| line.trim().strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            let number = word.and_then(|word| word.parse::<f64>().ok());
            number.with_context(|| format!("no '{name}' in pmd-stats-show"))
        };
        Ok((number("processing cycles:")?, number("packets received:")?))
    }

    fn appctl(&self, command: &[&str]) -> Result<String> {
        let control = format!("ovs-vswitchd-dpdk.{}.ctl", self.pid());
        let control = self.switch.folder().join(control).display().to_string();
        let output = run(&[&["ovs-appctl", "-t", &control], command].concat());
        ensure!(output.status.success(), "ovs-appctl: {}", output.stderr);
        Ok(output.stdout)
    }
}

/// What `ovs-vsctl` is told to add a port.
fn addition(bridge: &str, (number, port): (usize, &Port)) -> Vec<String> {
    let name = format!("p{number}");
    let (kind, option) = match port {
        Port::Device(device) => ("dpdk", format!("dpdk-devargs=\"{device}\"")),
        Port::Guest(path) => {
            let path = path.display();
            ("dpdkvhostuserclient", format!("vhost-server-path={path}"))
        }
    };
    let add = [
        "--",
        "add-port",
        bridge,
        &name,
        "--",
        "set",
        "interface",
        &name,
    ];
    let settings = [
        format!("type={kind}"),
        format!("options:{option}"),
        format!("ofport_request={number}"),
    ];
    add.map(String::from).into_iter().chain(settings).collect()
}

/// Ports in one call of `ovs-vsctl`: each call waits until they are there.
const PORTS_AT_ONCE: usize = 50;
