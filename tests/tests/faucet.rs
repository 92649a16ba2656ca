//! Faucet in charge of the switch: two VLANs, routing between them, and an access list.
//!
//! ```text
//!  h1 10.0.1.1 ── p1 ┐                     ┌ p3 ── h3 10.0.2.3
//!         VLAN 100   │   switch, Faucet    │        VLAN 200
//!  h2 10.0.1.2 ── p2 ┘                     └ t4 ══ OVS ── h4 10.0.2.4
//! ```
//!
//! Port 4 is a trunk: Open vSwitch tags what h4 sends. What comes in by port 2 meets the list.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tests::controller::FAUCET_PORT;
use tests::{Controller, Daemon, Netns, Ovs, eventually};

const BRIDGE: &str = r#"
[[bridge]]
name = "br0"
fail_mode = "secure"
datapath_id = 1
controllers = [{ target = "tcp:127.0.0.1:6653", max_backoff_s = 1 }]
"#;

/// Faucet's own words for the picture above. Whoever is behind port 2 may not open TCP port 5001.
const CONFIG: &str = "
vlans:
    office:
        vid: 100
        faucet_mac: '0e:00:00:00:01:fe'
        faucet_vips: ['10.0.1.254/24', 'fd00:1::fe/64']
    plant:
        vid: 200
        faucet_mac: '0e:00:00:00:02:fe'
        faucet_vips: ['10.0.2.254/24', 'fd00:2::fe/64']
routers:
    between:
        vlans: [office, plant]
acls:
    no_5001:
        - rule: {dl_type: 0x800, nw_proto: 6, tcp_dst: 5001, actions: {allow: 0}}
        - rule: {actions: {ELSE}}
dps:
    switch:
        dp_id: 1
        hardware: HARDWARE
        interfaces:
            1: {native_vlan: office}
            2: {native_vlan: office, acls_in: [no_5001]}
            3: {native_vlan: plant}
            4: {tagged_vlans: [plant]}
";

/// A host of the VLAN with this network number, at the device `port` of `switch`.
fn host(switch: &Netns, port: &str, network: u32, number: u32) -> Netns {
    let host = Netns::new(&format!("h{number}"));
    switch.veth(port, &host, "eth0");
    host.ip(&format!("addr add 10.0.{network}.{number}/24 dev eth0"));
    host.ip(&format!(
        "addr add fd00:{network}::{number}/64 dev eth0 nodad"
    ));
    host.ip(&format!("route add default via 10.0.{network}.254"));
    host.ip(&format!("-6 route add default via fd00:{network}::fe"));
    host
}

/// Open vSwitch between a trunk of `switch` and its access port `p4`.
fn edge(switch: &Netns) -> (Ovs, Netns) {
    let edge = Netns::silent("edge");
    switch.veth("p4", &edge, "trunk");
    let host = host(&edge, "p4", 2, 4);
    let edge = Ovs::start_without_dpdk(edge);
    edge.add_bridge("edge", &[]);
    edge.vsctl(&["add-port", "edge", "trunk"]);
    edge.vsctl(&["add-port", "edge", "p4", "tag=200"]);
    (edge, host)
}

#[track_caller]
fn reaches(from: &Netns, address: &str) {
    eventually(&format!("{address} is reached"), 60, || {
        from.pings(address).then_some(())
    });
}

/// Whether a host opens a connection to another one's `port` within so many seconds.
fn connects(from: &Netns, to: &Netns, address: &str, port: u16, seconds: u64) -> bool {
    let address: SocketAddr = format!("{address}:{port}").parse().expect("an address");
    let _listener = to.enter(|| TcpListener::bind(address).expect("a free port"));
    match from.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(seconds))) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::TimedOut => false,
        Err(error) => panic!("{address}: {error}"),
    }
}

/// A number on Faucet's page for Prometheus.
fn told(daemon: &Daemon, name: &str) -> Option<f64> {
    let url = format!("http://127.0.0.1:{FAUCET_PORT}/metrics");
    let page = daemon.netns().run(&["curl", "-sS", &url]).expect_success();
    let mut lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    let (_, value) = lines.find(|(series, _)| series.split('{').next() == Some(name))?;
    value.parse().ok()
}

/// The network of the picture under a configuration, in which everything has to work.
#[track_caller]
fn bridges_routes_and_filters(config: &str) -> Daemon {
    let switch = Netns::silent("sw");
    let places = [(1, 1), (1, 2), (2, 3)];
    let hosts =
        places.map(|(network, number)| host(&switch, &format!("p{number}"), network, number));
    let (_edge, tagged) = edge(&switch);
    let ports = (1..=4).map(|number| {
        format!("[[bridge.port]]\nname = \"p{number}\"\nnumber = {number}\ntype = \"system\"\n")
    });
    let bridge = BRIDGE.to_string() + &ports.collect::<String>();
    let daemon = Daemon::start_in(switch, &bridge);
    let _faucet = Controller::start_faucet(daemon.netns(), config, daemon.scratch());
    eventually("Faucet says that the switch is up", 60, || {
        (told(&daemon, "dp_status") == Some(1.0)).then_some(())
    });

    reaches(&hosts[0], "10.0.1.2");
    reaches(&hosts[0], "fd00:1::2");
    reaches(&tagged, "10.0.2.3");
    reaches(&hosts[0], "10.0.1.254");
    reaches(&hosts[2], "fd00:2::fe");
    reaches(&hosts[0], "10.0.2.3");
    reaches(&hosts[1], "10.0.2.4");
    reaches(&hosts[0], "fd00:2::3");

    let [h1, h2, h3] = &hosts;
    assert!(connects(h2, h1, "10.0.1.1", 5002, 30), "allowed");
    assert!(!connects(h2, h1, "10.0.1.1", 5001, 2), "denied");
    assert!(connects(h3, h1, "10.0.1.1", 5001, 30), "allowed elsewhere");
    let log = std::fs::read_to_string(daemon.scratch().join("faucet.log"));
    assert_eq!(told(&daemon, "of_errors_total"), Some(0.0), "{log:?}");
    daemon
}

#[test]
fn faucet_bridges_routes_and_filters() {
    let config = CONFIG
        .replace("HARDWARE", "Open vSwitch")
        .replace("ELSE", "allow: 1");
    bridges_routes_and_filters(&config).stop();
}

#[test]
fn faucet_cuts_tables_down_and_floods_by_groups_and_meters() {
    let meter = "
meters:
    fast:
        meter_id: 1
        entry: {flags: [KBPS], bands: [{type: DROP, rate: 1000000}]}
";
    let config = CONFIG
        .replace("HARDWARE", "GenericTFM\n        group_table: true")
        .replace("ELSE", "meter: fast, allow: 1");
    let daemon = bridges_routes_and_filters(&format!("{meter}{config}"));
    let says = |command: &str, text: &str| {
        let told = daemon.ofctl(command, "br0", &[]).expect_success();
        assert!(told.contains(text), "{told}");
    };
    says("dump-groups", "type=all,bucket=");
    says("dump-meters", "rate=1000000");
    says("dump-flows", "meter:1");
    says("dump-table-features", "flood");
    let tables = daemon.ofctl("dump-tables", "br0", &[]).expect_success();
    assert!(
        !tables.contains("253"),
        "tables without use are gone: {tables}"
    );
    daemon.stop();
}
