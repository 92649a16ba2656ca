//! Choices by hashes and by a packet's length.

use super::super::super::testing::{Script, run};

fn answers(world: &mut Script, packets: impl Iterator<Item = String>) -> Vec<String> {
    let answer = |packet: String| {
        world.run(&format!("packet {packet}"));
        world.answer()
    };
    packets.map(answer).collect()
}

#[test]
fn the_first_port_that_is_live_is_taken() {
    run("
        port p1 1
        port p2 2 down
        port p3 3
        port p4 4
        flow arp,actions=bundle(eth_src,0,active_backup,ofport,members:2,3,4)
        flow ip,actions=bundle_load(eth_src,0,active_backup,ofport,reg0[0..15],\
        members:2,9),output:reg0
        flow ipv6,actions=bundle(eth_src,0,active_backup,ofport,members:2)
        packet p1 arp
        > p3
        packet p1 ipv6
        > drop(no_live_bucket)
        packet p1 ip
        > drop(port_down)
    ");
}

#[test]
fn flows_stay_at_their_port_when_another_goes() {
    let script = |down: &str| {
        format!(
            "port p1 1\nport p2 2\nport p3 3{down}\nport p4 4\n\
             flow actions=bundle(nw_src,5,hrw,ofport,members:2,3,4)"
        )
    };
    let packets = || (1..200).map(|host| format!("p1 ip,nw_src=10.0.0.{host}"));
    let before = answers(&mut run(&script("")), packets());
    let after = answers(&mut run(&script(" down")), packets());
    for port in ["p2", "p3", "p4"] {
        let count = before.iter().filter(|answer| *answer == port).count();
        assert!((40..100).contains(&count), "{port} {count}");
    }
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || before == "p3");
        assert_ne!(after, "p3");
    }
}

#[test]
fn every_algorithm_spreads_over_all_numbers() {
    for algorithm in [
        "modulo_n,5,0",
        "hash_threshold,5,0",
        "hrw,5,0",
        "iter_hash,5,8",
    ] {
        let flow = format!("multipath(symmetric_l3l4,1,{algorithm},reg0[0..3])");
        let mut world = run(&format!(
            "port p0 9\nport p1 1\nport p2 2\nport p3 3\nport p4 4\n\
             flow actions={flow},resubmit(,1)\n\
             flow table=1,reg0=0,actions=output:9\nflow table=1,reg0=1,actions=output:1\n\
             flow table=1,reg0=2,actions=output:2\nflow table=1,reg0=3,actions=output:3\n\
             flow table=1,reg0=4,actions=output:4\nport in 10"
        ));
        let packets = (0..300).map(|port| format!("in tcp,nw_src=10.0.0.1,tp_src={}", 1024 + port));
        let there = answers(&mut world, packets);
        for port in ["p0", "p1", "p2", "p3", "p4"] {
            let count = there.iter().filter(|answer| *answer == port).count();
            assert!((30..100).contains(&count), "{algorithm} {port} {count}");
        }
        let packets = (0..300).map(|port| format!("in tcp,nw_dst=10.0.0.1,tp_dst={}", 1024 + port));
        assert_eq!(
            answers(&mut world, packets),
            there,
            "{algorithm} the other way"
        );
    }
}

#[test]
fn what_is_longer_goes_another_way() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow actions=check_pkt_larger(1500)->reg0[0],resubmit(,1),dec_ttl,output:3
        flow table=1,reg0=1,actions=output:2
        packet p1 ip
        > longer(1500,(count,p2,dec_ttl,p3),(count,dec_ttl,p3))
    ");
}

#[test]
fn the_first_bytes_go_out() {
    run("
        port p1 1
        port p2 2
        flow actions=output(port=2,max_len=64),output:2
        flow arp,actions=output(port=9,max_len=64)
        packet p1 ip
        > clone(truncate(64),p2),p2
        packet p1 arp
        > drop(port_down)
    ");
}

#[test]
fn collectors_are_told_where_there_are_any() {
    let mut world = run("
        port p1 1
        port p2 2
        flow actions=sample(probability=65535,collector_set_id=1),output:2
        packet p1 ip
        > p2
    ");
    world.switch.set_collectors([1].into());
    world.run("packet p1 ip\n> sample(65535/65535,set=1,domain=0,point=0),p2");
    world.switch.set_collectors([2].into());
    world.run("packet p1 ip\n> p2");
}

#[test]
fn collectors_are_told_what_is_in_fields() {
    let mut world = run("port p1 1\nport p2 2");
    world.switch.set_collectors([1].into());
    world.run(
        "
        flow udp,actions=load:9->NXM_NX_REG0[4..7],sample(probability=1,collector_set_id=1,\
            obs_domain_id=NXM_NX_REG0[],obs_point_id=NXM_OF_UDP_DST[0..7]),output:2
        packet p1 udp,udp_dst=0x135
        > sample(1/65535,set=1,domain=144,point=53),p2
        packet p1 udp,udp_dst=0x136
        > sample(1/65535,set=1,domain=144,point=54),p2
    ",
    );
}
