//! `controller(...)` in flow syntax (ovs-actions(7)), read and written.

use super::super::SyntaxError;
use super::super::token::Tokens;
use super::super::value::number;
use crate::MeterId;
use crate::nicira::Controller;

/// Reads what stands in the parentheses.
pub(in crate::text) fn parse(argument: &str) -> Result<Controller, SyntaxError> {
    let mut controller = Controller::default();
    for piece in Tokens::new(argument) {
        let text = piece.argument();
        match piece.key {
            "max_len" => controller.max_len = number(text, 0xffff)? as u16,
            "id" => controller.id = number(text, 0xffff)? as u16,
            "reason" => controller.reason = parse_reason(text)?,
            "userdata" => {
                let is_wrong = || SyntaxError::new(text, "not bytes in hexadecimal", "01.02.ff");
                controller.userdata = super::hexadecimal(text).ok_or_else(is_wrong)?.into();
            }
            "pause" => controller.pause = true,
            "meter_id" => {
                let meter = MeterId(number(text, u32::MAX.into())? as u32);
                controller.meter = (meter != MeterId(0)).then_some(meter);
            }
            _ => {
                let allowed = "max_len, id, reason, userdata, pause, meter_id";
                return Err(SyntaxError::new(piece.text, "not known here", allowed));
            }
        }
    }
    Ok(controller)
}

fn parse_reason(text: &str) -> Result<u8, SyntaxError> {
    let known = REASONS.iter().position(|reason| *reason == text);
    match known {
        Some(reason) => Ok(reason as u8),
        None => Err(SyntaxError::new(text, "unknown reason", REASONS.join(", "))),
    }
}

/// Appends the action.
pub(super) fn write(out: &mut String, controller: &Controller) {
    let plain = Controller::default();
    let Controller {
        max_len,
        id,
        reason,
        ..
    } = *controller;
    if reason == plain.reason && id == plain.id && !controller.is_second() {
        return out.push_str(&format!("CONTROLLER:{max_len}"));
    }
    let reason_text = REASONS.get(usize::from(reason)).copied().unwrap_or("");
    let bytes = controller.userdata.iter().map(|byte| format!("{byte:02x}"));
    let bytes: Vec<String> = bytes.collect();
    let pieces = [
        (reason != plain.reason).then(|| format!("reason={reason_text}")),
        (max_len != plain.max_len).then(|| format!("max_len={max_len}")),
        (id != plain.id).then(|| format!("id={id}")),
        (!bytes.is_empty()).then(|| format!("userdata={}", bytes.join("."))),
        controller.pause.then(|| "pause".into()),
        controller.meter.map(|meter| format!("meter_id={meter}")),
    ];
    let pieces: Vec<String> = pieces.into_iter().flatten().collect();
    out.push_str(&format!("controller({})", pieces.join(",")));
}

/// Names of `ofp_packet_in_reason`.
const REASONS: [&str; 3] = ["no_match", "action", "invalid_ttl"];
