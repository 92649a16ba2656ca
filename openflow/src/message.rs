//! Every message (OpenFlow 1.3.5 §7.1).

use crate::{
    AsyncConfig, BundleAdd, BundleControl, CtFlush, ErrorMessage, Features, FlowMod, FlowRemoved,
    GroupMod, Hello, MeterMod, MonitorId, MultipartReply, MultipartRequest, NiciraMessage, OfPort,
    PacketIn, PacketOut, PortMod, PortStatus, QueueConfig, RoleMessage, SwitchConfig, TableMod,
};

/// Something of an experimenter: who, what, and bytes whose meaning only they know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experimenter {
    /// Who: an OUI or a number given out by the ONF.
    pub experimenter: u32,
    /// What.
    pub kind: u32,
    /// The rest.
    pub data: Vec<u8>,
}

/// A message without its xid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// First of each side.
    Hello(Hello),
    /// A request failed.
    Error(ErrorMessage),
    /// Are you there?
    EchoRequest(Vec<u8>),
    /// Yes; the bytes of the request.
    EchoReply(Vec<u8>),
    /// Something of an experimenter.
    Experimenter(Experimenter),
    /// A message of Nicira's.
    Nicira(NiciraMessage),
    /// Something about a bundle as a whole.
    Bundle(BundleControl),
    /// A message for a bundle.
    BundleAdd(BundleAdd),
    /// Tell no more of what a monitor is for.
    MonitorCancel(MonitorId),
    /// What monitors tell is not whole from now on: it could not be taken as fast as it came.
    MonitorPaused,
    /// What monitors told is whole again.
    MonitorResumed,
    /// End tracked connections.
    CtFlush(Box<CtFlush>),
    /// What are you?
    FeaturesRequest,
    /// What the switch is.
    FeaturesReply(Features),
    /// How are you set up?
    ConfigRequest,
    /// How the switch is set up.
    ConfigReply(SwitchConfig),
    /// Set the switch up.
    SetConfig(SwitchConfig),
    /// A packet for the controller.
    PacketIn(Box<PacketIn>),
    /// A flow went.
    FlowRemoved(Box<FlowRemoved>),
    /// A port came, went or changed.
    PortStatus(PortStatus),
    /// A packet from the controller.
    PacketOut(PacketOut),
    /// Flow modification.
    FlowMod(Box<FlowMod>),
    /// Group modification.
    GroupMod(GroupMod),
    /// Port modification.
    PortMod(PortMod),
    /// Table modification.
    TableMod(TableMod),
    /// Statistics and descriptions are asked for.
    MultipartRequest {
        /// More of the same request follows.
        more: bool,
        /// What is asked.
        request: MultipartRequest,
    },
    /// Statistics and descriptions.
    MultipartReply {
        /// More of the same reply follows.
        more: bool,
        /// What is answered.
        reply: MultipartReply,
    },
    /// Finish everything before this.
    BarrierRequest,
    /// Everything before that is finished.
    BarrierReply,
    /// How are the queues of a port set up? [`OfPort::ANY`] for all ports.
    QueueConfigRequest(OfPort),
    /// How queues are set up.
    QueueConfigReply(QueueConfig),
    /// Take a role.
    RoleRequest(RoleMessage),
    /// The role taken.
    RoleReply(RoleMessage),
    /// Which asynchronous messages do you send?
    AsyncRequest,
    /// Which are sent.
    AsyncReply(AsyncConfig),
    /// Set which are sent.
    SetAsync(AsyncConfig),
    /// Meter modification.
    MeterMod(MeterMod),
}
