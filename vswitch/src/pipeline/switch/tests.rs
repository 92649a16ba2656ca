//! Modifications and their errors, expiry, statistics and entry masks.

use std::sync::Arc;
use std::time::Duration;

use flowtable::Field;
use openflow::{
    AggregateStats, ErrorCode, FlowModCommand, FlowRemovedReason, FlowStatsRequest, GroupId,
    GroupModCommand, MeterId, MeterModCommand, OfPort, TableId, TableMod, text,
};

use super::super::testing::{Script, run};
use super::super::{Flow, RemovedFlow};
use super::*;

mod clear;
mod flags;
mod limits;
mod masks;
mod outputs;
mod sweeps;
mod users;
use crate::action::{Expiry, Op};

fn flow(
    world: &mut Script,
    command: FlowModCommand,
    line: &str,
    now_ms: u64,
) -> Result<Vec<RemovedFlow>, ErrorCode> {
    let change = text::flow::parse(line, command).unwrap_or_else(|e| panic!("{line}: {e}"));
    world.switch.flow_mod(world.bridge, &change, now_ms)
}

fn group(world: &mut Script, command: GroupModCommand, line: &str) -> Result<usize, ErrorCode> {
    let change = text::group::parse(line, command).unwrap_or_else(|e| panic!("{line}: {e}"));
    let removed = world.switch.group_mod(world.bridge, &change, 0)?;
    assert!(
        removed
            .iter()
            .all(|gone| gone.reason == FlowRemovedReason::GroupDelete)
    );
    Ok(removed.len())
}

fn meter(world: &mut Script, command: MeterModCommand, line: &str) -> Result<usize, ErrorCode> {
    let change = text::meter::parse(line, command).unwrap_or_else(|e| panic!("{line}: {e}"));
    let removed = world.switch.meter_mod(world.bridge, &change, 0)?;
    Ok(removed.len())
}

/// The flows there are, in order of table and text.
fn dump(world: &Script) -> Vec<String> {
    let request = FlowStatsRequest::default();
    let flows = world.switch.flows(world.bridge, &request);
    let mut list: Vec<_> = flows.map(|flow| (flow.table, flow.to_string())).collect();
    list.sort();
    list.into_iter().map(|(_, text)| text).collect()
}

fn only(world: &Script) -> Flow {
    let request = FlowStatsRequest::default();
    let flows: Vec<_> = world.switch.flows(world.bridge, &request).collect();
    let [flow] = &flows[..] else {
        panic!("{flows:?}");
    };
    flow.clone()
}

fn groups(world: &Script) -> Vec<openflow::GroupDesc> {
    let ids = GroupId::ALL.asked();
    world.switch.group_desc(world.bridge, ids).collect()
}

fn meters(world: &Script) -> Vec<openflow::MeterConfig> {
    let ids = MeterId::ALL.asked();
    world.switch.meter_config(world.bridge, ids).collect()
}

