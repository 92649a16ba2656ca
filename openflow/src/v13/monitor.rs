//! Flow monitors as messages of the ONF's (extension 187, which numbers them from 1870 on), as
//! Open vSwitch speaks them.
//!
//! The length of a match stands twice: in the match itself, which counts, and before it, where
//! Open vSwitch repeats it.

use super::{instruction, matching};
use crate::bundle::ONF;
use crate::wire::{Reader, Writer};
use crate::{
    ErrorCode, FlowChange, FlowEvent, FlowMonitor, FlowRemovedReason, FlowUpdate, MonitorFlags,
    MonitorId, OfPort, TableId, Xid,
};

/// `ONFST_FLOW_MONITOR`, of requests and replies.
pub(super) const MONITOR: u32 = 1870;
/// `ONFT_FLOW_MONITOR_CANCEL`.
pub(super) const CANCEL: u32 = 1870;
/// `ONFT_FLOW_MONITOR_PAUSED`.
pub(super) const PAUSED: u32 = 1871;
/// `ONFT_FLOW_MONITOR_RESUMED`.
pub(super) const RESUMED: u32 = 1872;

/// Writes what comes before the body of an experimenter's message or request.
pub(super) fn encode_kind(kind: u32, out: &mut Writer) {
    out.u32(ONF);
    out.u32(kind);
}

pub(super) fn decode_request(body: &mut Reader) -> Result<FlowMonitor, ErrorCode> {
    let id = MonitorId(body.u32()?);
    let flags = MonitorFlags(body.u16()?);
    body.skip(2)?;
    let out_port = OfPort(body.u32()?);
    let table = TableId(body.u8()?);
    let zeros: [u8; 3] = body.array()?;
    if !flags.are_valid() {
        return Err(ErrorCode::MONITOR_FAILED_BAD_FLAGS);
    }
    if zeros != [0; 3] {
        return Err(ErrorCode::MONITOR_FAILED_MUST_BE_ZERO);
    }
    Ok(FlowMonitor {
        id,
        flags,
        table,
        out_port,
        matching: matching::decode(body)?,
    })
}

pub(super) fn encode_request(monitor: &FlowMonitor, out: &mut Writer) {
    out.u32(monitor.id.0);
    out.u16(monitor.flags.0);
    let len_at = out.position();
    out.u16(0);
    out.u32(monitor.out_port.0);
    out.u8(monitor.table.0);
    out.zeros(3);
    let len = matching::encode(&monitor.matching, out);
    out.patch_u16(len_at, len);
}

pub(super) fn decode_update(body: &mut Reader) -> Result<FlowUpdate, ErrorCode> {
    let len = body.u16()?;
    let mut entry = super::decode_entry(len, 2, body)?;
    let number = entry.u16()?;
    if number == ABBREVIATED {
        let update = FlowUpdate::Abbreviated(Xid(entry.u32()?));
        entry.finish()?;
        return Ok(update);
    }
    let event = decode_event(number, entry.u16()?)?;
    let priority = entry.u16()?;
    let idle_timeout_s = entry.u16()?;
    let hard_timeout_s = entry.u16()?;
    entry.skip(2)?;
    let table = TableId(entry.u8()?);
    entry.skip(1)?;
    Ok(FlowUpdate::Full(Box::new(FlowChange {
        event,
        table,
        priority,
        idle_timeout_s,
        hard_timeout_s,
        cookie: entry.u64()?,
        matching: matching::decode(&mut entry)?,
        instructions: instruction::decode_list(&mut entry)?,
    })))
}

fn decode_event(number: u16, reason: u16) -> Result<FlowEvent, ErrorCode> {
    Ok(match number {
        ADDED => FlowEvent::Added,
        DELETED => FlowEvent::Deleted(match reason {
            0 => FlowRemovedReason::IdleTimeout,
            1 => FlowRemovedReason::HardTimeout,
            3 => FlowRemovedReason::GroupDelete,
            4 => FlowRemovedReason::MeterDelete,
            // Others have reasons that are not of this version.
            _ => FlowRemovedReason::Delete,
        }),
        MODIFIED => FlowEvent::Modified,
        _ => return Err(ErrorCode::BAD_REQUEST_BAD_TYPE),
    })
}

