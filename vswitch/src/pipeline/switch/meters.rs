//! Meter modification (OpenFlow 1.3.5 §7.3.4.4).

use std::sync::Arc;

use openflow::{Band, ErrorCode, MeterId, MeterMod, MeterModCommand};

use super::super::{Meter, RemovedFlow};
use super::sweep::{Begun, Sweep, Used, UserSweep};
use super::{Switch, limits};
use crate::action::BridgeId;

impl Switch {
    /// Adds, modifies or deletes meters; the flows that went with them.
    pub fn meter_mod(
        &mut self,
        id: BridgeId,
        change: &MeterMod,
        now_ms: u64,
    ) -> Result<Vec<RemovedFlow>, ErrorCode> {
        match change.command {
            MeterModCommand::Delete => delete(id, change.meter).finish(self, now_ms),
            MeterModCommand::Add | MeterModCommand::Modify => {
                self.set_meter(id, change, now_ms)?;
                Ok(Vec::new())
            }
        }
    }

    /// As [`Switch::meter_mod`], but what would take long is only begun.
    pub fn begin_meter_mod(
        &mut self,
        id: BridgeId,
        change: &MeterMod,
        now_ms: u64,
    ) -> Result<Begun, ErrorCode> {
        match change.command {
            MeterModCommand::Delete => delete(id, change.meter).begin(self, now_ms),
            MeterModCommand::Add | MeterModCommand::Modify => {
                self.set_meter(id, change, now_ms)?;
                Ok((Vec::new(), None))
            }
        }
    }

    /// Adds or modifies a meter.
    fn set_meter(&mut self, id: BridgeId, change: &MeterMod, now_ms: u64) -> Result<(), ErrorCode> {
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Ok(());
        };
        let old = bridge.meter(change.meter);
        match change.command {
            MeterModCommand::Add if old.is_some() => {
                return Err(ErrorCode::METER_MOD_FAILED_METER_EXISTS);
            }
            MeterModCommand::Modify if old.is_none() => {
                return Err(ErrorCode::METER_MOD_FAILED_UNKNOWN_METER);
            }
            MeterModCommand::Add if bridge.meters.len() >= ledger.meters_max => {
                return Err(ErrorCode::METER_MOD_FAILED_OUT_OF_METERS);
            }
            _ => check_meter(change)?,
        }
        let meter = Meter::new(change, old.map(|old| &**old), now_ms);
        if let Some((bridge, ledger)) = self.change(id) {
            bridge.meters.insert(change.meter, Arc::new(meter));
            ledger.mask_stale = true;
        }
        Ok(())
    }

    /// Removes meters that no flow uses.
    pub(super) fn take_meters(&mut self, id: BridgeId, meters: Vec<MeterId>) {
        let Some(bridge) = self.state.bridge(id) else {
            return;
        };
        if meters.iter().any(|meter| bridge.meter(*meter).is_some())
            && let Some((bridge, _)) = self.change(id)
        {
            for meter in meters {
                bridge.meters.remove(&meter);
            }
        }
    }
}

/// The deletion of a meter, or of all.
fn delete(bridge: BridgeId, meter: MeterId) -> Sweep {
    Sweep::Users(UserSweep::new(bridge, Used::Meter(meter)))
}

fn check_meter(change: &MeterMod) -> Result<(), ErrorCode> {
    let real = change.meter != MeterId(0) && change.meter <= MeterId::MAX;
    if !real && !MeterId::VIRTUAL.contains(&change.meter) {
        return Err(ErrorCode::METER_MOD_FAILED_INVALID_METER);
    }
    if change.bands.len() > limits::BANDS_MAX {
        return Err(ErrorCode::METER_MOD_FAILED_OUT_OF_BANDS);
    }
    let rates = change.bands.iter().map(|band| match *band {
        Band::Drop { rate, .. } | Band::DscpRemark { rate, .. } => rate,
    });
    match rates.min() {
        Some(0) => Err(ErrorCode::METER_MOD_FAILED_BAD_RATE),
        _ => Ok(()),
    }
}
