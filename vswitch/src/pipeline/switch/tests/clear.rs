//! Bridges are emptied and go at one instant.

use super::*;

fn used() -> Script {
    run("
        port p1 1
        port p2 2
        group group_id=1,type=all,bucket=output:2
        meter meter=1,pktps,bands=type=drop,rate=1
        flow tcp,tcp_dst=80,actions=meter:1,group:1
        flow table=3,udp,idle_timeout=5,actions=output:2
        learn p1 vlan=0 02:00:00:00:00:01
        packet p1 tcp,tcp_dst=80
    ")
}

#[test]
fn a_bridge_is_empty_at_one_instant_and_older_states_are_as_they_were() {
    let mut world = used();
    let before = world.switch.publish();
    let wide = before.entry_mask(world.number("p1")).cloned().unwrap();
    assert!(world.switch.clear(world.bridge).is_none(), "nobody watches");
    let after = world.switch.publish();
    let flows = |state: &Arc<State>| {
        let list = FlowList::new(
            Arc::clone(state),
            world.bridge,
            &FlowStatsRequest::default(),
        );
        list.map(|flow| flow.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((flows(&before).len(), flows(&after).len()), (2, 0));
    let [old, new] = [&before, &after].map(|state| state.bridge(world.bridge).unwrap());
    assert_eq!((old.group_count(), old.meter_count()), (1, 1));
    assert_eq!((new.group_count(), new.meter_count()), (0, 0));
    assert_eq!(new.macs().count(), 1, "addresses stay");
    let narrow = after.entry_mask(world.number("p1")).cloned().unwrap();
    assert_ne!(wide, narrow, "nothing is matched any more");
    assert!(world.switch.expire(60_000).0.is_empty());
}

#[test]
fn a_cleared_bridge_begins_anew() {
    let mut world = used();
    let before = only_serial(&world, "table=3");
    world.switch.clear(world.bridge);
    world.run(
        "group group_id=1,type=all,bucket=output:1
         flow actions=group:1
         packet p2 tcp,tcp_dst=80
         > p1
         delete
         packet p2 tcp,tcp_dst=80
         > drop(table_miss)",
    );
    let gone = group(&mut world, GroupModCommand::Delete, "group_id=1");
    assert_eq!(gone, Ok(0));
    world.run("flow table=3,udp,actions=output:2");
    assert!(
        only_serial(&world, "table=3") > before,
        "numbers are not used again"
    );
}

fn only_serial(world: &Script, line: &str) -> u64 {
    let wanted = text::flow::parse(line, FlowModCommand::Delete).unwrap();
    let request = flows::request(&wanted);
    let mut flows = world.switch.flows(world.bridge, &request);
    flows.next().expect("a flow").counters.serial()
}

#[test]
fn what_was_there_is_freed_when_nobody_reads_it() {
    let mut world = used();
    let read = world.switch.publish();
    world.switch.clear(world.bridge);
    world.run("flow arp,actions=output:1");
    world.switch.remove_bridge(world.bridge);
    assert_eq!(world.switch.take_remains().len(), 0);
    let later = world.switch.publish();
    assert_eq!(world.switch.take_remains().len(), 0, "somebody reads");
    drop(read);
    assert_eq!(world.switch.take_remains().len(), 2);
    assert_eq!(world.switch.take_remains().len(), 0);
    drop(later);
}

#[test]
fn a_change_that_is_on_its_way_does_not_touch_what_came_after() {
    let mut world = Script::new();
    for number in 0..20_000 {
        let line = format!("tcp,tcp_dst={number},actions=output:1");
        flow(&mut world, FlowModCommand::Add, &line, 0).unwrap();
    }
    let sweeps: Vec<_> = ["", "cookie=0/-1"]
        .iter()
        .map(|line| {
            let delete = text::flow::parse(line, FlowModCommand::Delete).unwrap();
            let begun = world.switch.begin_flow_mod(world.bridge, &delete, 0);
            begun.unwrap().1.expect("too many for one step")
        })
        .collect();
    let every = FlowStatsRequest::default();
    let mut list = world.switch.list(world.bridge, &every);
    let listed = world.switch.flows(world.bridge, &every).count();
    world.switch.clear(world.bridge);
    for number in 0..100 {
        let line = format!("tcp,tcp_dst={number},actions=output:2");
        flow(&mut world, FlowModCommand::Add, &line, 0).unwrap();
    }
    for mut sweep in sweeps {
        super::sweeps::end(&mut world, &mut sweep);
    }
    assert_eq!(dump(&world).len(), 100);
    assert!(list.next().is_some());
    list.renew(world.switch.publish());
    assert_eq!(list.count(), listed - 1, "it goes on as it was");
}

#[test]
fn watchers_are_told_of_what_was_there() {
    let mut world = used();
    world.switch.watch(world.bridge, true);
    let gone = world.switch.clear(world.bridge).expect("somebody watches");
    world.run("flow arp,actions=output:1");
    let events: Vec<_> = gone.map(|flow| flow.table.0).collect();
    assert_eq!(events, [0, 3]);
    let later = world.switch.take_changes(world.bridge);
    assert_eq!(later.len(), 1, "and go on to hear of what comes");
}
