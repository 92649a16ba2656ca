//! The sections of the configuration file, key by key (docs/configuration.md).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pmd::PortError;
use toml_edit::{TableLike, Value};

use super::super::logging;
use super::super::pace::Limit;
use super::super::target::{Listener, SOCKET_PATH_BYTES_MAX, Target};
use super::endpoint;
use super::reader::{ConfigError, Section, Source};
use super::{
    Bridge, Config, Controller, DEFAULT_RUN_DIR, Description, Dpdk, FailMode, Log, LogFormat,
    OptionError, PORT_NUMBER_MAX, Port, PortKind, Tls, Vlan, Workers, conntrack, ipfix, tunnel,
};
use crate::datapath::limits::{self, IDLE_SLEEP_US_DEFAULT};
use crate::pipeline::Overflow;
use crate::pipeline::limits::FLOWS_MAX;

/// The whole file.
pub(super) fn config(
    source: &Source<'_>,
    run_dir_wanted: Option<&Path>,
) -> Result<Config, ConfigError> {
    let document = source.document()?;
    let mut root = Section::new(source, document.as_table(), "", None);
    let run_dir = run_dir(&mut root, run_dir_wanted)?;
    let workers = workers(root.section("workers", "workers")?)?;
    let dpdk = dpdk(root.section("dpdk", "dpdk")?)?;
    let log = log(root.section("log", "log")?)?;
    let conntrack = conntrack::read(root.section("conntrack", "conntrack")?)?;
    let ipfix = ipfix::read(root.sections("ipfix", "ipfix")?)?;
    let tls = root.section("tls", "tls")?.map(tls).transpose()?;
    let bridge = |section| bridge(section, &run_dir);
    let bridges = root.sections("bridge", "bridge")?;
    let bridges = bridges.into_iter().map(bridge).collect::<Result<_, _>>()?;
    root.finish("")?;
    Ok(Config {
        run_dir,
        workers,
        dpdk,
        log,
        conntrack,
        ipfix,
        tls,
        bridges,
    })
}

fn run_dir(root: &mut Section<'_>, wanted: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let text = root.string("run_dir")?.unwrap_or(DEFAULT_RUN_DIR);
    let wanted = wanted.map(Path::to_string_lossy);
    let text = wanted.as_deref().unwrap_or(text);
    if !text.starts_with('/') || text.len() > RUN_DIR_BYTES_MAX || text.contains('\0') {
        let why = format!("allowed is an absolute path of at most {RUN_DIR_BYTES_MAX} bytes");
        return Err(root.wrong("run_dir", &format!("\"{text}\""), &why));
    }
    Ok(PathBuf::from(text))
}

fn workers(section: Option<Section<'_>>) -> Result<Workers, ConfigError> {
    let mut workers = Workers {
        cpus: Vec::new(),
        idle_sleep_us_max: IDLE_SLEEP_US_DEFAULT,
        cache_entries: CACHE_ENTRIES_DEFAULT,
    };
    let Some(mut section) = section else {
        return Ok(workers);
    };
    let cpus = section.numbers("cpus", 0..CPUS_MAX, "CPU numbers")?;
    workers.cpus = cpus.iter().map(|&cpu| cpu as usize).collect();
    let sleep = section.number("idle_sleep_us_max", 0..1_000_001, "microseconds")?;
    workers.idle_sleep_us_max = sleep.map_or(IDLE_SLEEP_US_DEFAULT, |us| us as u32);
    let entries = section.number("cache_entries", 0..CACHE_ENTRIES_MAX + 1, "entries")?;
    workers.cache_entries = entries.map_or(CACHE_ENTRIES_DEFAULT, |entries| entries as u32);
    section.finish("workers")?;
    Ok(workers)
}

