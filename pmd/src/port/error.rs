//! Why a port could not be opened: each error names the port, the value, and what is allowed.

use super::{MTU_MAX, MTU_MIN, PortKind};

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No such type.
    #[error("no port type \"{name}\"; there are {}", names())]
    UnknownType {
        /// What was asked for.
        name: String,
    },
    /// The port's type has no such option.
    #[error("port {port}: type {kind} has no option {option}; it has {allowed}")]
    UnknownOption {
        /// Name of the port.
        port: String,
        /// Its type.
        kind: PortKind,
        /// The option.
        option: String,
        /// The options that it has.
        allowed: String,
    },
    /// An option has a value that it cannot have.
    #[error("port {port}: option {option} cannot be \"{value}\", only {allowed}")]
    BadValue {
        /// Name of the port.
        port: String,
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// The port cannot be without this option.
    #[error("port {port}: type {kind} needs the option {option}: {meaning}")]
    MissingOption {
        /// Name of the port.
        port: String,
        /// Its type.
        kind: PortKind,
        /// The option.
        option: String,
        /// What it is.
        meaning: String,
    },
    /// The MTU is out of range, or out of the device's.
    #[error("port {port}: MTU cannot be {mtu}, only {least} to {most}")]
    Mtu {
        /// Name of the port.
        port: String,
        /// The MTU.
        mtu: u16,
        /// Shortest possible.
        least: u16,
        /// Longest possible.
        most: u16,
    },
    /// DPDK was built for so many devices only.
    #[error("port {port}: DPDK has {most} devices already, and takes no more")]
    TooManyDevices {
        /// Name of the port.
        port: String,
        /// How many there may be.
        most: usize,
    },
    /// The device, socket or netdev did not do what was asked.
    #[error("port {port}: {device}: {reason}")]
    Device {
        /// Name of the port.
        port: String,
        /// The device.
        device: String,
        /// What went wrong.
        reason: String,
    },
    /// There is no memory for the port's packets.
    #[error("port {port}: {source}")]
    Memory {
        /// Name of the port.
        port: String,
        /// What was asked for.
        source: crate::Error,
    },
}

impl PortError {
    /// An error unless the MTU is one that ports can have.
    pub(crate) fn check_mtu(port: &str, mtu: u16) -> Result<(), PortError> {
        if (MTU_MIN..=MTU_MAX).contains(&mtu) {
            return Ok(());
        }
        Err(PortError::Mtu {
            port: port.into(),
            mtu,
            least: MTU_MIN,
            most: MTU_MAX,
        })
    }
}

fn names() -> String {
    PortKind::ALL
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}
