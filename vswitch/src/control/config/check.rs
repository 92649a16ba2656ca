//! What no section can see alone: names, numbers, addresses and CPUs that are there twice.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use super::reader::{ConfigError, Source};
use super::{Config, PortKind};

/// Refuses what is there twice, and more than a switch carries.
pub(super) fn check(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    let bridges = &config.bridges;
    let ports = bridges.iter().map(|bridge| bridge.ports.len() + 1).sum();
    limit(bridges.len(), BRIDGES_MAX, "bridges", source)?;
    limit(ports, PORTS_MAX, "ports, LOCAL ports included,", source)?;
    let unique = Unique { source };
    let cpus = config.workers.cpus.iter().map(|cpu| (cpu, "workers"));
    unique.check("cpus", "CPU", cpus)?;
    names(config, source)?;
    let ids = bridges
        .iter()
        .filter_map(|b| Some((b.datapath_id?, b.name.as_str())));
    unique.check("datapath_id", "datapath_id", ids)?;
    for bridge in bridges {
        let targets = bridge
            .controllers
            .iter()
            .map(|c| (&c.target, bridge.name.as_str()));
        unique.check("controllers", "controller", targets)?;
        let numbers = bridge
            .ports
            .iter()
            .filter_map(|p| Some((p.number?, p.name.as_str())));
        unique.check("number", "port number", numbers)?;
    }
    if config.tls.is_none() {
        no_certificates(config, source)?;
    }
    let listeners = bridges.iter().flat_map(|bridge| {
        bridge
            .listeners
            .iter()
            .map(|listener| (listener, bridge.name.as_str()))
    });
    unique.check("listeners", "listener", listeners)?;
    let ports = bridges.iter().flat_map(|bridge| &bridge.ports);
    let vhost = ports.filter(|p| matches!(p.kind, PortKind::VhostUserClient | PortKind::VhostUser));
    let paths = vhost.filter_map(|p| Some((p.options.get(SOCKET_PATH)?, p.name.as_str())));
    unique.check("options", SOCKET_PATH, paths)
}

/// Refuses what takes certificates where there are none.
fn no_certificates(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    for bridge in &config.bridges {
        let mut targets = bridge.controllers.iter().map(|it| &it.target);
        let controller = targets.find(|target| target.is_secure());
        let listener = bridge.listeners.iter().find(|at| at.is_secure());
        let (key, what) = match (controller, listener) {
            (Some(target), _) => ("controllers", format!("controller {target}")),
            (None, Some(at)) => ("listeners", format!("listener {at}")),
            (None, None) => continue,
        };
        let name = &bridge.name;
        let needs = "needs [tls] with private_key, certificate and ca_cert";
        return Err(source.error_at(key, name, format!("{name}: {what} {needs}")));
    }
    Ok(())
}

/// Ports and bridges share one name space: a bridge's LOCAL port has its name.
fn names(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    let mut seen = HashMap::new();
    for bridge in &config.bridges {
        let as_port = format!("a port of bridge \"{}\"", bridge.name);
        let ports = bridge.ports.iter().map(|port| (&port.name, &*as_port));
        for (name, what) in ports.chain([(&bridge.name, "a bridge")]) {
            let Some(other) = seen.insert(name.clone(), what.to_owned()) else {
                continue;
            };
            let message = format!(
                "name \"{name}\" is there twice, as {other} and as {what}: ports and bridges may \
                 not share a name"
            );
            return Err(source.error_at("name", name, message));
        }
    }
    Ok(())
}

struct Unique<'a> {
    source: &'a Source<'a>,
}

impl Unique<'_> {
    fn check<'a, T: Eq + Hash + Display>(
        &self,
        key: &'static str,
        what: &str,
        values: impl Iterator<Item = (T, &'a str)>,
    ) -> Result<(), ConfigError> {
        let mut seen = HashMap::new();
        for (value, owner) in values {
            let message = match seen.get(&value) {
                None => {
                    seen.insert(value, owner);
                    continue;
                }
                Some(first) if *first == owner => {
                    format!("{owner}: {what} {value} is there twice")
                }
                Some(first) => format!("{owner}: {what} {value} is already that of {first}"),
            };
            return Err(self.source.error_at(key, owner, message));
        }
        Ok(())
    }
}

fn limit(count: usize, max: usize, what: &str, source: &Source<'_>) -> Result<(), ConfigError> {
    if count <= max {
        return Ok(());
    }
    Err(source.error(
        None,
        format!("{count} {what} are too many: allowed are {max}"),
    ))
}

/// The option that names a vhost-user port's socket.
const SOCKET_PATH: &str = "vhost-server-path";
/// Each has a TAP, a socket and an agent; an OpenStack node with a trunk per guest has hundreds.
const BRIDGES_MAX: usize = 1024;
/// A node has hundreds of guests; the vhost library carries 1024 devices.
const PORTS_MAX: usize = 4096;