fn dpdk(section: Option<Section<'_>>) -> Result<Dpdk, ConfigError> {
    let mut dpdk = Dpdk {
        memory_mib: MEMORY_MIB_DEFAULT,
        pci: false,
        args: Vec::new(),
    };
    let Some(mut section) = section else {
        return Ok(dpdk);
    };
    let memory = section.number("memory_mib", 64..1_048_577, "MiB")?;
    dpdk.memory_mib = memory.map_or(MEMORY_MIB_DEFAULT, |mib| mib as u32);
    dpdk.pci = section.boolean("pci")?.unwrap_or(false);
    dpdk.args = section.strings("args")?;
    if let Some(arg) = dpdk.args.iter().find(|arg| arg.contains('\0')) {
        return Err(section.wrong("args", &format!("{arg:?}"), "a zero byte is not allowed"));
    }
    section.finish("dpdk")?;
    Ok(dpdk)
}

fn log(section: Option<Section<'_>>) -> Result<Log, ConfigError> {
    let mut log = Log {
        level: LOG_LEVEL_DEFAULT.to_owned(),
        format: LogFormat::Text,
    };
    let Some(mut section) = section else {
        return Ok(log);
    };
    if let Some(level) = section.parsed("level", logging::check_level)? {
        log.level = level;
    }
    let format = |text: &str| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("allowed are \"text\" and \"json\""),
    };
    log.format = section.parsed("format", format)?.unwrap_or(LogFormat::Text);
    section.finish("")?;
    Ok(log)
}

fn tls(mut section: Section<'_>) -> Result<Tls, ConfigError> {
    let mut path = |key| {
        let absolute = |text: &str| match text.starts_with('/') && !text.contains('\0') {
            true => Ok(PathBuf::from(text)),
            false => Err("allowed is an absolute path"),
        };
        let path = section.parsed(key, absolute)?;
        path.ok_or_else(|| section.missing(key, "an absolute path"))
    };
    let tls = Tls {
        private_key: path("private_key")?,
        certificate: path("certificate")?,
        ca_cert: path("ca_cert")?,
    };
    section.finish("")?;
    Ok(tls)
}

fn bridge(mut section: Section<'_>, run_dir: &Path) -> Result<Bridge, ConfigError> {
    let name = device_name(&mut section)?;
    section.rename(format!("bridge \"{name}\""));
    let fail_mode = section.parsed("fail_mode", FailMode::parse)?;
    let (local, ports) = ports(&mut section, &name, run_dir)?;
    let ageing = section.number("mac_ageing_s", 1..1_000_001, "seconds")?;
    let limit = section.number("flow_limit", 1..FLOWS_MAX as i64 + 1, "flows")?;
    let policy = section.parsed("overflow_policy", overflow)?;
    let bridge = Bridge {
        flow_limit: limit.map_or(FLOWS_MAX as u32, |flows| flows as u32),
        overflow_policy: policy.unwrap_or_default(),
        fail_mode: fail_mode.unwrap_or(FailMode::Standalone),
        datapath_id: datapath_id(&mut section)?,
        mac_ageing_s: ageing.map_or(MAC_AGEING_S_DEFAULT, |seconds| seconds as u32),
        packet_ins_of_port: packet_limit(&mut section, "port_rate_limit", "port_burst_limit")?,
        description: description(section.section("description", "bridge.description")?)?,
        controllers: controllers(&mut section)?,
        listeners: listeners(&mut section)?,
        local,
        ports,
        name,
    };
    section.finish(&bridge.name)?;
    Ok(bridge)
}

impl FailMode {
    /// From the word of the file; the error says what is allowed.
    pub fn parse(text: &str) -> Result<FailMode, &'static str> {
        match text {
            "standalone" => Ok(FailMode::Standalone),
            "secure" => Ok(FailMode::Secure),
            _ => Err("allowed are \"standalone\" and \"secure\""),
        }
    }
}

/// From the word of the file; the error says what is allowed.
fn overflow(text: &str) -> Result<Overflow, &'static str> {
    match text {
        "refuse" => Ok(Overflow::Refuse),
        "evict" => Ok(Overflow::Evict),
        _ => Err("allowed are \"refuse\" and \"evict\""),
    }
}