pub(super) fn encode_update(update: &FlowUpdate, out: &mut Writer) {
    let change = match update {
        FlowUpdate::Full(change) => change,
        FlowUpdate::Abbreviated(xid) => {
            out.u16(ABBREVIATED_LEN);
            out.u16(ABBREVIATED);
            out.u32(xid.0);
            return;
        }
    };
    let (event, reason) = match change.event {
        FlowEvent::Added => (ADDED, 0),
        FlowEvent::Deleted(reason) => (DELETED, reason as u16),
        FlowEvent::Modified => (MODIFIED, 0),
    };
    let start = out.position();
    out.u16(0);
    out.u16(event);
    out.u16(reason);
    out.u16(change.priority);
    out.u16(change.idle_timeout_s);
    out.u16(change.hard_timeout_s);
    let len_at = out.position();
    out.u16(0);
    out.u8(change.table.0);
    out.zeros(1);
    out.u64(change.cookie);
    let len = matching::encode(&change.matching, out);
    out.patch_u16(len_at, len);
    instruction::encode_list(&change.instructions, out);
    out.patch_len(start, start);
}

/// `ONFFME_*`.
const ADDED: u16 = 0;
const DELETED: u16 = 1;
const MODIFIED: u16 = 2;
const ABBREVIATED: u16 = 3;
const ABBREVIATED_LEN: u16 = 8;

#[cfg(test)]
mod tests {
    use flowtable::{Field, Match};

    use super::super::{decode, encode};
    use super::*;
    use crate::{Action, Instructions, Message, MultipartReply, MultipartRequest};

    /// What `ovs-ofctl -O OpenFlow13 monitor br0 watch:` sent.
    const REQUEST: [u8; 48] = [
        4, 18, 0, 48, 0, 0, 0, 6, 0xff, 0xff, 0, 0, 0, 0, 0, 0, // multipart request
        0x4f, 0x4e, 0x46, 0, 0, 0, 7, 0x4e, // of the ONF's
        0, 0, 0, 0, 0, 0x3f, 0, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, // monitor
        0, 1, 0, 4, 0, 0, 0, 0, // match
    ];

    /// What Open vSwitch answered.
    const REPLY: [u8; 96] = [
        4, 19, 0, 96, 0, 0, 0, 6, 0xff, 0xff, 0, 0, 0, 0, 0, 0, // multipart reply
        0x4f, 0x4e, 0x46, 0, 0, 0, 7, 0x4e, // of the ONF's
        0, 72, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 18, 0, 0, // added
        0, 0, 0, 0, 0, 0, 0, 0, // cookie
        0, 1, 0, 18, 0x80, 0, 0, 4, 0, 0, 0, 1, 0x80, 0, 12, 2, // match
        0x10, 123, 0, 0, 0, 0, 0, 0, //
        0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, // apply: output
        0, 0, 0, 0, 0, 0, 0, 0, //
    ];

    fn reply(updates: Vec<FlowUpdate>) -> Message {
        Message::MultipartReply {
            more: false,
            reply: MultipartReply::FlowMonitor(updates),
        }
    }

    fn request(monitors: Vec<FlowMonitor>) -> Message {
        Message::MultipartRequest {
            more: false,
            request: MultipartRequest::FlowMonitor(monitors),
        }
    }

    fn everything() -> FlowMonitor {
        FlowMonitor {
            id: MonitorId(0),
            flags: MonitorFlags::ALL,
            table: TableId::ALL,
            out_port: OfPort::ANY,
            matching: Match::default(),
        }
    }

    fn added() -> FlowUpdate {
        let mut matching = Match::default();
        matching.set(Field::InPort, 1, u128::MAX);
        matching.set(Field::VlanVid, 0x1000 | 123, u128::MAX);
        let output = Action::Output {
            port: OfPort(1),
            max_len: 0,
        };
        FlowUpdate::Full(Box::new(FlowChange {
            event: FlowEvent::Added,
            table: TableId(0),
            priority: 0x8000,
            idle_timeout_s: 0,
            hard_timeout_s: 0,
            cookie: 0,
            matching,
            instructions: Instructions {
                apply: Some([output].into()),
                ..Instructions::default()
            },
        }))
    }

