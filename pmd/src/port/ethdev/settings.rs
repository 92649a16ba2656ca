//! What the options of a `dpdk` port mean.

use crate::port::{Options, PortConfig, PortError};

/// What the options of a `dpdk` port mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `pci` or `vdev`.
    pub bus: &'static str,
    /// Name of the device on its bus: the PCI address, or the driver's name and a number.
    pub name: String,
    /// Arguments for its driver.
    pub arguments: String,
    /// Receive queues.
    pub rx_queues: u16,
    /// Descriptors in each.
    pub rx_descriptors: u16,
    /// Descriptors in each transmit queue.
    pub tx_descriptors: u16,
}

impl Settings {
    pub(super) fn of(config: &PortConfig) -> Result<Settings, PortError> {
        let options = Options::of(config, &[DEVARGS, N_RXQ, N_RXQ_DESC, N_TXQ_DESC])?;
        let device = options.required(DEVARGS, DEVARGS_ALLOWED)?;
        let (name, arguments) = device.split_once(',').unwrap_or((device, ""));
        let bus = match (is_pci_address(name), is_virtual_device(name)) {
            (true, _) => "pci",
            (_, true) => "vdev",
            _ => return Err(options.bad_value(DEVARGS, device, DEVARGS_ALLOWED.into())),
        };
        Ok(Settings {
            bus,
            name: name.to_string(),
            arguments: arguments.to_string(),
            rx_queues: options.number(N_RXQ, 1..=RX_QUEUES_MAX, 1)?,
            rx_descriptors: descriptors(&options, N_RXQ_DESC)?,
            tx_descriptors: descriptors(&options, N_TXQ_DESC)?,
        })
    }
}

fn descriptors(options: &Options<'_>, option: &str) -> Result<u16, PortError> {
    let number = options.number(option, 1..=DESCRIPTORS_MAX, DESCRIPTORS)?;
    if number.is_power_of_two() {
        return Ok(number);
    }
    let allowed = format!("a power of two from 1 to {DESCRIPTORS_MAX}");
    Err(options.bad_value(option, &number.to_string(), allowed))
}

/// `DDDD:BB:DD.F`, the domain perhaps left out.
fn is_pci_address(name: &str) -> bool {
    let hex = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let Some((address, function)) = name.rsplit_once('.') else {
        return false;
    };
    let mut parts = address.rsplit(':');
    let device = parts.next().is_some_and(|part| hex(part, 2..=2));
    let bus = parts.next().is_some_and(|part| hex(part, 2..=2));
    let domain = parts.next().is_none_or(|part| hex(part, 4..=8));
    let function = matches!(function.as_bytes(), [b'0'..=b'7']);
    device && bus && domain && function && parts.next().is_none()
}

/// Letters, digits and underscores, a letter first: the driver's name and what tells its devices
/// apart.
fn is_virtual_device(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(known)
}

const DEVARGS: &str = "dpdk-devargs";
const DEVARGS_ALLOWED: &str =
    "a PCI address such as 0000:01:00.0, or a virtual device such as net_pcap0,iface=eth1";
const N_RXQ: &str = "n_rxq";
const N_RXQ_DESC: &str = "n_rxq_desc";
const N_TXQ_DESC: &str = "n_txq_desc";
/// As many as workers can be.
const RX_QUEUES_MAX: u16 = 128;
/// As in Open vSwitch: enough to bridge a pause of a millisecond at a few million packets a second.
const DESCRIPTORS: u16 = 2048;
/// As in Open vSwitch, and as many as common hardware has.
const DESCRIPTORS_MAX: u16 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortKind;

    fn settings(options: &[(&str, &str)]) -> Result<Settings, String> {
        let options = options
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        let config = PortConfig {
            name: "nic".into(),
            kind: PortKind::Dpdk,
            options: options.collect(),
            mtu: 1500,
            tx_queues: 1,
        };
        Settings::of(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn tells_pci_addresses_from_virtual_devices() {
        let bus = |device| settings(&[(DEVARGS, device)]).map(|found| (found.bus, found.name));
        for device in ["0000:01:00.0", "af:1f.7", "10000:00:02.1,representor=0"] {
            assert_eq!(bus(device).unwrap().0, "pci", "{device}");
        }
        let found = settings(&[(DEVARGS, "net_pcap0,rx_pcap=a,b,infinite_rx=1")]).unwrap();
        assert_eq!((found.bus, found.name.as_str()), ("vdev", "net_pcap0"));
        assert_eq!(found.arguments, "rx_pcap=a,b,infinite_rx=1");
        for device in [
            "0000:01:00.8",
            "1:01:00.0",
            ",iface=x",
            "/dev/null",
            "01:00:01:00.0",
        ] {
            assert!(bus(device).unwrap_err().contains("PCI address"), "{device}");
        }
    }

    #[test]
    fn errors_name_what_is_allowed() {
        let error = |options: &[(&str, &str)]| settings(options).unwrap_err();
        assert!(error(&[]).contains("needs the option dpdk-devargs"));
        let device = (DEVARGS, "net_null0");
        let unknown = error(&[device, ("n_rqx", "1")]);
        assert!(unknown.contains("n_rqx; it has dpdk-devargs, n_rxq, n_rxq_desc, n_txq_desc"));
        assert!(error(&[device, (N_RXQ, "0")]).contains("only 1 to 128"));
        assert!(error(&[device, (N_RXQ_DESC, "1000")]).contains("a power of two from 1 to 4096"));
        assert!(error(&[device, (N_TXQ_DESC, "8192")]).contains("only 1 to 4096"));
    }
}
