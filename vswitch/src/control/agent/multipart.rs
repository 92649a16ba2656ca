//! Multipart requests (OpenFlow 1.3.5 §7.3.5): what is asked, and replies in as many messages as
//! they need.

use openflow::{
    Description, ErrorCode, GroupId, Message, MultipartReply, MultipartRequest, OfPort, Xid,
};

use super::dump::{Dump, Source};
use super::{Agent, Identity, Next, PeerId, Turn};

impl Agent {
    /// Takes a request.
    pub(super) fn multipart(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        xid: Xid,
        request: MultipartRequest,
    ) -> Result<Next, ErrorCode> {
        if let MultipartRequest::Flow(asked) | MultipartRequest::Aggregate(asked) = &request
            && !turn.switch.has_table(self.bridge, asked.table)
        {
            return Err(ErrorCode::BAD_REQUEST_BAD_TABLE_ID);
        }
        if waits(&request) {
            return Ok(Next::Count(request));
        }
        match request {
            MultipartRequest::TableFeatures(wanted) if !wanted.is_empty() => {
                self.set_table_features(turn, peer, xid, wanted)
            }
            request => {
                self.reply_at_once(turn, peer, xid, request)?;
                Ok(Next::Done)
            }
        }
    }

    /// Answers a request once the workers have told their counters. A list that may be long is
    /// returned, to be sent part by part.
    pub fn answer(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        xid: Xid,
        request: &MultipartRequest,
    ) -> Result<Option<Dump>, ErrorCode> {
        let (switch, bridge, now_ms) = (&*turn.switch, self.bridge, turn.now_ms);
        match request {
            MultipartRequest::Flow(request) => {
                let flows = turn.switch.list(bridge, request);
                return Ok(Some(Dump::new(xid, Source::Flows { flows, now_ms })));
            }
            MultipartRequest::FlowMonitor(wanted) => {
                return self.begin_monitors(turn, peer, xid, wanted).map(Some);
            }
            MultipartRequest::Aggregate(request) => {
                let (flows, sums) = (turn.switch.list(bridge, request), Default::default());
                return Ok(Some(Dump::new(xid, Source::Sums { xid, flows, sums })));
            }
            MultipartRequest::Table => {
                let tables = switch.table_stats(bridge);
                self.reply_part(peer, xid, MultipartReply::Table(tables));
            }
            MultipartRequest::Group(group) => {
                let source = Source::GroupStats(bridge, group.asked(), now_ms);
                return Ok(Some(Dump::new(xid, source)));
            }
            MultipartRequest::GroupDesc => {
                let source = Source::GroupDesc(bridge, GroupId::ALL.asked());
                return Ok(Some(Dump::new(xid, source)));
            }
            MultipartRequest::Meter(meter) | MultipartRequest::MeterConfig(meter)
                if !switch.has_meter(bridge, *meter) =>
            {
                return Err(ErrorCode::METER_MOD_FAILED_UNKNOWN_METER);
            }
            MultipartRequest::Meter(meter) => {
                let source = Source::MeterStats(bridge, meter.asked(), now_ms);
                return Ok(Some(Dump::new(xid, source)));
            }
            MultipartRequest::MeterConfig(meter) => {
                let source = Source::MeterConfig(bridge, meter.asked());
                return Ok(Some(Dump::new(xid, source)));
            }
            MultipartRequest::PortStats(port) => {
                let stats = self.port_stats(turn, *port)?;
                self.reply_part(peer, xid, MultipartReply::PortStats(stats));
            }
            MultipartRequest::Queue { port, queue } => {
                let stats = self.queue_stats(turn, *port, *queue)?;
                self.reply_part(peer, xid, MultipartReply::Queue(stats));
            }
            _ => return Err(ErrorCode::BAD_REQUEST_BAD_MULTIPART),
        }
        Ok(None)
    }

    fn reply_at_once(
        &mut self,
        turn: &mut Turn<'_>,
        peer: PeerId,
        xid: Xid,
        request: MultipartRequest,
    ) -> Result<(), ErrorCode> {
        let bridge = self.bridge;
        match request {
            MultipartRequest::Description => {
                self.reply_part(
                    peer,
                    xid,
                    MultipartReply::Description(self.identity.describe()),
                );
            }
            MultipartRequest::PortDesc => {
                let ports = self.ports(turn).map(|port| port.describe()).collect();
                self.reply_part(peer, xid, MultipartReply::PortDesc(ports));
            }
            MultipartRequest::GroupFeatures => {
                let features = turn.switch.group_features();
                self.reply_part(peer, xid, MultipartReply::GroupFeatures(features));
            }
            MultipartRequest::MeterFeatures => {
                let features = turn.switch.meter_features();
                self.reply_part(peer, xid, MultipartReply::MeterFeatures(features));
            }
            MultipartRequest::TableFeatures(_) => {
                let tables = turn.switch.table_features(bridge);
                self.reply_part(peer, xid, MultipartReply::TableFeatures(tables));
            }
            MultipartRequest::Experimenter(strange) => return Err(super::refusal(&strange)),
            _ => return Err(ErrorCode::BAD_REQUEST_BAD_MULTIPART),
        }
        Ok(())
    }

    pub(super) fn ports<'a>(
        &self,
        turn: &'a Turn<'_>,
    ) -> impl Iterator<Item = &'a super::super::ports::Port> {
        let bridge = turn.switch.state().bridge(self.bridge);
        let ports = bridge.into_iter().flat_map(|bridge| bridge.ports());
        ports.filter_map(|port| turn.ports.get(&port.number))
    }

    fn port_stats(
        &self,
        turn: &Turn<'_>,
        port: OfPort,
    ) -> Result<Vec<openflow::PortStats>, ErrorCode> {
        if port == OfPort::ANY {
            return Ok(self
                .ports(turn)
                .map(|port| port.stats(turn.now_ms))
                .collect());
        }
        let number = turn
            .port(self.bridge, port)
            .ok_or(ErrorCode::BAD_REQUEST_BAD_PORT)?;
        Ok(turn
            .ports
            .get(&number)
            .map(|port| port.stats(turn.now_ms))
            .into_iter()
            .collect())
    }

    pub(super) fn reply_part(&self, peer: PeerId, xid: Xid, reply: MultipartReply) {
        self.reply(peer, xid, &Message::MultipartReply { more: false, reply });
    }
}

impl Identity {
    fn describe(&self) -> Description {
        let text = &self.description;
        let datapath = if text.datapath.is_empty() {
            &self.name
        } else {
            &text.datapath
        };
        Description {
            manufacturer: text.manufacturer.clone(),
            hardware: text.hardware.clone(),
            software: text.software.clone(),
            serial_number: text.serial_number.clone(),
            datapath: datapath.clone(),
        }
    }
}

/// Whether the answer holds counters that workers keep, or is a list that is sent part by part.
fn waits(request: &MultipartRequest) -> bool {
    matches!(
        request,
        MultipartRequest::Flow(_)
            | MultipartRequest::Aggregate(_)
            | MultipartRequest::Table
            | MultipartRequest::Group(_)
            | MultipartRequest::Meter(_)
            | MultipartRequest::PortStats(_)
            | MultipartRequest::Queue { .. }
            | MultipartRequest::GroupDesc
            | MultipartRequest::MeterConfig(_)
            | MultipartRequest::FlowMonitor(_)
    )
}
