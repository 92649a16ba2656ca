//! Entry masks follow from what flows match and read.

use flowtable::FlowMask;
use flowtable::conntrack::ct_state;

use super::*;

#[test]
fn what_packets_carry_counts_out_of_tunnels_and_at_points_alone() {
    let mut world = run("
        port p1 1
        flow tun_id=7,ct_mark=0x10/0x10,actions=move:tun_src->reg0,output:1
    ");
    let p1 = world.number("p1");
    let state = world.switch.publish();
    let carried = [Field::TunnelId, Field::CtMark, Field::TunnelSrc];
    let bits = |mask: Option<&Arc<FlowMask>>| carried.map(|it| it.read(&mask.unwrap().0));
    assert_eq!(bits(state.entry_mask(p1)), [0; 3]);
    let all = [u64::MAX.into(), 0x10, u32::MAX.into()];
    assert_eq!(bits(state.tunnel_mask(p1)), all);
    assert_eq!(
        bits(Some(&state.bridge(world.bridge).unwrap().point_mask)),
        all
    );
}

#[test]
fn points_of_flows_look_at_what_flows_read_and_those_of_controllers_at_more() {
    let mut world = run("
        port p1 1
        flow ip,actions=ct(table=1)
        flow table=1,ct_state=+trk+est,ip,actions=output:1
    ");
    let state = world.switch.publish();
    let bridge = state.bridge(world.bridge).unwrap();
    let bits = |field: Field| [&bridge.point_mask, &bridge.handed_mask].map(|it| field.read(&it.0));
    assert_eq!(bits(Field::EthSrc), [0, 0xffff_ffff_ffff]);
    assert_eq!(bits(Field::VlanVid), [0, 0x1fff]);
    assert_eq!(bits(Field::EthType), [0xffff; 2]);
    let known = [ct_state::TRK | ct_state::EST; 2].map(u128::from);
    assert_eq!(bits(Field::CtState), known);

    world.run("flow table=1,priority=0,actions=normal");
    let state = world.switch.publish();
    let mask = &state.bridge(world.bridge).unwrap().point_mask;
    assert_eq!(Field::EthSrc.read(&mask.0), 0xffff_ffff_ffff);
}

#[test]
fn entry_masks_follow_rules() {
    let mut world = run("
        port p1 1
        port a 2 peer=b
        bridge br1
        port b 1 peer=a
        bridge br0
        flow dl_dst=00:00:00:00:00:01,actions=goto_table:1
        flow table=1,tcp,tp_dst=80/0xf0,actions=output:2
        flow table=2,dl_src=00:00:00:00:00:01,actions=drop
    ");
    let p1 = world.number("p1");
    let bits = |world: &mut Script, field: Field| {
        let state = world.switch.publish();
        field.read(&state.entry_mask(p1).unwrap().0)
    };
    assert_eq!(bits(&mut world, Field::EthDst), 0xffff_ffff_ffff);
    assert_eq!(bits(&mut world, Field::TcpDst), 0xf0);
    assert_eq!(bits(&mut world, Field::IpProto), 0xff);
    assert_eq!(bits(&mut world, Field::EthSrc), 0);
    assert_eq!(bits(&mut world, Field::VlanVid), 0);
    assert_eq!(bits(&mut world, Field::InPort), 0);
    assert_eq!(
        world.switch.publish().entry_mask(p1).unwrap().0.entry,
        u32::MAX
    );

    world.run(
        "
        bridge br1
        flow dl_vlan=7,actions=pop_vlan
    ",
    );
    assert_eq!(bits(&mut world, Field::VlanVid), 0x1fff);
    world.run("delete dl_vlan=7");
    assert_eq!(bits(&mut world, Field::VlanVid), 0);
    world.run("flow actions=normal");
    assert_eq!(bits(&mut world, Field::EthSrc), 0xffff_ffff_ffff);
    let b = world.number("b");
    world.switch.remove_port(b);
    assert_eq!(bits(&mut world, Field::EthSrc), 0);
}