    fn error(bytes: &[u8]) -> ErrorCode {
        let mut bytes = bytes.to_vec();
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        decode(&bytes).expect_err("wrong on purpose").code
    }

    #[test]
    fn known_bytes_come_in_and_go_out() {
        let cancel: &[u8] = &[
            4, 4, 0, 20, 0, 0, 0, 6, 0x4f, 0x4e, 0x46, 0, 0, 0, 7, 0x4e, 0, 0, 0, 3,
        ];
        let paused: &[u8] = &[4, 4, 0, 16, 0, 0, 0, 6, 0x4f, 0x4e, 0x46, 0, 0, 0, 7, 0x4f];
        let resumed: &[u8] = &[4, 4, 0, 16, 0, 0, 0, 6, 0x4f, 0x4e, 0x46, 0, 0, 0, 7, 0x50];
        let mut abbreviated = REPLY[..32].to_vec();
        abbreviated[3] = 32;
        abbreviated[24..32].copy_from_slice(&[0, 8, 0, 3, 0x12, 0x34, 0x56, 0x78]);
        let own = FlowUpdate::Abbreviated(Xid(0x1234_5678));
        for (bytes, message) in [
            (&REQUEST[..], request(vec![everything()])),
            (&REPLY, reply(vec![added()])),
            (&abbreviated, reply(vec![own])),
            (cancel, Message::MonitorCancel(MonitorId(3))),
            (paused, Message::MonitorPaused),
            (resumed, Message::MonitorResumed),
        ] {
            assert_eq!(decode(bytes), Ok((Xid(6), message.clone())));
            let mut encoded = Vec::new();
            encode(Xid(6), &message, &mut encoded).expect("short enough");
            assert_eq!(encoded, bytes);
            // A list may be empty, and then it ends after eight bytes more than a message does.
            let shortest = [16, 24][usize::from(bytes.len() > 20)];
            for len in (16..bytes.len()).filter(|len| *len != shortest) {
                let bad = [ErrorCode::BAD_REQUEST_BAD_LEN, ErrorCode::BAD_MATCH_BAD_LEN];
                assert!(bad.contains(&error(&bytes[..len])), "{len} of {bytes:x?}");
            }
        }
    }

    #[test]
    fn monitors_are_checked() {
        let with = |at: usize, value: u8| {
            let mut bytes = REQUEST;
            bytes[at] = value;
            error(&bytes)
        };
        for flags in [0, 1, 0x31, 0x46] {
            assert_eq!(with(29, flags), ErrorCode::MONITOR_FAILED_BAD_FLAGS);
        }
        assert_eq!(with(39, 1), ErrorCode::MONITOR_FAILED_MUST_BE_ZERO);
        assert_eq!(with(41, 0), ErrorCode::BAD_MATCH_BAD_TYPE);
        let code = ErrorCode::MONITOR_FAILED_BAD_FLAGS;
        assert_eq!(code.message(Vec::new()).experimenter, Some(0x2320));
        let code = ErrorCode::BUNDLE_FAILED_BAD_ID;
        assert_eq!(code.message(Vec::new()).experimenter, Some(ONF));
    }

    #[test]
    fn several_are_in_one_message_and_many_in_several() {
        let several = FlowMonitor {
            id: MonitorId(1),
            ..everything()
        };
        let message = request(vec![everything(), several]);
        let mut bytes = Vec::new();
        encode(Xid(6), &message, &mut bytes).expect("short enough");
        assert_eq!(decode(&bytes), Ok((Xid(6), message)));
        let mut bytes = Vec::new();
        encode(Xid(0), &reply(vec![added(); 2000]), &mut bytes).expect("in parts");
        let (mut rest, mut count) = (&bytes[..], 0);
        while let [_, _, high, low, ..] = rest {
            let (message, more) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
            let Ok((_, Message::MultipartReply { reply, .. })) = decode(message) else {
                panic!("{message:x?}");
            };
            let MultipartReply::FlowMonitor(updates) = reply else {
                panic!("{reply:?}");
            };
            assert!(updates.iter().all(|update| *update == added()));
            count += updates.len();
            rest = more;
        }
        assert_eq!(count, 2000);
    }
}
