//! `vsctl trace`: what would become of a packet, as the switch's own translator tells it.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Daemon;
use crate::failure::Failure;
use crate::management::reply::{Node, Trace};
use crate::output::Output;

pub fn run(daemon: &Daemon<'_>, params: Value, output: &mut Output<'_>) -> Result<(), Failure> {
    let (value, trace) = daemon.management()?.query::<Trace>("trace", params)?;
    output.answer(&value, |out| print(out, &trace))
}

/// What the daemon is asked.
pub fn params(
    bridge: &str,
    packet: &str,
    in_port: Option<&str>,
    ct_next: &[String],
) -> Result<Value, Failure> {
    let mut params = packet_params(bridge, packet, in_port)?;
    if !ct_next.is_empty() {
        params["ct_next"] = json!(ct_next);
    }
    Ok(params)
}

fn packet_params(bridge: &str, packet: &str, in_port: Option<&str>) -> Result<Value, Failure> {
    if !is_hexadecimal(packet) {
        return match in_port {
            None => Ok(json!({ "bridge": bridge, "flow": packet })),
            Some(port) => {
                let flow = format!("in_port={port},{packet}");
                Ok(json!({ "bridge": bridge, "flow": flow }))
            }
        };
    }
    let Some(in_port) = in_port else {
        let text = "a packet in hexadecimal needs --in-port PORT: the port it comes in by";
        return Err(Failure::Usage(text.into()));
    };
    if !packet.len().is_multiple_of(2) || packet.len() < 2 * ETHERNET_LEN {
        let digits = packet.len();
        return Err(Failure::Usage(format!(
            "a packet of {digits} hexadecimal digits: an even number is needed, and {} at least \
             for the Ethernet header",
            2 * ETHERNET_LEN
        )));
    }
    Ok(json!({ "bridge": bridge, "packet": packet, "in_port": in_port }))
}

/// Flow syntax always has a letter beyond f, or an equals sign.
fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn print(out: &mut dyn Write, trace: &Trace) -> io::Result<()> {
    match trace.point {
        None => writeln!(out, "Packet: {}\n", trace.flow)?,
        Some(point) => writeln!(out, "\nAt point {point:#x}: {}\n", trace.flow)?,
    }
    print_nodes(out, &trace.steps, 0)?;
    writeln!(out, "\nAfterwards: {}", trace.final_flow)?;
    let mask = Some(trace.mask.as_str()).filter(|mask| !mask.is_empty());
    writeln!(out, "Looked at: {}", mask.unwrap_or("nothing but the port"))?;
    match &trace.drop {
        Some(reason) => writeln!(out, "Dropped: {reason}")?,
        None => writeln!(out, "Datapath actions: {}", trace.actions.join(", "))?,
    }
    trace.continued.iter().try_for_each(|part| print(out, part))
}

fn print_nodes(out: &mut dyn Write, nodes: &[Node], depth: usize) -> io::Result<()> {
    for node in nodes {
        for line in node.text.lines() {
            writeln!(out, "{:width$}{line}", "", width = 4 * depth)?;
        }
        print_nodes(out, &node.children, depth + 1)?;
    }
    Ok(())
}

/// An Ethernet header is the least there is to parse.
const ETHERNET_LEN: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_flows_are_told_apart() {
        let packet = "ab".repeat(14);
        let by_packet = params("br0", &packet, Some("vm1"), &[]).unwrap();
        assert_eq!(
            by_packet,
            json!({"bridge": "br0", "packet": packet, "in_port": "vm1"})
        );
        let by_flow = params("br0", "in_port=1,tcp", None, &[]).unwrap();
        assert_eq!(by_flow, json!({"bridge": "br0", "flow": "in_port=1,tcp"}));
        let by_both = params("br0", "tcp", Some("vm1"), &[]).unwrap();
        assert_eq!(by_both, json!({"bridge": "br0", "flow": "in_port=vm1,tcp"}));
        let states = ["trk,est".to_string()];
        let with_state = params("br0", "in_port=1,tcp", None, &states).unwrap();
        assert_eq!(with_state["ct_next"], json!(["trk,est"]));
        assert!(params("br0", &packet, None, &[]).is_err());
        assert!(params("br0", &"ab".repeat(13), Some("1"), &[]).is_err());
        assert!(params("br0", &"a".repeat(29), Some("1"), &[]).is_err());
    }
}
