//! Multipart requests and replies (OpenFlow 1.3.5 §7.3.5), and replies of any length in several
//! messages.

use std::sync::Arc;

use flowtable::TlvTable;

use super::{EncodeError, features, flow, group, meter, monitor, port, queue, table};
use crate::bundle::ONF;
use crate::wire::{MESSAGE_LEN_MAX, Reader, Writer};
use crate::{ErrorCode, GroupId, Message, MeterId, MultipartReply, MultipartRequest, Xid};

pub(super) fn decode_request(body: &mut Reader) -> Result<Message, ErrorCode> {
    let (kind, more) = decode_header(body)?;
    let request = match kind {
        DESCRIPTION => MultipartRequest::Description,
        FLOW => MultipartRequest::Flow(Box::new(flow::decode_stats_request(body)?)),
        AGGREGATE => MultipartRequest::Aggregate(Box::new(flow::decode_stats_request(body)?)),
        TABLE => MultipartRequest::Table,
        PORT_STATS => MultipartRequest::PortStats(port::decode_stats_request(body)?),
        QUEUE => {
            let (port, queue) = queue::decode_stats_request(body)?;
            MultipartRequest::Queue { port, queue }
        }
        GROUP => MultipartRequest::Group(GroupId(decode_id(body)?)),
        GROUP_DESC => MultipartRequest::GroupDesc,
        GROUP_FEATURES => MultipartRequest::GroupFeatures,
        METER => MultipartRequest::Meter(MeterId(decode_id(body)?)),
        METER_CONFIG => MultipartRequest::MeterConfig(MeterId(decode_id(body)?)),
        METER_FEATURES => MultipartRequest::MeterFeatures,
        TABLE_FEATURES => {
            MultipartRequest::TableFeatures(decode_all(body, table::decode_features)?)
        }
        PORT_DESC => MultipartRequest::PortDesc,
        EXPERIMENTER => decode_stranger_request(body)?,
        _ => return Err(ErrorCode::BAD_REQUEST_BAD_MULTIPART),
    };
    Ok(Message::MultipartRequest { more, request })
}

/// A request of an experimenter: of those of the ONF's that we know what they say.
fn decode_stranger_request(body: &mut Reader) -> Result<MultipartRequest, ErrorCode> {
    Ok(match take_monitor(body)? {
        true => MultipartRequest::FlowMonitor(decode_all(body, monitor::decode_request)?),
        false => MultipartRequest::Experimenter(super::decode_experimenter(body)?),
    })
}

fn decode_stranger_reply(body: &mut Reader) -> Result<MultipartReply, ErrorCode> {
    Ok(match take_monitor(body)? {
        true => MultipartReply::FlowMonitor(decode_all(body, monitor::decode_update)?),
        false => MultipartReply::Experimenter(super::decode_experimenter(body)?),
    })
}

/// Whether an experimenter's request or reply is about monitors; then who and what is read.
fn take_monitor(body: &mut Reader) -> Result<bool, ErrorCode> {
    let mut peek = body.clone();
    let is_monitor = (peek.u32()?, peek.u32()?) == (ONF, monitor::MONITOR);
    if is_monitor {
        *body = peek;
    }
    Ok(is_monitor)
}

/// Number of a group or meter.
fn decode_id(body: &mut Reader) -> Result<u32, ErrorCode> {
    let id = body.u32()?;
    body.skip(4)?;
    Ok(id)
}

fn encode_id(id: u32, out: &mut Writer) {
    out.u32(id);
    out.zeros(4);
}

fn decode_header(body: &mut Reader) -> Result<(u16, bool), ErrorCode> {
    let kind = body.u16()?;
    let flags = body.u16()?;
    body.skip(4)?;
    Ok((kind, flags & MORE != 0))
}

fn decode_all<T>(
    body: &mut Reader,
    decode: fn(&mut Reader) -> Result<T, ErrorCode>,
) -> Result<Vec<T>, ErrorCode> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        entries.push(decode(body)?);
    }
    Ok(entries)
}

