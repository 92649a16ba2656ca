//! Groups, meters and tables go that many flows use, a few flows at a time.

use openflow::{TableFeatures, TableProperty};

use super::sweeps::{FLOWS, count, end};
use super::*;

/// A bridge with many flows that send to group 1 and use meter 1, a tenth of them to be told of
/// when they go, two groups more, and some flows that use none.
fn many() -> Script {
    let mut world = Script::new();
    world.run(
        "meter meter=1,pktps,bands=type=drop,rate=1
         meter meter=2,pktps,bands=type=drop,rate=1
         group group_id=1,type=all
         group group_id=2,type=all
         group group_id=3,type=all,bucket=group:2
         flow arp,actions=output:1
         flow priority=7,udp,actions=group:2
         flow priority=8,udp,actions=meter:2,output:1",
    );
    for number in 0..FLOWS {
        let flag = ["", "send_flow_rem,"][usize::from(number.is_multiple_of(10))];
        let line = format!("{flag}tcp,tcp_dst={number},actions=meter:1,group:1");
        flow(&mut world, FlowModCommand::Add, &line, 0).unwrap();
    }
    world
}

const OTHERS: usize = 3;

fn begin_groups(world: &mut Script, line: &str) -> Result<Begun, ErrorCode> {
    let change = text::group::parse(line, GroupModCommand::Delete).unwrap();
    world.switch.begin_group_mod(world.bridge, &change, 0)
}

fn begin_meters(world: &mut Script, line: &str) -> Result<Begun, ErrorCode> {
    let change = text::meter::parse(line, MeterModCommand::Delete).unwrap();
    world.switch.begin_meter_mod(world.bridge, &change, 0)
}

fn groups(world: &Script) -> Vec<u32> {
    let bridge = world.switch.state().bridge(world.bridge).unwrap();
    bridge.groups.keys().map(|group| group.0).collect()
}

fn meters(world: &Script) -> Vec<u32> {
    let bridge = world.switch.state().bridge(world.bridge).unwrap();
    bridge.meters.keys().map(|meter| meter.0).collect()
}

#[test]
fn a_group_stays_until_the_last_of_its_flows_has_gone() {
    let mut world = many();
    world.switch.watch(world.bridge, true);
    let (first, sweep) = begin_groups(&mut world, "group_id=1").unwrap();
    let mut sweep = sweep.expect("there are too many for one step");
    let left = count(&world, "");
    assert!(left > FLOWS as usize * 3 / 4, "{left}");
    assert!(left < FLOWS as usize + OTHERS, "{left}");
    assert_eq!(groups(&world), [1, 2, 3], "no flow sends into nothing");
    let add = FlowModCommand::Add;
    flow(&mut world, add, "priority=9,udp,actions=group:1", 0).unwrap();
    flow(&mut world, add, "priority=10,udp,actions=group:2", 0).unwrap();
    let spared = (0..FLOWS).find(|port| count(&world, &format!("tcp,tcp_dst={port}")) == 1);
    let strict = format!("tcp,tcp_dst={},actions=group:2", spared.unwrap());
    flow(&mut world, FlowModCommand::ModifyStrict, &strict, 0).unwrap();
    let exists = group(&mut world, GroupModCommand::Add, "group_id=1,type=all");
    assert_eq!(exists, Err(ErrorCode::GROUP_MOD_FAILED_GROUP_EXISTS));
    let (rest, steps) = end(&mut world, &mut sweep);
    assert!(steps > 5, "{steps}");
    let reasons = first.iter().chain(&rest).map(|gone| gone.reason);
    assert!(
        reasons
            .into_iter()
            .all(|it| it == FlowRemovedReason::GroupDelete)
    );
    let untold = usize::from(spared.unwrap().is_multiple_of(10));
    assert_eq!(first.len() + rest.len() + untold, FLOWS as usize / 10);
    assert_eq!(groups(&world), [2, 3]);
    assert_eq!(count(&world, ""), OTHERS + 2, "{:?}", dump(&world));
    let watched = world.switch.take_changes(world.bridge);
    let gone = watched.iter().filter(|change| {
        change.event == openflow::FlowEvent::Deleted(FlowRemovedReason::GroupDelete)
    });
    assert_eq!(gone.count(), FLOWS as usize, "who came late went too");
}

#[test]
fn a_group_that_others_come_to_send_to_is_not_deleted() {
    let mut world = many();
    let (_, sweep) = begin_groups(&mut world, "group_id=1").unwrap();
    let add = GroupModCommand::Add;
    group(&mut world, add, "group_id=9,type=all,bucket=group:1").unwrap();
    let left = count(&world, "");
    let refused = sweep.expect("too many").step(&mut world.switch, 0);
    let chained = ErrorCode::GROUP_MOD_FAILED_CHAINED_GROUP;
    assert_eq!(refused.map(|_| ()), Err(chained));
    assert_eq!((groups(&world).len(), count(&world, "")), (4, left));
    let (_, sweep) = begin_groups(&mut world, "group_id=9").unwrap();
    assert!(sweep.is_none());
    assert_eq!(
        begin_groups(&mut world, "group_id=2").map(|_| ()),
        Err(chained)
    );
}

#[test]
fn all_groups_go_when_no_flow_sends_to_any() {
    let mut world = many();
    let (_, sweep) = begin_groups(&mut world, "group_id=all").unwrap();
    let mut sweep = sweep.expect("too many for one step");
    assert_eq!(groups(&world), [1, 2, 3]);
    end(&mut world, &mut sweep);
    assert!(groups(&world).is_empty());
    assert_eq!(count(&world, ""), OTHERS - 1);
}

