//! What to do to a switch that runs on one configuration so that it runs on another.

use super::{Bridge, Config, Port, Vlan};

/// One step. Steps are carried out in order; what goes is before what comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
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
    /// Give a port other VLANs.
    SetVlan {
        /// Its bridge.
        bridge: String,
        /// Its name.
        port: String,
        /// Its VLANs.
        vlan: Vlan,
    },
}

/// The steps from `old` to `new`. Workers, memory and run_dir cannot change while running.
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
    for port in &old.ports {
        let Some(now) = new.ports.iter().find(|now| now.name == port.name) else {
            removals.push(remove(port));
            continue;
        };
        let same_vlan = Port {
            vlan: port.vlan.clone(),
            ..now.clone()
        };
        if same_vlan != *port {
            removals.push(remove(port));
            additions.push(add(now));
        } else if now.vlan != port.vlan {
            additions.push(Change::SetVlan {
                bridge: new.name.clone(),
                port: port.name.clone(),
                vlan: now.vlan.clone(),
            });
        }
    }
    let is_new = |port: &&Port| !old.ports.iter().any(|before| before.name == port.name);
    additions.extend(new.ports.iter().filter(is_new).map(add));
}

fn find<'a>(config: &'a Config, name: &str) -> Option<&'a Bridge> {
    config.bridges.iter().find(|bridge| bridge.name == name)
}

fn without_ports(bridge: &Bridge) -> Bridge {
    Bridge {
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
            Change::RemovePort { port, .. } => format!("-port {port}"),
            Change::RemoveBridge(bridge) => format!("-bridge {bridge}"),
            Change::AddBridge(bridge) => format!("+bridge {}", bridge.name),
            Change::SetBridge(bridge) => format!("bridge {}", bridge.name),
            Change::AddPort { port, .. } => format!("+port {}", port.name),
            Change::SetVlan { port, .. } => format!("vlan {port}"),
        };
        changes.iter().map(label).collect()
    }

    #[test]
    fn only_what_differs_changes() {
        let old = config(
            "[[bridge]]\nname='a'\nport=[{name='p',type='null'},{name='q',type='null'},\
             {name='r',type='null'}]\n[[bridge]]\nname='b'\n[[bridge]]\nname='e'\n",
        );
        let new = config(
            "[[bridge]]\nname='a'\nport=[{name='q',type='null',tag=3},\
             {name='r',type='null',number=9},{name='s',type='null'}]\n[[bridge]]\nname='c'\n\
             [[bridge]]\nname='e'\nfail_mode='secure'\n",
        );
        assert_eq!(difference(&old, &old), []);
        assert_eq!(
            labels(&difference(&old, &new)),
            [
                "-port p",
                "-port r",
                "-bridge b",
                "vlan q",
                "+port r",
                "+port s",
                "+bridge c",
                "bridge e"
            ]
        );
    }
}
