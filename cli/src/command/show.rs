//! `vsctl show`: the whole switch on a page.

use std::io::{self, Write};

use super::{Daemon, of_bridge, port};
use crate::failure::Failure;
use crate::management::reply::{Bridge, Controller, Show};
use crate::output::Output;

pub fn show(
    daemon: &Daemon<'_>,
    bridge: Option<&str>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let (value, show) = daemon
        .management()?
        .query::<Show>("show", of_bridge(bridge))?;
    output.answer(&value, |out| print(out, &show))
}

fn print(out: &mut dyn Write, show: &Show) -> io::Result<()> {
    let Show {
        version,
        pid,
        memory_mib,
        ..
    } = show;
    writeln!(
        out,
        "vswitchd {version}, pid {pid}, up {}",
        duration(show.uptime_s)
    )?;
    let config = show.config_file.as_deref().unwrap_or("built-in default");
    writeln!(out, "    configuration  {config}")?;
    writeln!(out, "    run folder     {}", show.run_dir)?;
    let cpus: Vec<String> = show.worker_cpus.iter().map(u32::to_string).collect();
    writeln!(out, "    workers        on CPU {}", cpus.join(", "))?;
    let pages = if show.hugepages {
        "in hugepages"
    } else {
        "without hugepages"
    };
    writeln!(out, "    packet memory  {memory_mib} MiB {pages}")?;
    show.bridges
        .iter()
        .try_for_each(|bridge| print_bridge(out, bridge))
}

fn print_bridge(out: &mut dyn Write, bridge: &Bridge) -> io::Result<()> {
    let Bridge {
        name,
        datapath_id,
        fail_mode,
        ..
    } = bridge;
    writeln!(out, "\nbridge {name}")?;
    writeln!(out, "    datapath id  {datapath_id}")?;
    writeln!(out, "    fail mode    {fail_mode}")?;
    let Bridge {
        flows,
        groups,
        meters,
        macs,
        ..
    } = bridge;
    writeln!(
        out,
        "    tables       flows {flows}, groups {groups}, meters {meters}, addresses {macs}"
    )?;
    for controller in &bridge.controllers {
        writeln!(
            out,
            "    controller   {}: {}",
            controller.target,
            state(controller)
        )?;
    }
    for listener in &bridge.listeners {
        match bridge.listener_errors.get(listener) {
            None => writeln!(out, "    listener     {listener}")?,
            Some(error) => writeln!(out, "    listener     {listener}: does not listen: {error}")?,
        }
    }
    port::table(&bridge.ports, false).print(out, "    ")?;
    port::print_errors(out, &bridge.ports, "    ")
}

/// How it stands with a controller, in words.
pub fn state(controller: &Controller) -> String {
    let Controller { role, error, .. } = controller;
    let since = duration(controller.since_s);
    let state = match (controller.connected, error) {
        (true, _) => format!("connected for {since}, role {role}"),
        (false, Some(error)) => format!("not connected for {since}: {error}"),
        (false, None) => format!("not connected for {since}"),
    };
    let dropped = [
        (controller.packet_ins_dropped, "packet-ins"),
        (controller.notices_dropped, "other notices"),
    ];
    let dropped = dropped.into_iter().filter(|(count, _)| *count > 0);
    dropped.fold(state, |state, (count, what)| {
        format!("{state}, {count} {what} dropped")
    })
}

/// Seconds for people, in the two largest units that are not 0.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_have_two_units() {
        let told = [0, 59, 60, 3_599, 3_600, 86_399, 90_000].map(duration);
        let wanted = [
            "0 s",
            "59 s",
            "1 min 0 s",
            "59 min 59 s",
            "1 h 0 min",
            "23 h 59 min",
            "1 d 1 h",
        ];
        assert_eq!(told, wanted);
    }
}
