//! `vsctl controller`.

use serde_json::json;

use super::{Daemon, of_bridge, show};
use crate::arguments::ControllerCommand;
use crate::failure::Failure;
use crate::management::reply::Controllers;
use crate::output::Output;
use crate::table::{Side, Table};

pub fn run(
    daemon: &Daemon<'_>,
    command: &ControllerCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        ControllerCommand::Set { bridge, targets } => {
            let params = json!({ "bridge": bridge, "targets": targets });
            daemon.change("controller/set", params, output)
        }
        ControllerCommand::Del {
            bridge,
            target: None,
        } => daemon.change("controller/del", json!({ "bridge": bridge }), output),
        ControllerCommand::Del { bridge, target } => {
            let params = json!({ "bridge": bridge, "target": target });
            daemon.change("controller/del", params, output)
        }
        ControllerCommand::List { bridge } => list(daemon, bridge.as_deref(), output),
    }
}

fn list(daemon: &Daemon<'_>, bridge: Option<&str>, output: &mut Output<'_>) -> Result<(), Failure> {
    let params = of_bridge(bridge);
    let (value, reply) = daemon
        .management()?
        .query::<Controllers>("controller/list", params)?;
    let header = ["BRIDGE", "CONTROLLER", "STATE"].map(|name| (name, Side::Left));
    let mut table = Table::new(&header);
    for controller in &reply.controllers {
        let (bridge, target) = (controller.bridge.clone(), controller.target.clone());
        table.row([bridge, target, show::state(controller)]);
    }
    output.answer(&value, |out| table.print(out, ""))
}
