//! `sample(...)` in flow syntax (ovs-actions(7)), read and written.

use std::fmt::Write;

use super::super::action::Context;
use super::super::token::Tokens;
use super::super::value::number;
use super::super::{Ports, SyntaxError};
use crate::nicira::{Sample, SampleDirection};

/// Reads what stands in the parentheses.
pub(super) fn parse(text: &str, context: &Context<'_>) -> Result<Sample, SyntaxError> {
    let mut sample = Sample {
        probability: 0,
        collector_set: 0,
        domain: 0,
        point: 0,
        port: None,
        direction: SampleDirection::Default,
    };
    for piece in Tokens::new(text) {
        let of_32_bits = || number(piece.argument(), u32::MAX.into()).map(|number| number as u32);
        match piece.key {
            "probability" => sample.probability = number(piece.argument(), 0xffff)? as u16,
            "collector_set_id" => sample.collector_set = of_32_bits()?,
            "obs_domain_id" => sample.domain = of_32_bits()?,
            "obs_point_id" => sample.point = of_32_bits()?,
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

/// Appends the action.
pub(super) fn write(out: &mut String, sample: &Sample, ports: &Ports) {
    // Writing to a String cannot fail, so its results are let go.
    let _ = write!(
        out,
        "sample(probability={},collector_set_id={},obs_domain_id={},obs_point_id={}",
        sample.probability, sample.collector_set, sample.domain, sample.point,
    );
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
