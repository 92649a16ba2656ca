//! `vsctl tlv`.

use openflow::text::tlv::{parse, parse_field, write};
use openflow::{Message, NiciraMessage, TlvMap, TlvTableMod, TlvTableReply};
use serde_json::{Value, json};

use super::Daemon;
use crate::arguments::TlvCommand;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Changes;

pub fn run(
    daemon: &Daemon<'_>,
    command: &TlvCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let usage = |error: openflow::text::SyntaxError| Failure::Usage(error.to_string());
    let (bridge, change) = match command {
        TlvCommand::Show { bridge } => return show(daemon, bridge, output),
        TlvCommand::Add { bridge, maps } => {
            let maps: Result<Vec<_>, _> = maps.iter().map(|text| parse(text)).collect();
            (bridge, TlvTableMod::Add(maps.map_err(usage)?))
        }
        TlvCommand::Del { bridge, fields } if fields.is_empty() => (bridge, TlvTableMod::Clear),
        TlvCommand::Del { bridge, fields } => {
            let unmap = |text: &String| {
                let (class, kind, len) = (0, 0, 0);
                parse_field(text).map(|index| TlvMap {
                    class,
                    kind,
                    len,
                    index,
                })
            };
            let maps: Result<Vec<_>, _> = fields.iter().map(unmap).collect();
            (bridge, TlvTableMod::Delete(maps.map_err(usage)?))
        }
    };
    let message = Message::Nicira(NiciraMessage::TlvTableMod(change));
    let mut session = daemon.session(bridge)?;
    let mut changes = Changes::new(&mut session);
    changes.send(&message, String::new())?;
    changes.finish()?;
    output.answer(&json!({ "bridge": bridge }), |_| Ok(()))
}

fn show(daemon: &Daemon<'_>, bridge: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let table = daemon.session(bridge)?.tlv_table()?;
    output.answer(&document(bridge, &table), |out| {
        for map in &table.maps {
            let mut line = String::new();
            write(&mut line, map);
            writeln!(out, "{line}")?;
        }
        Ok(())
    })
}

fn document(bridge: &str, table: &TlvTableReply) -> Value {
    let map = |map: &TlvMap| {
        json!({
            "class": map.class,
            "type": map.kind,
            "len": map.len,
            "field": format!("tun_metadata{}", map.index),
        })
    };
    json!({
        "bridge": bridge,
        "bytes_max": table.space_max,
        "fields_max": table.fields_max,
        "mappings": table.maps.iter().map(map).collect::<Vec<_>>(),
    })
}
