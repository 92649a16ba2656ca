//! A thousand networks by one port each way: VLANs of the guests become VNIs of a VXLAN port whose
//! key and both ends are told by flows, and at the other end, Open vSwitch with such a port and
//! such flows, other VLANs again.

use std::fmt::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use super::options::ofctl;
use super::ovs::stranger;
use super::*;
use tests::Capture;

/// Networks that both ends know; the next one only the stranger does.
const NETWORKS: u32 = 1000;

/// What the network is at one end of the underlay.
struct End {
    vlan: fn(u32) -> u32,
    /// Its own address, by turns one of two.
    own: [&'static str; 2],
}

const OURS: End = End {
    vlan: |network| network + 1,
    own: ["172.16.0.1", "172.16.0.3"],
};
const THEIRS: End = End {
    vlan: |network| 4000 - network,
    own: ["172.16.0.2", "172.16.0.4"],
};

/// All 24 bits are used.
fn vni(network: u32) -> u32 {
    network * 16_411 + 5
}

impl End {
    /// From port 1, where the guest is, to port 2, the tunnel, and back.
    fn flows(&self, other: &End, networks: u32) -> String {
        let mut flows = String::new();
        for network in 0..networks {
            let (vlan, vni) = ((self.vlan)(network), vni(network));
            let [own, far] = [self, other].map(|end| end.own[network as usize % 2]);
            writeln!(
                flows,
                "in_port=1,dl_vlan={vlan},actions=pop_vlan,set_field:{vni}->tun_id,\
                 set_field:{own}->tun_src,set_field:{far}->tun_dst,output:2\n\
                 in_port=2,tun_id={vni},tun_src={far},tun_dst={own},\
                 actions=push_vlan:0x8100,set_field:{}->vlan_vid,output:1",
                0x1000 | vlan
            )
            .expect("a string grows");
        }
        flows
    }

    /// The flows in a file.
    fn file(&self, other: &End, networks: u32, folder: &Path) -> PathBuf {
        let file = folder.join(format!("flows-{}", self.own[0]));
        std::fs::write(&file, self.flows(other, networks)).expect("a file");
        file
    }
}

/// Sends a frame of each of these networks with their VLANs, which tells the network.
const SEND: &str = "
import socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for word in sys.argv[1].split(','):
    network, vlan = map(int, word.split(':'))
    head = bytes.fromhex('0200000000bb0200000000aa8100') + struct.pack('!HH', vlan, 0x88b5)
    s.send(head + struct.pack('!I', network) + bytes(60))
    time.sleep(0.001)
";

fn send(guest: &Netns, end: &End, networks: impl Iterator<Item = u32>) {
    let word = |network: u32| format!("{network}:{}", (end.vlan)(network));
    let list = networks.map(word).collect::<Vec<_>>().join(",");
    guest.run(&["python3", "-c", SEND, &list]).expect_success();
}

/// VLAN and network of frames that came to a guest.
fn arrived(capture: &Capture) -> Vec<(u32, u32)> {
    let rows = capture.fields("vlan && data", &["vlan.id", "data.data"]);
    let pair = |row: &Vec<String>| {
        let network = u32::from_str_radix(&row[1].replace(':', "")[..8], 16);
        (row[0].parse().expect("a VLAN"), network.expect("a number"))
    };
    rows.iter().map(pair).collect()
}

/// Every network's frames come, and only to its own VLAN. What was sent before the ends of the
/// underlay knew each other, and what a loaded machine lost, is sent again.
#[track_caller]
fn reach(
    (from, here): (&Netns, &End),
    (capture, there): (&Capture, &End),
    told: &dyn Fn() -> String,
) {
    let mut missing: Vec<u32> = (0..NETWORKS).collect();
    for _ in 0..5 {
        send(from, here, missing.iter().copied());
        for _ in 0..20 {
            let came = arrived(capture);
            for (vlan, network) in &came {
                assert_eq!(*vlan, (there.vlan)(*network), "network {network}");
            }
            missing.retain(|network| !came.iter().any(|(_, it)| it == network));
            if missing.is_empty() {
                return;
            }
            sleep(Duration::from_millis(100));
        }
    }
    panic!("{missing:?} did not come: {}", told());
}

#[test]
fn tunnels_a_thousand_networks_by_one_port() {
    let tunnel = "[[bridge.port]]\nname = \"tun\"\nnumber = 2\ntype = \"vxlan\"\n\
                  options = { key = \"flow\", remote_ip = \"flow\", local_ip = \"flow\" }\n";
    let Scene { daemon, guest, far } = Scene::start_with("secure", tunnel);
    daemon.netns().ip("addr add 172.16.0.3/24 dev br-phy");
    let flow = ["key", "remote_ip", "local_ip"].map(|option| format!("options:{option}=flow"));
    let settings = [
        &["type=vxlan", "ofport_request=2"],
        &flow.each_ref().map(String::as_str)[..],
    ];
    let (ovs, other) = stranger(far, &settings.concat());
    ovs.netns().ip("addr add 172.16.0.4/24 dev br-phy");

    let file = OURS.file(&THEIRS, NETWORKS, daemon.scratch());
    let file = file.to_str().expect("text");
    daemon
        .ofctl("add-flows", "br-int", &[file])
        .expect_success();
    ofctl(&ovs, "del-flows", &[]).expect_success();
    let file = THEIRS.file(&OURS, NETWORKS + 1, daemon.scratch());
    ofctl(&ovs, "add-flows", &[file.to_str().expect("text")]).expect_success();

    let wire = Capture::start(ovs.netns(), "eth0", daemon.scratch());
    let (at_guest, at_other) = [&guest, &other]
        .map(|it| Capture::start(it, "eth0", daemon.scratch()))
        .into();
    let told = || daemon.vsctl(&["stats"]).stdout + &daemon.log();
    reach((&guest, &OURS), (&at_other, &THEIRS), &told);
    reach((&other, &THEIRS), (&at_guest, &OURS), &told);

    // On the wire each network had its VNI and its pair of addresses, from either end.
    for (here, there) in [(&OURS, &THEIRS), (&THEIRS, &OURS)] {
        let mut seen = vec![false; NETWORKS as usize];
        let filter = format!(
            "vxlan && !icmp && (ip.src == {} || ip.src == {})",
            here.own[0], here.own[1]
        );
        let columns = ["vxlan.vni", "ip.src", "ip.dst", "data.data"];
        for row in wire.fields(&filter, &columns) {
            let network = u32::from_str_radix(&row[3].replace(':', "")[..8], 16).expect("a number");
            let turn = network as usize % 2;
            let expected = [&vni(network).to_string(), here.own[turn], there.own[turn]];
            assert_eq!(row[..3], expected, "network {network}");
            if let Some(seen) = seen.get_mut(network as usize) {
                *seen = true;
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    // A network that nobody here has a flow for ends here.
    let before = arrived(&at_guest).len();
    send(&other, &THEIRS, [NETWORKS, 0].into_iter());
    eventually("the frame after it came", 30, || {
        (arrived(&at_guest).len() > before).then_some(())
    });
    assert!(
        arrived(&at_guest)
            .iter()
            .all(|(_, network)| *network < NETWORKS)
    );
    assert!(told().contains("table_miss"), "{}", told());
    drop(ovs);
    daemon.stop();
}
