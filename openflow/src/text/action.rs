//! Actions: reads `output:1`, `set_field:5->tcp_dst` and the shorthands of earlier versions of
//! OpenFlow; `writer` is the other direction. Called for flows and for the buckets of groups.

use flowtable::{Field, FlowKey, FlowMask, VLAN_PRESENT, eth_type};

use super::matching::port_field;
use super::name::{self, Name};
use super::nicira;
use super::port;
use super::token::Token;
use super::value::{self, number};
use super::{Ports, SyntaxError, option};
use crate::ct::is_of_connection;
use crate::nicira::Controller;
use crate::{Action, GroupId, Nicira, OfPort, QueueId};

mod writer;

pub use writer::write;

/// What is known about the packet at this point of a list: some shorthands depend on it.
pub(super) struct Context<'a> {
    ports: &'a Ports,
    /// A VLAN tag is there.
    tagged: bool,
    ip_proto: Option<u8>,
    /// The actions are those of a `ct`, which may set what is the connection's.
    pub tracks: bool,
    /// Lists of actions that this one is in.
    pub depth: u32,
}

impl<'a> Context<'a> {
    /// For the actions of a flow whose match requires the bits of `mask` to be as in `key`.
    pub fn of(key: &FlowKey, mask: &FlowMask, ports: &'a Ports) -> Context<'a> {
        Context {
            ports,
            tagged: key.vlan_tci & mask.0.vlan_tci & VLAN_PRESENT != 0,
            ip_proto: (mask.0.ip_proto == u8::MAX).then_some(key.ip_proto),
            tracks: false,
            depth: 0,
        }
    }

    /// Enters a list within a list; the depth to go back to. `None` if that is too deep.
    pub fn deeper(&mut self) -> Option<u32> {
        let depth = self.depth;
        self.depth += 1;
        (depth < DEPTH_MAX).then_some(depth)
    }

    /// The names of the switch's ports.
    pub fn ports(&self) -> &'a Ports {
        self.ports
    }

