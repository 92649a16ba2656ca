//! What becomes of packets, in the language of [`super::super::testing`].

use openflow::Fragments;

use super::super::testing::run;

mod choice;
mod learn;

#[test]
fn the_flow_of_highest_priority_decides() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow priority=1,actions=output:2
        flow priority=2,tcp,nw_dst=10.0.0.0/8,actions=output:3
        flow priority=3,tcp,nw_dst=10.1.0.0/16,actions=drop
        packet p1 tcp,nw_dst=10.0.0.1
        > p3
        packet p1 udp,nw_dst=10.0.0.1
        > p2
        packet p1 tcp,nw_dst=10.1.0.1
        > drop(no_output)
    ");
}

#[test]
fn without_a_flow_the_packet_is_dropped() {
    run("
        port p1 1
        flow tcp,actions=output:2
        packet p1 arp
        > drop(table_miss)
    ");
}

#[test]
fn tables_metadata_and_action_set() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow actions=write_actions(output:2,dec_ttl),write_metadata:5/7,goto_table:1
        flow table=1,metadata=5,ip,actions=write_actions(output:3),goto_table:2
        flow table=2,actions=mod_dl_src:00:00:00:00:00:09
        packet p1 ip
        > set(eth_src=0x9),dec_ttl,p3
        flow table=1,metadata=5,ip,actions=clear_actions,goto_table:2
        packet p1 ip
        > set(eth_src=0x9),drop(no_output)
        packet p1 arp
        > drop(table_miss)
    ");
}

