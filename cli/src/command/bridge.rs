//! `vsctl bridge`.

use serde_json::{Map, Value, json};

use super::Daemon;
use crate::arguments::BridgeCommand;
use crate::arguments::switch::BridgeSettings;
use crate::failure::Failure;
use crate::output::Output;

pub fn run(
    daemon: &Daemon<'_>,
    command: &BridgeCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        BridgeCommand::Add {
            bridge,
            settings,
            controllers,
            may_exist,
        } => {
            let mut params = params(bridge, settings);
            if !controllers.is_empty() {
                params.insert("controllers".into(), json!(controllers));
            }
            let excused = may_exist.then_some("exists");
            daemon.change_unless("bridge/add", params.into(), excused, output)
        }
        BridgeCommand::Del { bridge, if_exists } => {
            let params = json!({ "name": bridge });
            let excused = if_exists.then_some("no-such-bridge");
            daemon.change_unless("bridge/del", params, excused, output)
        }
        BridgeCommand::Set { bridge, settings } => {
            let params = params(bridge, settings);
            if params.len() == 1 {
                let text = "nothing to change: say --fail-mode, --datapath-id or --listener";
                return Err(Failure::Usage(text.into()));
            }
            daemon.change("bridge/set", params.into(), output)
        }
    }
}

fn params(bridge: &str, settings: &BridgeSettings) -> Map<String, Value> {
    let mut params = Map::new();
    params.insert("name".into(), json!(bridge));
    if let Some(fail_mode) = &settings.fail_mode {
        params.insert("fail_mode".into(), json!(fail_mode));
    }
    if let Some(datapath_id) = &settings.datapath_id {
        params.insert("datapath_id".into(), json!(datapath_id));
    }
    if !settings.listeners.is_empty() {
        let listeners = match settings.listeners.as_slice() {
            [none] if none == "none" => &[],
            listeners => listeners,
        };
        params.insert("listeners".into(), json!(listeners));
    }
    params
}
