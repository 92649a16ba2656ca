//! The TLV table of a bridge: which Geneve options are which `tun_metadata` fields.
//!
//! A change is made as a whole or not at all. A mapping that a flow or group refers to cannot go:
//! the flow would mean other bits than it was made for.

use std::sync::Arc;

use flowtable::{Field, TlvError, TlvTable};
use openflow::{Action, ErrorCode, FlowStatsRequest, TlvTableMod};

use super::Switch;
use super::footprint::{fields, lists};
use crate::action::{BridgeId, PortNo};

impl Switch {
    /// What is mapped in a bridge.
    pub fn tlvs(&self, id: BridgeId) -> Arc<TlvTable> {
        let bridge = self.state.bridge(id);
        bridge.map_or_else(Arc::default, |bridge| Arc::clone(&bridge.tlvs))
    }

    /// Changes what is mapped. Options that were not mapped are unmapped without an error.
    pub fn tlv_table_mod(&mut self, id: BridgeId, change: &TlvTableMod) -> Result<(), ErrorCode> {
        let old = self.tlvs(id);
        let mut table = TlvTable::clone(&old);
        match change {
            TlvTableMod::Add(maps) => {
                for map in maps {
                    let added = table.add(map.index as u8, map.class, map.kind, map.len);
                    added.map_err(code)?;
                }
            }
            TlvTableMod::Delete(maps) => {
                maps.iter().for_each(|map| table.remove(map.index as u8));
            }
            TlvTableMod::Clear => table = TlvTable::default(),
        }
        let mut gone = old.iter().filter(|it| table.of_index(it.index).is_none());
        let units = gone.by_ref().fold(0, |all, it| all | it.units());
        if units != 0 && self.option_units_used(id) & units != 0 {
            return Err(ErrorCode::TLV_TABLE_MOD_FAILED_INVALID_TLV_DEL);
        }
        self.set_tlvs(id, table);
        Ok(())
    }

    fn set_tlvs(&mut self, id: BridgeId, table: TlvTable) {
        let Some((bridge, ledger)) = self.change(id) else {
            return;
        };
        ledger.mask_stale = true;
        bridge.tlvs = Arc::new(table);
        let ports: Vec<PortNo> = bridge.ports().map(|port| port.number).collect();
        for port in ports {
            self.know_options(port);
        }
    }

    /// Has what comes by a tunnel port be read with the options of its bridge.
    pub(super) fn know_options(&mut self, number: PortNo) {
        let port = self.state.port(number).filter(|port| port.tunnel.is_some());
        let tlvs = port.map(|port| self.tlvs(port.bridge));
        let tlvs = tlvs.filter(|tlvs| !tlvs.is_empty());
        if tlvs.as_ref() != self.state.underlay.tlvs_of(number) {
            Arc::make_mut(&mut self.state.underlay).set_tlvs(number, tlvs);
        }
    }

    /// The units of options that flows and groups of a bridge match, read or write.
    fn option_units_used(&mut self, id: BridgeId) -> u64 {
        let of_list = |list: &[Action]| {
            let fields = Action::all(list).flat_map(fields);
            fields
                .map(Field::option_units)
                .fold(0, |all, units| all | units)
        };
        let mut used = 0;
        for flow in self.list(id, &FlowStatsRequest::default()) {
            used |= flow.matching.mask().0.tunnel_option_units;
            lists(&flow.instructions).for_each(|list| used |= of_list(list));
        }
        let bridge = self.state.bridge(id);
        for group in bridge.into_iter().flat_map(|bridge| bridge.groups.values()) {
            let buckets = group.buckets.iter();
            buckets.for_each(|bucket| used |= of_list(&bucket.bucket.actions));
        }
        used
    }
}

fn code(error: TlvError) -> ErrorCode {
    match error {
        TlvError::Index => ErrorCode::TLV_TABLE_MOD_FAILED_BAD_FIELD_IDX,
        TlvError::Length => ErrorCode::TLV_TABLE_MOD_FAILED_BAD_OPT_LEN,
        TlvError::AlreadyMapped => ErrorCode::TLV_TABLE_MOD_FAILED_ALREADY_MAPPED,
        TlvError::Duplicate => ErrorCode::TLV_TABLE_MOD_FAILED_DUP_ENTRY,
        TlvError::Full => ErrorCode::TLV_TABLE_MOD_FAILED_TABLE_FULL,
    }
}