#[test]
fn later_tables_see_the_changed_packet() {
    run("
        port p1 1
        port p2 2
        flow actions=mod_dl_dst:00:00:00:00:00:07,goto_table:1
        flow table=1,dl_dst=00:00:00:00:00:07,actions=output:2
        packet p1 dl_dst=00:00:00:00:00:01
        > set(eth_dst=0x7),p2
    ");
    run("
        port p1 1
        port p2 2
        flow tcp,actions=set_field:80->tcp_dst,goto_table:1
        flow table=1,tcp,tp_dst=80,actions=output:2
        packet p1 tcp,tp_dst=81
        > set(tcp_dst=0x50),p2
    ");
}

#[test]
fn reserved_ports() {
    run("
        port p1 1
        port p2 2
        port p3 3
        port br0 LOCAL
        flow priority=1,dl_dst=00:00:00:00:00:01,actions=in_port
        flow priority=1,dl_dst=00:00:00:00:00:02,actions=output:1
        flow priority=1,dl_dst=00:00:00:00:00:03,actions=flood
        flow priority=1,dl_dst=00:00:00:00:00:04,actions=all
        flow priority=1,dl_dst=00:00:00:00:00:05,actions=local
        flow priority=1,dl_dst=00:00:00:00:00:06,actions=controller:128
        flow priority=0,actions=controller
        flow priority=1,dl_dst=00:00:00:00:00:08,actions=output:9
        packet p1 dl_dst=00:00:00:00:00:01
        > p1
        packet p1 dl_dst=00:00:00:00:00:02
        > drop(output_to_ingress)
        packet p2 dl_dst=00:00:00:00:00:02
        > p1
        packet p2 dl_dst=00:00:00:00:00:03
        > p1,p3,br0
        packet p1 dl_dst=00:00:00:00:00:04
        > p2,p3,br0
        packet p1 dl_dst=00:00:00:00:00:05
        > br0
        packet p1 dl_dst=00:00:00:00:00:06
        > controller(action,table=0,max_len=128)
        packet p1 dl_dst=00:00:00:00:00:07
        > controller(no_match,table=0,max_len=65535)
        packet p1 dl_dst=00:00:00:00:00:08
        > drop(port_down)
    ");
}

#[test]
fn packet_out() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow in_port=1,actions=output:3
        flow in_port=controller,actions=output:2
        out 1 output:2 ; arp
        > p2
        out 1 output:1 ; arp
        > drop(output_to_ingress)
        out 1 table,output:2 ; arp
        > p3,p2
        out controller flood ; arp
        > p1,p2,p3
        out controller table ; arp
        > p2
    ");
}

#[test]
fn groups() {
    run("
        port p1 1
        port p2 2
        port p3 3
        port p4 4 down
        group group_id=1,type=all,bucket=output:2,bucket=mod_dl_src:00:00:00:00:00:09,output:3
        flow priority=1,arp,actions=group:1,output:4
        packet p1 arp
        > p2,clone(set(eth_src=0x9),p3),p4
        group group_id=2,type=indirect,bucket=output:3,dec_ttl
        flow priority=1,ip,actions=output:2,group:2
        packet p1 ip
        > p2,dec_ttl,p3
        group group_id=3,type=select,bucket=weight=1,output:2,bucket=weight=3,dec_ttl,output:3
        flow priority=2,udp,actions=group:3
        packet p1 udp
        > select(1:(count,p2),3:(count,dec_ttl,p3))
        group group_id=4,type=ff,bucket=watch_port:4,output:4,bucket=watch_port:3,output:3
        flow priority=2,tcp,actions=group:4
        packet p1 tcp
        > p3
        group group_id=5,type=ff,bucket=watch_port:4,output:4
        group group_id=6,type=ff,bucket=watch_group:5,output:4,bucket=watch_group:4,group:4
        flow priority=2,sctp,actions=group:6
        packet p1 sctp
        > p3
        flow priority=2,icmp,actions=group:5
        packet p1 icmp
        > drop(no_live_bucket)
    ");
}

#[test]
fn a_bucket_is_an_action_set() {
    run("
        port p1 1
        port p2 2
        group group_id=1,type=indirect,bucket=output:2,push_vlan:0x8100,pop_mpls:0x0800
        flow actions=group:1
        packet p1 mpls
        > pop_mpls(0x0800),push_vlan(0x8100),p2
    ");
}

#[test]
fn meters_end_the_certainty_of_counters() {
    let world = run("
        port p1 1
        port p2 2
        meter meter=1,pktps,bands=type=drop,rate=10
        flow actions=meter:1,goto_table:1
        flow table=1,actions=output:2
        packet p1 arp
        > meter(1),p2
    ");
    // The flow of table 0, and that of table 1 behind one edit.
    assert_eq!(world.last.counters.len(), 2);
    assert_eq!(*world.last.behind, [1]);
}

#[test]
fn a_remarked_packet_is_parsed_again_if_its_dscp_matters() {
    run("
        port p1 1
        port p2 2
        meter meter=1,pktps,bands=type=dscp_remark,rate=10,prec_level=1
        flow actions=meter:1,goto_table:1
        flow table=1,actions=output:2
        packet p1 ip
        > meter(1),p2
        flow table=1,priority=40000,ip,ip_dscp=10,actions=drop
        packet p1 ip
        > meter(1),recirculate(0x80000000)
        again ip,ip_dscp=12
        > p2
        again ip,ip_dscp=10
        > drop(no_output)
    ");
}

#[test]
fn vlan_tags_shift() {
    run("
        port p1 1
        port p2 2
        flow dl_vlan=5,actions=pop_vlan,goto_table:1
        flow vlan_tci=0,actions=push_vlan:0x8100,set_field:0x1007->vlan_vid,goto_table:1
        flow table=1,vlan_tci=0,actions=output:2
        flow table=1,dl_vlan=7,actions=output:2
        packet p1 dl_vlan=5,arp
        > pop_vlan,p2
        packet p1 arp
        > push_vlan(0x8100),set(vlan_vid=0x7/0xfff),p2
    ");
}

#[test]
fn what_is_uncovered_is_parsed_again_only_if_it_matters() {
    run("
        port p1 1
        port p2 2
        flow mpls,mpls_label=1,actions=pop_mpls:0x0800,output:2
        packet p1 mpls,mpls_label=1
        > pop_mpls(0x0800),p2
        flow mpls,mpls_label=2,actions=pop_mpls:0x0800,write_actions(output:2),goto_table:1
        flow table=1,tcp,tp_dst=80,actions=in_port,clear_actions
        flow table=1,priority=0,actions=dec_ttl
        packet p1 mpls,mpls_label=2
        > pop_mpls(0x0800),recirculate(0x80000000)
        again tcp,tp_dst=80
        > p1
        again tcp,tp_dst=81
        > dec_ttl,p2
        packet p1 mpls,mpls_label=3
        > drop(table_miss)
    ");
}

#[test]
fn equal_points_are_one() {
    let mut world = run("
        port p1 1
        port p2 2
        flow mpls,actions=pop_mpls:0x0800,goto_table:1
        flow table=1,ip,actions=output:2
        packet p1 mpls,mpls_label=1
        > pop_mpls(0x0800),recirculate(0x80000000)
        packet p1 mpls,mpls_label=2
        > pop_mpls(0x0800),recirculate(0x80000000)
        packet p2 mpls,mpls_label=2
        > pop_mpls(0x0800),recirculate(0x80000001)
    ");
    let epoch = world.switch.publish().epoch();
    world.points.renew(epoch);
    assert!(world.points.entry_mask(0x8000_0000).is_none());
}

/// What a packet carries of its own is looked at where it goes on, and makes no point of its own;
/// what actions wrote of it is a matter of the point.
#[test]
fn what_packets_carry_goes_with_them_and_what_was_written_with_the_point() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow mpls,mpls_label=1,actions=pop_mpls:0x0800,goto_table:1
        flow mpls,mpls_label=2,actions=load:5->NXM_NX_TUN_ID[0..3],pop_mpls:0x0800,goto_table:1
        flow table=1,priority=2,ip,tun_id=0x35,actions=output:2
        flow table=1,priority=1,ip,ct_mark=9,actions=output:3,move:ct_mark->reg1,pop_mpls:1,\
             resubmit(,1)
        packet p1 mpls,mpls_label=1
        > pop_mpls(0x0800),recirculate(0x80000000)
        again ip,tun_id=0x35
        > p2
        again ip,tun_id=0x30
        > drop(table_miss)
        again ip,tun_id=0x30,ct_mark=9
        > p3,pop_mpls(0x0001),recirculate(0x80000001)
        packet p1 mpls,mpls_label=2,tun_id=0x35
        > pop_mpls(0x0800),recirculate(0x80000002)
        again ip,tun_id=0x30
        > p2
        again ip,tun_id=0x20
        > drop(table_miss)
    ");
}

#[test]
fn a_bucket_is_parsed_again_by_itself() {
    run("
        port p1 1
        port p2 2
        port p3 3
        group group_id=1,type=all,bucket=pop_mpls:0x0800,normal,bucket=output:3
        flow mpls,actions=group:1,output:2
        packet p1 mpls
        > clone(pop_mpls(0x0800),recirculate(0x80000000)),p3,p2
    ");
}

#[test]
fn patch_ports_lead_to_another_pipeline() {
    run("
        port p1 1
        port p2 2
        port a 9 peer=b
        flow in_port=1,actions=output:9,write_actions(output:2),write_metadata:3
        bridge br1
        port b 7 peer=a
        port q1 1
        flow in_port=7,metadata=0,actions=dec_ttl,output:1
        packet p1 ip
        > clone(dec_ttl,q1),p2
    ");
}

#[test]
fn loops_end() {
    run("
        port p1 1
        port a 9 peer=b
        flow in_port=1,actions=output:9
        flow in_port=9,actions=in_port
        bridge br1
        port b 7 peer=a
        flow actions=in_port
        packet p1 ip
        > drop(too_deep)
    ");
}

/// Groups that each name the one before twice: what they come to doubles with every level.
fn tower(first: &str, level: impl Fn(u32) -> String) -> String {
    let levels: String = (2..=40).map(level).collect();
    format!(
        "port p1 1\nport p2 2 down\ngroup group_id=1,{first}\n{levels}\
         flow actions=group:40\npacket p1 ip\n> drop(too_deep)"
    )
}

#[test]
fn groups_that_double_with_every_level_end() {
    run(&tower("type=all", |id| {
        let bucket = format!("bucket=actions=group:{}", id - 1);
        format!("group group_id={id},type=all,{bucket},{bucket}\n")
    }));
    run(&tower(
        "type=ff,bucket=watch_port:2,actions=output:2",
        |id| {
            let bucket = format!("bucket=watch_group:{},actions=output:2", id - 1);
            format!("group group_id={id},type=ff,{bucket},{bucket}\n")
        },
    ));
}

#[test]
fn every_port_of_a_flood_counts() {
    let ports: String = (1..=200)
        .map(|port| format!("port p{port} {port}\n"))
        .collect();
    let floods = |times| format!("{ports}flow actions={}\n", vec!["flood"; times].join(","));
    let allowed = run(&format!("{}packet p1 ip", floods(82)));
    assert_eq!(allowed.last.ops.len(), 82);
    run(&format!("{}packet p1 ip\n> drop(too_deep)", floods(83)));
}

#[test]
fn refusals_of_ports() {
    let mut world = run("
        port p1 1
        port p2 2
        port p3 3
        flow priority=1,arp,actions=output:2
        flow priority=0,actions=controller
    ");
    let (p1, p2) = (world.number("p1"), world.number("p2"));
    let configure = |world: &mut super::super::testing::Script, port, set: &str| {
        let config = openflow::PortConfig {
            port_down: set == "down",
            no_receive: set == "no_receive",
            no_forward: set == "no_forward",
            no_packet_in: set == "no_packet_in",
        };
        world.switch.set_port_config(port, config);
    };
    for (port, set, expected) in [
        (p1, "down", "> drop(port_down)"),
        (p1, "no_receive", "> drop(no_receive)"),
        (p1, "no_forward", "> p2"),
        (p2, "down", "> drop(port_down)"),
        (p2, "no_forward", "> drop(no_forward)"),
        (p2, "no_receive", "> p2"),
    ] {
        configure(&mut world, port, set);
        world.run("packet p1 arp");
        world.run(expected);
        configure(&mut world, port, "");
    }
    world.run("delete dl_type=0x0806");
    world.run("flow priority=0,actions=controller");
    configure(&mut world, p1, "no_packet_in");
    world.run("packet p1 arp");
    world.run("> drop(no_packet_in)");
    world.run("packet p3 arp");
    world.run("> controller(no_match,table=0,max_len=65535)");
}

#[test]
fn normal_learns_and_floods() {
    let mut world = run("
        port p1 1
        port p2 2
        port p3 3
        flow actions=normal
        packet p1 dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02
        > learn(020000000001,vlan=0),p2,p3
        learn p1 vlan=0 02:00:00:00:00:01
        packet p1 dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02
        > p2,p3
    ");
    assert_eq!(world.last.heard.len(), 1);
    world.run(
        "
        packet p2 dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01
        > learn(020000000002,vlan=0),p1
        learn p1 vlan=0 02:00:00:00:00:03
        packet p1 dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:01
        > drop(normal)
        packet p2 dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:01
        > learn(020000000003,vlan=0),p1
        packet p1 dl_dst=01:80:c2:00:00:03
        > drop(normal)
        packet p1 dl_src=03:00:00:00:00:01,dl_dst=02:00:00:00:00:05
        > p2,p3
        out controller normal ; dl_src=02:00:00:00:00:07,dl_dst=02:00:00:00:00:05
        > p1,p2,p3
    ",
    );
}

#[test]
fn normal_keeps_vlans_apart() {
    run("
        port a1 1 tag=10
        port a2 2 tag=10
        port b1 3 tag=20
        port t1 4
        port t2 5 trunks=20,30
        port n1 6 native=10
        port n2 7 native-tagged=10
        flow actions=normal
        packet a1 arp
        > a2,n1,push_vlan(0x8100),set(vlan_vid=0xa/0xfff),t1,n2
        packet t1 dl_vlan=20,arp
        > t2,n1,n2,pop_vlan,b1
        packet t1 dl_vlan=10,arp
        > n2,pop_vlan,a1,a2,n1
        packet t2 dl_vlan=10,arp
        > drop(vlan)
        packet a1 dl_vlan=10,arp
        > drop(vlan)
        packet n1 arp
        > a1,a2,push_vlan(0x8100),set(vlan_vid=0xa/0xfff),t1,n2
        learn a2 vlan=10 02:00:00:00:00:02
        packet n2 dl_vlan=10,arp
        > pop_vlan,a2
        packet n2 arp
        > a2
        packet b1 arp
        > push_vlan(0x8100),set(vlan_vid=0x14/0xfff),t1,t2,n1,n2
    ");
}

#[test]
fn fragments_are_dropped_if_a_controller_says_so() {
    let mut world = run("
        port p1 1
        port p2 2
        flow ip,actions=output:2
        packet p1 tcp,ip_frag=first
        > p2
    ");
    assert!(world.switch.set_fragments(world.bridge, Fragments::Drop));
    world.run(
        "
        packet p1 tcp,ip_frag=first
        > drop(fragment)
        packet p1 ip,ip_frag=later
        > drop(fragment)
        packet p1 tcp
        > p2
    ",
    );
}

#[test]
fn registers_pass_from_table_to_table() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow actions=load:7->reg1[0..15],move:reg1[0..7]->reg2[8..15],goto_table:1
        flow table=1,reg1=7,reg2=0x700,actions=set_field:0x1/0x3->xreg1,goto_table:2
        flow table=2,reg3=1,xreg0=7,actions=output:reg1[0..1]
        packet p1 arp
        > p3
        packet p3 arp
        > drop(output_to_ingress)
    ");
}

#[test]
fn bits_of_headers_are_copied() {
    run("
        port p1 1
        port p2 2
        flow arp,actions=move:eth_src[]->eth_dst[],move:arp_spa[]->reg0[],load:2->arp_op[],\
             move:reg0[]->arp_tpa[],in_port
        packet p1 arp,dl_src=02:00:00:00:00:07,arp_spa=10.0.0.1
        > set(eth_dst=0x20000000007),set(arp_op=0x2),set(arp_tpa=0xa000001),p1
        packet p1 arp,dl_src=02:00:00:00:00:08,arp_spa=10.0.0.2
        > set(eth_dst=0x20000000008),set(arp_op=0x2),set(arp_tpa=0xa000002),p1
        flow ip,actions=output:nw_tos[0..3]
    "
    .replace("flow ip,actions=output:nw_tos[0..3]", "")
    .as_str());
}

#[test]
fn a_resubmit_comes_back() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow actions=load:1->reg0[],resubmit(,5),output:2
        flow table=5,reg0=1,actions=load:2->reg0[],resubmit(7,6),output:3
        flow table=6,in_port=7,reg0=2,actions=mod_dl_src:00:00:00:00:00:09
        packet p1 arp
        > set(eth_src=0x9),p3,p2
        flow table=6,in_port=7,reg0=2,actions=exit,output:2
        packet p1 arp
        > drop(no_output)
        flow priority=40000,arp,actions=resubmit(,9),resubmit(,5),output:2
        packet p1 arp
        > p2
    ");
}

#[test]
fn the_action_set_is_carried_out_once_at_the_end() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow actions=resubmit(,5),output:3
        flow table=5,actions=write_actions(output:2),goto_table:6
        flow table=6,actions=mod_dl_src:00:00:00:00:00:09
        packet p1 arp
        > set(eth_src=0x9),p3,p2
        flow table=6,actions=output:3,exit
        packet p1 arp
        > p3
    ");
}

#[test]
fn resubmits_without_end_end() {
    run("
        port p1 1
        port p2 2
        flow ip,actions=output:2,resubmit(,0)
        packet p1 ip
        > drop(too_deep)
        flow arp,actions=resubmit(,1),resubmit(,1)
        flow table=1,actions=resubmit(,2),resubmit(,2),resubmit(,2),resubmit(,2)
        flow table=2,actions=resubmit(,3),resubmit(,3),resubmit(,3),resubmit(,3),resubmit(,3)
        flow table=3,actions=resubmit(,4),resubmit(,4),resubmit(,4),resubmit(,4),resubmit(,4)
        flow table=4,actions=resubmit(,5),resubmit(,5),resubmit(,5),resubmit(,5),resubmit(,5)
        flow table=5,actions=resubmit(,6),resubmit(,6),resubmit(,6),resubmit(,6),resubmit(,6)
        packet p1 arp
        > drop(too_deep)
    ");
}

#[test]
fn a_resubmit_in_a_bucket_and_in_a_clone() {
    run("
        port p1 1
        port p2 2
        port p3 3
        group group_id=1,type=all,bucket=load:5->reg1[],resubmit(,4)
        flow actions=group:1,clone(load:6->reg1[],resubmit(,4)),resubmit(,4)
        flow table=4,reg1=5,actions=dec_ttl,output:2
        flow table=4,reg1=6,actions=output:3
        flow table=4,reg1=0,actions=output:2
        packet p1 ip
        > clone(dec_ttl,p2),p3,p2
    ");
}

#[test]
fn the_stack() {
    let deep = "push:xxreg0[],".repeat(3856);
    run("
        port p1 1
        port p2 2
        flow actions=load:2->reg0[],push:reg0[0..7],load:9->reg0[],pop:reg1[],pop:reg0[],output:reg1
        packet p1 arp
        > p2
        flow ip,actions=resubmit(,1),resubmit(,1),resubmit(,1),resubmit(,1),output:2
        packet p1 ip
        > p2
    ");
    let list = &deep[..deep.len() / 4 / 14 * 14];
    run(&format!(
        "port p1 1\nport p2 2\n\
         flow actions=resubmit(,1),resubmit(,1),resubmit(,1),resubmit(,1),output:2\n\
         flow table=1,actions={list}\npacket p1 arp\n> drop(too_deep)"
    ));
}

#[test]
fn a_tag_is_written_as_a_whole() {
    run("
        port p1 1
        port p2 2
        flow dl_vlan=5,actions=load:0->vlan_tci[],output:2
        flow dl_vlan=6,actions=load:7->vlan_tci[0..11],output:2
        flow vlan_tci=0,actions=load:0x1009->vlan_tci[],goto_table:1
        flow table=1,dl_vlan=9,actions=output:2
        packet p1 dl_vlan=5,arp
        > pop_vlan,p2
        packet p1 dl_vlan=6,arp
        > set(vlan_vid=0x7/0xfff),set(vlan_pcp=0x0),p2
        packet p1 arp
        > push_vlan(0x8100),set(vlan_vid=0x9/0xfff),set(vlan_pcp=0x0),p2
    ");
}

#[test]
fn what_follows_uncovered_headers_comes_back_from_resubmits() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow mpls,actions=load:7->reg3[],resubmit(,1),output:3
        flow table=1,mpls,actions=pop_mpls:0x0800,resubmit(,2),output:2
        flow table=2,tcp,reg3=7,actions=dec_ttl
        packet p1 mpls
        > pop_mpls(0x0800),recirculate(0x80000000)
        again tcp
        > dec_ttl,p2,p3
        again udp
        > p2,p3
    ");
}

#[test]
fn the_port_that_a_packet_came_by_may_be_another() {
    run("
        port p1 1
        port p2 2
        flow arp,actions=load:0->in_port[],output:1
        flow ip,actions=load:2->in_port[],in_port
        packet p1 arp
        > p1
        packet p1 ip
        > p2
    ");
}

#[test]
fn conjunctions() {
    run("
        port p1 1
        port p2 2
        port p3 3
        flow priority=1,actions=output:3
        flow priority=5,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2),conjunction(8,1/2)
        flow priority=5,ip,nw_src=10.0.0.0/16,actions=note:01,conjunction(9,1/2)
        flow priority=5,tcp,tp_dst=80,actions=conjunction(7,2/2)
        flow priority=5,tcp,tp_dst=81,actions=conjunction(9,2/2),conjunction(6,2/2)
        flow priority=3,conj_id=7,actions=dec_ttl,output:2
        flow priority=3,conj_id=9,ip,actions=output:2
        packet p1 tcp,nw_src=10.0.0.1,tp_dst=80
        > dec_ttl,p2
        packet p1 tcp,nw_src=10.0.0.2,tp_dst=80
        > p3
        packet p1 tcp,nw_src=10.0.0.2,tp_dst=81
        > p2
        packet p1 tcp,nw_src=10.1.0.1,tp_dst=81
        > p3
        flow priority=5,tcp,nw_src=10.0.0.2,actions=drop
        packet p1 tcp,nw_src=10.0.0.2,tp_dst=81
        > drop(no_output)
        flow priority=4,tcp,nw_src=10.0.0.3,actions=drop
        packet p1 tcp,nw_src=10.0.0.3,tp_dst=81
        > drop(no_output)
        flow priority=5,conj_id=9,ip,actions=output:2
        packet p1 tcp,nw_src=10.0.0.3,tp_dst=81
        > p2
        packet p1 tcp,nw_src=10.0.0.3,tp_dst=80
        > drop(no_output)
    ");
}

#[test]
fn clauses_of_another_priority_or_number_are_of_another_conjunction() {
    run("
        port p1 1
        port p2 2
        flow priority=5,ip,nw_src=10.0.0.1,actions=conjunction(7,1/2)
        flow priority=6,tcp,tp_dst=80,actions=conjunction(7,2/2)
        flow priority=5,tcp,tp_dst=81,actions=conjunction(7,2/3)
        flow conj_id=7,actions=output:2
        packet p1 tcp,nw_src=10.0.0.1,tp_dst=80
        > drop(table_miss)
        packet p1 tcp,nw_src=10.0.0.1,tp_dst=81
        > drop(table_miss)
        flow priority=5,tcp,tp_dst=80,actions=conjunction(7,2/2)
        packet p1 tcp,nw_src=10.0.0.1,tp_dst=80
        > p2
    ");
}

#[test]
fn a_clause_of_many_members_is_one_list() {
    let members = |clause: u32| -> String {
        let field = ["", "nw_src", "nw_dst"][clause as usize];
        let member = |n: u32| {
            let address = format!("10.{clause}.{}.{}", n >> 8, n & 255);
            format!("flow priority=9,ip,{field}={address},actions=conjunction(3,{clause}/2)\n")
        };
        (0..1000).map(member).collect()
    };
    let ports = "port p1 1\nport p2 2\n";
    run(&format!(
        "{ports}{}{}flow priority=1,conj_id=3,actions=output:2\n\
         packet p1 ip,nw_src=10.1.3.231,nw_dst=10.2.0.7\n> p2\n\
         packet p1 ip,nw_src=10.1.3.232,nw_dst=10.2.0.7\n> drop(table_miss)",
        members(1),
        members(2)
    ));
}

#[test]
fn a_clause_is_nothing_else() {
    let mut world = run("port p1 1");
    for (text, allowed) in [
        ("actions=conjunction(1,1/2),note:01", true),
        ("actions=conjunction(1,1/2),output:1", false),
        ("actions=conjunction(1,1/2),goto_table:3", false),
        ("actions=clone(conjunction(1,1/2))", false),
        ("actions=write_actions(conjunction(1,1/2))", false),
    ] {
        let change = openflow::text::flow::parse(text, openflow::FlowModCommand::Add).unwrap();
        let done = world.switch.flow_mod(world.bridge, &change, 0);
        assert_eq!(done.is_ok(), allowed, "{text}");
    }
}
