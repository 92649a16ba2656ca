//! Meters: modification, configuration, statistics (OpenFlow 1.3.5 §5.7, §7.3.4.4, §7.3.5.12 to
//! §7.3.5.14).

use std::time::Duration;

use crate::MeterId;

/// What a meter modification does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterModCommand {
    /// Add; an error if the meter is there.
    Add,
    /// Replace; an error if the meter is not there.
    Modify,
    /// Delete, and every flow that uses it.
    Delete,
}

/// Flags of a meter (`ofp_meter_flags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterFlags {
    /// Rates count packets a second, otherwise kilobits a second.
    pub packets: bool,
    /// The bands' burst sizes count.
    pub burst: bool,
    /// Keep statistics.
    pub stats: bool,
}

/// One band: what happens above a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// Drop.
    Drop {
        /// Kilobits or packets a second.
        rate: u32,
        /// Kilobits or packets.
        burst: u32,
    },
    /// Raise the drop precedence in the DSCP field.
    DscpRemark {
        /// Kilobits or packets a second.
        rate: u32,
        /// Kilobits or packets.
        burst: u32,
        /// Levels to raise it by.
        precedence: u8,
    },
}

/// A meter modification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterModCommand,
    /// Units and what is kept.
    pub flags: MeterFlags,
    /// Which meter; [`MeterId::ALL`] for deletes.
    pub meter: MeterId,
    /// The bands.
    pub bands: Vec<Band>,
}

/// A meter as it was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterConfig {
    /// Which meter.
    pub meter: MeterId,
    /// Units and what is kept.
    pub flags: MeterFlags,
    /// The bands.
    pub bands: Vec<Band>,
}

/// Statistics of a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterStats {
    /// Which meter.
    pub meter: MeterId,
    /// Flows that use it.
    pub flows: u32,
    /// Packets it got.
    pub packets: u64,
    /// Bytes it got.
    pub bytes: u64,
    /// How long it has been there.
    pub duration: Duration,
    /// Its bands.
    pub bands: Vec<BandStats>,
}

/// Statistics of a band.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandStats {
    /// Packets above its rate.
    pub packets: u64,
    /// Bytes above its rate.
    pub bytes: u64,
}

/// What meters there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterFeatures {
    /// Most meters.
    pub meters_max: u32,
    /// Bands that drop.
    pub drop: bool,
    /// Bands that remark DSCP.
    pub dscp_remark: bool,
    /// Rates in kilobits a second.
    pub kbps: bool,
    /// Rates in packets a second.
    pub pktps: bool,
    /// Burst sizes.
    pub burst: bool,
    /// Statistics.
    pub stats: bool,
    /// Most bands of a meter.
    pub bands_max: u8,
    /// Most colours.
    pub colors_max: u8,
}