    /// For the actions of a group, which knows nothing of the packets it will get.
    pub fn unknown(ports: &'a Ports) -> Context<'a> {
        Context::of(&FlowKey::default(), &FlowMask::default(), ports)
    }
}

/// Appends what `token` says to `list`. The error for a token that is not an action says so.
pub(super) fn parse(
    token: &Token<'_>,
    context: &mut Context<'_>,
    list: &mut Vec<Action>,
) -> Result<(), SyntaxError> {
    if let Some(action) = nicira::parse(token, context).map_err(|e| e.within(token.text))? {
        list.push(Action::Nicira(action));
        return Ok(());
    }
    let result = match token.key {
        "set_field" => set_field(token, context, list),
        "mod_vlan_vid" | "mod_vlan_pcp" => mod_vlan(token, context, list),
        "enqueue" => enqueue(token, context, list),
        _ => single(token, context).map(|action| list.push(action)),
    };
    result.map_err(|e| match e.token == token.key {
        true => e,
        false => e.within(token.text),
    })?;
    match list.last() {
        Some(Action::PushVlan(_)) => context.tagged = true,
        Some(Action::PopVlan) => context.tagged = false,
        _ => {}
    }
    Ok(())
}

fn single(token: &Token<'_>, context: &Context<'_>) -> Result<Action, SyntaxError> {
    let argument = token.argument();
    let up_to = |max: u128| number(argument, max);
    Ok(match token.key {
        "output" => output(context.ports.parse(argument)?),
        "group" => Action::Group(GroupId(up_to(GroupId::MAX.0.into())? as u32)),
        "set_queue" => Action::SetQueue(QueueId(up_to(u32::MAX.into())? as u32)),
        "push_vlan" => Action::PushVlan(ethertype(argument, &[0x8100, 0x88a8])?),
        "pop_vlan" | "strip_vlan" => bare(token, Action::PopVlan)?,
        "push_mpls" => Action::PushMpls(ethertype(argument, &[0x8847, 0x8848])?),
        "pop_mpls" => Action::PopMpls(up_to(0xffff)? as u16),
        "push_pbb" => Action::PushPbb(ethertype(argument, &[eth_type::PBB])?),
        "pop_pbb" => bare(token, Action::PopPbb)?,
        "set_mpls_ttl" => Action::SetMplsTtl(up_to(0xff)? as u8),
        "dec_mpls_ttl" => bare(token, Action::DecMplsTtl)?,
        "mod_nw_ttl" | "set_nw_ttl" => Action::SetNwTtl(up_to(0xff)? as u8),
        "dec_ttl" | "dec_nw_ttl" => bare(token, Action::DecNwTtl)?,
        "copy_ttl_in" => bare(token, Action::CopyTtlIn)?,
        "copy_ttl_out" => bare(token, Action::CopyTtlOut)?,
        _ => return shorthand(token, context),
    })
}

/// The actions of OpenFlow 1.0 and of Nicira that set one field.
fn shorthand(token: &Token<'_>, context: &Context<'_>) -> Result<Action, SyntaxError> {
    let field = match token.key {
        "set_vlan_vid" => {
            let vid = number(token.argument(), 0xfff)? | u128::from(VLAN_PRESENT);
            return Ok(set(Field::VlanVid, vid));
        }
        "mod_nw_tos" => return type_of_service(token.argument()),
        "set_vlan_pcp" => Field::VlanPcp,
        "mod_dl_src" => Field::EthSrc,
        "mod_dl_dst" => Field::EthDst,
        "mod_nw_src" => Field::Ipv4Src,
        "mod_nw_dst" => Field::Ipv4Dst,
        "mod_nw_ecn" => Field::IpEcn,
        "mod_tp_src" => transport(context, true)?,
        "mod_tp_dst" => transport(context, false)?,
        "set_mpls_label" => Field::MplsLabel,
        "set_mpls_tc" => Field::MplsTc,
        "set_tunnel" | "set_tunnel64" => Field::TunnelId,
        _ => return to_port(token, context),
    };
    let (value, mask) = value::parse(field, token.argument(), context.ports)?;
    if mask != field.ones() {
        let problem = "takes no mask here";
        return Err(SyntaxError::new(
            token.text,
            problem,
            "set_field:value/mask->field",
        ));
    }
    Ok(set(field, value))
}

/// A port alone is an output; the controller's takes arguments.
fn to_port(token: &Token<'_>, context: &Context<'_>) -> Result<Action, SyntaxError> {
    if token.key.eq_ignore_ascii_case("controller") {
        return controller(token.argument());
    }
    let known = token.key.starts_with('"')
        || value::integer(token.key).is_some()
        || port::reserved(token.key).is_some();
    match context.ports.parse(token.key) {
        Ok(port) => bare(token, output(port)),
        Err(error) if known => Err(error),
        Err(_) => Err(name::unknown(
            token.key,
            token.key,
            "action",
            ACTIONS.iter().chain(&nicira::ACTIONS).copied(),
            "output:PORT, a port, drop, set_field:VALUE->FIELD, and what flow-syntax lists",
        )),
    }
}

fn controller(argument: &str) -> Result<Action, SyntaxError> {
    if argument.starts_with(|c: char| c.is_ascii_digit()) {
        let max_len = number(argument, 0xffff)? as u16;
        return Ok(Action::Output {
            port: OfPort::CONTROLLER,
            max_len,
        });
    }
    let controller = nicira::parse_controller(argument)?;
    let max_len = controller.max_len;
    let is_plain = controller
        == Controller {
            max_len,
            ..Controller::default()
        };
    Ok(match is_plain {
        true => Action::Output {
            port: OfPort::CONTROLLER,
            max_len,
        },
        false => Action::Nicira(Nicira::Controller(controller)),
    })
}

fn output(port: OfPort) -> Action {
    let max_len = if port == OfPort::CONTROLLER {
        ALL_BYTES
    } else {
        0
    };
    Action::Output { port, max_len }
}

/// `set_field:value[/mask]->field`.
fn set_field(
    token: &Token<'_>,
    context: &Context<'_>,
    list: &mut Vec<Action>,
) -> Result<(), SyntaxError> {
    let Some((value, word)) = token.argument().rsplit_once("->") else {
        let allowed = "set_field:VALUE->FIELD, without white space";
        return Err(SyntaxError::new(token.text, "no -> in it", allowed));
    };
    if let Some(mapping) = option::named(word, context.ports)? {
        let parts = option::parse(mapping, value).map_err(|e| e.within(token.text))?;
        let is_set = parts.iter().any(|(.., mask)| *mask != 0);
        // Fields of which no bit is set are left out, unless it is all of them.
        let parts = parts
            .into_iter()
            .filter(|(field, _, mask)| *mask != 0 || !is_set && *field == mapping.field());
        for (field, value, mask) in parts {
            settable(field, value, mask, false).map_err(|e| e.within(token.text))?;
            list.push(Action::SetField { field, value, mask });
        }
        return Ok(());
    }
    set_plain(token, (value, word), context).map(|action| list.push(action))
}

fn set_plain(
    token: &Token<'_>,
    (value, word): (&str, &str),
    context: &Context<'_>,
) -> Result<Action, SyntaxError> {
    let Some(name) = Name::find(word) else {
        let words = name::words();
        return Err(name::unknown(token.text, word, "field", words, ""));
    };
    let field = match name {
        Name::Field(field) => field,
        Name::NwTos => return type_of_service(value),
        Name::DlVlan => {
            let vid = number(value, 0xfff)? | u128::from(VLAN_PRESENT);
            return Ok(set(Field::VlanVid, vid));
        }
        Name::VlanTci => {
            let allowed = "set_field on vlan_vid and vlan_pcp";
            return Err(SyntaxError::new(token.text, "two fields at once", allowed));
        }
        Name::NwProto => Field::IpProto,
        Name::NwSrc => Field::Ipv4Src,
        Name::NwDst => Field::Ipv4Dst,
        Name::TpSrc => transport(context, true)?,
        Name::TpDst => transport(context, false)?,
        Name::IcmpType => Field::Icmpv4Type,
        Name::IcmpCode => Field::Icmpv4Code,
    };
    let (value, mask) = value::parse(field, value, context.ports)?;
    settable(field, value, mask, context.tracks).map_err(|e| e.within(token.text))?;
    Ok(match field {
        // OpenFlow 1.3 has no such fields but actions that do it.
        Field::IpTtl => Action::SetNwTtl(value as u8),
        Field::MplsTtl => Action::SetMplsTtl(value as u8),
        _ => Action::SetField { field, value, mask },
    })
}

fn settable(field: Field, value: u128, mask: u128, tracks: bool) -> Result<(), SyntaxError> {
    let refuse = |problem: &str, allowed: &str| Err(SyntaxError::new("", problem, allowed));
    let present = u128::from(VLAN_PRESENT);
    match field {
        Field::InPort | Field::InPhyPort => refuse("a packet cannot change its port", ""),
        _ if field.is_read_only() && !(tracks && is_of_connection(field)) => {
            refuse("the field is read-only", "")
        }
        Field::VlanVid if value & mask & present == 0 && mask & present != 0 => refuse(
            "a VLAN id needs the presence bit 0x1000",
            "4096 to 8191, or mod_vlan_vid:0 to 4095",
        ),
        _ if mask == 0 => refuse("the mask selects nothing", ""),
        _ => Ok(()),
    }
}

/// Sets the VLAN id or priority, pushing a tag first where there is none.
fn mod_vlan(
    token: &Token<'_>,
    context: &mut Context<'_>,
    list: &mut Vec<Action>,
) -> Result<(), SyntaxError> {
    let action = match token.key {
        "mod_vlan_vid" => {
            let vid = number(token.argument(), 0xfff)?;
            set(Field::VlanVid, vid | u128::from(VLAN_PRESENT))
        }
        _ => set(Field::VlanPcp, number(token.argument(), 7)?),
    };
    if !std::mem::replace(&mut context.tagged, true) {
        list.push(Action::PushVlan(CUSTOMER_TAG));
    }
    list.push(action);
    Ok(())
}

/// `enqueue(PORT,QUEUE)` or `enqueue:PORT:QUEUE`: an output by a queue, which is left again.
fn enqueue(
    token: &Token<'_>,
    context: &Context<'_>,
    list: &mut Vec<Action>,
) -> Result<(), SyntaxError> {
    let pieces = token.argument().rsplit_once([',', ':']);
    let Some((port, queue)) = pieces else {
        let allowed = "enqueue(PORT,QUEUE)";
        return Err(SyntaxError::new(
            token.text,
            "port or queue missing",
            allowed,
        ));
    };
    let port = context.ports.parse(port.trim())?;
    let queue = number(queue.trim(), u32::MAX.into())? as u32;
    list.push(Action::SetQueue(QueueId(queue)));
    list.push(output(port));
    list.push(Action::Nicira(Nicira::PopQueue));
    Ok(())
}

fn set(field: Field, value: u128) -> Action {
    Action::SetField {
        field,
        value,
        mask: field.ones(),
    }
}

/// The type of service byte; its ECN bits are not for this action.
fn type_of_service(text: &str) -> Result<Action, SyntaxError> {
    let tos = number(text, 255)?;
    if tos & 3 != 0 {
        let allowed = "multiples of 4 up to 252";
        return Err(SyntaxError::new(
            text,
            "the lower two bits are ECN",
            allowed,
        ));
    }
    Ok(set(Field::IpDscp, tos >> 2))
}

fn transport(context: &Context<'_>, source: bool) -> Result<Field, SyntaxError> {
    port_field(context.ip_proto, source).ok_or_else(|| {
        let problem = "a port of what protocol? The match does not say tcp, udp or sctp";
        SyntaxError::new("", problem, "set_field on tcp_dst, udp_dst, sctp_dst ...")
    })
}

fn ethertype(text: &str, known: &[u16]) -> Result<u16, SyntaxError> {
    let value = number(text, 0xffff)? as u16;
    if known.contains(&value) {
        return Ok(value);
    }
    let known: Vec<String> = known.iter().map(|v| format!("{v:#06x}")).collect();
    Err(SyntaxError::new(
        text,
        "not an Ethernet type of such tags",
        known.join(", "),
    ))
}

fn bare(token: &Token<'_>, action: Action) -> Result<Action, SyntaxError> {
    if token.argument().is_empty() {
        return Ok(action);
    }
    Err(SyntaxError::new(token.text, "takes no argument", token.key))
}

/// Lists of actions within each other: each is a call deeper while it is read.
const DEPTH_MAX: u32 = 64;
/// `OFPCML_NO_BUFFER`: the whole packet.
const ALL_BYTES: u16 = 0xffff;
/// TPID of a tag that is pushed unasked.
const CUSTOMER_TAG: u16 = 0x8100;

const ACTIONS: [&str; 38] = [
    "output",
    "controller",
    "drop",
    "group",
    "set_queue",
    "set_field",
    "push_vlan",
    "pop_vlan",
    "strip_vlan",
    "push_mpls",
    "pop_mpls",
    "push_pbb",
    "pop_pbb",
    "set_mpls_ttl",
    "dec_mpls_ttl",
    "mod_nw_ttl",
    "set_nw_ttl",
    "dec_ttl",
    "copy_ttl_in",
    "copy_ttl_out",
    "mod_vlan_vid",
    "mod_vlan_pcp",
    "mod_dl_src",
    "mod_dl_dst",
    "mod_nw_src",
    "mod_nw_dst",
    "mod_nw_tos",
    "mod_nw_ecn",
    "mod_tp_src",
    "mod_tp_dst",
    "set_mpls_label",
    "set_mpls_tc",
    "set_tunnel",
    "enqueue",
    "write_actions",
    "clear_actions",
    "write_metadata",
    "goto_table",
];
