//! Random groups and meters.

use super::*;

pub(super) fn kind() -> BoxedStrategy<GroupKind> {
    select(vec![
        GroupKind::All,
        GroupKind::Select,
        GroupKind::Indirect,
        GroupKind::FastFailover,
    ])
    .boxed()
}

/// A bucket that a group of this kind may have.
pub(super) fn bucket(kind: GroupKind) -> BoxedStrategy<Bucket> {
    let (port, group) = (any::<u32>(), any::<u32>());
    let weight = if kind == GroupKind::Select {
        any::<u16>().boxed()
    } else {
        Just(0).boxed()
    };
    let watch = match kind {
        GroupKind::All | GroupKind::Indirect => Just((OfPort::ANY, GroupId::ANY)).boxed(),
        GroupKind::Select => (port.prop_map(OfPort), group.prop_map(GroupId)).boxed(),
        GroupKind::FastFailover => (
            port.prop_map(|port| OfPort(port >> 1)),
            group.prop_map(GroupId),
        )
            .boxed(),
    };
    (weight, watch, actions())
        .prop_map(|(weight, (watch_port, watch_group), actions)| Bucket {
            weight,
            watch_port,
            watch_group,
            actions,
        })
        .boxed()
}

pub(super) fn kind_and_buckets() -> BoxedStrategy<(GroupKind, Vec<Bucket>)> {
    kind()
        .prop_flat_map(|kind| {
            let len = if kind == GroupKind::Indirect {
                1..2
            } else {
                0..5
            };
            (Just(kind), vec(bucket(kind), len))
        })
        .boxed()
}

pub(super) fn group_mod() -> BoxedStrategy<GroupMod> {
    let commands = vec![
        GroupModCommand::Add,
        GroupModCommand::Modify,
        GroupModCommand::Delete,
    ];
    (
        select(commands),
        0..=GroupId::MAX.0,
        any::<bool>(),
        kind_and_buckets(),
    )
        .prop_map(|(command, group, all, (kind, buckets))| {
            let delete = command == GroupModCommand::Delete;
            let group = if delete && all {
                GroupId::ALL
            } else {
                GroupId(group)
            };
            let buckets = if delete { Vec::new() } else { buckets };
            GroupMod {
                command,
                kind,
                group,
                buckets,
            }
        })
        .boxed()
}

pub(super) fn band() -> BoxedStrategy<Band> {
    let rates = any::<(u32, u32)>();
    prop_oneof![
        rates.prop_map(|(rate, burst)| Band::Drop { rate, burst }),
        (any::<(u32, u32)>(), 1..=u8::MAX).prop_map(|((rate, burst), precedence)| {
            Band::DscpRemark {
                rate,
                burst,
                precedence,
            }
        }),
    ]
    .boxed()
}

pub(super) fn meter_flags() -> BoxedStrategy<MeterFlags> {
    any::<[bool; 3]>()
        .prop_map(|[packets, burst, stats]| MeterFlags {
            packets,
            burst,
            stats,
        })
        .boxed()
}

pub(super) fn meter() -> BoxedStrategy<MeterId> {
    prop_oneof![
        (1..=MeterId::MAX.0).prop_map(MeterId),
        select(vec![MeterId::SLOWPATH, MeterId::CONTROLLER]),
    ]
    .boxed()
}

pub(super) fn meter_mod() -> BoxedStrategy<MeterMod> {
    let change = (
        select(vec![MeterModCommand::Add, MeterModCommand::Modify]),
        meter_flags(),
        meter(),
        vec(band(), 0..4),
    );
    prop_oneof![
        change.prop_map(|(command, flags, meter, bands)| MeterMod {
            command,
            flags,
            meter,
            bands
        }),
        prop_oneof![meter(), Just(MeterId::ALL)].prop_map(|meter| MeterMod {
            command: MeterModCommand::Delete,
            flags: MeterFlags::default(),
            meter,
            bands: Vec::new(),
        }),
    ]
    .boxed()
}
