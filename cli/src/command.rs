//! What was typed, and what it means: one file for each family of commands.

use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use serde_json::Value;

use crate::arguments::{Arguments, Command, WorkerCommand};
use crate::failure::Failure;
use crate::management::Management;
use crate::output::Output;
use crate::session::Session;

mod bridge;
mod changes;
mod conntrack;
mod controller;
mod flow;
mod group;
mod listing;
mod log;
mod mac;
mod meter;
mod metrics;
mod port;
mod show;
mod stats;
mod table;
mod tlv;
mod trace;
mod version;
mod watch;
mod worker;

/// Runs a command.
pub fn run(arguments: &Arguments, output: &mut Output<'_>) -> Result<(), Failure> {
    let daemon = Daemon {
        run_dir: &arguments.global.run_dir,
        timeout: arguments.global.timeout,
    };
    match &arguments.command {
        Command::Show { bridge } => show::show(&daemon, bridge.as_deref(), output),
        Command::Bridge(command) => bridge::run(&daemon, command, output),
        Command::Port(command) => port::run(&daemon, command, output),
        Command::Flow(command) => flow::run(&daemon, command, output),
        Command::Group(command) => group::run(&daemon, command, output),
        Command::Meter(command) => meter::run(&daemon, command, output),
        Command::Controller(command) => controller::run(&daemon, command, output),
        Command::Ct(command) => conntrack::run(&daemon, command, output),
        Command::Mac(command) => mac::run(&daemon, command, output),
        Command::Stats {
            bridge,
            queues,
            watch,
        } => stats::run(&daemon, bridge.as_deref(), *queues, *watch, output),
        Command::Table(command) => table::run(&daemon, command, output),
        Command::Tlv(command) => tlv::run(&daemon, command, output),
        Command::Metrics => metrics::run(&daemon, output),
        Command::Worker(WorkerCommand::Show { watch }) => worker::show(&daemon, *watch, output),
        Command::Trace {
            bridge,
            packet,
            in_port,
            ct_next,
        } => {
            let params = trace::params(bridge, packet, in_port.as_deref(), ct_next)?;
            trace::run(&daemon, params, output)
        }
        Command::Log(command) => log::run(&daemon, command, output),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Arguments::command(), "vsctl", output.out);
            Ok(())
        }
        Command::Version => version::run(&daemon, output),
    }
}

/// How to reach the daemon.
struct Daemon<'a> {
    run_dir: &'a Path,
    timeout: Duration,
}

impl Daemon<'_> {
    fn management(&self) -> Result<Management, Failure> {
        Management::connect(self.run_dir, self.timeout)
    }

    fn session(&self, bridge: &str) -> Result<Session, Failure> {
        Session::open(self.run_dir, bridge, self.timeout)
    }

    /// Calls a method whose success needs no words.
    fn change(&self, method: &str, params: Value, output: &mut Output<'_>) -> Result<(), Failure> {
        let result = self.management()?.call(method, params)?;
        output.answer(&result, |_| Ok(()))
    }

    /// The same, where one kind of refusal is as good as success.
    fn change_unless(
        &self,
        method: &str,
        params: Value,
        excused: Option<&str>,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        match self.management()?.call_unless(method, params, excused)? {
            Some(result) => output.answer(&result, |_| Ok(())),
            None => output.answer(&serde_json::json!({}), |_| Ok(())),
        }
    }
}

/// Parameters that choose one bridge, or none for all.
fn of_bridge(bridge: Option<&str>) -> Value {
    match bridge {
        Some(bridge) => serde_json::json!({ "bridge": bridge }),
        None => Value::Null,
    }
}