impl PortKind {
    /// From the word of the file; the error says what is allowed.
    pub fn parse(text: &str) -> Result<PortKind, String> {
        let kind = PortKind::ALL.into_iter().find(|kind| kind.label() == text);
        kind.ok_or_else(|| format!("allowed are {}", PortKind::labels()))
    }

    fn labels() -> String {
        PortKind::ALL.map(PortKind::label).join(", ")
    }
}

/// A name that can be a netdev's and a file's.
fn device_name(section: &mut Section<'_>) -> Result<String, ConfigError> {
    let allowed = format!(
        "a name of 1 to {NAME_BYTES_MAX} letters, digits and any of {NAME_PUNCTUATION}, \
         not starting with - or ."
    );
    let Some(name) = section.string("name")? else {
        return Err(section.missing("name", &allowed));
    };
    let known = |c: char| c.is_ascii_alphanumeric() || NAME_PUNCTUATION.contains(c);
    let right = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with(['-', '.']);
    if !right || !name.chars().all(known) {
        let why = format!("allowed is {allowed}");
        return Err(section.wrong("name", &format!("{name:?}"), &why));
    }
    Ok(name.to_owned())
}

fn datapath_id(section: &mut Section<'_>) -> Result<Option<u64>, ConfigError> {
    let Some(item) = section.item("datapath_id") else {
        return Ok(None);
    };
    let hex = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let right = (1..=16).contains(&digits.len());
        let right = right && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        right
            .then(|| u64::from_str_radix(digits, 16).ok())
            .flatten()
    };
    let number = item
        .as_integer()
        .and_then(|number| u64::try_from(number).ok());
    let id = number
        .or_else(|| item.as_str().and_then(hex))
        .filter(|&id| id != 0);
    let allowed = "a number from 1, or a string of 1 to 16 hexadecimal digits, not all 0";
    id.map(Some)
        .ok_or_else(|| section.refuse("datapath_id", item, allowed))
}

fn description(section: Option<Section<'_>>) -> Result<Description, ConfigError> {
    let mut description = Description::default();
    let Some(mut section) = section else {
        return Ok(description);
    };
    let mut read = |key, bytes_max, slot: &mut String| {
        let text = section.short_string(key, bytes_max)?;
        *slot = text.unwrap_or_else(|| std::mem::take(slot));
        Ok(())
    };
    read(
        "manufacturer",
        DESC_BYTES_MAX,
        &mut description.manufacturer,
    )?;
    read("hardware", DESC_BYTES_MAX, &mut description.hardware)?;
    read("software", DESC_BYTES_MAX, &mut description.software)?;
    read(
        "serial_number",
        SERIAL_BYTES_MAX,
        &mut description.serial_number,
    )?;
    read("datapath", DESC_BYTES_MAX, &mut description.datapath)?;
    section.finish("")?;
    Ok(description)
}

