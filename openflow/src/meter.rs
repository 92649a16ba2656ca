//! Meter modification (OpenFlow 1.3.5 §5.7, §7.3.4.4).

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
