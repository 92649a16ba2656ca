//! The forms of `sample` on the wire (nicira-ext, `nx_action_sample`, `nx_action_sample2`,
//! `nx_action_sample4`).

use super::{decode_field, decode_range, header, range, readable};
use crate::nicira::{ObservationId, Sample, SampleDirection};
use crate::oxm::Oxm;
use crate::wire::{Reader, Writer};
use crate::{ErrorCode, OfPort};

/// Reads what follows the type in the first form.
pub(super) fn decode(body: &mut Reader) -> Result<Sample, ErrorCode> {
    let probability = body.u16()?;
    let collector_set = body.u32()?;
    let (domain, point) = (body.u32()?, body.u32()?);
    let sample = Sample {
        probability,
        collector_set,
        domain: ObservationId::Number(domain),
        point: ObservationId::Number(point),
        port: None,
        direction: SampleDirection::Default,
    };
    sound(sample)
}

/// Reads what follows the type in the second form, and in the third, which has a direction.
pub(super) fn decode_with_port(body: &mut Reader, is_third: bool) -> Result<Sample, ErrorCode> {
    let sample = decode(body)?;
    let (port, direction) = decode_port(body)?;
    if direction != SampleDirection::Default && !is_third {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    Ok(Sample {
        port,
        direction,
        ..sample
    })
}

/// Reads what follows the type in the fourth form, which may take domain and point from fields.
pub(super) fn decode_with_fields(body: &mut Reader) -> Result<Sample, ErrorCode> {
    let (probability, collector_set) = (body.u16()?, body.u32()?);
    let (domain, point) = (decode_id(body)?, decode_id(body)?);
    let (port, direction) = decode_port(body)?;
    let sample = Sample {
        probability,
        collector_set,
        domain,
        point,
        port,
        direction,
    };
    sound(sample)
}

/// Who samples no packet samples nothing.
fn sound(sample: Sample) -> Result<Sample, ErrorCode> {
    match sample.probability {
        0 => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
        _ => Ok(sample),
    }
}

fn decode_port(body: &mut Reader) -> Result<(Option<OfPort>, SampleDirection), ErrorCode> {
    let port = OfPort::of_16_bits(body.u16()?);
    let direction = match body.u8()? {
        0 => SampleDirection::Default,
        1 => SampleDirection::Ingress,
        2 => SampleDirection::Egress,
        _ => return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    };
    body.skip(5)?;
    Ok(((port != OfPort::ANY).then_some(port), direction))
}

/// Reads the header of a field and which of its bits, or zeros and a number.
fn decode_id(body: &mut Reader) -> Result<ObservationId, ErrorCode> {
    let mut source = body.clone();
    if body.u32()? == 0 {
        return Ok(ObservationId::Number(body.u32()?));
    }
    let field = decode_field(&mut source.part(FIELD_LEN, body.short())?)?;
    let range = decode_range(body)?;
    body.skip(2)?;
    let source = readable(field, range, body.tlvs())?;
    match source.width <= ObservationId::WIDTH_MAX {
        true => Ok(ObservationId::Field(source)),
        false => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    }
}

/// Writes all but length and padding, in the shortest form that says it.
pub(super) fn encode(sample: &Sample, out: &mut Writer) {
    let form = match (sample.direction, sample.port) {
        _ if sample.sources().next().is_some() => FOURTH,
        (SampleDirection::Default, None) => FIRST,
        (SampleDirection::Default, Some(_)) => SECOND,
        _ => THIRD,
    };
    header(form, out);
    out.u16(sample.probability);
    out.u32(sample.collector_set);
    encode_id(sample.domain, form, out);
    encode_id(sample.point, form, out);
    if form != FIRST {
        out.u16(sample.port.unwrap_or(OfPort::ANY).0 as u16);
        out.u8(sample.direction as u8);
        out.zeros(5);
    }
}

/// Forms before the fourth have numbers only.
fn encode_id(id: ObservationId, form: u16, out: &mut Writer) {
    match id {
        ObservationId::Number(number) => {
            if form == FOURTH {
                out.u32(0);
            }
            out.u32(number);
        }
        ObservationId::Field(source) => {
            Oxm::nxm(source.field, out.tlvs()).encode_header(false, out);
            out.u16(range(source, out.tlvs()));
            out.zeros(2);
        }
    }
}

/// Bytes of a field's header, without room for an experimenter number.
const FIELD_LEN: usize = 4;
/// `NXAST_SAMPLE`.
pub(super) const FIRST: u16 = 29;
/// `NXAST_SAMPLE2`.
pub(super) const SECOND: u16 = 38;
/// `NXAST_SAMPLE3`.
pub(super) const THIRD: u16 = 41;
/// `NXAST_SAMPLE4`.
pub(super) const FOURTH: u16 = 51;
