//! Changes of many flows, a few at a time.

use super::super::Sweep;
use super::*;

/// More than are selected at once.
pub const FLOWS: u32 = 20_000;

/// A bridge with many flows that send by port 1, a tenth of them to be told of when they go.
fn many() -> Script {
    let mut world = Script::new();
    for number in 0..FLOWS {
        let flag = ["", "send_flow_rem,"][usize::from(number.is_multiple_of(10))];
        let line = format!("{flag}cookie=1,tcp,tcp_dst={number},actions=output:1");
        flow(&mut world, FlowModCommand::Add, &line, 0).unwrap();
    }
    world
}

fn begin(world: &mut Script, command: FlowModCommand, line: &str) -> Result<Begun, ErrorCode> {
    let change = text::flow::parse(line, command).unwrap_or_else(|e| panic!("{line}: {e}"));
    world.switch.begin_flow_mod(world.bridge, &change, 0)
}

/// Goes on to the end: the flows that went, and how many steps it took.
pub fn end(world: &mut Script, sweep: &mut Sweep) -> (Vec<RemovedFlow>, usize) {
    let (mut removed, mut steps) = (Vec::new(), 0);
    loop {
        steps += 1;
        let (more_removed, more) = sweep.step(&mut world.switch, 0).expect("it can be done");
        removed.extend(more_removed);
        world.switch.publish();
        if !more {
            return (removed, steps);
        }
    }
}

pub fn count(world: &Script, line: &str) -> usize {
    let wanted = text::flow::parse(line, FlowModCommand::Delete).unwrap();
    let request = flows::request(&wanted);
    world.switch.flows(world.bridge, &request).count()
}

#[test]
fn a_deletion_takes_what_was_there_when_it_came() {
    for line in ["", "cookie=1/-1", "cookie=1/1", "tcp"] {
        let mut world = many();
        let (first, sweep) = begin(&mut world, FlowModCommand::Delete, line).unwrap();
        let mut sweep = sweep.expect("there are too many for one step");
        let left = count(&world, "");
        assert!(left > 0 && left < FLOWS as usize, "{left}");
        let there: Vec<u32> = (0..FLOWS)
            .filter(|port| count(&world, &format!("tcp,tcp_dst={port}")) == 1)
            .take(5)
            .collect();
        let named = |port: u32| format!("cookie=1,tcp,tcp_dst={port},actions=output:2");
        let (add, modify) = (FlowModCommand::Add, FlowModCommand::ModifyStrict);
        flow(
            &mut world,
            add,
            "cookie=1,tcp,tcp_dst=55555,actions=drop",
            0,
        )
        .unwrap();
        flow(&mut world, add, &named(there[0]), 0).unwrap();
        flow(&mut world, modify, &named(there[1]), 0).unwrap();
        let anew = |port: u32| format!("reset_counts,{}", named(port));
        flow(&mut world, add, &anew(there[3]), 0).unwrap();
        for _ in 0..3 {
            flow(&mut world, modify, &anew(there[4]), 0).unwrap();
            world.switch.publish();
        }
        let strict = format!("tcp,tcp_dst={}", there[2]);
        let gone = flow(&mut world, FlowModCommand::DeleteStrict, &strict, 0).unwrap();
        let (rest, steps) = end(&mut world, &mut sweep);
        assert!(steps > 1, "{line}: {steps}");
        let told = first.len() + gone.len() + rest.len();
        let spared = [there[0], there[3]];
        let untold = spared.iter().filter(|port| port.is_multiple_of(10)).count();
        assert_eq!(told, FLOWS as usize / 10 - untold, "{line}: each once");
        assert_eq!(count(&world, ""), 3, "{line}: {:?}", dump(&world));
        for port in [spared[0], spared[1], 55_555] {
            assert_eq!(count(&world, &format!("tcp,tcp_dst={port}")), 1);
        }
    }
}

