//! The forms of `sample` on the wire (nicira-ext, `nx_action_sample`, `nx_action_sample2`).

use super::header;
use crate::nicira::{Sample, SampleDirection};
use crate::wire::{Reader, Writer};
use crate::{ErrorCode, OfPort};

/// Reads what follows the type in the first form.
pub(super) fn decode(body: &mut Reader) -> Result<Sample, ErrorCode> {
    let probability = body.u16()?;
    let (collector_set, domain, point) = (body.u32()?, body.u32()?, body.u32()?);
    if probability == 0 {
        return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT);
    }
    Ok(Sample {
        probability,
        collector_set,
        domain,
        point,
        port: None,
        direction: SampleDirection::Default,
    })
}

/// Reads what follows the type in the second form, and in the third, which has a direction.
pub(super) fn decode_with_port(body: &mut Reader, is_third: bool) -> Result<Sample, ErrorCode> {
    let sample = decode(body)?;
    let port = OfPort::of_16_bits(body.u16()?);
    let direction = match body.u8()? {
        0 => SampleDirection::Default,
        1 if is_third => SampleDirection::Ingress,
        2 if is_third => SampleDirection::Egress,
        _ => return Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
    };
    body.skip(5)?;
    Ok(Sample {
        port: (port != OfPort::ANY).then_some(port),
        direction,
        ..sample
    })
}

/// Writes all but length and padding, in the shortest form that says it.
pub(super) fn encode(sample: &Sample, out: &mut Writer) {
    let form = match (sample.direction, sample.port) {
        (SampleDirection::Default, None) => FIRST,
        (SampleDirection::Default, Some(_)) => SECOND,
        _ => THIRD,
    };
    header(form, out);
    out.u16(sample.probability);
    out.u32(sample.collector_set);
    out.u32(sample.domain);
    out.u32(sample.point);
    if form != FIRST {
        out.u16(sample.port.unwrap_or(OfPort::ANY).0 as u16);
        out.u8(sample.direction as u8);
        out.zeros(5);
    }
}

/// `NXAST_SAMPLE`.
pub(super) const FIRST: u16 = 29;
/// `NXAST_SAMPLE2`.
pub(super) const SECOND: u16 = 38;
/// `NXAST_SAMPLE3`.
pub(super) const THIRD: u16 = 41;