impl Default for Description {
    fn default() -> Description {
        Description {
            manufacturer: env!("CARGO_PKG_NAME").to_owned(),
            hardware: "userspace".to_owned(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            serial_number: "none".to_owned(),
            datapath: String::new(),
        }
    }
}

/// `controllers = ["tcp:…", { target = "tcp:…", inactivity_probe_s = 5 }]`.
fn controllers(section: &mut Section<'_>) -> Result<Vec<Controller>, ConfigError> {
    let mut controllers = Vec::new();
    let name = section.path("controllers");
    for value in section.values("controllers")? {
        let controller = match value {
            Value::InlineTable(table) => {
                controller(Section::new(section.source(), table, &name, value.span()))?
            }
            Value::String(text) => {
                let target = text.value().parse::<Target>();
                let refuse = |why| section.wrong_value("controllers", value, &why);
                Controller::new(target.map_err(refuse)?)
            }
            _ => {
                let allowed = "an array of strings and tables with a target";
                return Err(section.refuse_value("controllers", value, allowed));
            }
        };
        controllers.push(controller);
    }
    Ok(controllers)
}

fn controller(mut section: Section<'_>) -> Result<Controller, ConfigError> {
    let Some(target) = section.parsed("target", str::parse::<Target>)? else {
        return Err(section.missing("target", "tcp:HOST[:PORT], ssl:HOST[:PORT] or unix:PATH"));
    };
    let mut controller = Controller::new(target);
    if let Some(seconds) = section.number("inactivity_probe_s", 0..86_401, "seconds")? {
        controller.inactivity_probe_s = seconds as u32;
    }
    if let Some(seconds) = section.number("max_backoff_s", 1..3_601, "seconds")? {
        controller.max_backoff_s = seconds as u32;
    }
    let (rate, burst) = ("controller_rate_limit", "controller_burst_limit");
    controller.packet_ins = packet_limit(&mut section, rate, burst)?;
    let more = section.number("auxiliary_connections", 0..AUXILIARIES_MAX + 1, "a number")?;
    controller.auxiliary_connections = more.unwrap_or(0) as u8;
    section.finish("")?;
    Ok(controller)
}

/// A rate, none if it is 0, and a burst, a quarter of that if it is not given, as OVS has it.
fn packet_limit(
    section: &mut Section<'_>,
    rate: &'static str,
    burst: &'static str,
) -> Result<Option<Limit>, ConfigError> {
    let rate = section.number(rate, 0..RATE_MAX + 1, "packets a second")?;
    let burst = section.number(burst, 1..RATE_MAX + 1, "packets")?;
    let rate = rate.unwrap_or(0) as u32;
    let burst = burst.map_or((rate / 4).max(1), |burst| burst as u32);
    Ok((rate > 0).then_some(Limit { rate, burst }))
}

impl Controller {
    /// A controller with the usual timers.
    pub fn new(target: Target) -> Controller {
        Controller {
            target,
            inactivity_probe_s: INACTIVITY_PROBE_S_DEFAULT,
            max_backoff_s: MAX_BACKOFF_S_DEFAULT,
            packet_ins: None,
            auxiliary_connections: 0,
        }
    }
}

fn listeners(section: &mut Section<'_>) -> Result<Vec<Listener>, ConfigError> {
    let values = section.values("listeners")?;
    let listener = |value: &Value| match value.as_str() {
        Some(text) => text
            .parse()
            .map_err(|why| section.wrong_value("listeners", value, &why)),
        None => Err(section.refuse_value("listeners", value, "an array of strings")),
    };
    values.into_iter().map(listener).collect()
}

/// The bridge's own port, which need not be there, and the others.
fn ports(
    section: &mut Section<'_>,
    bridge: &str,
    run_dir: &Path,
) -> Result<(Port, Vec<Port>), ConfigError> {
    let ports = section.sections("port", &format!("bridge \"{bridge}\" port"))?;
    let port = |section| port(section, bridge, run_dir);
    let mut ports: Vec<_> = ports.into_iter().map(port).collect::<Result<_, _>>()?;
    let own = ports.iter().position(|port| port.name == bridge);
    let local = own.map(|index| ports.remove(index));
    Ok((local.unwrap_or_else(|| Port::local(bridge)), ports))
}

fn port(mut section: Section<'_>, bridge: &str, run_dir: &Path) -> Result<Port, ConfigError> {
    let name = device_name(&mut section)?;
    section.rename(format!("bridge \"{bridge}\" port \"{name}\""));
    let number = section.number("number", 1..i64::from(PORT_NUMBER_MAX) + 1, "a number")?;
    let Some(kind) = section.parsed("type", PortKind::parse)? else {
        return Err(section.missing("type", &format!("one of {}", PortKind::labels())));
    };
    if name == bridge {
        check_local(&section, kind, number)?;
    }
    let mut options = options(&mut section)?;
    socket_path(&mut options, kind, run_dir, &name);
    check_options(&section, &name, kind, &options)?;
    let mtu = section.number("mtu", MTU_MIN..MTU_MAX + 1, "bytes")?;
    let admin_up = section.boolean("admin_up")?.unwrap_or(true);
    let vlan = vlan(&mut section)?;
    section.finish(&name)?;
    Ok(Port {
        name,
        number: number.map(|number| number as u32),
        kind,
        options,
        vlan,
        mtu: mtu.map(|mtu| mtu as u16),
        admin_up,
    })
}

/// A bridge's own port is what the host uses of it, or the switch itself, and has a number of its
/// own.
fn check_local(
    section: &Section<'_>,
    kind: PortKind,
    number: Option<i64>,
) -> Result<(), ConfigError> {
    if !matches!(kind, PortKind::Internal | PortKind::Endpoint) {
        let why = "a port of its bridge's name is the bridge's own: allowed are \"internal\" and \
                   \"endpoint\"";
        return Err(section.wrong("type", &format!("\"{}\"", kind.label()), why));
    }
    match number {
        None => Ok(()),
        Some(number) => {
            let why = "the bridge's own port is always LOCAL: leave the number out";
            Err(section.wrong("number", &number.to_string(), why))
        }
    }
}

/// Options are strings; numbers and booleans are taken for theirs.
fn options(section: &mut Section<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    let Some(item) = section.item("options") else {
        return Ok(BTreeMap::new());
    };
    let table: Option<&dyn TableLike> = item.as_table_like();
    let table = table.ok_or_else(|| section.refuse("options", item, "a table"))?;
    let option = |(key, item): (&str, &toml_edit::Item)| {
        let text = match item.as_value() {
            Some(Value::String(text)) => text.value().clone(),
            Some(Value::Integer(number)) => number.value().to_string(),
            Some(Value::Boolean(flag)) => flag.value().to_string(),
            _ => return Err(section.refuse("options", item, "strings, numbers and booleans")),
        };
        Ok((key.to_owned(), text))
    };
    table.iter().map(option).collect()
}

/// Refuses what would keep the port from being opened, whatever the machine has.
fn check_options(
    section: &Section<'_>,
    name: &str,
    kind: PortKind,
    options: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    if kind == PortKind::Endpoint {
        return endpoint::check(section, options);
    }
    let Some(device) = kind.of_device() else {
        return match kind {
            PortKind::Patch => check_patch(section, name, options),
            _ => check_tunnel(section, kind, options),
        };
    };
    let config = pmd::PortConfig {
        name: name.to_owned(),
        kind: device,
        options: options.clone(),
        mtu: pmd::port::MTU_MIN,
        tx_queues: 1,
    };
    pmd::port::check(&config).map_err(|error| match &error {
        PortError::UnknownOption {
            option, allowed, ..
        } => {
            let kind = kind.label();
            let why = format!("unknown option of type {kind}; allowed are {allowed}");
            section.wrong_option(option, "", &why)
        }
        PortError::BadValue {
            option,
            value,
            allowed,
            ..
        } => section.wrong_option(
            option,
            &format!(" = \"{value}\""),
            &format!("allowed is {allowed}"),
        ),
        PortError::MissingOption {
            option, meaning, ..
        } => section.wrong_option(option, " is missing", &format!("give {meaning}")),
        other => section.wrong("options", "", &other.to_string()),
    })
}

fn check_tunnel(
    section: &Section<'_>,
    kind: PortKind,
    options: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let checked = tunnel(kind, options).map(|_| ());
    checked.map_err(|OptionError { option, value, why }| {
        let value = match value {
            Some(value) => format!(" = \"{value}\""),
            None if options.contains_key(&option) => String::new(),
            None => " is missing".to_owned(),
        };
        section.wrong_option(&option, &value, &why)
    })
}

fn check_patch(
    section: &Section<'_>,
    name: &str,
    options: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let why = "a patch port needs the option \"peer\", the name of its other end, and no other";
    match options.get("peer") {
        Some(peer) if peer == name => {
            let why = "a patch port cannot be its own other end: allowed is another port's name";
            Err(section.wrong_option("peer", &format!(" = \"{peer}\""), why))
        }
        Some(_) if options.len() == 1 => Ok(()),
        _ => Err(section.wrong("options", &format!("{options:?}"), why)),
    }
}

/// A vhost-user port without a socket path gets `<run_dir>/<name>.sock`, or as the server, as OVS
/// has it, `<run_dir>/<name>`.
fn socket_path(options: &mut BTreeMap<String, String>, kind: PortKind, run_dir: &Path, name: &str) {
    let file = match kind {
        PortKind::VhostUserClient => format!("{name}.sock"),
        PortKind::VhostUser => name.to_owned(),
        _ => return,
    };
    let path = || run_dir.join(file).to_string_lossy().into_owned();
    options
        .entry("vhost-server-path".to_owned())
        .or_insert_with(path);
}

fn vlan(section: &mut Section<'_>) -> Result<Vlan, ConfigError> {
    let tag = section.number("tag", 0..VLAN_MAX + 1, "a VLAN")?;
    let has_trunks = section.item("trunks").is_some();
    let trunks = section.numbers("trunks", 0..VLAN_MAX + 1, "VLANs")?;
    let mut trunks: Vec<u16> = trunks.iter().map(|&vlan| vlan as u16).collect();
    trunks.sort_unstable();
    trunks.dedup();
    match tag {
        Some(tag) if has_trunks => {
            let why = "either tag or trunks is allowed, not both";
            Err(section.wrong("tag", &tag.to_string(), why))
        }
        Some(tag) => Ok(Vlan::Access(tag as u16)),
        None if trunks.is_empty() => Ok(Vlan::All),
        None => Ok(Vlan::Trunks(trunks)),
    }
}

/// Room for `/`, a bridge's name and `.mgmt` in a socket's path.
const RUN_DIR_BYTES_MAX: usize = SOCKET_PATH_BYTES_MAX - NAME_BYTES_MAX - "/.mgmt".len();
/// Longest name of a Linux netdev (IFNAMSIZ without the final zero), and what fits in
/// `ofp_port.name` (OpenFlow 1.3.5 §7.2.1).
const NAME_BYTES_MAX: usize = 15;
/// What a name may hold besides letters and digits: nothing that a shell or a path minds.
const NAME_PUNCTUATION: &str = "_.+@-";
/// More CPUs than Linux knows of.
const CPUS_MAX: i64 = 8192;
/// The datapath knows its reasons.
const CACHE_ENTRIES_DEFAULT: u32 = limits::CACHE_ENTRIES_DEFAULT as u32;
/// 4 Mi entries are about 2 GiB a worker.
const CACHE_ENTRIES_MAX: i64 = 4 << 20;
/// Enough for the pools of a dozen ports.
const MEMORY_MIB_DEFAULT: u32 = 512;
/// What an operator wants to see without asking.
const LOG_LEVEL_DEFAULT: &str = "info";
/// IEEE 802.1D-2004 table 7-5.
const MAC_AGEING_S_DEFAULT: u32 = 300;
/// OVS's `inactivity_probe`.
const INACTIVITY_PROBE_S_DEFAULT: u32 = 5;
/// OVS's `max_backoff`.
const MAX_BACKOFF_S_DEFAULT: u32 = 8;
/// More than any controller answers.
const RATE_MAX: i64 = 1_000_000;
/// One for each core that a controller may have to spare.
const AUXILIARIES_MAX: i64 = 16;
/// `DESC_STR_LEN` without the final zero.
const DESC_BYTES_MAX: usize = 255;
/// `SERIAL_NUM_LEN` without the final zero.
const SERIAL_BYTES_MAX: usize = 31;
/// What IPv4 demands.
const MTU_MIN: i64 = pmd::port::MTU_MIN as i64;
/// Jumbo frames.
const MTU_MAX: i64 = pmd::port::MTU_MAX as i64;
/// Largest VLAN id, with the reserved 4095 that parks a port as OpenStack does.
const VLAN_MAX: i64 = 4095;
