//! Numbers that name ports, tables, groups, meters and queues, with their reserved values
//! (OpenFlow 1.3.5 §7.2.1, §7.3.4).

use std::fmt;
use std::ops::RangeInclusive;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// OpenFlow port number (`ofp_port_no`).
    OfPort(u32)
);
id!(
    /// Flow table, 0 to 253.
    TableId(u8)
);
id!(
    /// Group.
    GroupId(u32)
);
id!(
    /// Meter.
    MeterId(u32)
);
id!(
    /// Queue of a port.
    QueueId(u32)
);

id!(
    /// Number of a request, repeated in the reply.
    Xid(u32)
);

impl OfPort {
    /// Highest number of a real port (`OFPP_MAX`).
    pub const MAX: OfPort = OfPort(0xffff_ff00);
    /// The port the packet came in by (`OFPP_IN_PORT`).
    pub const IN_PORT: OfPort = OfPort(0xffff_fff8);
    /// The first table; packet-out only (`OFPP_TABLE`).
    pub const TABLE: OfPort = OfPort(0xffff_fff9);
    /// The learning bridge (`OFPP_NORMAL`).
    pub const NORMAL: OfPort = OfPort(0xffff_fffa);
    /// All ports but the ingress and those that refuse flooding (`OFPP_FLOOD`).
    pub const FLOOD: OfPort = OfPort(0xffff_fffb);
    /// All ports but the ingress (`OFPP_ALL`).
    pub const ALL: OfPort = OfPort(0xffff_fffc);
    /// The controller (`OFPP_CONTROLLER`).
    pub const CONTROLLER: OfPort = OfPort(0xffff_fffd);
    /// The host's own port (`OFPP_LOCAL`).
    pub const LOCAL: OfPort = OfPort(0xffff_fffe);
    /// Any or none (`OFPP_ANY`).
    pub const ANY: OfPort = OfPort(0xffff_ffff);

    /// The port that has this number in OpenFlow 1.0: reserved ones are the highest there, too.
    pub fn of_16_bits(number: u16) -> OfPort {
        match number {
            RESERVED_16.. => OfPort(0xffff_0000 | u32::from(number)),
            _ => OfPort(number.into()),
        }
    }
}

/// Lowest number of a reserved port in OpenFlow 1.0 (`OFPP_MAX` there).
const RESERVED_16: u16 = 0xff00;

impl TableId {
    /// Highest table (`OFPTT_MAX` is 254; we have tables 0 to 253).
    pub const LAST: TableId = TableId(253);
    /// Every table, in deletes and requests (`OFPTT_ALL`).
    pub const ALL: TableId = TableId(0xff);
}

impl GroupId {
    /// Highest number of a real group (`OFPG_MAX`).
    pub const MAX: GroupId = GroupId(0xffff_ff00);
    /// Every group, in deletes and requests (`OFPG_ALL`).
    pub const ALL: GroupId = GroupId(0xffff_fffc);
    /// No group wanted (`OFPG_ANY`).
    pub const ANY: GroupId = GroupId(0xffff_ffff);

    /// The groups that a request for this one is for.
    pub fn asked(self) -> RangeInclusive<GroupId> {
        match self {
            GroupId::ALL => GroupId(0)..=GroupId::MAX,
            group => group..=group,
        }
    }
}

impl MeterId {
    /// Highest number of a real meter (`OFPM_MAX`).
    pub const MAX: MeterId = MeterId(0xffff_0000);
    /// Meter for slow-path packets (`OFPM_SLOWPATH`).
    pub const SLOWPATH: MeterId = MeterId(0xffff_fffd);
    /// Meter for the controller connection (`OFPM_CONTROLLER`).
    pub const CONTROLLER: MeterId = MeterId(0xffff_fffe);
    /// Meters that are for no flow, in the order in which they meter a packet for controllers.
    pub const VIRTUAL: [MeterId; 2] = [MeterId::SLOWPATH, MeterId::CONTROLLER];
    /// Every meter, in deletes and requests (`OFPM_ALL`).
    pub const ALL: MeterId = MeterId(0xffff_ffff);

    /// The meters that a request for this one is for.
    pub fn asked(self) -> RangeInclusive<MeterId> {
        match self {
            MeterId::ALL => MeterId(0)..=MeterId::CONTROLLER,
            meter => meter..=meter,
        }
    }
}

impl QueueId {
    /// Every queue, in requests (`OFPQ_ALL`).
    pub const ALL: QueueId = QueueId(0xffff_ffff);
}
