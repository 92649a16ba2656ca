//! Bundles as messages of the ONF's (extension 230, which numbers them 2300 and 2301).

use super::{FLOW_MOD, GROUP_MOD, METER_MOD, PORT_MOD};
use crate::bundle::ONF;
use crate::wire::{HEADER_LEN, Header, Reader, Writer, padded};
use crate::{BundleAdd, BundleControl, BundleFlags, BundleId, BundleStep, ErrorCode, Xid};

/// `ONF_ET_BUNDLE_CONTROL`.
pub(super) const CONTROL: u32 = 2300;
/// `ONF_ET_BUNDLE_ADD_MESSAGE`.
pub(super) const ADD: u32 = 2301;

pub(super) fn decode_control(body: &mut Reader) -> Result<BundleControl, ErrorCode> {
    let bundle = BundleId(body.u32()?);
    let step = STEPS.get(usize::from(body.u16()?)).copied();
    let step = step.ok_or(ErrorCode::BUNDLE_FAILED_BAD_TYPE)?;
    let flags = BundleFlags(body.u16()?);
    check_properties(body)?;
    Ok(BundleControl {
        bundle,
        step,
        flags,
    })
}

pub(super) fn encode_control(control: BundleControl, out: &mut Writer) {
    out.u32(ONF);
    out.u32(CONTROL);
    out.u32(control.bundle.0);
    out.u16(control.step as u16);
    out.u16(control.flags.0);
}

pub(super) fn decode_add(xid: Xid, body: &mut Reader) -> Result<BundleAdd, ErrorCode> {
    let bundle = BundleId(body.u32()?);
    body.skip(2)?;
    let flags = BundleFlags(body.u16()?);
    let rest = Reader::new(body.rest(), ErrorCode::BUNDLE_FAILED_MSG_BAD_LEN);
    let mut rest = rest.knowing(body.tlvs());
    let message = decode_inner(xid, &mut rest)?;
    if !rest.is_empty() {
        rest.skip(padded(message.len()) - message.len())?;
        check_properties(&mut rest)?;
    }
    Ok(BundleAdd {
        bundle,
        flags,
        message: message.to_vec(),
    })
}

/// The message within: one that could be carried out, as far as its bytes tell.
fn decode_inner<'a>(xid: Xid, rest: &mut Reader<'a>) -> Result<&'a [u8], ErrorCode> {
    let mut peek = rest.clone();
    let header = Header::decode(peek.rest()).ok_or(ErrorCode::BUNDLE_FAILED_MSG_BAD_LEN)?;
    if usize::from(header.len) < HEADER_LEN {
        return Err(ErrorCode::BUNDLE_FAILED_MSG_BAD_LEN);
    }
    let bytes = rest.take(header.len.into())?;
    if header.xid != xid {
        return Err(ErrorCode::BUNDLE_FAILED_MSG_BAD_XID);
    }
    if !matches!(header.kind, FLOW_MOD | GROUP_MOD | PORT_MOD | METER_MOD) {
        return Err(ErrorCode::BUNDLE_FAILED_MSG_UNSUP);
    }
    super::decode_message(&header, bytes, rest.tlvs())?;
    Ok(bytes)
}

pub(super) fn encode_add(add: &BundleAdd, out: &mut Writer) {
    out.u32(ONF);
    out.u32(ADD);
    out.u32(add.bundle.0);
    out.zeros(2);
    out.u16(add.flags.0);
    out.bytes(&add.message);
}

/// There are no properties but those of experimenters, of whom we know none.
fn check_properties(body: &mut Reader) -> Result<(), ErrorCode> {
    if body.is_empty() {
        return Ok(());
    }
    body.reporting(ErrorCode::BAD_PROPERTY_BAD_LEN, |body| {
        let kind = body.u16()?;
        let len = usize::from(body.u16()?);
        body.skip(len.checked_sub(4).ok_or(body.short())?)?;
        match kind {
            EXPERIMENTER_PROPERTY => Err(ErrorCode::BAD_PROPERTY_BAD_EXPERIMENTER),
            _ => Err(ErrorCode::BAD_PROPERTY_BAD_TYPE),
        }
    })
}

/// By their numbers.
const STEPS: [BundleStep; 8] = [
    BundleStep::OpenRequest,
    BundleStep::OpenReply,
    BundleStep::CloseRequest,
    BundleStep::CloseReply,
    BundleStep::CommitRequest,
    BundleStep::CommitReply,
    BundleStep::DiscardRequest,
    BundleStep::DiscardReply,
];
/// `ONFBPT_EXPERIMENTER`.
const EXPERIMENTER_PROPERTY: u16 = 0xffff;

