//! `vsctl table show`: what flow tables are made of, and the worst case of a packet.

use std::io::{self, Write};

use super::{Daemon, of_bridge};
use crate::arguments::TableCommand;
use crate::failure::Failure;
use crate::management::reply::{FlowTable, Tables};
use crate::output::Output;
use crate::table::{Side, Table, human};

pub fn run(
    daemon: &Daemon<'_>,
    command: &TableCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let TableCommand::Show {
        bridge,
        hash_tables,
    } = command;
    let params = of_bridge(bridge.as_deref());
    let mut management = daemon.management()?;
    let (value, reply) = management.query::<Tables>("table/show", params)?;
    output.answer(&value, |out| {
        match hash_tables {
            true => hash_tables_of(&reply.tables).print(out, "")?,
            false => tables(&reply.tables).print(out, "")?,
        }
        worst_case(&reply, out)
    })
}

fn tables(tables: &[FlowTable]) -> Table {
    use Side::{Left, Right};
    let mut shown = Table::new(&[
        ("BRIDGE", Left),
        ("TABLE", Right),
        ("FLOWS", Right),
        ("MASKS", Right),
        ("STRUCTURE", Left),
        ("PROBES", Right),
        ("COMPARES", Right),
        ("BYTES", Right),
        ("REACHABLE", Left),
    ]);
    for table in tables {
        shown.row([
            table.bridge.clone(),
            table.table.to_string(),
            table.flows.to_string(),
            table.masks.to_string(),
            table.structure.clone(),
            table.probes_max.to_string(),
            table.compares_max.to_string(),
            human(table.memory_bytes as f64),
            if table.reachable { "yes" } else { "no" }.into(),
        ]);
    }
    shown
}

fn hash_tables_of(tables: &[FlowTable]) -> Table {
    use Side::{Left, Right};
    let mut shown = Table::new(&[
        ("BRIDGE", Left),
        ("TABLE", Right),
        ("HASHED-BITS", Right),
        ("MASKS", Right),
        ("FLOWS", Right),
        ("TALLEST-STACK", Right),
        ("BYTES", Right),
    ]);
    for table in tables {
        for part in &table.hash_tables {
            shown.row([
                table.bridge.clone(),
                table.table.to_string(),
                part.hashed_bits.to_string(),
                part.masks.to_string(),
                part.flows.to_string(),
                part.stack_max.to_string(),
                human(part.memory_bytes as f64),
            ]);
        }
    }
    shown
}

fn worst_case(reply: &Tables, out: &mut dyn Write) -> io::Result<()> {
    for entry in &reply.entries {
        let of_bridge = reply.entries.iter();
        let of_bridge = of_bridge.filter(|other| other.bridge == entry.bridge);
        let ports = match of_bridge.count() {
            1 => format!("any of the {} ports", entry.ports.len()),
            _ => some_of(&entry.ports),
        };
        writeln!(
            out,
            "worst case by {ports} of {}: tables {}, probes {}, compares {}",
            entry.bridge, entry.tables, entry.probes_max, entry.compares_max
        )?;
    }
    Ok(())
}

/// Names, as many as a line has room for.
fn some_of(names: &[String]) -> String {
    match names.get(..NAMES_MAX) {
        Some(first) if first.len() < names.len() => {
            let more = names.len() - NAMES_MAX;
            format!("{} and {more} more", first.join(", "))
        }
        _ => names.join(", "),
    }
}

const NAMES_MAX: usize = 4;
