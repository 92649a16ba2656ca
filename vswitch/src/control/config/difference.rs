//! What to do to a switch that runs on one configuration so that it runs on another.

use super::{Bridge, CollectorSet, Config, Conntrack, Port};

/// One step. Steps are carried out in order; what goes is before what comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Give connection tracking other limits, timeouts or strictness.
    SetConntrack(Box<Conntrack>),
    /// Tell these collectors of samples.
    SetCollectors(Vec<CollectorSet>),
    /// Remove a port.
    RemovePort {
        /// Its bridge.
        bridge: String,
        /// Its name.
        port: String,
    },
    /// Remove a bridge with all its ports.
    RemoveBridge(String),
    /// Add a bridge with all its ports.
    AddBridge(Box<Bridge>),
    /// Take over a bridge's own keys, controllers and listeners.
    SetBridge(Box<Bridge>),
    /// Add a port.
    AddPort {
        /// Its bridge.
        bridge: String,
        /// The port.
        port: Box<Port>,
    },
    /// Give a port that stays other VLANs, another MTU or administrative state.
    SetPort {
        /// Its bridge.
        bridge: String,
        /// The port as it is to be.
        port: Box<Port>,
    },
}

/// The steps from `old` to `new`. Workers, memory, the number of connections and run_dir cannot
/// change while running.
pub fn difference(old: &Config, new: &Config) -> Vec<Change> {
    let mut removals = Vec::new();
    let mut additions = Vec::new();
    for bridge in &old.bridges {
        match find(new, &bridge.name) {
            None => removals.push(Change::RemoveBridge(bridge.name.clone())),
            Some(now) => ports(bridge, now, &mut removals, &mut additions),
        }
    }
    for bridge in &new.bridges {
        match find(old, &bridge.name) {
            None => additions.push(Change::AddBridge(Box::new(bridge.clone()))),
            Some(before) if without_ports(before) != without_ports(bridge) => {
                additions.push(Change::SetBridge(Box::new(without_ports(bridge))));
            }
            Some(_) => {}
        }
    }
    removals.append(&mut additions);
    if old.conntrack != new.conntrack {
        removals.push(Change::SetConntrack(Box::new(new.conntrack.clone())));
    }
    if old.ipfix != new.ipfix {
        removals.push(Change::SetCollectors(new.ipfix.clone()));
    }
    removals
}

fn ports(old: &Bridge, new: &Bridge, removals: &mut Vec<Change>, additions: &mut Vec<Change>) {
    let add = |port: &Port| Change::AddPort {
        bridge: new.name.clone(),
        port: Box::new(port.clone()),
    };
    let remove = |port: &Port| Change::RemovePort {
        bridge: old.name.clone(),
        port: port.name.clone(),
    };
    for port in old.all_ports() {
        let Some(now) = new.all_ports().find(|now| now.name == port.name) else {
            removals.push(remove(port));
            continue;
        };
        if same_device(port, now) && now != port {
            additions.push(Change::SetPort {
                bridge: new.name.clone(),
                port: Box::new(now.clone()),
            });
        } else if now != port {
            removals.push(remove(port));
            additions.push(add(now));
        }
    }
    let is_new = |port: &&Port| !old.ports.iter().any(|before| before.name == port.name);
    additions.extend(new.ports.iter().filter(is_new).map(add));
}

/// Whether they differ in nothing that takes another device or number.
fn same_device(old: &Port, new: &Port) -> bool {
    let changed = Port {
        vlan: new.vlan.clone(),
        mtu: new.mtu,
        admin_up: new.admin_up,
        ..old.clone()
    };
    changed == *new
}

fn find<'a>(config: &'a Config, name: &str) -> Option<&'a Bridge> {
    config.bridges.iter().find(|bridge| bridge.name == name)
}

fn without_ports(bridge: &Bridge) -> Bridge {
    Bridge {
        local: Port::local(&bridge.name),
        ports: Vec::new(),
        ..bridge.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("test"), None).unwrap()
    }

    fn labels(changes: &[Change]) -> Vec<String> {
        let label = |change: &Change| match change {
            Change::SetConntrack(conntrack) => format!("connections {:?}", conntrack.zone_limit),
            Change::SetCollectors(sets) => format!("{} sets of collectors", sets.len()),
            Change::RemovePort { port, .. } => format!("-port {port}"),
            Change::RemoveBridge(bridge) => format!("-bridge {bridge}"),
            Change::AddBridge(bridge) => format!("+bridge {}", bridge.name),
            Change::SetBridge(bridge) => format!("bridge {}", bridge.name),
            Change::AddPort { port, .. } => format!("+port {}", port.name),
            Change::SetPort { port, .. } => format!("port {}", port.name),
        };
        changes.iter().map(label).collect()
    }

    #[test]
    fn only_what_differs_changes() {
        let old = config(
            "[[bridge]]\nname='a'\nport=[{name='p',type='null'},{name='q',type='null'},\
             {name='r',type='null'},{name='t',type='null',mtu=1400},{name='u',type='null'}]\n\
             [[bridge]]\nname='b'\n[[bridge]]\nname='e'\n",
        );
        let new = config(
            "[[bridge]]\nname='a'\nport=[{name='q',type='null',tag=3},\
             {name='r',type='null',number=9},{name='s',type='null'},{name='t',type='null'},\
             {name='u',type='null',admin_up=false}]\n[[bridge]]\nname='c'\n\
             [[bridge]]\nname='e'\nfail_mode='secure'\nport=[{name='e',type='internal',tag=4}]\n\
             [conntrack]\nzone_limit=4\n[[ipfix]]\nid=1\ntargets=['[::1]:4739']\n",
        );
        assert_eq!(difference(&old, &old), []);
        assert_eq!(
            labels(&difference(&old, &new)),
            [
                "-port p",
                "-port r",
                "-bridge b",
                "port q",
                "+port r",
                "port t",
                "port u",
                "+port s",
                "port e",
                "+bridge c",
                "bridge e",
                "connections Some(4)",
                "1 sets of collectors"
            ]
        );
    }
}
