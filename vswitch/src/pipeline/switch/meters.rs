//! Meter modification (OpenFlow 1.3.5 §7.3.4.4).

use std::sync::Arc;

use openflow::{Band, ErrorCode, FlowRemovedReason, MeterId, MeterMod, MeterModCommand};

use super::super::{Meter, RemovedFlow};
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
        let (Some(bridge), Some(ledger)) = (self.state.bridge(id), self.ledgers.get(&id)) else {
            return Ok(Vec::new());
        };
        let old = bridge.meter(change.meter);
        match change.command {
            MeterModCommand::Delete => return Ok(self.delete_meters(id, change.meter, now_ms)),
            MeterModCommand::Add if old.is_some() => {
                return Err(ErrorCode::METER_MOD_FAILED_METER_EXISTS);
            }
            MeterModCommand::Modify if old.is_none() => {
                return Err(ErrorCode::METER_MOD_FAILED_UNKNOWN_METER);
            }
            MeterModCommand::Add if bridge.meters.len() >= ledger.meters_max => {
                return Err(ErrorCode::METER_MOD_FAILED_OUT_OF_METERS);
            }
            MeterModCommand::Add | MeterModCommand::Modify => check_meter(change)?,
        }
        let meter = Meter::new(change, old.map(|old| &**old), now_ms);
        if let Some((bridge, ledger)) = self.change(id) {
            bridge.meters.insert(change.meter, Arc::new(meter));
            ledger.mask_stale = true;
        }
        Ok(Vec::new())
    }

    fn delete_meters(&mut self, id: BridgeId, meter: MeterId, now_ms: u64) -> Vec<RemovedFlow> {
        let Some(bridge) = self.state.bridge(id) else {
            return Vec::new();
        };
        let meters: Vec<_> = match meter {
            MeterId::ALL => bridge.meters.keys().copied().collect(),
            _ if bridge.meter(meter).is_none() => return Vec::new(),
            _ => vec![meter],
        };
        let mut removed = Vec::new();
        for meter in meters {
            let users = self.ledgers.get(&id).into_iter();
            let users = users
                .flat_map(|ledger| ledger.meter_users.of(meter))
                .collect();
            removed.extend(self.remove_flows(id, users, FlowRemovedReason::MeterDelete, now_ms));
            if let Some((bridge, _)) = self.change(id) {
                bridge.meters.remove(&meter);
            }
        }
        removed
    }
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
