//! Flags of flow modifications (OpenFlow 1.3.5 §7.3.4.1) beyond those that other tests are about.

use super::*;

#[test]
fn flows_that_need_not_be_counted_say_so_and_are() {
    let mut world = run("port p1 1
        flow no_packet_counts,no_byte_counts,actions=output:1");
    only(&world).counters.add(2, 120, 0);
    let stats = only(&world).into_stats(0);
    assert!(stats.flags.no_packet_counts && stats.flags.no_byte_counts);
    assert_eq!((stats.packets, stats.bytes), (2, 120));
    let again = "no_packet_counts,actions=output:1";
    flow(&mut world, FlowModCommand::Add, again, 0).unwrap();
    let stats = only(&world).into_stats(0);
    assert!(stats.flags.no_packet_counts && !stats.flags.no_byte_counts);
}

#[test]
fn modifications_count_anew_if_they_ask_for_it() {
    for command in [FlowModCommand::Modify, FlowModCommand::ModifyStrict] {
        let mut world = run("flow priority=5,tcp,actions=output:1");
        only(&world).counters.add(3, 300, 0);
        let line = |flag: &str, port: u8| format!("{flag}priority=5,tcp,actions=output:{port}");
        flow(&mut world, command, &line("", 2), 0).unwrap();
        assert_eq!(only(&world).counters.read().0, 3);
        flow(&mut world, command, &line("reset_counts,", 3), 0).unwrap();
        assert_eq!(only(&world).counters.read().0, 0);
        let told = only(&world).into_stats(0);
        assert!(
            !told.flags.reset_counts,
            "it is the message's, not the flow's"
        );
        assert_eq!(dump(&world), ["priority=5,tcp actions=output:3"]);
    }
}

#[test]
fn modifications_check_no_overlap_and_leave_flags_as_they_are() {
    let mut world = run("flow priority=5,send_flow_rem,tcp,actions=output:1
        flow priority=5,ip,actions=output:1");
    let line = "check_overlap,priority=5,tcp,actions=output:2";
    flow(&mut world, FlowModCommand::ModifyStrict, line, 0).unwrap();
    let delete = FlowModCommand::DeleteStrict;
    let gone = flow(&mut world, delete, "priority=5,tcp", 0).unwrap();
    assert_eq!(gone.len(), 1, "its controller still wants to hear of it");
    assert!(!gone[0].flow.flags.check_overlap);
}
