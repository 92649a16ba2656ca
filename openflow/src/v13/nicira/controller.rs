//! The two forms of `controller` on the wire (nicira-ext, `nx_action_controller`,
//! `nx_action_controller2`): the second is a list of properties, so that it can say more.

use super::header;
use crate::nicira::{Controller, Nicira};
use crate::wire::{Reader, Writer, padded};
use crate::{ErrorCode, MeterId};

/// Reads what follows the type in the first form.
pub(super) fn decode(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    let (max_len, id, reason) = (body.u16()?, body.u16()?, body.u8()?);
    body.skip(1)?;
    checked(Controller {
        max_len,
        id,
        reason,
        ..Controller::default()
    })
}

/// Reads what follows the type in the second form.
pub(super) fn decode_second(body: &mut Reader) -> Result<Nicira, ErrorCode> {
    body.skip(6)?;
    let mut controller = Controller::default();
    while !body.is_empty() {
        let (kind, len) = (body.u16()?, usize::from(body.u16()?));
        let payload = len.checked_sub(HEADER_LEN).ok_or(body.short())?;
        let mut property = body.part(payload, body.short())?;
        body.skip(padded(len) - len)?;
        match kind {
            MAX_LEN => controller.max_len = property.u16()?,
            ID => controller.id = property.u16()?,
            REASON => controller.reason = property.u8()?,
            USERDATA => controller.userdata = property.rest().into(),
            PAUSE => controller.pause = true,
            METER => {
                let meter = MeterId(property.u32()?);
                controller.meter = (meter != MeterId(0)).then_some(meter);
            }
            _ => return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
        }
        // Numbers of 16 bits have padding that counts for the length.
        property.rest();
    }
    checked(controller)
}

fn checked(controller: Controller) -> Result<Nicira, ErrorCode> {
    match controller.reason <= REASON_MAX {
        true => Ok(Nicira::Controller(controller)),
        false => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    }
}

/// Writes all but length and padding.
pub(super) fn encode(controller: &Controller, out: &mut Writer) {
    let Controller {
        max_len,
        id,
        reason,
        ..
    } = *controller;
    if !controller.is_second() {
        header(FIRST, out);
        out.u16(max_len);
        out.u16(id);
        out.u8(reason);
        return;
    }
    let plain = Controller::default();
    header(SECOND, out);
    out.zeros(6);
    if max_len != plain.max_len {
        property(MAX_LEN, &padded_u16(max_len), out);
    }
    if id != plain.id {
        property(ID, &padded_u16(id), out);
    }
    if reason != plain.reason {
        property(REASON, &[reason], out);
    }
    if !controller.userdata.is_empty() {
        property(USERDATA, &controller.userdata, out);
    }
    if controller.pause {
        property(PAUSE, &[], out);
    }
    if let Some(meter) = controller.meter {
        property(METER, &meter.0.to_be_bytes(), out);
    }
}

/// A number of 16 bits and the padding that counts for the length of its property.
fn padded_u16(number: u16) -> [u8; 4] {
    (u32::from(number) << 16).to_be_bytes()
}

/// Writes a property; the padding behind it does not count for its length.
fn property(kind: u16, payload: &[u8], out: &mut Writer) {
    let len = HEADER_LEN + payload.len();
    out.u16(kind);
    out.u16(len as u16);
    out.bytes(payload);
    out.zeros(padded(len) - len);
}

/// `NXAST_CONTROLLER`.
pub(super) const FIRST: u16 = 20;
/// `NXAST_CONTROLLER2`.
pub(super) const SECOND: u16 = 37;

/// `OFPR_INVALID_TTL`.
const REASON_MAX: u8 = 2;
/// Type and length of a property.
const HEADER_LEN: usize = 4;

// `NXAC2PT_*`.
const MAX_LEN: u16 = 0;
const ID: u16 = 1;
const REASON: u16 = 2;
const USERDATA: u16 = 3;
const PAUSE: u16 = 4;
const METER: u16 = 5;