#[test]
fn instructions_that_cannot_be_carried_out_are_refused() {
    let mut world = run("
        port p1 1
        flow priority=9,actions=drop
    ");
    for (line, error) in [
        ("actions=group:7", ErrorCode::BAD_ACTION_BAD_OUT_GROUP),
        (
            "actions=meter:7,output:1",
            ErrorCode::METER_MOD_FAILED_INVALID_METER,
        ),
        (
            "tcp,actions=set_field:1->udp_dst",
            ErrorCode::BAD_ACTION_MATCH_INCONSISTENT,
        ),
        (
            "actions=set_field:0x1001->vlan_vid",
            ErrorCode::BAD_ACTION_MATCH_INCONSISTENT,
        ),
        (
            "vlan_tci=0,actions=set_field:1->vlan_pcp",
            ErrorCode::BAD_ACTION_MATCH_INCONSISTENT,
        ),
        ("actions=table", ErrorCode::BAD_ACTION_BAD_OUT_PORT),
    ] {
        let result = flow(&mut world, FlowModCommand::Add, line, 0);
        assert_eq!(result.unwrap_err(), error, "{line}");
        let result = flow(&mut world, FlowModCommand::Modify, line, 0);
        let of_a_flow = line.starts_with("actions");
        assert_eq!(result.err(), of_a_flow.then_some(error), "{line}");
    }
    assert_eq!(dump(&world), ["priority=9 actions=drop"]);
    for line in [
        "priority=1,actions=push_vlan:0x8100,set_field:0x1001->vlan_vid",
        "priority=2,ip,actions=push_mpls:0x8847,set_field:5->mpls_label",
        "priority=3,mpls,actions=pop_mpls:0x0800,set_field:10.0.0.1->ip_dst",
        "priority=4,actions=write_actions(set_field:0x1001->vlan_vid,push_vlan:0x8100)",
    ] {
        flow(&mut world, FlowModCommand::Add, line, 0).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn tables_that_are_not_there_are_refused() {
    let mut world = Script::new();
    let mut change = text::flow::parse("actions=drop", FlowModCommand::Add).unwrap();
    for (command, table) in [
        (FlowModCommand::Add, TableId(254)),
        (FlowModCommand::Add, TableId::ALL),
        (FlowModCommand::Modify, TableId::ALL),
        (FlowModCommand::Delete, TableId(254)),
    ] {
        (change.command, change.table) = (command, table);
        let result = world.switch.flow_mod(world.bridge, &change, 0);
        let error = ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID;
        assert_eq!(result.unwrap_err(), error, "{command:?} {table}");
    }
    (change.command, change.table) = (FlowModCommand::Add, TableId(5));
    change.instructions.goto = Some(TableId(5));
    let result = world.switch.flow_mod(world.bridge, &change, 0);
    assert_eq!(result.unwrap_err(), ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID);

    let mut change = TableMod {
        table: TableId(254),
        config: 0,
    };
    let result = world.switch.table_mod(world.bridge, &change);
    assert_eq!(result.unwrap_err(), ErrorCode::TABLE_MOD_FAILED_BAD_TABLE);
    change = TableMod {
        table: TableId::ALL,
        config: 8,
    };
    let result = world.switch.table_mod(world.bridge, &change);
    assert_eq!(result.unwrap_err(), ErrorCode::TABLE_MOD_FAILED_BAD_CONFIG);
    change.config = 3;
    assert_eq!(world.switch.table_mod(world.bridge, &change), Ok(()));
    assert_eq!(world.switch.table_config(world.bridge, TableId(200)), 3);
}

#[test]
fn an_equal_flow_is_replaced_and_its_counters_kept() {
    let mut world = run("flow priority=5,tcp,actions=output:1");
    only(&world).counters.add(3, 300, 0);
    let removed = flow(
        &mut world,
        FlowModCommand::Add,
        "priority=5,tcp,actions=output:2",
        50,
    );
    assert!(removed.unwrap().is_empty());
    assert_eq!(dump(&world), ["priority=5,tcp actions=output:2"]);
    assert_eq!(only(&world).counters.read().0, 3);
    assert_eq!(only(&world).created_ms, 50);
    let line = "reset_counts,priority=5,tcp,actions=output:2";
    flow(&mut world, FlowModCommand::Add, line, 60).unwrap();
    assert_eq!(only(&world).counters.read().0, 0);
}

#[test]
fn overlap_and_fullness() {
    let mut world = run("flow priority=5,tcp,actions=drop");
    for (line, allowed) in [
        ("check_overlap,priority=5,ip,actions=drop", false),
        ("check_overlap,priority=5,tcp,actions=drop", false),
        ("check_overlap,priority=6,ip,actions=drop", true),
        ("check_overlap,priority=5,udp,actions=drop", true),
        ("priority=5,ip,actions=drop", true),
    ] {
        let result = flow(&mut world, FlowModCommand::Add, line, 0);
        let error = ErrorCode::FLOW_MOD_FAILED_OVERLAP;
        assert_eq!(result.err(), (!allowed).then_some(error), "{line}");
    }
    let mut switch = Switch::new();
    let spec = BridgeSpec {
        flows_max: 1,
        ..BridgeSpec::default()
    };
    world.bridge = switch.add_bridge(&spec).unwrap();
    world.switch = switch;
    flow(&mut world, FlowModCommand::Add, "tcp,actions=drop", 0).unwrap();
    flow(&mut world, FlowModCommand::Add, "tcp,actions=output:1", 0).unwrap();
    flow(
        &mut world,
        FlowModCommand::Add,
        "table=1,actions=output:1",
        0,
    )
    .unwrap();
    let full = flow(&mut world, FlowModCommand::Add, "udp,actions=drop", 0);
    assert_eq!(full.unwrap_err(), ErrorCode::FLOW_MOD_FAILED_TABLE_FULL);
}

#[test]
fn modifications_keep_all_but_instructions() {
    let mut world = run("
        flow cookie=5,priority=5,hard_timeout=9,tcp,nw_dst=10.0.0.1,actions=output:1
        flow cookie=6,priority=6,tcp,actions=output:1
        flow cookie=6,priority=6,udp,actions=output:1
    ");
    flow(
        &mut world,
        FlowModCommand::Modify,
        "cookie=6/-1,tcp,actions=output:2",
        0,
    )
    .unwrap();
    flow(
        &mut world,
        FlowModCommand::Modify,
        "tcp,nw_dst=10.0.0.0/8,actions=output:3",
        0,
    )
    .unwrap();
    let strict = FlowModCommand::ModifyStrict;
    flow(&mut world, strict, "priority=6,udp,actions=output:4", 0).unwrap();
    flow(&mut world, strict, "priority=5,udp,actions=output:5", 0).unwrap();
    flow(
        &mut world,
        FlowModCommand::Modify,
        "arp,actions=output:6",
        0,
    )
    .unwrap();
    assert_eq!(
        dump(&world),
        [
            "cookie=0x5, hard_timeout=9, priority=5,tcp,nw_dst=10.0.0.1 actions=output:3",
            "cookie=0x6, priority=6,tcp actions=output:2",
            "cookie=0x6, priority=6,udp actions=output:4",
        ]
    );
}

#[test]
fn a_loose_modification_must_suit_each_flow() {
    let mut world = run("
        flow priority=1,tcp,actions=drop
        flow priority=1,udp,actions=drop
    ");
    let line = "cookie=0/0,actions=set_field:80->tcp_dst";
    let result = flow(&mut world, FlowModCommand::Modify, line, 0);
    assert_eq!(
        result.unwrap_err(),
        ErrorCode::BAD_ACTION_MATCH_INCONSISTENT
    );
    assert_eq!(dump(&world).len(), 2);
    flow(&mut world, FlowModCommand::Delete, "udp", 0).unwrap();
    flow(&mut world, FlowModCommand::Modify, line, 0).unwrap();
    assert_eq!(
        dump(&world),
        ["priority=1,tcp actions=set_field:80->tcp_dst"]
    );
}

#[test]
fn deletes_select_by_match_cookie_port_and_group() {
    let setup = "
        group group_id=1,type=all,bucket=output:1
        flow send_flow_rem,cookie=1,priority=1,tcp,actions=output:1
        flow send_flow_rem,cookie=1,priority=1,udp,actions=output:2
        flow send_flow_rem,cookie=2,priority=2,tcp,tp_dst=80,actions=write_actions(group:1)
        flow send_flow_rem,cookie=3,table=7,priority=1,ip,actions=write_actions(output:2)
    ";
    for (command, line, left) in [
        (FlowModCommand::Delete, "", 0),
        (FlowModCommand::Delete, "tcp", 2),
        (FlowModCommand::Delete, "table=0,tcp", 2),
        (FlowModCommand::Delete, "table=7", 3),
        (FlowModCommand::Delete, "cookie=1/-1", 2),
        (FlowModCommand::Delete, "cookie=1/1", 1),
        (FlowModCommand::Delete, "out_port=2", 2),
        (FlowModCommand::Delete, "udp,out_port=2", 3),
        (FlowModCommand::Delete, "out_group=1", 3),
        (FlowModCommand::Delete, "out_group=2", 4),
        (FlowModCommand::DeleteStrict, "table=0,priority=1,tcp", 3),
        (FlowModCommand::DeleteStrict, "table=0,priority=2,tcp", 4),
        (FlowModCommand::DeleteStrict, "priority=1,ip", 3),
        (FlowModCommand::DeleteStrict, "cookie=9/-1,priority=1,ip", 4),
    ] {
        let mut world = run(setup);
        let mut change = text::flow::parse(line, command).unwrap();
        if !line.contains("table") {
            change.table = TableId::ALL;
        }
        let removed = world.switch.flow_mod(world.bridge, &change, 0).unwrap();
        assert_eq!(dump(&world).len(), left, "{line}");
        assert_eq!(removed.len(), 4 - left, "{line}");
    }
}

#[test]
fn flows_end_when_idle_or_old() {
    let mut world = run("
        flow send_flow_rem,priority=1,idle_timeout=10,actions=drop
        flow send_flow_rem,priority=2,hard_timeout=25,idle_timeout=10,actions=drop
        flow priority=3,actions=drop
    ");
    let request = FlowStatsRequest::default();
    for flow in world.switch.flows(world.bridge, &request) {
        flow.counters.add(1, 60, 5_000);
        flow.counters.add(1, 60, 16_000 + u64::from(flow.priority));
    }
    let told = |world: &mut Script, now_ms| -> Vec<_> {
        let (removed, more) = world.switch.expire(now_ms);
        assert!(!more);
        removed
            .iter()
            .map(|gone| (gone.flow.priority, gone.reason))
            .collect()
    };
    assert_eq!(
        told(&mut world, 26_000),
        [(2, FlowRemovedReason::HardTimeout)]
    );
    assert_eq!(told(&mut world, 26_000), []);
    assert_eq!(
        told(&mut world, 26_001),
        [(1, FlowRemovedReason::IdleTimeout)]
    );
    assert_eq!(dump(&world), ["priority=3 actions=drop"]);
    let epoch = world.switch.publish().epoch();
    assert_eq!(told(&mut world, 99_000), []);
    assert_eq!(world.switch.publish().epoch(), epoch);
}

#[test]
fn counters_that_begin_anew_do_not_end_a_flow_in_use() {
    let mut world = run("flow idle_timeout=10,actions=drop");
    let request = FlowStatsRequest::default();
    for flow in world.switch.flows(world.bridge, &request) {
        flow.counters.add(1, 60, 95_000);
    }
    let line = "reset_counts,actions=output:1";
    let change = text::flow::parse(line, FlowModCommand::Modify).unwrap();
    world
        .switch
        .flow_mod(world.bridge, &change, 96_000)
        .unwrap();
    assert_eq!(world.switch.expire(97_000).0.len(), 0);
    assert_eq!(dump(&world).len(), 1);
    world.switch.expire(105_000);
    assert_eq!(dump(&world).len(), 0);
}

#[test]
fn what_went_is_freed_as_fast_as_it_goes() {
    const FLOWS: usize = 20_000;
    let mut world = run("");
    for flow in 0..FLOWS {
        let [high, low] = (flow as u16).to_be_bytes();
        let line = format!("ip,nw_dst=10.0.{high}.{low},actions=drop");
        let change = text::flow::parse(&line, FlowModCommand::Add).unwrap();
        world.switch.flow_mod(world.bridge, &change, 0).unwrap();
    }
    let change = text::flow::parse("actions=output:1", FlowModCommand::Modify).unwrap();
    for _ in 0..20 {
        world.switch.flow_mod(world.bridge, &change, 0).unwrap();
        world.switch.publish();
        world.switch.maintain();
        assert!(world.switch.flows_waiting() < 8 * FLOWS);
    }
    for _ in 0..20 {
        let failed = world.switch.all_or_nothing(world.bridge, |switch| {
            switch.flow_mod(world.bridge, &change, 0).unwrap();
            Err::<(), ()>(())
        });
        assert_eq!(failed, Err(()));
        world.switch.publish();
        world.switch.maintain();
        assert!(world.switch.flows_waiting() < 8 * FLOWS);
    }
    let mut rounds = 0;
    while world.switch.maintain() {
        rounds += 1;
        assert!(rounds < 1000);
    }
    world.run("flow priority=9,actions=drop");
    world.switch.publish();
    while world.switch.maintain() {}
    assert_eq!(world.switch.flows_waiting(), 0);
}

#[test]
fn what_a_controller_hears_of_a_flow_that_went() {
    let mut world = run("flow send_flow_rem,cookie=7,table=3,priority=9,arp,actions=drop");
    only(&world).counters.add(4, 240, 1);
    let removed = flow(&mut world, FlowModCommand::Delete, "table=3", 1500).unwrap();
    let message = removed[0].message();
    assert_eq!(
        (message.cookie, message.table, message.priority),
        (7, TableId(3), 9)
    );
    assert_eq!((message.packets, message.bytes), (4, 240));
    assert_eq!(message.duration.as_millis(), 1500);
    assert_eq!(message.reason, FlowRemovedReason::Delete);
    assert!(removed[0].flow.flags.send_flow_removed);
}

#[test]
fn groups_take_their_flows_with_them() {
    let mut world = run("
        group group_id=1,type=all,bucket=output:1
        group group_id=2,type=all,bucket=group:1
        flow send_flow_rem,priority=1,actions=group:1
        flow send_flow_rem,priority=2,actions=write_actions(group:2)
        flow send_flow_rem,priority=3,actions=output:1
    ");
    let stats = world
        .switch
        .group_stats(world.bridge, GroupId::ALL.asked(), 0);
    let references: Vec<_> = stats.map(|stats| stats.references).collect();
    assert_eq!(references, [2, 1]);
    let delete = GroupModCommand::Delete;
    let chained = group(&mut world, delete, "group_id=1");
    assert_eq!(chained, Err(ErrorCode::GROUP_MOD_FAILED_CHAINED_GROUP));
    assert_eq!(group(&mut world, delete, "group_id=9"), Ok(0));
    assert_eq!(group(&mut world, delete, "group_id=2"), Ok(1));
    assert_eq!(group(&mut world, delete, "group_id=1"), Ok(1));
    assert_eq!(dump(&world), ["send_flow_rem priority=3 actions=output:1"]);
    world.run(
        "
        group group_id=1,type=all,bucket=output:1
        group group_id=2,type=all,bucket=group:1
        flow send_flow_rem,priority=1,actions=group:1
    ",
    );
    assert_eq!(group(&mut world, delete, ""), Ok(1));
    assert_eq!(groups(&world), []);
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let mut world = run("
        group group_id=1,type=all,bucket=output:1
        group group_id=2,type=all,bucket=group:1
    ");
    let (add, modify) = (GroupModCommand::Add, GroupModCommand::Modify);
    for (command, line, error) in [
        (
            add,
            "group_id=1,type=all",
            ErrorCode::GROUP_MOD_FAILED_GROUP_EXISTS,
        ),
        (
            modify,
            "group_id=3,type=all",
            ErrorCode::GROUP_MOD_FAILED_UNKNOWN_GROUP,
        ),
        (
            add,
            "group_id=3,type=all,bucket=group:3",
            ErrorCode::GROUP_MOD_FAILED_LOOP,
        ),
        (
            add,
            "group_id=3,type=all,bucket=group:4",
            ErrorCode::BAD_ACTION_BAD_OUT_GROUP,
        ),
        (
            modify,
            "group_id=1,type=all,bucket=group:2",
            ErrorCode::GROUP_MOD_FAILED_LOOP,
        ),
        (
            modify,
            "group_id=1,type=ff,bucket=watch_group:1,output:2",
            ErrorCode::GROUP_MOD_FAILED_BAD_WATCH,
        ),
    ] {
        assert_eq!(group(&mut world, command, line), Err(error), "{line}");
    }
    world.run("group group_id=5,type=ff,bucket=watch_port:1,output:1");
    world.run("group group_id=6,type=ff,bucket=watch_group:5,output:1");
    world.run("group group_id=7,type=ff,bucket=watch_group:6,output:1");
    group(&mut world, GroupModCommand::Delete, "group_id=5").unwrap();
    let round = "group_id=5,type=ff,bucket=watch_group:7,output:1";
    let bad_watch = Err(ErrorCode::GROUP_MOD_FAILED_BAD_WATCH);
    assert_eq!(
        group(&mut world, add, round),
        bad_watch,
        "watched before it is there"
    );
    for number in [6, 7] {
        let line = format!("group_id={number}");
        group(&mut world, GroupModCommand::Delete, &line).unwrap();
    }
    group(
        &mut world,
        modify,
        "group_id=1,type=select,bucket=weight:2,output:2",
    )
    .unwrap();
    let desc = groups(&world);
    assert_eq!(desc[0].buckets[0].weight, 2);
}

#[test]
fn meters_take_their_flows_with_them() {
    let mut world = run("
        meter meter=1,pktps,bands=type=drop,rate=1
        flow send_flow_rem,priority=1,actions=meter:1,output:1
        flow send_flow_rem,priority=2,actions=output:1
    ");
    let (add, modify) = (MeterModCommand::Add, MeterModCommand::Modify);
    let line = "meter=1,pktps,bands=type=drop,rate=2";
    let exists = meter(&mut world, add, line);
    assert_eq!(exists, Err(ErrorCode::METER_MOD_FAILED_METER_EXISTS));
    let unknown = meter(&mut world, modify, "meter=2,pktps,bands=type=drop,rate=2");
    assert_eq!(unknown, Err(ErrorCode::METER_MOD_FAILED_UNKNOWN_METER));
    let stats = |world: &Script, now_ms| {
        let stats = world
            .switch
            .meter_stats(world.bridge, MeterId(1).asked(), now_ms);
        stats.collect::<Vec<_>>()
    };
    let old = stats(&world, 2000);
    assert_eq!((old[0].flows, old[0].duration.as_secs()), (1, 2));
    meter(&mut world, modify, line).unwrap();
    let config = meters(&world);
    assert_eq!(
        config[0].bands,
        [openflow::Band::Drop { rate: 2, burst: 0 }]
    );
    assert_eq!(meter(&mut world, MeterModCommand::Delete, "meter=1"), Ok(1));
    assert_eq!(dump(&world), ["send_flow_rem priority=2 actions=output:1"]);
    assert_eq!(stats(&world, 0), []);
}

#[test]
fn an_epoch_is_a_change() {
    let mut world = run("port p1 1");
    let first = world.switch.publish();
    assert!(Arc::ptr_eq(&first, &world.switch.publish()));
    let p1 = world.number("p1");
    world.switch.set_link(p1, true);
    world.switch.set_standalone(world.bridge, false);
    assert!(Arc::ptr_eq(&first, &world.switch.publish()));
    world.switch.set_link(p1, false);
    let second = world.switch.publish();
    assert_eq!(second.epoch(), first.epoch() + 1);
    assert!(first.port(p1).unwrap().link_up && !second.port(p1).unwrap().link_up);
}

#[test]
fn ports_have_names_and_numbers_of_their_own() {
    let mut world = run("port p1 1");
    let mut spec = PortSpec {
        name: "p1".into(),
        of_port: None,
        vlan: VlanMode::default(),
        peer_name: None,
        tunnel: None,
    };
    let taken = world.switch.add_port(world.bridge, &spec);
    assert_eq!(taken, Err(PortError::NameTaken("p1".into())));
    spec.name = "p2".into();
    for (number, error) in [
        (OfPort(1), PortError::NumberTaken(OfPort(1))),
        (OfPort(0), PortError::NumberReserved(OfPort(0))),
        (OfPort::FLOOD, PortError::NumberReserved(OfPort::FLOOD)),
    ] {
        spec.of_port = Some(number);
        assert_eq!(world.switch.add_port(world.bridge, &spec), Err(error));
    }
    spec.of_port = None;
    let added = world.switch.add_port(world.bridge, &spec);
    assert_eq!(added, Ok((PortNo(1), OfPort(2))));
    let p1 = world.number("p1");
    world.switch.remove_port(p1);
    spec.name = "p1".into();
    let added = world.switch.add_port(world.bridge, &spec);
    assert_eq!(added, Ok((PortNo(0), OfPort(1))));
    let numbers = world.switch.remove_bridge(world.bridge);
    assert_eq!(numbers, [PortNo(0), PortNo(1)]);
    let gone = world.switch.add_port(world.bridge, &spec);
    assert_eq!(gone, Err(PortError::NoBridge));
}

#[test]
fn patch_ports_are_tied_by_name_on_both_sides() {
    let mut world = run("
        port a 1 peer=b
        port c 2 peer=b
    ");
    let peer = |world: &Script, name| world.switch.state().port(world.number(name)).unwrap().peer;
    assert_eq!(peer(&world, "a"), None);
    world.run(
        "
        bridge br1
        port b 1 peer=a
    ",
    );
    let (a, b) = (world.number("a"), world.number("b"));
    assert_eq!((peer(&world, "a"), peer(&world, "b")), (Some(b), Some(a)));
    assert_eq!(peer(&world, "c"), None);
    assert!(world.switch.state().port(a).unwrap().link_up);
    world.switch.remove_port(b);
    assert_eq!(peer(&world, "a"), None);
    assert!(!world.switch.state().port(a).unwrap().link_up);
}

#[test]
fn statistics_of_tables_and_flows() {
    let mut world = run("
        flow priority=1,tcp,actions=drop
        flow table=2,priority=1,actions=drop
    ");
    let request = FlowStatsRequest::default();
    for flow in world.switch.flows(world.bridge, &request) {
        flow.counters.add(2, 100, 0);
    }
    let bridge = world.switch.state().bridge(world.bridge).unwrap();
    bridge.table(TableId(0)).unwrap().matched.add(5, 0, 0);
    bridge.table(TableId(0)).unwrap().missed.add(2, 0, 0);
    let mut list = world.switch.list(world.bridge, &request);
    let mut sums = AggregateStats::default();
    list.sum_within(&mut 1, &mut sums);
    assert_eq!(sums.flows, 1, "no more within one step");
    list.sum_within(&mut { usize::MAX }, &mut sums);
    assert_eq!((sums.packets, sums.bytes, sums.flows), (4, 200, 2));
    let tables = world.switch.table_stats(world.bridge);
    assert_eq!(tables.len(), 254);
    assert_eq!(
        (tables[0].active, tables[0].lookups, tables[0].matched),
        (1, 7, 5)
    );
    assert_eq!((tables[2].active, tables[3].active), (1, 0));
    let request = FlowStatsRequest {
        table: TableId(2),
        ..request
    };
    assert_eq!(world.switch.flows(world.bridge, &request).count(), 1);
}

#[test]
fn a_cleared_bridge_has_nothing_left() {
    let mut world = run("
        port p1 1
        meter meter=1,pktps,bands=type=drop,rate=1
        group group_id=1,type=all,bucket=push_vlan:0x8100,output:1
        flow actions=meter:1,group:1
    ");
    world.switch.clear(world.bridge);
    assert_eq!(dump(&world).len(), 0);
    assert_eq!(groups(&world), []);
    assert_eq!(meters(&world), []);
    world.run(
        "
        packet p1 arp
        > drop(table_miss)
    ",
    );
    let mask = *world
        .switch
        .publish()
        .entry_mask(world.number("p1"))
        .unwrap()
        .clone();
    assert_eq!(Field::VlanVid.read(&mask.0), 0);
}

#[test]
fn a_modified_group_goes_on_counting_and_its_buckets_begin_anew() {
    let mut world = run("group group_id=1,type=all,bucket=output:1");
    let read = |world: &Script| {
        let ids = GroupId(1).asked();
        let stats = world.switch.group_stats(world.bridge, ids, 5000);
        let stats: Vec<_> = stats.collect();
        (
            stats[0].packets,
            stats[0].buckets[0].packets,
            stats[0].duration,
        )
    };
    let state = world.switch.state();
    let counted = state
        .bridge(world.bridge)
        .unwrap()
        .group(GroupId(1))
        .unwrap();
    counted.counters.add(3, 300, 1);
    counted.buckets[0].counters.add(3, 300, 1);
    assert_eq!(read(&world), (3, 3, Duration::from_secs(5)));
    let line = "group_id=1,type=select,bucket=output:2,bucket=output:3";
    group(&mut world, GroupModCommand::Modify, line).unwrap();
    assert_eq!(read(&world), (3, 0, Duration::from_secs(5)));
}

#[test]
fn meters_of_the_controller_are_for_no_flow() {
    let mut world = run("port p1 1");
    for name in ["controller", "slowpath"] {
        let line = format!("meter={name},pktps,bands=type=drop,rate=1");
        assert_eq!(
            meter(&mut world, MeterModCommand::Add, &line),
            Ok(0),
            "{name}"
        );
    }
    let change = text::flow::parse("actions=output:1", FlowModCommand::Add).unwrap();
    let mut metered = change.clone();
    metered.instructions.meter = Some(MeterId::CONTROLLER);
    let refused = world.switch.flow_mod(world.bridge, &metered, 0).map(|_| ());
    assert_eq!(refused, Err(ErrorCode::METER_MOD_FAILED_INVALID_METER));
    world.run("flow actions=CONTROLLER,dec_ttl,output:1");
    world.switch.set_wants_invalid_ttl(world.bridge, true);
    world.run("packet p1 tcp");
    let meters = |op: &Op| match op {
        Op::Controller(punt)
        | Op::DecNwTtl(Expiry {
            punt: Some(punt), ..
        }) => Some(punt.meters.iter().map(|meter| meter.id).collect::<Vec<_>>()),
        _ => None,
    };
    let met: Vec<_> = world.last.ops.iter().filter_map(meters).collect();
    let both = vec![MeterId::SLOWPATH, MeterId::CONTROLLER];
    assert_eq!(met, [both.clone(), both]);
}
