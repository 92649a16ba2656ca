//! `vsctl version`.

use serde_json::{Value, json};

use super::Daemon;
use crate::failure::Failure;
use crate::management::reply::Version;
use crate::output::Output;

/// The daemon's version too, if it runs; if it does not, that is no failure.
pub fn run(daemon: &Daemon<'_>, output: &mut Output<'_>) -> Result<(), Failure> {
    let ours = env!("CARGO_PKG_VERSION");
    let asked = daemon.management();
    let asked = asked.and_then(|mut daemon| daemon.query::<Version>("version", Value::Null));
    let (value, told) = match asked {
        Ok((value, reply)) => {
            let Version {
                name,
                version,
                dpdk,
                openflow,
            } = reply;
            (
                value,
                format!(
                    "{name} {version} ({dpdk}, OpenFlow {})",
                    openflow.join(", ")
                ),
            )
        }
        Err(Failure::Unreachable(text)) => (Value::Null, format!("vswitchd: {text}")),
        Err(failure) => return Err(failure),
    };
    output.answer(&json!({ "vsctl": ours, "daemon": value }), |out| {
        writeln!(out, "vsctl {ours}\n{told}")
    })
}
