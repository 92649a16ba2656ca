//! `vsctl mac`: addresses that NORMAL has learned.

use serde_json::json;

use super::{Daemon, port};
use crate::arguments::MacCommand;
use crate::failure::Failure;
use crate::management::reply::{Flushed, Macs};
use crate::output::Output;
use crate::table::{Side, Table};

pub fn run(
    daemon: &Daemon<'_>,
    command: &MacCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        MacCommand::Dump { bridge } => dump(daemon, bridge, output),
        MacCommand::Flush { bridge } => {
            let params = json!({ "bridge": bridge });
            let (value, reply) = daemon.management()?.query::<Flushed>("mac/flush", params)?;
            output.answer(&value, |out| writeln!(out, "{} forgotten", reply.flushed))
        }
    }
}

fn dump(daemon: &Daemon<'_>, bridge: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    let params = json!({ "bridge": bridge });
    let (value, reply) = daemon.management()?.query::<Macs>("mac/dump", params)?;
    let mut table = Table::new(&[
        ("NUMBER", Side::Right),
        ("PORT", Side::Left),
        ("VLAN", Side::Right),
        ("ADDRESS", Side::Left),
        ("AGE", Side::Right),
    ]);
    for mac in reply.entries {
        let number = port::number(Some(mac.number));
        let age = format!("{} s", mac.age_s);
        table.row([number, mac.port, mac.vlan.to_string(), mac.mac, age]);
    }
    output.answer(&value, |out| table.print(out, ""))
}
