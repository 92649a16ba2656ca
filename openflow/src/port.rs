//! Ports: description, status, modification, statistics (OpenFlow 1.3.5 §7.2.1, §7.3.4.3,
//! §7.3.5.6, §7.4.3).

use std::time::Duration;

use crate::OfPort;

/// `ofp_port_config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortConfig {
    /// Administratively down.
    pub port_down: bool,
    /// Drop what comes in.
    pub no_receive: bool,
    /// Drop what is to go out.
    pub no_forward: bool,
    /// Send no packet-in for what comes in.
    pub no_packet_in: bool,
}

/// `ofp_port_state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortState {
    /// No carrier.
    pub link_down: bool,
    /// Blocked by a protocol outside of OpenFlow.
    pub blocked: bool,
    /// Live for fast failover.
    pub live: bool,
}

/// A set of link modes (`ofp_port_features`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFeatures(pub u32);

#[allow(missing_docs)]
impl PortFeatures {
    pub const MB_10_HALF: PortFeatures = PortFeatures(1 << 0);
    pub const MB_10_FULL: PortFeatures = PortFeatures(1 << 1);
    pub const MB_100_HALF: PortFeatures = PortFeatures(1 << 2);
    pub const MB_100_FULL: PortFeatures = PortFeatures(1 << 3);
    pub const GB_1_HALF: PortFeatures = PortFeatures(1 << 4);
    pub const GB_1_FULL: PortFeatures = PortFeatures(1 << 5);
    pub const GB_10_FULL: PortFeatures = PortFeatures(1 << 6);
    pub const GB_40_FULL: PortFeatures = PortFeatures(1 << 7);
    pub const GB_100_FULL: PortFeatures = PortFeatures(1 << 8);
    pub const TB_1_FULL: PortFeatures = PortFeatures(1 << 9);
    pub const OTHER: PortFeatures = PortFeatures(1 << 10);
    pub const COPPER: PortFeatures = PortFeatures(1 << 11);
    pub const FIBER: PortFeatures = PortFeatures(1 << 12);
    pub const AUTONEGOTIATION: PortFeatures = PortFeatures(1 << 13);
    pub const PAUSE: PortFeatures = PortFeatures(1 << 14);
    pub const PAUSE_ASYMMETRIC: PortFeatures = PortFeatures(1 << 15);
}

impl PortFeatures {
    /// The mode of a link of this speed; the nearest is `OTHER` where there is no name for it.
    pub fn of_speed(speed_mbps: u32, full_duplex: bool) -> PortFeatures {
        match (speed_mbps, full_duplex) {
            (10, false) => PortFeatures::MB_10_HALF,
            (10, true) => PortFeatures::MB_10_FULL,
            (100, false) => PortFeatures::MB_100_HALF,
            (100, true) => PortFeatures::MB_100_FULL,
            (1_000, false) => PortFeatures::GB_1_HALF,
            (1_000, true) => PortFeatures::GB_1_FULL,
            (10_000, true) => PortFeatures::GB_10_FULL,
            (40_000, true) => PortFeatures::GB_40_FULL,
            (100_000, true) => PortFeatures::GB_100_FULL,
            (1_000_000, true) => PortFeatures::TB_1_FULL,
            _ => PortFeatures::OTHER,
        }
    }
}

/// A port as it is described to controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDesc {
    /// Number.
    pub number: OfPort,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Name, up to 15 bytes.
    pub name: String,
    /// What was configured.
    pub config: PortConfig,
    /// What is.
    pub state: PortState,
    /// Link mode in use.
    pub current: PortFeatures,
    /// Link modes advertised.
    pub advertised: PortFeatures,
    /// Link modes supported.
    pub supported: PortFeatures,
    /// Link modes the peer advertises.
    pub peer: PortFeatures,
    /// Speed in use.
    pub speed_kbps: u32,
    /// Highest speed.
    pub speed_kbps_max: u32,
}

/// `ofp_port_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PortReason {
    /// Added.
    Add = 0,
    /// Deleted.
    Delete = 1,
    /// Changed.
    Modify = 2,
}

/// A port came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortReason,
    /// The port.
    pub port: PortDesc,
}

/// Port modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMod {
    /// Which port.
    pub port: OfPort,
    /// Its Ethernet address, to be sure it is the one meant.
    pub mac: [u8; 6],
    /// New configuration.
    pub config: PortConfig,
    /// What of the configuration is to change.
    pub mask: PortConfig,
    /// Link modes to advertise; empty to leave them.
    pub advertise: PortFeatures,
}

/// Statistics of a port; a counter that is not kept is all ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Which port.
    pub port: OfPort,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received packets dropped.
    pub rx_dropped: u64,
    /// Packets dropped instead of being sent.
    pub tx_dropped: u64,
    /// Errors in receiving, all kinds.
    pub rx_errors: u64,
    /// Errors in sending, all kinds.
    pub tx_errors: u64,
    /// Misaligned frames.
    pub rx_frame_errors: u64,
    /// Overruns.
    pub rx_overrun_errors: u64,
    /// Checksum errors.
    pub rx_crc_errors: u64,
    /// Collisions.
    pub collisions: u64,
    /// How long the port has been there.
    pub duration: Duration,
}