pub(super) fn encode_request(more: bool, request: &MultipartRequest, out: &mut Writer) {
    encode_header(request_kind(request), more, out);
    match request {
        MultipartRequest::Flow(request) | MultipartRequest::Aggregate(request) => {
            flow::encode_stats_request(request, out);
        }
        MultipartRequest::PortStats(port) => port::encode_stats_request(*port, out),
        MultipartRequest::Queue { port, queue } => {
            out.u32(port.0);
            out.u32(queue.0);
        }
        MultipartRequest::Group(group) => encode_id(group.0, out),
        MultipartRequest::Meter(meter) | MultipartRequest::MeterConfig(meter) => {
            encode_id(meter.0, out);
        }
        MultipartRequest::TableFeatures(tables) => {
            tables
                .iter()
                .for_each(|features| table::encode_features(features, out));
        }
        MultipartRequest::FlowMonitor(monitors) => {
            monitor::encode_kind(monitor::MONITOR, out);
            let each = monitors.iter();
            each.for_each(|monitor| monitor::encode_request(monitor, out));
        }
        MultipartRequest::Experimenter(body) => super::encode_experimenter(body, out),
        MultipartRequest::Description
        | MultipartRequest::Table
        | MultipartRequest::GroupDesc
        | MultipartRequest::GroupFeatures
        | MultipartRequest::MeterFeatures
        | MultipartRequest::PortDesc => {}
    }
}

fn encode_header(kind: u16, more: bool, out: &mut Writer) {
    out.u16(kind);
    out.u16(if more { MORE } else { 0 });
    out.zeros(4);
}

fn request_kind(request: &MultipartRequest) -> u16 {
    match request {
        MultipartRequest::Description => DESCRIPTION,
        MultipartRequest::Flow(_) => FLOW,
        MultipartRequest::Aggregate(_) => AGGREGATE,
        MultipartRequest::Table => TABLE,
        MultipartRequest::PortStats(_) => PORT_STATS,
        MultipartRequest::Queue { .. } => QUEUE,
        MultipartRequest::Group(_) => GROUP,
        MultipartRequest::GroupDesc => GROUP_DESC,
        MultipartRequest::GroupFeatures => GROUP_FEATURES,
        MultipartRequest::Meter(_) => METER,
        MultipartRequest::MeterConfig(_) => METER_CONFIG,
        MultipartRequest::MeterFeatures => METER_FEATURES,
        MultipartRequest::TableFeatures(_) => TABLE_FEATURES,
        MultipartRequest::PortDesc => PORT_DESC,
        MultipartRequest::FlowMonitor(_) | MultipartRequest::Experimenter(_) => EXPERIMENTER,
    }
}

pub(super) fn decode_reply(body: &mut Reader) -> Result<Message, ErrorCode> {
    let (kind, more) = decode_header(body)?;
    let reply = match kind {
        DESCRIPTION => MultipartReply::Description(features::decode_description(body)?),
        FLOW => MultipartReply::Flow(decode_all(body, flow::decode_stats)?),
        AGGREGATE => MultipartReply::Aggregate(flow::decode_aggregate(body)?),
        TABLE => MultipartReply::Table(decode_all(body, table::decode_stats)?),
        PORT_STATS => MultipartReply::PortStats(decode_all(body, port::decode_stats)?),
        QUEUE => MultipartReply::Queue(decode_all(body, queue::decode_stats)?),
        GROUP => MultipartReply::Group(decode_all(body, group::decode_stats)?),
        GROUP_DESC => MultipartReply::GroupDesc(decode_all(body, group::decode_desc)?),
        GROUP_FEATURES => MultipartReply::GroupFeatures(group::decode_features(body)?),
        METER => MultipartReply::Meter(decode_all(body, meter::decode_stats)?),
        METER_CONFIG => MultipartReply::MeterConfig(decode_all(body, meter::decode_config)?),
        METER_FEATURES => MultipartReply::MeterFeatures(meter::decode_features(body)?),
        TABLE_FEATURES => MultipartReply::TableFeatures(decode_all(body, table::decode_features)?),
        PORT_DESC => MultipartReply::PortDesc(decode_all(body, port::decode_desc)?),
        EXPERIMENTER => decode_stranger_reply(body)?,
        _ => return Err(ErrorCode::BAD_REQUEST_BAD_MULTIPART),
    };
    Ok(Message::MultipartReply { more, reply })
}

fn reply_kind(reply: &MultipartReply) -> u16 {
    match reply {
        MultipartReply::Description(_) => DESCRIPTION,
        MultipartReply::Flow(_) => FLOW,
        MultipartReply::Aggregate(_) => AGGREGATE,
        MultipartReply::Table(_) => TABLE,
        MultipartReply::PortStats(_) => PORT_STATS,
        MultipartReply::Queue(_) => QUEUE,
        MultipartReply::Group(_) => GROUP,
        MultipartReply::GroupDesc(_) => GROUP_DESC,
        MultipartReply::GroupFeatures(_) => GROUP_FEATURES,
        MultipartReply::Meter(_) => METER,
        MultipartReply::MeterConfig(_) => METER_CONFIG,
        MultipartReply::MeterFeatures(_) => METER_FEATURES,
        MultipartReply::TableFeatures(_) => TABLE_FEATURES,
        MultipartReply::PortDesc(_) => PORT_DESC,
        MultipartReply::FlowMonitor(_) | MultipartReply::Experimenter(_) => EXPERIMENTER,
    }
}

