//! `sample(...)` in flow syntax (ovs-actions(7)), read and written.

use std::fmt::Write;

use super::super::action::Context;
use super::super::token::Tokens;
use super::super::value::number;
use super::super::{Ports, SyntaxError};
use super::{Shown, subfield};
use crate::nicira::{ObservationId, Sample, SampleDirection};

/// Reads what stands in the parentheses.
pub(super) fn parse(text: &str, context: &Context<'_>) -> Result<Sample, SyntaxError> {
    let mut sample = Sample {
        probability: 0,
        collector_set: 0,
        domain: ObservationId::Number(0),
        point: ObservationId::Number(0),
        port: None,
        direction: SampleDirection::Default,
    };
    for piece in Tokens::new(text) {
        let id = || observation_id(piece.argument(), context.ports());
        match piece.key {
            "probability" => sample.probability = number(piece.argument(), 0xffff)? as u16,
            "collector_set_id" => {
                sample.collector_set = number(piece.argument(), u32::MAX.into())? as u32;
            }
            "obs_domain_id" => sample.domain = id()?,
            "obs_point_id" => sample.point = id()?,
            "sampling_port" => sample.port = Some(context.ports().parse(piece.argument())?),
            "ingress" => sample.direction = SampleDirection::Ingress,
            "egress" => sample.direction = SampleDirection::Egress,
            _ => {
                let allowed = "probability, collector_set_id, obs_domain_id, obs_point_id, \
                               sampling_port, ingress, egress";
                return Err(SyntaxError::new(piece.text, "not known here", allowed));
            }
        }
    }
    match sample.probability {
        0 => Err(SyntaxError::new(
            text,
            "of no packet",
            "probability=1 to 65535",
        )),
        _ => Ok(sample),
    }
}

/// Reads a number, or bits of a field that are one.
fn observation_id(text: &str, ports: &Ports) -> Result<ObservationId, SyntaxError> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    if is_number {
        let number = number(text, u32::MAX.into())?;
        return Ok(ObservationId::Number(number as u32));
    }
    let source = subfield(text, ports)?;
    match source.width <= ObservationId::WIDTH_MAX {
        true => Ok(ObservationId::Field(source)),
        false => Err(SyntaxError::new(
            text,
            "more than 32 bits",
            "a number, FIELD[FIRST..LAST]",
        )),
    }
}

/// Appends the action.
pub(super) fn write(out: &mut String, sample: &Sample, ports: &Ports) {
    // Writing to a String cannot fail, so its results are let go.
    let _ = write!(
        out,
        "sample(probability={},collector_set_id={}",
        sample.probability, sample.collector_set,
    );
    for (name, id) in [("domain", sample.domain), ("point", sample.point)] {
        let _ = match id {
            ObservationId::Number(number) => write!(out, ",obs_{name}_id={number}"),
            ObservationId::Field(source) => {
                write!(out, ",obs_{name}_id={}", Shown(source, ports))
            }
        };
    }
    if let Some(port) = sample.port {
        out.push_str(",sampling_port=");
        ports.write(out, port);
    }
    out.push_str(match sample.direction {
        SampleDirection::Default => ")",
        SampleDirection::Ingress => ",ingress)",
        SampleDirection::Egress => ",egress)",
    });
}