#[test]
fn few_flows_are_changed_at_once() {
    let mut world = many();
    let delete = FlowModCommand::Delete;
    for line in ["tcp,tcp_dst=5", "cookie=7/-1", "cookie=2/2"] {
        let (_, sweep) = begin(&mut world, delete, line).unwrap();
        assert!(sweep.is_none(), "{line}");
    }
    assert_eq!(count(&world, ""), FLOWS as usize - 1);
    let modify = "cookie=7/-1,actions=drop";
    let (_, sweep) = begin(&mut world, FlowModCommand::Modify, modify).unwrap();
    assert!(sweep.is_none());
}

#[test]
fn a_modification_changes_all_or_says_so_before_the_first() {
    let mut world = many();
    flow(
        &mut world,
        FlowModCommand::Add,
        "table=1,priority=1,arp,actions=drop",
        0,
    )
    .unwrap();
    flow(
        &mut world,
        FlowModCommand::Add,
        "priority=1,arp,actions=drop",
        0,
    )
    .unwrap();
    let modify = FlowModCommand::Modify;
    let (_, sweep) = begin(&mut world, modify, "actions=set_field:9->tcp_dst,output:2")
        .expect("the flow that cannot be modified so is not among the first");
    let mut sweep = sweep.expect("there are too many for one step");
    let refused = loop {
        match sweep.step(&mut world.switch, 0) {
            Ok((_, more)) => assert!(more, "one flow has no TCP ports"),
            Err(code) => break code,
        }
    };
    assert_eq!(refused, ErrorCode::BAD_ACTION_MATCH_INCONSISTENT);
    assert_eq!(count(&world, "tcp,out_port=1"), FLOWS as usize);
    let (_, sweep) = begin(
        &mut world,
        modify,
        "tcp,actions=set_field:9->tcp_dst,output:2",
    )
    .unwrap();
    let (_, steps) = end(&mut world, &mut sweep.expect("too many for one step"));
    assert!(steps > 10, "{steps}");
    assert_eq!(count(&world, "tcp,out_port=2"), FLOWS as usize);
    assert_eq!(count(&world, "tcp,out_port=1"), 0);
}

#[test]
fn what_a_change_needs_may_go_meanwhile() {
    let mut world = many();
    group(&mut world, GroupModCommand::Add, "group_id=1,type=all").unwrap();
    let (_, sweep) = begin(&mut world, FlowModCommand::Modify, "actions=group:1").unwrap();
    let mut sweep = sweep.expect("too many for one step");
    let gone = group(&mut world, GroupModCommand::Delete, "group_id=1").unwrap();
    assert!(gone > 0);
    let refused = sweep.step(&mut world.switch, 0).map(|_| ());
    assert_eq!(refused, Err(ErrorCode::BAD_ACTION_BAD_OUT_GROUP));
    assert_eq!(
        world
            .switch
            .group_stats(world.bridge, GroupId::ALL.asked(), 0)
            .count(),
        0
    );
}

#[test]
fn two_changes_meet() {
    let mut world = many();
    let (_, modify) = begin(&mut world, FlowModCommand::Modify, "actions=output:3").unwrap();
    let (first, delete) = begin(&mut world, FlowModCommand::Delete, "").unwrap();
    let (mut modify, mut delete) = (modify.unwrap(), delete.unwrap());
    let (rest, _) = end(&mut world, &mut delete);
    end(&mut world, &mut modify);
    assert_eq!(count(&world, ""), 0, "modifications make no flows");
    assert_eq!(first.len() + rest.len(), FLOWS as usize / 10);
    world.switch.publish();
    while world.switch.maintain() {}
}

#[test]
fn a_bridge_goes_before_its_flows_do() {
    let mut world = many();
    let (_, sweep) = begin(&mut world, FlowModCommand::Delete, "").unwrap();
    world.switch.remove_bridge(world.bridge);
    let (removed, steps) = end(&mut world, &mut sweep.expect("too many for one step"));
    assert_eq!((removed.len(), steps), (0, 1));
}
