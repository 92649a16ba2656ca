//! Operations as text, for traces and tests: one line each, ports by a name that the caller
//! knows.

use std::fmt::Write;

use flowtable::{Field, FlowKey, FlowMask, Match};
use openflow::text::Ports;
use openflow::text::flow::{format_match, write_modification};

use super::{
    Bucket, Encapsulation, Op, PortNo, Program, Punt, PuntReason, Select, Track, Wish, WishKind,
};

/// A program's operations in one line, and `drop(REASON)` where it sends nothing.
pub fn describe(program: &Program, name: &dyn Fn(PortNo) -> String) -> String {
    let mut text = list(&program.ops, name);
    if let Some(reason) = program.drop {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}drop({})", reason.label());
    }
    text
}

/// One operation.
pub fn op(op: &Op, name: &dyn Fn(PortNo) -> String) -> String {
    match op {
        Op::Output(port) => format!("output:{}", name(*port)),
        Op::Outputs(ports) => {
            let names = ports.iter().map(|port| format!("output:{}", name(*port)));
            names.collect::<Vec<_>>().join(",")
        }
        Op::Answer(port) => format!("answer:{}", name(*port)),
        Op::Deliver(port) => format!("deliver:{}", name(*port)),
        Op::Controller(punt) => controller(punt),
        Op::SetField { field, value, mask } if *mask == field.ones() => {
            format!("set({}={value:#x})", field.name())
        }
        Op::SetField { field, value, mask } => {
            format!("set({}={value:#x}/{mask:#x})", field.name())
        }
        Op::PushVlan(tpid) => format!("push_vlan({tpid:#06x})"),
        Op::PopVlan => "pop_vlan".into(),
        Op::PushMpls(kind) => format!("push_mpls({kind:#06x})"),
        Op::PopMpls(kind) => format!("pop_mpls({kind:#06x})"),
        Op::PushPbb(kind) => format!("push_pbb({kind:#06x})"),
        Op::PopPbb => "pop_pbb".into(),
        Op::Encapsulate(it) => encapsulated(it),
        Op::DecNwTtl(_) => "dec_ttl".into(),
        Op::DecMplsTtl(_) => "dec_mpls_ttl".into(),
        Op::CopyTtlIn => "copy_ttl_in".into(),
        Op::CopyTtlOut => "copy_ttl_out".into(),
        Op::Meter(meter) => format!("meter({})", meter.id),
        Op::Clone(ops) => format!("clone({})", list(ops, name)),
        Op::Select(buckets) => select(buckets, name),
        Op::Count(_) => "count".into(),
        Op::Learn(learn) => format!("learn({:012x},vlan={})", learn.mac, learn.vlan),
        Op::Wish(wish) => describe_wish(wish),
        Op::Longer(longer) => format!(
            "longer({},({}),({}))",
            longer.len,
            list(&longer.longer, name),
            list(&longer.other, name)
        ),
        Op::Sample(it) => format!(
            "sample({}/65535,set={},domain={},point={})",
            it.probability, it.collector_set, it.domain, it.point
        ),
        Op::Truncate(len) => format!("truncate({len})"),
        Op::Track(track) => tracked(track),
        Op::Resolve(it) => format!("resolve:{}({})", name(it.port), it.address),
        Op::Recirculate(point) => format!("recirculate({point:#x})"),
    }
}

/// How many bytes a packet is wrapped in, and what they say that the packet does not decide.
fn encapsulated(it: &Encapsulation) -> String {
    let outer = it.outer(&FlowKey::default());
    let mut mask = FlowMask::default();
    for field in OUTER {
        if field.read(&outer) != 0 {
            mask.unite(&field.mask());
        }
    }
    let headers = format_match(&Match::new(&outer, &mask), &Ports::default());
    format!("encapsulate({} bytes: {headers})", it.header.len())
}

/// Fields of the headers that a tunnel has; Ethernet addresses are those of the next hop.
const OUTER: [Field; 7] = [
    Field::EthType,
    Field::IpProto,
    Field::Ipv4Src,
    Field::Ipv4Dst,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::UdpDst,
];

fn tracked(track: &Track) -> String {
    let request = &track.request;
    let mut text = format!("track(zone={}", request.zone);
    for (is_said, said) in [
        (request.commits, ",commit"),
        (request.forces, ",force"),
        (request.nat.is_some(), ",nat"),
        (track.forgets, ",forget"),
    ] {
        if is_said {
            text.push_str(said);
        }
    }
    // Writing to a String cannot fail.
    let _ = request
        .mark
        .map(|(value, mask)| write!(text, ",mark={value:#x}/{mask:#x}"));
    let _ = track
        .point
        .map(|point| write!(text, ",recirculate={point:#x}"));
    text + ")"
}

fn list(ops: &[Op], name: &dyn Fn(PortNo) -> String) -> String {
    let texts: Vec<_> = ops.iter().map(|one| op(one, name)).collect();
    texts.join(",")
}

fn describe_wish(wish: &Wish) -> String {
    match &wish.kind {
        WishKind::Flow { flow, .. } => {
            let mut text = String::new();
            write_modification(&mut text, flow, &Ports::default());
            format!("learn({text})")
        }
        WishKind::Shorter {
            idle_timeout_s,
            hard_timeout_s,
            ..
        } => format!("shorten(idle={idle_timeout_s},hard={hard_timeout_s})"),
    }
}

fn controller(punt: &Punt) -> String {
    let reason = match punt.reason {
        PuntReason::NoMatch => "no_match",
        PuntReason::Action => "action",
        PuntReason::InvalidTtl => "invalid_ttl",
    };
    format!(
        "controller({reason},table={},max_len={})",
        punt.table, punt.max_len
    )
}

fn select(select: &Select, name: &dyn Fn(PortNo) -> String) -> String {
    let mut below = 0;
    let buckets = select.buckets.iter().map(|Bucket { upto, ops }| {
        let weight = upto - std::mem::replace(&mut below, *upto);
        match ops {
            Some(ops) => format!("{weight}:({})", list(ops, name)),
            None => format!("{weight}:down"),
        }
    });
    format!("select({})", buckets.collect::<Vec<_>>().join(","))
}
