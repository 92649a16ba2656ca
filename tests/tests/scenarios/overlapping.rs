//! Two tenants with the same prefix, the same addresses and even the same MACs, kept apart
//!
//! ```text
//!   a1 10.0.0.1, network 1 ── 1 ┐                           ┌ 1 ── b1 10.0.0.2, network 1
//!                               ├ node 1 ── trunk ── node 2 ┤
//!   a2 10.0.0.1, network 2 ── 2 ┤                           └ 2 ── b2 10.0.0.2, network 2
//!   vm 10.0.0.3, network 2 ── 3 ┘
//! ```
//!
//! Each `b` serves a page that names its tenant. `vm` is a virtual machine. Controller:
//! `networks.py`.

use super::*;
use tests::{Capture, Cloud, Plan};

#[test]
fn s09_overlapping_prefixes() {
    let [mut one, mut two] = [1, 2].map(Plan::new);
    one.bridge("br-int");
    two.bridge("br-int");
    let a =
        [("a1", 1), ("a2", 2)].map(|(name, port)| one.guest(name, port, &mac(1), "10.0.0.1/24"));
    let b =
        [("b1", 1), ("b2", 2)].map(|(name, port)| two.guest(name, port, &mac(2), "10.0.0.2/24"));
    one.machine("vm", 3, "");
    one.join("trunk", 100, two.netns(), "trunk");
    two.port("trunk", 100, "type = \"system\"");
    let node = |node| [1, 2].map(|network| member(node, network, network, node));
    let vm = machine(member(1, 3, 2, 3));
    let guests = [&node(1)[..], &[vm], &node(2)].concat();
    let vlans = json!({ "1": 101, "2": 102 });
    let wanted = json!({ "guests": guests, "vlans": vlans, "trunk": 100 });
    let mut cloud = Cloud::start("networks", [one, two], &wanted);
    let mut vm = power_on(&cloud, 1, "10.0.0.3/24");
    let wire = Capture::start(cloud.node(1).netns(), "trunk", cloud.scratch());
    let _pages = [
        serve(&b[0], "tenant 1", cloud.scratch()),
        serve(&b[1], "tenant 2", cloud.scratch()),
    ];
    assert_eq!(browse(&a[0], "10.0.0.2"), "tenant 1");
    assert_eq!(browse(&a[1], "10.0.0.2"), "tenant 2");
    assert_eq!(browse_by(&mut vm, "10.0.0.2", 10), "tenant 2", "a machine");
    for (vlan, text) in [("101", "tenant 1"), ("102", "tenant 2")] {
        let filter = format!("vlan.id == {vlan} && http.response");
        let rows = wire.wait(&filter, &["http.file_data"]);
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        let told = |row: &Vec<String>| row[0].replace(':', "").contains(&hex) || row[0] == text;
        assert!(rows.iter().all(told), "{rows:?}");
    }
    // Without its own server a tenant reaches none, and the other goes on.
    let mut less = wanted.clone();
    less["guests"] = guests[..4].into();
    cloud.want(&less);
    assert_eq!(browse(&a[1], "10.0.0.2"), "", "not the other's");
    assert_eq!(
        browse_by(&mut vm, "10.0.0.2", 1),
        "",
        "not the other's, for a machine"
    );
    drop(vm);
    assert_eq!(browse(&a[0], "10.0.0.2"), "tenant 1");
    let flow = "in_port=2,eth_src=02:00:00:00:00:01,eth_dst=02:00:00:00:00:02,\
                tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=80";
    cloud.want(&wanted);
    cloud.document("9", include_str!("overlapping.rs"), &[(1, "br-int")], flow);
    cloud.stop();
}
