//! The method that shows what flow tables are made of.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::actor::Actor;
use super::params::{self, Params};
use super::show::flatten;
use super::{CallError, Service};
use crate::action::BridgeId;
use crate::pipeline::{TableStructure, limits};

impl Service {
    pub(super) async fn table_show(&self, params: Params) -> Result<Value, CallError> {
        let params: params::Of = params.read()?;
        let of = params.bridge.as_deref();
        let tables = |actor: &Actor, id| Value::Array(actor.tables_json(id));
        let entries = |actor: &Actor, id| Value::Array(actor.entries_json(id));
        Ok(json!({
            "tables": flatten(self.each(of, tables).await?),
            "entries": flatten(self.each(of, entries).await?),
            "lookups_max": limits::LOOKUPS_MAX,
        }))
    }
}

impl Actor {
    fn tables_json(&self, id: BridgeId) -> Vec<Value> {
        let Some(bridge) = self.bridges.get(&id) else {
            return Vec::new();
        };
        let tables = self.switch.table_structures(id);
        let show = |table: &TableStructure| table_json(&bridge.settings.name, table);
        tables.iter().map(show).collect()
    }

    /// The worst cases of packets that come in by the ports of a bridge.
    fn entries_json(&self, id: BridgeId) -> Vec<Value> {
        let bridge = self.bridges.get(&id).map(|bridge| &bridge.settings.name);
        let ports = self.ports.values().filter(|port| port.bridge == id);
        let names: BTreeMap<_, _> = ports
            .map(|port| (port.of_port, &port.settings.name))
            .collect();
        let worst = self.switch.work_max(id).into_iter();
        let show = worst.map(|(ports, work)| {
            let ports = ports.iter().filter_map(|port| names.get(port));
            json!({
                "bridge": bridge,
                "ports": ports.collect::<Vec<_>>(),
                "tables": work.tables,
                "probes_max": work.probes,
                "compares_max": work.compares,
            })
        });
        show.collect()
    }
}

fn table_json(bridge: &str, table: &TableStructure) -> Value {
    let hash_tables = table.hash_tables.iter().map(|it| {
        json!({
            "hashed_bits": it.hashed_bits,
            "masks": it.masks,
            "flows": it.rules,
            "stack_max": it.stack_max,
            "memory_bytes": it.memory_bytes,
        })
    });
    json!({
        "bridge": bridge,
        "table": table.table.0,
        "flows": table.flows,
        "masks": table.masks,
        "structure": structure(table),
        "reachable": table.is_reachable,
        "probes_max": table.work.probes,
        "compares_max": table.work.compares,
        "memory_bytes": table.memory_bytes,
        "hash_tables": hash_tables.collect::<Vec<_>>(),
    })
}

/// What a table is made of, in a word.
fn structure(table: &TableStructure) -> &'static str {
    match &table.hash_tables[..] {
        [] => "empty",
        [one] if one.masks == 1 => "hash",
        tables if tables.iter().all(|it| it.masks == 1) => "tuples",
        _ => "merged tuples",
    }
}
