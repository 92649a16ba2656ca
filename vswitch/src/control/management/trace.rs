//! `trace`: what would become of a packet, told by the translator that real packets meet.

use flowtable::{Field, FlowKey, FlowMask, Layout, Match, eth_type, parse};
use openflow::OfPort;
use openflow::text::{self, Ports};
use serde_json::{Value, json};

use super::super::actor::Actor;
use super::params::{self, Params};
use super::{CallError, Service};
use crate::action::text::op as operation;
use crate::action::{BridgeId, DropReason, Op, PortNo};
use crate::pipeline::{Followed, Ingress, Traced, Tree, trace};

impl Service {
    pub(super) async fn trace(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Trace = params.read()?;
        self.handle.with(move |actor| actor.trace(params)).await?
    }
}

impl Actor {
    fn trace(&self, params: params::Trace) -> Result<Value, CallError> {
        let id = self.find_bridge(&params.bridge)?;
        let names = self.port_names(id);
        let packet = match (params.flow, params.packet) {
            (Some(flow), None) if params.in_port.is_none() => key_of_flow(&flow, &names)?.into(),
            (Some(_), None) => {
                let message = "in_port goes with packet; a flow has its own".to_owned();
                return Err(CallError::bad_params(message));
            }
            (None, Some(packet)) => {
                let mut packet = parse_packet(&packet)?;
                packet.key.in_port = in_port(params.in_port, &names)?.0;
                packet
            }
            _ => {
                let message = "give either flow or packet".to_owned();
                return Err(CallError::bad_params(message));
            }
        };
        let state = self.switch.state();
        let of_port = OfPort(packet.key.in_port);
        let port = state.bridge(id).and_then(|bridge| bridge.port(of_port));
        let Some(port) = port else {
            let message = format!(
                "in_port = {of_port}: bridge \"{}\" has no such port",
                params.bridge
            );
            return Err(CallError::bad_params(message));
        };
        let states = params.ct_next.iter().map(|text| connection_state(text));
        let states: Vec<u32> = states.collect::<Result<_, _>>()?;
        let ingress = match port.tunnel {
            Some(_) => Ingress::Tunnel(port.number),
            None => Ingress::Port(port.number),
        };
        let traced = trace(state, ingress, packet, &states);
        let mut parts = traced.iter().map(|part| self.traced_json(part, &names));
        let mut answer = parts.next().unwrap_or_default();
        answer["continued"] = parts.collect();
        Ok(answer)
    }

    fn traced_json(&self, traced: &Traced, names: &Ports) -> Value {
        let key = &traced.key;
        let program = &traced.program;
        let name_of = |number: PortNo| match self.ports.get(&number) {
            Some(port) => port.settings.name.clone(),
            None => format!("#{}", number.0),
        };
        let ops = program.ops.iter().filter(|op| !matches!(op, Op::Count(_)));
        let actions: Vec<_> = ops.map(|op| operation(op, &name_of)).collect();
        let mut looked_at = *key;
        looked_at.metadata = 0;
        json!({
            "point": traced.point,
            "flow": key_text(key, names),
            "steps": traced.steps.iter().map(tree_json).collect::<Vec<_>>(),
            "final_flow": key_text(&traced.final_key, names),
            "mask": text::flow::format_match(&Match::new(&looked_at, &traced.mask), names),
            "actions": actions,
            "drop": program.drop.map(DropReason::label),
        })
    }

    /// The names of a bridge's ports, for the flow syntax.
    fn port_names(&self, bridge: BridgeId) -> Ports {
        let mut names = Ports::default();
        names.set_tlvs(self.switch.tlvs(bridge));
        for port in self.ports.values().filter(|port| port.bridge == bridge) {
            names.insert(&port.settings.name, port.of_port);
        }
        names
    }
}

