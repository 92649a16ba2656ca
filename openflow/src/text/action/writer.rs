//! Writes actions as `ovs-ofctl` prints them.

use std::fmt::Write;

use flowtable::{Field, TlvMapping};

use crate::text::{Ports, nicira, option, port, value};
use crate::{Action, OfPort};

/// Appends actions, separated by commas; `drop` if there are none.
pub fn write(out: &mut String, actions: &[Action], ports: &Ports) {
    if actions.is_empty() {
        out.push_str("drop");
    }
    let mut rest = actions;
    while let [action, others @ ..] = rest {
        let option = Action::sets_option(rest, ports.tlvs());
        rest = match &option {
            Some((mapping, parts)) => {
                set_option(out, mapping, parts, ports);
                &rest[parts.len()..]
            }
            None => {
                one(out, action, ports);
                others
            }
        };
        if !rest.is_empty() {
            out.push(',');
        }
    }
}

fn set_option(out: &mut String, mapping: &TlvMapping, parts: &[option::Part], ports: &Ports) {
    out.push_str("set_field:");
    option::write(out, mapping, parts);
    out.push_str("->");
    out.push_str(&option::name(mapping.field(), ports));
}

fn one(out: &mut String, action: &Action, ports: &Ports) {
    let text = match action {
        Action::Output { port, max_len } => return output(out, *port, *max_len, ports),
        Action::SetField { field, value, mask } => {
            return set_field(out, *field, *value, *mask, ports);
        }
        Action::Group(group) => format!("group:{group}"),
        Action::SetQueue(queue) => format!("set_queue:{queue}"),
        Action::PushVlan(tpid) => format!("push_vlan:{tpid:#06x}"),
        Action::PopVlan => "pop_vlan".into(),
        Action::PushMpls(ethertype) => format!("push_mpls:{ethertype:#06x}"),
        Action::PopMpls(ethertype) => format!("pop_mpls:{ethertype:#06x}"),
        Action::PushPbb(ethertype) => format!("push_pbb:{ethertype:#06x}"),
        Action::PopPbb => "pop_pbb".into(),
        Action::SetMplsTtl(ttl) => format!("set_mpls_ttl({ttl})"),
        Action::DecMplsTtl => "dec_mpls_ttl".into(),
        Action::SetNwTtl(ttl) => format!("mod_nw_ttl:{ttl}"),
        Action::DecNwTtl => "dec_ttl".into(),
        Action::CopyTtlIn => "copy_ttl_in".into(),
        Action::CopyTtlOut => "copy_ttl_out".into(),
        Action::Nicira(action) => return nicira::write(out, action, ports),
    };
    out.push_str(&text);
}

fn output(out: &mut String, port: OfPort, max_len: u16, ports: &Ports) {
    if port == OfPort::CONTROLLER {
        // Writing to a String cannot fail.
        let _ = write!(out, "CONTROLLER:{max_len}");
        return;
    }
    if port::reserved_name(port).is_none() {
        out.push_str("output:");
    }
    ports.write(out, port);
}

fn set_field(out: &mut String, field: Field, value: u128, mask: u128, ports: &Ports) {
    out.push_str("set_field:");
    match value::Style::of(field) {
        value::Style::Port
        | value::Style::Fragment
        | value::Style::TcpFlags
        | value::Style::TunnelFlags => {
            value::write(out, field, value, ports);
        }
        _ => value::write_masked(out, field, value, mask),
    }
    out.push_str("->");
    out.push_str(match field {
        Field::Ipv4Src => "ip_src",
        Field::Ipv4Dst => "ip_dst",
        _ => field.name(),
    });
}
