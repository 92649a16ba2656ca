//! Random matches, actions, instructions and flows.

use flowtable::VLAN_PRESENT;

use super::nicira::nicira;
use super::*;

/// A match whose fields have their prerequisites; any field may be in it.
pub fn matching() -> BoxedStrategy<Match> {
    let eth_types = vec![
        0x0800, 0x0806, 0x86dd, 0x8847, 0x8848, 0x88e7, 0x8035, 0x1234,
    ];
    let protocols = vec![1, 6, 17, 58, 132, 200];
    let types = vec![135, 136, 128];
    let field = (any::<u128>(), any::<u128>(), 0..3u8);
    (
        select(eth_types),
        select(protocols),
        select(types),
        vec(field, Field::ALL.len()),
    )
        .prop_map(|(eth_type, protocol, icmpv6_type, fields)| {
            let mut matching = Match::default();
            for (&field, (value, mask, use_of)) in Field::ALL.iter().zip(fields) {
                let value = match field {
                    Field::EthType => eth_type,
                    Field::IpProto => protocol,
                    Field::Icmpv6Type => icmpv6_type,
                    _ => value,
                };
                let mask = if use_of == 2 && field.maskable() {
                    mask
                } else {
                    field.ones()
                };
                let is_plain = !field.is_alias() && !field.is_tunnel_option();
                let told = is_plain && !matching.missing_prerequisite(field);
                if use_of > 0 && told {
                    matching.set(field, value, mask);
                }
            }
            matching
        })
        .boxed()
}

pub(super) fn set_field() -> BoxedStrategy<Action> {
    let constant = [Field::InPort, Field::Metadata];
    let fields = Field::ALL
        .iter()
        .copied()
        .filter(|field| !constant.contains(field) && !field.is_read_only())
        .filter(|field| *field != Field::InPort16 && !field.is_tunnel_option());
    (select(fields.collect::<Vec<_>>()), any::<u128>())
        .prop_map(|(field, value)| {
            let present = if field == Field::VlanVid {
                u128::from(VLAN_PRESENT)
            } else {
                0
            };
            let value = value & field.ones() | present;
            Action::SetField {
                field,
                value,
                mask: field.ones(),
            }
        })
        .boxed()
}

pub(super) fn action() -> BoxedStrategy<Action> {
    prop_oneof![
        (out_port(), any::<u16>()).prop_map(|(port, max_len)| Action::Output { port, max_len }),
        (0..=GroupId::MAX.0).prop_map(|group| Action::Group(GroupId(group))),
        (0..QueueId::ALL.0).prop_map(|queue| Action::SetQueue(QueueId(queue))),
        set_field(),
        select(vec![
            Action::PushVlan(0x8100),
            Action::PushVlan(0x88a8),
            Action::PopVlan,
            Action::PushMpls(0x8847),
            Action::PushMpls(0x8848),
            Action::PushPbb(0x88e7),
            Action::PopPbb,
            Action::DecMplsTtl,
            Action::DecNwTtl,
            Action::CopyTtlIn,
            Action::CopyTtlOut,
        ]),
        nicira().prop_map(Action::Nicira),
        any::<u16>().prop_map(Action::PopMpls),
        any::<u8>().prop_map(Action::SetMplsTtl),
        any::<u8>().prop_map(Action::SetNwTtl),
    ]
    .boxed()
}

pub(super) fn actions() -> BoxedStrategy<Arc<[Action]>> {
    vec(action(), 0..6).prop_map(Arc::from).boxed()
}

/// Instructions of a flow in `table`: packets go on to later tables only.
pub(super) fn instructions(table: TableId) -> BoxedStrategy<Instructions> {
    let goto = match table {
        TableId::ALL | TableId::LAST => Just(None).boxed(),
        _ => option::of((table.0 + 1..=TableId::LAST.0).prop_map(TableId)).boxed(),
    };
    (
        option::of(any::<u32>().prop_map(MeterId)),
        option::of(actions()),
        any::<bool>(),
        option::of(actions()),
        option::of(any::<(u64, u64)>()),
        goto,
    )
        .prop_map(
            |(meter, apply, clear, write, metadata, goto)| Instructions {
                meter,
                apply,
                clear,
                write,
                metadata,
                goto,
            },
        )
        .boxed()
}

pub(super) fn flow_flags() -> BoxedStrategy<FlowFlags> {
    any::<[bool; 5]>()
        .prop_map(|bits| FlowFlags {
            send_flow_removed: bits[0],
            check_overlap: bits[1],
            reset_counts: bits[2],
            no_packet_counts: bits[3],
            no_byte_counts: bits[4],
        })
        .boxed()
}

pub(super) fn command_and_table() -> BoxedStrategy<(FlowModCommand, TableId)> {
    let changes = vec![
        FlowModCommand::Add,
        FlowModCommand::Modify,
        FlowModCommand::ModifyStrict,
    ];
    let deletes = vec![FlowModCommand::Delete, FlowModCommand::DeleteStrict];
    prop_oneof![
        (select(changes), table()),
        (select(deletes), prop_oneof![table(), Just(TableId::ALL)]),
    ]
    .boxed()
}

pub fn flow_mod() -> BoxedStrategy<FlowMod> {
    command_and_table()
        .prop_flat_map(|(command, table)| {
            let rest = (
                any::<[u64; 2]>(),
                any::<[u16; 3]>(),
                buffer(),
                any::<[u32; 2]>(),
                flow_flags(),
                matching(),
                instructions(table),
            );
            (Just(command), Just(table), rest)
        })
        .prop_map(
            |(command, table, (cookies, shorts, buffer_id, outs, flags, matching, todo))| FlowMod {
                command,
                cookie: cookies[0],
                cookie_mask: cookies[1],
                table,
                idle_timeout_s: shorts[0],
                hard_timeout_s: shorts[1],
                priority: shorts[2],
                buffer_id,
                out_port: OfPort(outs[0]),
                out_group: GroupId(outs[1]),
                flags,
                matching,
                instructions: todo,
            },
        )
        .boxed()
}
