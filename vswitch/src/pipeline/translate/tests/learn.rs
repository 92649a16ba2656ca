//! Flows that packets make, shorten and take along when they go.

use super::super::super::testing::run;

/// The tables of a hypervisor's tunnel bridge: what comes by the tunnel teaches the way back.
const TUNNELS: &str = "
    port patch 1
    port vxlan 2
    port other 3
    flow table=0,in_port=2,actions=resubmit(,10)
    flow table=0,in_port=3,actions=resubmit(,10)
    flow table=0,in_port=1,actions=resubmit(,20)
    flow table=10,priority=1,actions=learn(table=20,hard_timeout=3,priority=1,cookie=0x5,\
         NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],\
         load:0x3e8->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[]),output:1
    flow table=20,priority=0,actions=resubmit(,22)
    flow table=22,actions=output:2,output:3
";

#[test]
fn a_packet_teaches_the_way_back() {
    let mut world = run(TUNNELS);
    world.run(
        "
        packet patch dl_vlan=7,dl_dst=02:00:00:00:00:09
        > vxlan,other
        packet vxlan dl_vlan=7,dl_src=02:00:00:00:00:09
        > learn(cookie=0x5, table=20, hard_timeout=3, \
          priority=1,vlan_tci=0x0007/0x0fff,dl_dst=02:00:00:00:00:09 \
          actions=load:0->NXM_OF_VLAN_TCI[],load:0x3e8->NXM_NX_TUN_ID[],2),patch
        grant
        packet patch dl_vlan=7,dl_dst=02:00:00:00:00:09
        > pop_vlan,vxlan
        packet patch dl_vlan=8,dl_dst=02:00:00:00:00:09
        > vxlan,other
        packet other dl_vlan=7,dl_src=02:00:00:00:00:09
        grant
        packet patch dl_vlan=7,dl_dst=02:00:00:00:00:09
        > pop_vlan,other
        ",
    );
}

#[test]
fn who_asks_again_keeps_the_flow() {
    let mut world = run(TUNNELS);
    world.run(
        "
        packet vxlan dl_vlan=7,dl_src=02:00:00:00:00:09
        grant
        wait 2000
        packet vxlan dl_vlan=7,dl_src=02:00:00:00:00:09
        grant
        ",
    );
    assert!(!world.switch.is_changed(), "nothing to publish");
    world.run(
        "
        wait 2000
        packet patch dl_vlan=7,dl_dst=02:00:00:00:00:09
        > pop_vlan,vxlan
        wait 1001
        packet patch dl_vlan=7,dl_dst=02:00:00:00:00:09
        > vxlan,other
        ",
    );
}

#[test]
fn learned_flows_go_with_the_last_that_makes_such() {
    run("
        port p1 1
        port p2 2
        flow priority=1,actions=output:2
        flow priority=5,arp,actions=learn(table=1,cookie=7,delete_learned,\
        eth_dst=eth_src,output:in_port)
        flow priority=6,ip,actions=learn(table=1,cookie=7,delete_learned,\
        eth_dst=eth_src,output:in_port)
        flow priority=7,dl_type=0x1234,actions=resubmit(,1)
        flow table=1,priority=0,actions=output:2
        packet p1 arp,dl_src=02:00:00:00:00:09
        grant
        packet p2 dl_type=0x1234,dl_dst=02:00:00:00:00:09
        > p1
        delete arp
        wait 1
        packet p2 dl_type=0x1234,dl_dst=02:00:00:00:00:09
        > p1
        flow priority=6,ip,actions=learn(table=1,cookie=7,delete_learned,eth_dst=eth_src),output:2
        wait 1
        packet p2 dl_type=0x1234,dl_dst=02:00:00:00:00:09
        > p1
        flow priority=6,ip,actions=output:2
        wait 1
        packet p1 dl_type=0x1234,dl_dst=02:00:00:00:00:09
        > p2
    ");
}

#[test]
fn no_more_flows_are_made_than_there_may_be() {
    let mut world = run("
        port p1 1
        port p2 2
        port p3 3
        flow actions=learn(table=9,cookie=3,limit=2,result_dst=reg0[0],eth_dst=eth_src),resubmit(,1)
        flow table=1,reg0=1,actions=output:2
        flow table=1,reg0=0,actions=output:3
        ");
    for host in 1..=2 {
        world.run(&format!("packet p1 dl_src=02:00:00:00:00:0{host}\ngrant"));
        assert!(world.answer().ends_with("p2"), "{}", world.answer());
    }
    world.run("packet p1 dl_src=02:00:00:00:00:03\ngrant");
    world.run(
        "
        packet p1 dl_src=02:00:00:00:00:03
        > p3
        ",
    );
    world.run("packet p1 dl_src=02:00:00:00:00:02");
    assert!(world.answer().ends_with("p2"), "{}", world.answer());
    world.run("delete table=9,dl_dst=02:00:00:00:00:01\npacket p1 dl_src=02:00:00:00:00:03\ngrant");
    assert!(world.answer().ends_with("p2"), "{}", world.answer());
    world.run(
        "
        packet p1 dl_src=02:00:00:00:00:04
        grant
        packet p1 dl_src=02:00:00:00:00:04
        > p3
        ",
    );
}

#[test]
fn the_end_of_a_connection_shortens_its_flow() {
    run("
        port p1 1
        port p2 2
        flow tcp,actions=learn(table=1,idle_timeout=60,fin_idle_timeout=2,eth_type=0x800,\
             nw_proto=6,tcp_src=tcp_src,output:in_port),resubmit(,1)
        flow table=1,priority=0,actions=output:2
        packet p1 tcp,tp_src=77,tcp_flags=0x10
        grant
        packet p1 tcp,tp_src=77,tcp_flags=0x10
        wait 10000
        packet p2 tcp,tp_src=77,tcp_flags=0x18
        packet p2 tcp,tp_src=77,tcp_flags=0x11
        grant
        wait 3000
        packet p1 tcp,tp_src=77,tcp_flags=0x10
    ");
    let mut world = run("
        port p1 1
        port p2 2
        flow tcp,idle_timeout=60,actions=fin_timeout(idle_timeout=2,hard_timeout=5),output:2
        flow udp,actions=output:2
        packet p1 tcp,tcp_flags=0x10
        > p2
        packet p1 tcp,tcp_flags=0x11
        > shorten(idle=2,hard=5),p2
        grant
        wait 1000
        packet p1 tcp,tcp_flags=0x10
        > p2
    ");
    world.run("wait 4001\npacket p1 tcp,tcp_flags=0x10\n> drop(table_miss)");
}