#[cfg(test)]
mod tests {
    use super::super::{EXPERIMENTER, decode, encode};
    use super::*;
    use crate::Message;

    /// A message of the ONF's with number 7.
    fn onf(kind: u32, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut bytes = vec![4, EXPERIMENTER, 0, 0, 0, 0, 0, 7];
        bytes.extend_from_slice(&ONF.to_be_bytes());
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&body);
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    fn error(bytes: &[u8]) -> ErrorCode {
        let error = decode(bytes).expect_err("wrong on purpose");
        assert_eq!(error.xid, Xid(7));
        error.code
    }

    /// A port modification with number `xid`.
    fn port_mod(xid: u8) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[..8].copy_from_slice(&[4, PORT_MOD, 0, 40, 0, 0, 0, xid]);
        bytes
    }

    const ABOUT: &[u8] = &[0, 0, 0, 5, 0, 0, 0, 3];

    #[test]
    fn known_bytes_come_in_and_go_out() {
        let control = onf(CONTROL, &[&[0, 0, 0, 5, 0, 4, 0, 1]]);
        let commit = Message::Bundle(BundleControl {
            bundle: BundleId(5),
            step: BundleStep::CommitRequest,
            flags: BundleFlags::ATOMIC,
        });
        let add = onf(ADD, &[ABOUT, &port_mod(7)]);
        let added = Message::BundleAdd(BundleAdd {
            bundle: BundleId(5),
            flags: BundleFlags(3),
            message: port_mod(7),
        });
        for (bytes, message) in [(control, commit), (add, added)] {
            assert_eq!(decode(&bytes), Ok((Xid(7), message.clone())));
            let mut encoded = Vec::new();
            encode(Xid(7), &message, &mut encoded).expect("short enough");
            assert_eq!(encoded, bytes);
        }
    }

    #[test]
    fn what_is_wrong_with_a_message_within_is_told() {
        let add = |parts: &[&[u8]]| error(&onf(ADD, &[&[ABOUT], parts].concat()));
        let bad_len = ErrorCode::BUNDLE_FAILED_MSG_BAD_LEN;
        assert_eq!(add(&[]), bad_len);
        assert_eq!(add(&[&port_mod(7)[..39]]), bad_len);
        assert_eq!(add(&[&[4, PORT_MOD, 0, 7, 0, 0, 0, 7]]), bad_len);
        assert_eq!(add(&[&port_mod(8)]), ErrorCode::BUNDLE_FAILED_MSG_BAD_XID);
        for kind in [0, 5, 13, 17, 18, 20, 24, EXPERIMENTER, 99] {
            let other = [4, kind, 0, 8, 0, 0, 0, 7];
            assert_eq!(add(&[&other]), ErrorCode::BUNDLE_FAILED_MSG_UNSUP, "{kind}");
        }
        let short = [4, PORT_MOD, 0, 8, 0, 0, 0, 7];
        assert_eq!(add(&[&short]), ErrorCode::BAD_REQUEST_BAD_LEN);
        let mut old = port_mod(7);
        old[0] = 1;
        assert_eq!(add(&[&old]), ErrorCode::BAD_REQUEST_BAD_VERSION);
    }

    #[test]
    fn properties_are_refused() {
        let add = |rest: &[u8]| error(&onf(ADD, &[ABOUT, &port_mod(7), rest]));
        let control = |rest: &[u8]| error(&onf(CONTROL, &[&[0; 8], rest]));
        for refuse in [&add as &dyn Fn(&[u8]) -> ErrorCode, &control] {
            assert_eq!(refuse(&[0, 1, 0]), ErrorCode::BAD_PROPERTY_BAD_LEN);
            assert_eq!(refuse(&[0, 1, 0, 3]), ErrorCode::BAD_PROPERTY_BAD_LEN);
            assert_eq!(refuse(&[0, 1, 0, 8]), ErrorCode::BAD_PROPERTY_BAD_LEN);
            let unknown = [0, 1, 0, 8, 0, 0, 0, 0];
            assert_eq!(refuse(&unknown), ErrorCode::BAD_PROPERTY_BAD_TYPE);
            let stranger = [0xff, 0xff, 0, 8, 0, 0, 0, 0];
            assert_eq!(refuse(&stranger), ErrorCode::BAD_PROPERTY_BAD_EXPERIMENTER);
        }
        let unknown_step = onf(CONTROL, &[&[0, 0, 0, 5, 0, 8, 0, 0]]);
        assert_eq!(error(&unknown_step), ErrorCode::BUNDLE_FAILED_BAD_TYPE);
        assert_eq!(
            error(&onf(CONTROL, &[&[0; 7]])),
            ErrorCode::BAD_REQUEST_BAD_LEN
        );
    }
}