/// Writes entry `index` of a reply; nothing if there is no such entry. A reply that is no list has
/// one entry.
fn encode_entry(reply: &MultipartReply, index: usize, out: &mut Writer) -> Option<()> {
    match reply {
        MultipartReply::Flow(list) => flow::encode_stats(list.get(index)?, out),
        MultipartReply::Table(list) => table::encode_stats(list.get(index)?, out),
        MultipartReply::PortStats(list) => port::encode_stats(list.get(index)?, out),
        MultipartReply::Queue(list) => queue::encode_stats(list.get(index)?, out),
        MultipartReply::Group(list) => group::encode_stats(list.get(index)?, out),
        MultipartReply::GroupDesc(list) => group::encode_desc(list.get(index)?, out),
        MultipartReply::Meter(list) => meter::encode_stats(list.get(index)?, out),
        MultipartReply::MeterConfig(list) => meter::encode_config(list.get(index)?, out),
        MultipartReply::TableFeatures(list) => table::encode_features(list.get(index)?, out),
        MultipartReply::PortDesc(list) => port::encode_desc(list.get(index)?, out),
        MultipartReply::FlowMonitor(list) => monitor::encode_update(list.get(index)?, out),
        _ if index > 0 => return None,
        MultipartReply::Description(body) => features::encode_description(body, out),
        MultipartReply::Aggregate(body) => flow::encode_aggregate(body, out),
        MultipartReply::GroupFeatures(body) => group::encode_features(body, out),
        MultipartReply::MeterFeatures(body) => meter::encode_features(body, out),
        MultipartReply::Experimenter(body) => super::encode_experimenter(body, out),
    }
    Some(())
}

/// Whether a reply is a list without entries.
fn is_empty(reply: &MultipartReply) -> bool {
    match reply {
        MultipartReply::Flow(list) => list.is_empty(),
        MultipartReply::Table(list) => list.is_empty(),
        MultipartReply::PortStats(list) => list.is_empty(),
        MultipartReply::Queue(list) => list.is_empty(),
        MultipartReply::Group(list) => list.is_empty(),
        MultipartReply::GroupDesc(list) => list.is_empty(),
        MultipartReply::Meter(list) => list.is_empty(),
        MultipartReply::MeterConfig(list) => list.is_empty(),
        MultipartReply::TableFeatures(list) => list.is_empty(),
        MultipartReply::PortDesc(list) => list.is_empty(),
        MultipartReply::FlowMonitor(list) => list.is_empty(),
        MultipartReply::Description(_)
        | MultipartReply::Aggregate(_)
        | MultipartReply::GroupFeatures(_)
        | MultipartReply::MeterFeatures(_)
        | MultipartReply::Experimenter(_) => false,
    }
}

/// A reply that may be longer than a message, written one message at a time: pieces in, messages
/// out, in the memory of one piece and one message however many there are.
#[derive(Debug)]
pub struct ReplyStream<I> {
    xid: Xid,
    piece: MultipartReply,
    /// First entry of `piece` that is not written yet.
    index: usize,
    rest: I,
    is_empty: bool,
    tlvs: Arc<TlvTable>,
}

impl<I: Iterator<Item = MultipartReply>> ReplyStream<I> {
    /// A reply to request `xid` that consists of `first` and then `rest`, all of one kind. An
    /// empty list as `first` will do: it says which kind it is. An empty one later says that the
    /// rest is not to be had yet: a message ends there.
    pub fn new(xid: Xid, first: MultipartReply, rest: I) -> ReplyStream<I> {
        ReplyStream {
            xid,
            piece: first,
            index: 0,
            rest,
            is_empty: true,
            tlvs: Arc::default(),
        }
    }

    /// Says which Geneve options entries from now on mean by `tun_metadata` fields.
    pub fn set_tlvs(&mut self, tlvs: Arc<TlvTable>) {
        self.tlvs = tlvs;
    }

    /// Whether no entry was written so far.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Where what follows comes from.
    pub fn source(&mut self) -> &mut I {
        &mut self.rest
    }

