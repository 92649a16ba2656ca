//! `vsctl port`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use openflow::OfPort;
use serde_json::{Map, Value, json};

use super::{Daemon, of_bridge};
use crate::arguments::PortCommand;
use crate::arguments::switch::PortSettings;
use crate::failure::Failure;
use crate::management::reply::{Port, Ports};
use crate::output::Output;
use crate::table::{Side, Table};

pub fn run(
    daemon: &Daemon<'_>,
    command: &PortCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        PortCommand::Add {
            bridge,
            port,
            kind,
            number,
            settings,
            may_exist,
        } => {
            let mut params = params(bridge, port, settings);
            params.insert("type".into(), json!(kind));
            if let Some(number) = number {
                params.insert("number".into(), json!(number));
            }
            if *may_exist && exists(daemon, bridge, port)? {
                return output.answer(&json!({}), |_| Ok(()));
            }
            daemon.change("port/add", params.into(), output)
        }
        PortCommand::Del {
            bridge,
            port,
            if_exists,
        } => {
            let params = json!({ "bridge": bridge, "name": port });
            let excused = if_exists.then_some("no-such-port");
            daemon.change_unless("port/del", params, excused, output)
        }
        PortCommand::Set {
            bridge,
            port,
            settings,
            up,
            down,
        } => {
            let mut params = params(bridge, port, settings);
            if *up || *down {
                params.insert("admin_up".into(), json!(up));
            }
            if params.len() == 2 {
                let text =
                    "nothing to change: say --tag, --trunks, --mtu, --option, --up or --down";
                return Err(Failure::Usage(text.into()));
            }
            daemon.change("port/set", params.into(), output)
        }
        PortCommand::List { bridge } => {
            let params = of_bridge(bridge.as_deref());
            let (value, reply) = daemon.management()?.query::<Ports>("port/list", params)?;
            output.answer(&value, |out| {
                table(&reply.ports, true).print(out, "")?;
                print_errors(out, &reply.ports, "")
            })
        }
    }
}

fn exists(daemon: &Daemon<'_>, bridge: &str, port: &str) -> Result<bool, Failure> {
    let params = of_bridge(Some(bridge));
    let (_, reply) = daemon.management()?.query::<Ports>("port/list", params)?;
    Ok(reply.ports.iter().any(|known| known.name == port))
}

fn params(bridge: &str, port: &str, settings: &PortSettings) -> Map<String, Value> {
    let mut params = Map::new();
    params.insert("bridge".into(), json!(bridge));
    params.insert("name".into(), json!(port));
    let options = options(settings);
    if !options.is_empty() {
        params.insert("options".into(), json!(options));
    }
    if let Some(tag) = &settings.tag {
        params.insert("tag".into(), json!(tag.0));
    }
    if let Some(trunks) = &settings.trunks {
        params.insert("trunks".into(), json!(trunks.0));
    }
    if let Some(mtu) = settings.mtu {
        params.insert("mtu".into(), json!(mtu));
    }
    params
}

/// Options of its type, those that have words of their own among them.
fn options(settings: &PortSettings) -> BTreeMap<String, String> {
    let mut options: BTreeMap<_, _> = settings.options.iter().cloned().collect();
    let words = [
        ("remote_ip", settings.remote_ip.clone()),
        ("local_ip", settings.local_ip.clone()),
        ("key", settings.key.clone()),
        ("dst_port", settings.dst_port.map(|port| port.to_string())),
    ];
    for (name, value) in words {
        options.extend(value.map(|value| (name.to_owned(), value)));
    }
    options
}

/// Ports in columns, with the bridge of each if `bridges` says so.
pub fn table(ports: &[Port], bridges: bool) -> Table {
    use Side::{Left, Right};
    let header = [
        ("BRIDGE", Left),
        ("NUMBER", Right),
        ("NAME", Left),
        ("TYPE", Left),
        ("LINK", Left),
        ("VLAN", Left),
        ("MTU", Right),
        ("ADDRESS", Left),
    ];
    let skip = usize::from(!bridges);
    let mut table = Table::new(&header[skip..]);
    for port in ports {
        let cells = [
            port.bridge.clone(),
            number(port.number),
            port.name.clone(),
            port.kind.clone(),
            link(port),
            vlan(port),
            port.mtu.to_string(),
            port.mac.clone().unwrap_or_default(),
        ];
        table.row(cells.into_iter().skip(skip));
    }
    table
}

/// A line for each port that does not work.
pub fn print_errors(out: &mut dyn Write, ports: &[Port], indent: &str) -> io::Result<()> {
    for port in ports {
        if let Some(error) = &port.error {
            let whose = format!("port {}: ", port.name);
            let error = error.strip_prefix(&whose).unwrap_or(error);
            writeln!(out, "{indent}{whose}{error}")?;
        }
    }
    Ok(())
}

/// A port's number, or the name of the local one.
pub fn number(number: Option<u32>) -> String {
    match number.map(OfPort) {
        Some(OfPort::LOCAL) => "LOCAL".into(),
        Some(number) => number.to_string(),
        None => "-".into(),
    }
}

fn link(port: &Port) -> String {
    match (&port.error, port.admin_up, port.link_up, port.speed_mbps) {
        (Some(_), ..) => "error".into(),
        (None, false, ..) => "off".into(),
        (None, true, false, _) => "down".into(),
        (None, true, true, None | Some(0)) => "up".into(),
        (None, true, true, Some(mbps)) if mbps % 1000 == 0 => format!("up {}G", mbps / 1000),
        (None, true, true, Some(mbps)) => format!("up {mbps}M"),
    }
}

fn vlan(port: &Port) -> String {
    let trunks: Vec<String> = port.trunks.iter().map(u16::to_string).collect();
    match (port.tag, trunks.as_slice()) {
        (None, []) => "all".into(),
        (Some(tag), []) => format!("access {tag}"),
        (None, trunks) => format!("trunk {}", trunks.join(",")),
        (Some(tag), trunks) => format!("native {tag}, trunk {}", trunks.join(",")),
    }
}
