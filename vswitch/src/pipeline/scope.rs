//! Numbers for what a translation may ask of a bridge, as [`flowtable::Changes`] wants them: so
//! that a change in one table does not concern packets that never come there.

use openflow::TableId;

use crate::action::BridgeId;

/// The flows of a table.
pub fn table(bridge: BridgeId, table: TableId) -> u32 {
    of(bridge, table.0)
}

/// The learned addresses.
pub fn addresses(bridge: BridgeId) -> u32 {
    of(bridge, TableId::ALL.0)
}

/// Another number for each pair; those of neighbouring bridges and tables do not fall together
/// modulo 64.
fn of(bridge: BridgeId, place: u8) -> u32 {
    bridge.0.wrapping_mul(u8::MAX as u32 + 8) + u32::from(place)
}