    /// Appends the next message to `out`, as full as can be, or nothing if there is nothing for
    /// one yet. Says whether another one follows.
    ///
    /// An entry that no message can hold is left out, with an error instead of a message; what
    /// comes after it is still to be had. What [`super::decode`] took is never one: its limits see
    /// to that.
    pub fn encode_next(&mut self, out: &mut Vec<u8>) -> Result<bool, EncodeError> {
        let mut part = Part::begin(self.xid, &self.piece, &self.tlvs, out);
        loop {
            let filled = part.fill(&self.piece, &mut self.index);
            self.is_empty &= self.index == 0;
            match filled {
                Filled::Done => match self.rest.next() {
                    Some(piece) if is_empty(&piece) => {
                        return Ok(part.pause());
                    }
                    Some(piece) => (self.piece, self.index) = (piece, 0),
                    None => {
                        part.finish(false);
                        return Ok(false);
                    }
                },
                Filled::Full => {
                    part.finish(true);
                    return Ok(true);
                }
                Filled::Refused(error) => {
                    self.index += 1;
                    part.forget();
                    return Err(error);
                }
            }
        }
    }
}

/// Appends a whole reply in as many messages as it takes; `more` says whether others follow.
pub(super) fn encode_reply(
    xid: Xid,
    more: bool,
    reply: &MultipartReply,
    tlvs: &TlvTable,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut index = 0;
    loop {
        let mut part = Part::begin(xid, reply, tlvs, out);
        match part.fill(reply, &mut index) {
            Filled::Done => {
                part.finish(more);
                return Ok(());
            }
            Filled::Full => part.finish(true),
            Filled::Refused(error) => return Err(error),
        }
    }
}

/// One message of a reply while it is being written.
struct Part<'a> {
    out: Writer<'a>,
    /// Where the message begins.
    start: usize,
    /// Where its first entry begins.
    body: usize,
}

/// How far a message got.
enum Filled {
    /// Every entry is written.
    Done,
    /// The next entry does not fit any more.
    Full,
    /// No message can hold the next entry.
    Refused(EncodeError),
}

impl<'a> Part<'a> {
    fn begin(
        xid: Xid,
        reply: &MultipartReply,
        tlvs: &'a TlvTable,
        out: &'a mut Vec<u8>,
    ) -> Part<'a> {
        let mut out = Writer::new(out).knowing(tlvs);
        let start = out.position();
        super::encode_header(MULTIPART_REPLY, xid, &mut out);
        encode_header(reply_kind(reply), false, &mut out);
        if let MultipartReply::FlowMonitor(_) = reply {
            monitor::encode_kind(monitor::MONITOR, &mut out);
        }
        let body = out.position();
        Part { out, start, body }
    }

    /// Writes entries of `reply` from `index` on, as many as fit.
    fn fill(&mut self, reply: &MultipartReply, index: &mut usize) -> Filled {
        loop {
            let end = self.out.position();
            if encode_entry(reply, *index, &mut self.out).is_none() {
                return Filled::Done;
            }
            if self.out.position() - self.start > MESSAGE_LEN_MAX {
                self.out.truncate(end);
                return match end > self.body {
                    true => Filled::Full,
                    false => Filled::Refused(EncodeError::TooLong),
                };
            }
            *index += 1;
        }
    }

    fn finish(mut self, more: bool) {
        if more {
            self.out.patch_u16(self.start + FLAGS_AT, MORE);
        }
        self.out.patch_len(self.start + 2, self.start);
    }

    /// Ends the message, unless there is nothing in it; another one follows.
    fn pause(self) -> bool {
        match self.out.position() > self.body {
            true => self.finish(true),
            false => self.forget(),
        }
        true
    }

    fn forget(mut self) {
        self.out.truncate(self.start);
    }
}

/// Type of a message that is a reply.
pub(super) const MULTIPART_REPLY: u8 = 19;
/// `OFPMPF_REQ_MORE`, `OFPMPF_REPLY_MORE`.
const MORE: u16 = 1;
/// Where in a message the flags are.
const FLAGS_AT: usize = 10;
/// `OFPMP_*`.
const DESCRIPTION: u16 = 0;
const FLOW: u16 = 1;
const AGGREGATE: u16 = 2;
const TABLE: u16 = 3;
const PORT_STATS: u16 = 4;
const QUEUE: u16 = 5;
const GROUP: u16 = 6;
const GROUP_DESC: u16 = 7;
const GROUP_FEATURES: u16 = 8;
const METER: u16 = 9;
const METER_CONFIG: u16 = 10;
const METER_FEATURES: u16 = 11;
const TABLE_FEATURES: u16 = 12;
const PORT_DESC: u16 = 13;
const EXPERIMENTER: u16 = 0xffff;
