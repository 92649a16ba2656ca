//! Multipart requests and replies: statistics and descriptions (OpenFlow 1.3.5 §7.3.5).
//!
//! A reply that does not fit one message comes in several, all but the last with `more` set.

use crate::{
    AggregateStats, Description, Experimenter, FlowMonitor, FlowStats, FlowStatsRequest,
    FlowUpdate, GroupDesc, GroupFeatures, GroupId, GroupStats, MeterConfig, MeterFeatures, MeterId,
    MeterStats, OfPort, PortDesc, PortStats, QueueId, QueueStats, TableFeatures, TableStats,
};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartRequest {
    /// Description of the switch.
    Description,
    /// Statistics of flows.
    Flow(Box<FlowStatsRequest>),
    /// Sums over flows.
    Aggregate(Box<FlowStatsRequest>),
    /// Statistics of all tables.
    Table,
    /// Statistics of a port; [`OfPort::ANY`] for all.
    PortStats(OfPort),
    /// Statistics of a queue.
    Queue {
        /// Which port; [`OfPort::ANY`] for all.
        port: OfPort,
        /// Which queue; [`QueueId::ALL`] for all.
        queue: QueueId,
    },
    /// Statistics of a group; [`GroupId::ALL`] for all.
    Group(GroupId),
    /// Descriptions of all groups.
    GroupDesc,
    /// What groups there can be.
    GroupFeatures,
    /// Statistics of a meter; [`MeterId::ALL`] for all.
    Meter(MeterId),
    /// Configuration of a meter; [`MeterId::ALL`] for all.
    MeterConfig(MeterId),
    /// What meters there can be.
    MeterFeatures,
    /// What tables can do: a question if empty, otherwise what they should be able to do.
    TableFeatures(Vec<TableFeatures>),
    /// Descriptions of all ports.
    PortDesc,
    /// Monitors to begin.
    FlowMonitor(Vec<FlowMonitor>),
    /// Something of an experimenter.
    Experimenter(Experimenter),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartReply {
    /// Description of the switch.
    Description(Description),
    /// Statistics of flows.
    Flow(Vec<FlowStats>),
    /// Sums over flows.
    Aggregate(AggregateStats),
    /// Statistics of all tables.
    Table(Vec<TableStats>),
    /// Statistics of ports.
    PortStats(Vec<PortStats>),
    /// Statistics of queues.
    Queue(Vec<QueueStats>),
    /// Statistics of groups.
    Group(Vec<GroupStats>),
    /// Descriptions of groups.
    GroupDesc(Vec<GroupDesc>),
    /// What groups there can be.
    GroupFeatures(GroupFeatures),
    /// Statistics of meters.
    Meter(Vec<MeterStats>),
    /// Configurations of meters.
    MeterConfig(Vec<MeterConfig>),
    /// What meters there can be.
    MeterFeatures(MeterFeatures),
    /// What tables can do.
    TableFeatures(Vec<TableFeatures>),
    /// Descriptions of ports.
    PortDesc(Vec<PortDesc>),
    /// What monitors tell: the flows that are there, or with number 0 what has changed.
    FlowMonitor(Vec<FlowUpdate>),
    /// Something of an experimenter.
    Experimenter(Experimenter),
}
