//! Flows are found by what they send to, whatever happens to them.

use super::*;

/// Of many flows that come, change and go, those that send to a port are found as if all had been
/// looked at.
#[test]
fn flows_are_found_by_what_they_send_to_through_all_changes() {
    let mut world = run("group group_id=1,type=all,bucket=output:1");
    let mut number = 7u32;
    let mut below = |bound: u32| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (number >> 8) % bound
    };
    for _ in 0..3000 {
        let (flow, to) = (below(200), below(5));
        let actions = [
            "drop",
            "output:1",
            "output:2",
            "output:1,output:2",
            "group:1",
        ];
        let actions = actions[to as usize];
        let line = match below(10) {
            0..6 => format!("flow cookie={to},in_port={flow},actions={actions}"),
            6 => format!("flow reset_counts,in_port={flow},actions={actions}"),
            7 => format!("mod in_port={flow},actions={actions}"),
            8 => format!("del in_port={flow}"),
            _ => format!("del out_port={},cookie={to}/-1", below(2) + 1),
        };
        let (command, line) = line.split_once(' ').unwrap();
        let command = match command {
            "flow" => FlowModCommand::Add,
            "mod" => FlowModCommand::Modify,
            _ => FlowModCommand::Delete,
        };
        let change = text::flow::parse(line, command).unwrap();
        world.switch.flow_mod(world.bridge, &change, 0).unwrap();
        if below(20) > 0 {
            continue;
        }
        let filter = ["out_port=1", "out_port=2", "out_group=1"][below(3) as usize];
        let mut delete = text::flow::parse(filter, FlowModCommand::Delete).unwrap();
        delete.table = TableId::ALL;
        let request = openflow::FlowStatsRequest {
            out_port: delete.out_port,
            out_group: delete.out_group,
            ..openflow::FlowStatsRequest::default()
        };
        let count = |world: &Script, request: &_| world.switch.flows(world.bridge, request).count();
        let (all, wanted) = (count(&world, &Default::default()), count(&world, &request));
        world.switch.flow_mod(world.bridge, &delete, 0).unwrap();
        assert_eq!(count(&world, &request), 0, "{filter}");
        assert_eq!(count(&world, &Default::default()), all - wanted, "{filter}");
        world.switch.publish();
    }
}
