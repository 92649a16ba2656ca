//! What does not fit: full tables, and how many groups and meters there are.

use super::*;

#[test]
fn a_full_table_evicts_what_would_end_first() {
    let mut switch = Switch::new();
    let spec = BridgeSpec {
        flows_max: 2,
        overflow: Overflow::Evict,
        ..BridgeSpec::default()
    };
    let mut world = Script::new();
    world.bridge = switch.add_bridge(&spec).unwrap();
    world.switch = switch;
    let add = FlowModCommand::Add;
    flow(&mut world, add, "table=1,hard_timeout=1,actions=drop", 0).unwrap();
    flow(&mut world, add, "cookie=1,tcp,actions=drop", 0).unwrap();
    flow(
        &mut world,
        add,
        "cookie=2,udp,idle_timeout=9,send_flow_rem,actions=drop",
        0,
    )
    .unwrap();
    let change = text::flow::parse("cookie=3,sctp,hard_timeout=5,actions=drop", add).unwrap();
    let evicted = world.switch.flow_mod(world.bridge, &change, 7).unwrap();
    let told: Vec<_> = evicted.iter().map(RemovedFlow::message).collect();
    assert_eq!(told.len(), 1, "and not the one of another table");
    assert_eq!(
        (told[0].cookie, told[0].reason),
        (2, FlowRemovedReason::Delete)
    );
    let same = flow(&mut world, add, "cookie=4,sctp,actions=drop", 8).map(|gone| gone.len());
    assert_eq!(same, Ok(0), "what takes a flow's place needs no room");
    let full = flow(&mut world, add, "cookie=5,icmp,actions=drop", 9).map(|gone| gone.len());
    let table_full = Err(ErrorCode::FLOW_MOD_FAILED_TABLE_FULL);
    assert_eq!(full, table_full, "no other has a timeout");
}

#[test]
fn groups_and_meters_are_limited_in_number() {
    let mut switch = Switch::new();
    let spec = BridgeSpec {
        groups_max: 1,
        meters_max: 1,
        ..BridgeSpec::default()
    };
    let mut world = Script::new();
    world.bridge = switch.add_bridge(&spec).unwrap();
    world.switch = switch;
    let (add, modify) = (GroupModCommand::Add, GroupModCommand::Modify);
    assert_eq!(group(&mut world, add, "group_id=1,type=all"), Ok(0));
    let full = Err(ErrorCode::GROUP_MOD_FAILED_OUT_OF_GROUPS);
    assert_eq!(group(&mut world, add, "group_id=2,type=all"), full);
    assert_eq!(group(&mut world, modify, "group_id=1,type=select"), Ok(0));
    let line = |number| format!("meter={number},pktps,bands=type=drop,rate=1");
    assert_eq!(meter(&mut world, MeterModCommand::Add, &line(1)), Ok(0));
    let full = Err(ErrorCode::METER_MOD_FAILED_OUT_OF_METERS);
    assert_eq!(meter(&mut world, MeterModCommand::Add, &line(2)), full);
}
