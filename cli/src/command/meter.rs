//! `vsctl meter`.

use openflow::text::{Ports, meter};
use openflow::{
    Band, BandStats, Message, MeterConfig, MeterId, MeterModCommand, MeterStats, MultipartReply,
    MultipartRequest,
};
use serde_json::{Value, json};

use super::Daemon;
use super::changes::{self, Syntax};
use super::listing::{self, Listing};
use crate::arguments::MeterCommand;
use crate::arguments::openflow::Given;
use crate::failure::Failure;
use crate::output::Output;

pub fn run(
    daemon: &Daemon<'_>,
    command: &MeterCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        MeterCommand::Add(given) => change(daemon, given, MeterModCommand::Add, output),
        MeterCommand::Mod(given) => change(daemon, given, MeterModCommand::Modify, output),
        MeterCommand::Del(given) => change(daemon, given, MeterModCommand::Delete, output),
        MeterCommand::Dump {
            bridge,
            stats: false,
        } => dump(daemon, bridge, output),
        MeterCommand::Dump {
            bridge,
            stats: true,
        } => dump_stats(daemon, bridge, output),
    }
}

fn change(
    daemon: &Daemon<'_>,
    given: &Given,
    command: MeterModCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let word = |text: &str, _: &Ports| meter::parse(text, command).map(Message::MeterMod);
    let line = |text: &str, _: &Ports| {
        let meter = meter::parse_line(text, command)?;
        Ok(meter.map(Message::MeterMod))
    };
    let empty_is_all = command == MeterModCommand::Delete;
    let syntax = Syntax {
        noun: "meter",
        word: &word,
        line: &line,
        empty_is_all,
    };
    changes::run(daemon, given, &syntax, output)
}

fn dump(daemon: &Daemon<'_>, bridge: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let listing = Listing {
        bridge,
        noun: "meters",
        request: MultipartRequest::MeterConfig(MeterId::ALL),
        entries: |reply| match reply {
            MultipartReply::MeterConfig(list) => Some(list),
            _ => None,
        },
        document: &document,
        line: &meter::write_configuration,
    };
    listing::show(daemon.session(bridge)?, listing, output)
}

fn dump_stats(daemon: &Daemon<'_>, bridge: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let listing = Listing {
        bridge,
        noun: "meters",
        request: MultipartRequest::Meter(MeterId::ALL),
        entries: |reply| match reply {
            MultipartReply::Meter(list) => Some(list),
            _ => None,
        },
        document: &stats_document,
        line: &meter::write_stats,
    };
    listing::show(daemon.session(bridge)?, listing, output)
}

fn document(meter: &MeterConfig) -> Value {
    let burst_size = |burst| meter.flags.burst.then_some(burst);
    let band = |band: &Band| match *band {
        Band::Drop { rate, burst } => {
            json!({"type": "drop", "rate": rate, "burst_size": burst_size(burst)})
        }
        Band::DscpRemark {
            rate,
            burst,
            precedence,
        } => json!({
            "type": "dscp_remark",
            "rate": rate,
            "burst_size": burst_size(burst),
            "prec_level": precedence,
        }),
    };
    json!({
        "meter": name(meter.meter),
        "unit": if meter.flags.packets { "pktps" } else { "kbps" },
        "stats": meter.flags.stats,
        "bands": meter.bands.iter().map(band).collect::<Vec<_>>(),
    })
}

fn stats_document(meter: &MeterStats) -> Value {
    let band = |band: &BandStats| json!({"packets": band.packets, "bytes": band.bytes});
    json!({
        "meter": name(meter.meter),
        "duration_s": meter.duration.as_secs_f64(),
        "flows": meter.flows,
        "packets": meter.packets,
        "bytes": meter.bytes,
        "bands": meter.bands.iter().map(band).collect::<Vec<_>>(),
    })
}

/// A number, or the name of a reserved meter.
fn name(meter: MeterId) -> Value {
    let mut text = String::new();
    meter::write_id(&mut text, meter);
    match meter {
        MeterId::CONTROLLER | MeterId::SLOWPATH => json!(text),
        _ => json!(meter.0),
    }
}