#[test]
fn many_groups_go_a_few_at_a_time() {
    let mut world = Script::new();
    for number in 1..=FLOWS {
        let line = format!("group_id={number},type=all");
        group(&mut world, GroupModCommand::Add, &line).unwrap();
    }
    let (_, sweep) = begin_groups(&mut world, "group_id=all").unwrap();
    let left = groups(&world).len();
    assert!(left > FLOWS as usize * 3 / 4, "{left}");
    let (_, steps) = end(&mut world, &mut sweep.expect("too many for one step"));
    assert!(steps > 5 && groups(&world).is_empty(), "{steps}");
}

#[test]
fn a_meter_stays_until_the_last_of_its_flows_has_gone() {
    for (line, remaining, flows) in [
        ("meter=1", &[2][..], OTHERS),
        ("meter=all", &[], OTHERS - 1),
    ] {
        let mut world = many();
        let (first, sweep) = begin_meters(&mut world, line).unwrap();
        let mut sweep = sweep.expect("too many for one step");
        assert_eq!(meters(&world), [1, 2]);
        let (rest, steps) = end(&mut world, &mut sweep);
        assert!(steps > 5, "{steps}");
        let mut removed = first.iter().chain(&rest);
        assert!(removed.all(|gone| gone.reason == FlowRemovedReason::MeterDelete));
        assert_eq!(first.len() + rest.len(), FLOWS as usize / 10);
        assert_eq!(
            (meters(&world), count(&world, "")),
            (remaining.to_vec(), flows)
        );
    }
}

#[test]
fn what_few_use_goes_at_once_and_what_is_not_there_changes_nothing() {
    let mut world = many();
    world.switch.publish();
    for line in ["group_id=77", "group_id=3"] {
        assert!(begin_groups(&mut world, line).unwrap().1.is_none());
        assert_eq!(world.switch.is_changed(), line == "group_id=3", "{line}");
    }
    assert!(begin_groups(&mut world, "group_id=2").unwrap().1.is_none());
    assert!(begin_meters(&mut world, "meter=2").unwrap().1.is_none());
    assert_eq!((groups(&world), meters(&world)), (vec![1], vec![1]));
    assert_eq!(count(&world, ""), FLOWS as usize + 1);
}

#[test]
fn in_a_transaction_a_group_goes_with_all_its_flows_or_not_at_all() {
    let mut world = many();
    let delete = text::group::parse("group_id=1", GroupModCommand::Delete).unwrap();
    let id = world.bridge;
    for succeeds in [false, true] {
        let done = world.switch.all_or_nothing(id, |switch| {
            let removed = switch.group_mod(id, &delete, 0).map_err(|_| ())?;
            succeeds.then_some(removed.len()).ok_or(())
        });
        let (flows, told) = match succeeds {
            true => (OTHERS, Ok(FLOWS as usize / 10)),
            false => (FLOWS as usize + OTHERS, Err(())),
        };
        assert_eq!((count(&world, ""), done), (flows, told));
        assert_eq!(groups(&world).contains(&1), !succeeds);
    }
}

#[test]
fn a_bridge_goes_before_its_group_does() {
    let mut world = many();
    let (_, sweep) = begin_groups(&mut world, "group_id=1").unwrap();
    world.switch.remove_bridge(world.bridge);
    let (removed, steps) = end(&mut world, &mut sweep.expect("too many"));
    assert_eq!((removed.len(), steps), (0, 1));
}

/// Tables 0 and 1, the first without matching of TCP ports.
fn cut(world: &Script) -> Vec<TableFeatures> {
    let mut wanted = world.switch.table_features(world.bridge);
    wanted.truncate(2);
    for table in &mut wanted {
        let (miss, tables) = (false, Vec::new());
        table.properties[1] = TableProperty::NextTables { miss, tables };
    }
    if let TableProperty::Match(fields) = &mut wanted[0].properties[4] {
        fields.retain(|feature| feature.field != Field::TcpDst);
    }
    wanted
}

#[test]
fn flows_that_no_longer_fit_go_a_few_at_a_time() {
    let mut world = many();
    let (wanted, before) = (cut(&world), world.switch.table_features(world.bridge));
    let (told, sweep) = world
        .switch
        .set_table_features(world.bridge, wanted.clone())
        .unwrap();
    assert_eq!(told.len(), 2);
    let mut sweep = sweep.expect("too many for one step");
    let left = count(&world, "");
    assert!(
        left > FLOWS as usize * 3 / 4 && left < FLOWS as usize,
        "{left}"
    );
    let add = FlowModCommand::Add;
    let misfit = flow(&mut world, add, "tcp,tcp_dst=1,actions=drop", 0).map(|_| ());
    assert_eq!(misfit, Err(ErrorCode::BAD_MATCH_BAD_FIELD));
    // Another controller wants all tables back: what it adds then is no business of the first.
    let switch = &mut world.switch;
    let (_, other) = switch.set_table_features(world.bridge, before).unwrap();
    flow(&mut world, add, "priority=9,tcp,tcp_dst=1,actions=drop", 0).unwrap();
    let (removed, steps) = end(&mut world, &mut sweep);
    assert!(removed.is_empty() && steps > 5, "{steps}: without a word");
    assert_eq!(count(&world, ""), OTHERS + 1);
    end(&mut world, &mut other.expect("many are looked at"));
    assert_eq!(count(&world, ""), OTHERS + 1);
}