fn key_of_flow(flow: &str, names: &Ports) -> Result<FlowKey, CallError> {
    let matching = text::flow::parse_match(flow, names);
    let wrong = |error| CallError::bad_params(format!("flow = \"{flow}\": {error}"));
    let matching = matching.map_err(wrong)?;
    let (_, mask) = matching.read(Field::InPort);
    if mask == 0 {
        let message =
            format!("flow = \"{flow}\": no in_port, the port that the packet comes in by");
        return Err(CallError::bad_params(message));
    }
    Ok(matching.key())
}

fn parse_packet(packet: &str) -> Result<Followed, CallError> {
    let digits: Vec<u8> = packet
        .bytes()
        .filter(|byte| !b" :\n".contains(byte))
        .collect();
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    let frame: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    let frame = frame.filter(|frame| (HEADER_BYTES..=FRAME_BYTES_MAX).contains(&frame.len()));
    let frame = frame.ok_or_else(|| {
        let allowed = format!("{HEADER_BYTES} to {FRAME_BYTES_MAX} bytes in hexadecimal");
        CallError::bad_params(format!("packet: allowed are {allowed}"))
    })?;
    let mut key = FlowKey::default();
    let layout = parse(&frame, &mut key);
    Ok(Followed {
        key,
        beneath: beneath(frame, (&key, layout)),
    })
}

/// What a packet looks like without its outermost MPLS entry, without two, and so on; the outermost
/// last.
fn beneath(mut frame: Vec<u8>, (key, layout): (&FlowKey, Layout)) -> Vec<FlowKey> {
    let (mut key, mut layout) = (*key, layout);
    let mut beneath = Vec::new();
    // Every entry has 4 bytes, so the frame bounds the walk.
    while matches!(key.eth_type, eth_type::MPLS | eth_type::MPLS_MULTICAST) && key.mpls != 0 {
        let at = usize::from(layout.l2_5);
        let kind = match (
            Field::MplsBos.read(&key),
            frame.get(at + 4).map(|byte| byte >> 4),
        ) {
            (0, _) => key.eth_type,
            (_, Some(4)) => eth_type::IPV4,
            (_, Some(6)) => eth_type::IPV6,
            _ => 0,
        };
        frame.drain(at..at + 4);
        frame[at - 2..at].copy_from_slice(&kind.to_be_bytes());
        key = FlowKey::default();
        layout = parse(&frame, &mut key);
        beneath.push(key);
    }
    beneath.reverse();
    beneath
}

fn in_port(port: Option<Value>, names: &Ports) -> Result<OfPort, CallError> {
    let text = match &port {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => {
            let message = "in_port: give the name or number of the packet's port".to_owned();
            return Err(CallError::bad_params(message));
        }
    };
    let parsed = names.parse(&text);
    parsed.map_err(|error| CallError::bad_params(format!("in_port = {text}: {error}")))
}

/// Bits of `ct_state` from names with commas or bars between them: `trk,est`.
fn connection_state(text: &str) -> Result<u32, CallError> {
    let flow = format!("ct_state={}", text.replace([',', ' '], "|"));
    let matching = text::flow::parse_match(&flow, &Ports::default());
    let wrong = |error| CallError::bad_params(format!("ct_next = \"{text}\": {error}"));
    Ok(matching.map_err(wrong)?.read(Field::CtState).0 as u32)
}

/// Every field that is not zero, in flow syntax.
fn key_text(key: &FlowKey, names: &Ports) -> String {
    let plain_port = |field: Field| field == Field::InPhyPort && key.in_phy_port == key.in_port;
    let mut mask = FlowMask::default();
    for &field in Field::ALL {
        if field.read(key) != 0 && !plain_port(field) {
            mask.unite(&field.mask());
        }
    }
    text::flow::format_match(&Match::new(key, &mask), names)
}

fn tree_json(tree: &Tree) -> Value {
    json!({
        "text": tree.text,
        "children": tree.children.iter().map(tree_json).collect::<Vec<_>>(),
    })
}

/// An Ethernet header.
const HEADER_BYTES: usize = 14;
/// The longest frame that the datapath carries.
const FRAME_BYTES_MAX: usize = 65_407;
