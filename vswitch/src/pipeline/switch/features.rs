//! What tables can do, read and set (OpenFlow 1.3.5 §7.3.5.5).
//!
//! Every table can do everything, unless a controller asks for less. Its request describes the
//! whole pipeline: tables that it leaves out are gone, those it names are as it says, and flows
//! that no longer fit go without a word. The most flows of a table are the switch's to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowtable::Field;
use openflow::{
    ActionKind, ErrorCode, FieldFeature, FlowMod, InstructionKind, TableFeatures, TableId,
    TableProperty,
};

use super::super::{flow::FlowRef, offer::Offer};
use super::sweep::{MisfitSweep, Sweep};
use super::{Switch, flows};
use crate::action::BridgeId;

/// The tables of a bridge as controllers have set them up.
#[derive(Debug, Default)]
pub struct Tables {
    /// As somebody asked for them; every one with everything before the first request.
    asked: Option<Arc<Pipeline>>,
}

/// The tables that somebody asked for.
#[derive(Debug)]
pub struct Pipeline(BTreeMap<TableId, Asked>);

#[derive(Debug)]
struct Asked {
    features: TableFeatures,
    /// Nothing if the table can do everything.
    offer: Option<Offer>,
}

impl Tables {
    /// Whether a table is there.
    pub fn has(&self, table: TableId) -> bool {
        match &self.asked {
            Some(asked) => asked.0.contains_key(&table),
            None => table <= TableId::LAST,
        }
    }

    /// Whether somebody said what tables are to do.
    pub fn are_cut(&self) -> bool {
        self.asked.is_some()
    }

    /// Tables that are there.
    pub fn ids(&self) -> impl Iterator<Item = TableId> {
        let all = (0..=TableId::LAST.0).map(TableId);
        all.filter(|table| self.has(*table))
    }

    /// Whether a table takes flows that match and do this.
    pub fn check(&self, change: &FlowMod) -> Result<(), ErrorCode> {
        let Some(asked) = &self.asked else {
            return Ok(());
        };
        let asked = asked.0.get(&change.table);
        let asked = asked.ok_or(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID)?;
        let is_miss = change.priority == 0 && change.matching.is_empty();
        let check = |offer: &Offer| offer.check(&change.matching, is_miss, &change.instructions);
        asked.offer.iter().try_for_each(check)
    }

    /// Whether a flow may do this instead of what it does.
    pub fn check_instructions(
        &self,
        flow: &FlowRef<'_>,
        change: &FlowMod,
    ) -> Result<(), ErrorCode> {
        let asked = self
            .asked
            .as_ref()
            .and_then(|asked| asked.0.get(&flow.table()));
        match asked.and_then(|asked| asked.offer.as_ref()) {
            Some(offer) => {
                offer.check(&flow.matching(), flow.is_table_miss(), &change.instructions)
            }
            None => Ok(()),
        }
    }

    fn features(&self, table: TableId) -> TableFeatures {
        let asked = self.asked.as_ref().and_then(|asked| asked.0.get(&table));
        match asked {
            Some(asked) => asked.features.clone(),
            None => everything(table),
        }
    }
}

impl Pipeline {
    /// Whether a flow may be where it is.
    pub(super) fn fits(&self, flow: &FlowRef<'_>) -> bool {
        let Some(asked) = self.0.get(&flow.table()) else {
            return false;
        };
        asked.offer.as_ref().is_none_or(|offer| {
            let is_miss = flow.is_table_miss();
            let fits = |does: &Arc<_>| offer.check(&flow.matching(), is_miss, does).is_ok();
            flow.instructions().is_none_or(fits)
        })
    }
}

/// Features of tables. An unknown bridge has no tables.
impl Switch {
    /// Whether a bridge has a table; [`TableId::ALL`] stands for those there are.
    pub fn has_table(&self, bridge: BridgeId, table: TableId) -> bool {
        let ledger = self.ledgers.get(&bridge);
        table == TableId::ALL || ledger.is_some_and(|ledger| ledger.tables.has(table))
    }

    /// How many tables a bridge has. As the specification speaks of it, a switch supports the
    /// tables that are in its pipeline: others are added by table features (§7.3.5.5).
    pub fn table_count(&self, bridge: BridgeId) -> u8 {
        let ledger = self.ledgers.get(&bridge);
        ledger.map_or(0, |ledger| ledger.tables.ids().count() as u8)
    }

    /// What the tables of a bridge can do.
    pub fn table_features(&self, bridge: BridgeId) -> Vec<TableFeatures> {
        let tables = self.ledgers.get(&bridge).map(|ledger| &ledger.tables);
        let tables = tables.into_iter().flat_map(Tables::ids);
        tables
            .filter_map(|table| self.features_of(bridge, table))
            .collect()
    }

    /// Makes a bridge have the wanted tables and no others: the tables, in the order of the
    /// request, and what goes on with flows that they do not take. An error changes nothing.
    pub fn set_table_features(
        &mut self,
        bridge: BridgeId,
        wanted: Vec<TableFeatures>,
    ) -> Result<(Vec<TableFeatures>, Option<Sweep>), ErrorCode> {
        let order: Vec<_> = wanted.iter().map(|table| table.table).collect();
        let pipeline = Arc::new(pipeline(wanted, &order)?);
        if let Some(ledger) = self.ledgers.get_mut(&bridge) {
            ledger.tables.asked = Some(Arc::clone(&pipeline));
            ledger
                .table_configs
                .retain(|table, _| order.contains(table));
        }
        let tables = order.into_iter();
        let tables: Vec<_> = tables
            .filter_map(|table| self.features_of(bridge, table))
            .collect();
        let sweep = MisfitSweep::new(self, bridge, pipeline, tables.clone());
        let (_, sweep) = Sweep::Misfits(sweep).begin(self, 0)?;
        Ok((tables, sweep))
    }

    fn features_of(&self, bridge: BridgeId, table: TableId) -> Option<TableFeatures> {
        let ledger = self.ledgers.get(&bridge)?;
        Some(TableFeatures {
            config: self.table_config(bridge, table),
            entries_max: ledger.flows_max.try_into().unwrap_or(u32::MAX),
            ..ledger.tables.features(table)
        })
    }
}

/// The tables that are asked for, in this order; an error if they make no pipeline.
fn pipeline(wanted: Vec<TableFeatures>, order: &[TableId]) -> Result<Pipeline, ErrorCode> {
    let mut asked = BTreeMap::new();
    for mut features in wanted {
        unmask_wildcards(&mut features);
        check(&features, order)?;
        let cut_down = !is_everything(&features);
        let offer = cut_down.then(|| Offer::new(&features));
        let table = features.table;
        if asked.insert(table, Asked { features, offer }).is_some() {
            return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TABLE);
        }
    }
    match asked.contains_key(&TableId(0)) {
        true => Ok(Pipeline(asked)),
        // Packets have to start somewhere (§5.1).
        false => Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TABLE),
    }
}

/// What a table can do that nobody cut down. Of the table-miss flow nothing is said: it can do
/// the same.
fn everything(table: TableId) -> TableFeatures {
    let miss = false;
    let is_last = table == TableId::LAST;
    let kinds = InstructionKind::ALL.iter().copied();
    let kinds = kinds.filter(|kind| !is_last || *kind != InstructionKind::GotoTable);
    let tables = (table.0 + 1..=TableId::LAST.0).map(TableId).collect();
    let settable = fields(is_settable, |_| false);
    let actions = ActionKind::ALL.to_vec();
    TableFeatures {
        table,
        // A name that nobody gave would only hide the number: `ovs-ofctl --names`.
        name: String::new(),
        metadata_match: u64::MAX,
        metadata_write: u64::MAX,
        config: 0,
        entries_max: 0,
        properties: vec![
            TableProperty::Instructions {
                miss,
                kinds: kinds.collect(),
            },
            TableProperty::NextTables { miss, tables },
            TableProperty::WriteActions {
                miss,
                kinds: actions.clone(),
            },
            TableProperty::ApplyActions {
                miss,
                kinds: actions,
            },
            TableProperty::Match(fields(|_| true, Field::maskable)),
            TableProperty::Wildcards(fields(|_| true, |_| false)),
            TableProperty::WriteSetField {
                miss,
                fields: settable.clone(),
            },
            TableProperty::ApplySetField {
                miss,
                fields: settable,
            },
        ],
    }
}

/// The fields of OpenFlow 1.3 that are wanted.
fn fields(wanted: fn(Field) -> bool, masked: fn(Field) -> bool) -> Vec<FieldFeature> {
    let fields = Field::ALL.iter().copied().filter(|field| v13_knows(*field));
    let fields = fields.filter(|field| wanted(*field));
    fields
        .map(|field| FieldFeature {
            field,
            masked: masked(field),
        })
        .collect()
}

/// Whether nothing is missing.
fn is_everything(features: &TableFeatures) -> bool {
    let whole = everything(features.table);
    let covered = |offered| {
        let mut same = features.properties.iter().filter(|p| same_kind(p, offered));
        same.all(|asked| covers(asked, offered))
    };
    features.metadata_match == u64::MAX
        && features.metadata_write == u64::MAX
        && whole.properties.iter().all(covered)
}

/// A field that may be left out may be left out whole. Who repeats the fields to match repeats
/// their masks, which say nothing here and which Open vSwitch takes amiss in an answer.
fn unmask_wildcards(features: &mut TableFeatures) {
    for property in &mut features.properties {
        if let TableProperty::Wildcards(fields) = property {
            fields.iter_mut().for_each(|field| field.masked = false);
        }
    }
}

/// Refuses what a table of a pipeline cannot be.
fn check(wanted: &TableFeatures, pipeline: &[TableId]) -> Result<(), ErrorCode> {
    if wanted.table > TableId::LAST {
        return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TABLE);
    }
    if wanted.config & !flows::CONFIG_DEPRECATED != 0 {
        return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT);
    }
    let offered = everything(wanted.table).properties;
    for (index, property) in wanted.properties.iter().enumerate() {
        check_property(property, &offered, pipeline)?;
        let twice = |earlier: &TableProperty| {
            same_kind(earlier, property) && earlier.is_about_miss() == property.is_about_miss()
        };
        if wanted.properties[..index].iter().any(twice) {
            return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT);
        }
    }
    let regular = |p: &&TableProperty| !p.is_about_miss();
    let complete = offered.iter().all(|offered| {
        let mut regular = wanted.properties.iter().filter(regular);
        regular.any(|asked| same_kind(asked, offered))
    });
    match complete {
        true => Ok(()),
        false => Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT),
    }
}

fn check_property(
    wanted: &TableProperty,
    offered: &[TableProperty],
    pipeline: &[TableId],
) -> Result<(), ErrorCode> {
    if let TableProperty::Experimenter { .. } = wanted {
        return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TYPE);
    }
    let possible = offered.iter().any(|offered| covers(offered, wanted));
    let reachable = match wanted {
        TableProperty::NextTables { tables, .. } => has(pipeline, tables),
        _ => true,
    };
    match possible && reachable {
        true => Ok(()),
        false => Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT),
    }
}

fn same_kind(a: &TableProperty, b: &TableProperty) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// Whether all that is wanted is among what is offered of the same kind.
fn covers(offered: &TableProperty, wanted: &TableProperty) -> bool {
    use TableProperty::*;
    match (offered, wanted) {
        (Instructions { kinds: all, .. }, Instructions { kinds: some, .. }) => has(all, some),
        (NextTables { tables: all, .. }, NextTables { tables: some, .. }) => has(all, some),
        (WriteActions { kinds: all, .. }, WriteActions { kinds: some, .. })
        | (ApplyActions { kinds: all, .. }, ApplyActions { kinds: some, .. }) => has(all, some),
        (Match(all), Match(some)) | (Wildcards(all), Wildcards(some)) => has_fields(all, some),
        (WriteSetField { fields: all, .. }, WriteSetField { fields: some, .. })
        | (ApplySetField { fields: all, .. }, ApplySetField { fields: some, .. }) => {
            has_fields(all, some)
        }
        _ => false,
    }
}

fn has<T: PartialEq>(all: &[T], some: &[T]) -> bool {
    some.iter().all(|wanted| all.contains(wanted))
}

/// A field that may be masked may also be used whole.
fn has_fields(all: &[FieldFeature], some: &[FieldFeature]) -> bool {
    some.iter().all(|wanted| {
        let offered = all.iter().find(|offered| offered.field == wanted.field);
        offered.is_some_and(|offered| offered.masked || !wanted.masked)
    })
}

/// The fields of OpenFlow 1.3; some others we match and set have no number there.
fn v13_knows(field: Field) -> bool {
    field <= Field::Ipv6Exthdr
}

/// What set-field may change: headers, and the key of a tunnel.
fn is_settable(field: Field) -> bool {
    let fixed = [
        Field::InPort,
        Field::InPhyPort,
        Field::Metadata,
        Field::Ipv6Exthdr,
    ];
    !fixed.contains(&field)
}

#[cfg(test)]
mod tests {
    use super::super::BridgeSpec;
    use super::*;

    fn switch() -> (Switch, BridgeId) {
        let mut switch = Switch::new();
        let bridge = switch.add_bridge(&BridgeSpec::default()).unwrap();
        (switch, bridge)
    }

    /// Tables 0 to 3, the first as `change` makes it.
    fn set(change: impl FnOnce(&mut TableFeatures)) -> Result<(Switch, BridgeId), ErrorCode> {
        let (mut switch, bridge) = switch();
        let mut wanted: Vec<_> = switch.table_features(bridge);
        wanted.truncate(4);
        for table in &mut wanted {
            for property in &mut table.properties {
                if let TableProperty::NextTables { tables, .. } = property {
                    tables.retain(|table| table.0 < 4);
                }
            }
        }
        change(&mut wanted[0]);
        switch.set_table_features(bridge, wanted)?;
        Ok((switch, bridge))
    }

    fn refused(change: impl FnOnce(&mut TableFeatures)) -> ErrorCode {
        set(change).unwrap_err()
    }

    #[test]
    fn all_tables_are_listed_and_what_is_listed_may_be_asked_for() {
        let (mut switch, bridge) = switch();
        let all = switch.table_features(bridge);
        assert_eq!(all.len(), 254);
        assert_eq!(all[5].entries_max, BridgeSpec::default().flows_max as u32);
        let (same, sweep) = switch.set_table_features(bridge, all.clone()).unwrap();
        assert!(same == all && sweep.is_none());
        let tables = &switch.ledgers[&bridge].tables;
        let asked = tables.asked.as_ref().unwrap();
        assert!(asked.0.values().all(|asked| asked.offer.is_none()));
    }

    #[test]
    fn the_request_is_the_whole_pipeline() {
        let (mut switch, bridge) = set(|table| table.name = "first".into()).unwrap();
        let now = switch.table_features(bridge);
        let names: Vec<_> = now.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["first", "", "", ""]);
        assert!(!switch.has_table(bridge, TableId(4)) && switch.has_table(bridge, TableId::ALL));
        let (fresh, id) = self::switch();
        let all = fresh.table_features(id);
        let (same, _) = switch.set_table_features(bridge, all.clone()).unwrap();
        assert_eq!(same, all);
        assert!(switch.has_table(bridge, TableId(253)), "and back");
    }

    #[test]
    fn a_cleared_bridge_has_every_table_again() {
        let (mut switch, bridge) = set(|table| table.name = "first".into()).unwrap();
        switch.clear(bridge);
        let (fresh, id) = self::switch();
        assert_eq!(switch.table_features(bridge), fresh.table_features(id));
    }

    #[test]
    fn the_answer_is_in_the_order_of_the_request() {
        let (mut switch, bridge) = switch();
        let mut wanted = switch.table_features(bridge);
        wanted.reverse();
        let (told, _) = switch.set_table_features(bridge, wanted.clone()).unwrap();
        assert_eq!(told, wanted);
    }

    #[test]
    fn masks_of_wildcards_say_nothing() {
        let same_as_match = |table: &mut TableFeatures| {
            let fields = fields(|_| true, Field::maskable);
            table.properties[5] = TableProperty::Wildcards(fields);
        };
        let (switch, bridge) = set(same_as_match).expect("a pipeline");
        let tables = switch.table_features(bridge);
        let wildcards = tables.iter().flat_map(|table| &table.properties);
        let mut fields = wildcards.filter_map(|property| match property {
            TableProperty::Wildcards(fields) => Some(fields),
            _ => None,
        });
        assert!(fields.all(|fields| fields.iter().all(|field| !field.masked)));
    }

    #[test]
    fn what_makes_no_pipeline_is_refused() {
        let bad_table = ErrorCode::TABLE_FEATURES_FAILED_BAD_TABLE;
        let bad_argument = ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT;
        let bad_type = ErrorCode::TABLE_FEATURES_FAILED_BAD_TYPE;
        assert_eq!(refused(|table| table.table = TableId(254)), bad_table);
        let renumbered = |number| {
            refused(|table| {
                let (miss, tables) = (false, Vec::new());
                table.table = TableId(number);
                table.properties[1] = TableProperty::NextTables { miss, tables };
            })
        };
        assert_eq!(renumbered(9), bad_table, "no table 0");
        assert_eq!(renumbered(1), bad_table, "table 1 twice");
        assert_eq!(refused(|table| table.config = 4), bad_argument);
        let next = |tables: Vec<TableId>| {
            move |table: &mut TableFeatures| {
                let miss = true;
                table
                    .properties
                    .push(TableProperty::NextTables { miss, tables });
            }
        };
        assert!(set(next(vec![TableId(3)])).is_ok());
        assert_eq!(refused(next(vec![TableId(0)])), bad_argument, "backwards");
        assert_eq!(refused(next(vec![TableId(4)])), bad_argument, "not there");
        let masked = |table: &mut TableFeatures| {
            let field = FieldFeature {
                field: Field::InPort,
                masked: true,
            };
            table.properties[4] = TableProperty::Match(vec![field]);
        };
        assert_eq!(refused(masked), bad_argument);
        let twice = |table: &mut TableFeatures| table.properties.push(table.properties[5].clone());
        assert_eq!(refused(twice), bad_argument);
        let missing = |table: &mut TableFeatures| drop(table.properties.remove(6));
        assert_eq!(refused(missing), bad_argument);
        let strange = |table: &mut TableFeatures| {
            let property = openflow::Experimenter {
                experimenter: 1,
                kind: 2,
                data: Vec::new(),
            };
            table.properties.push(TableProperty::Experimenter {
                miss: false,
                property,
            });
        };
        assert_eq!(refused(strange), bad_type);
        assert!(set(|table| table.entries_max = 1).is_ok(), "not for asking");
    }

    fn flow(table: u8, line: &str) -> FlowMod {
        let line = format!("table={table},{line}");
        openflow::text::flow::parse(&line, openflow::FlowModCommand::Add).unwrap()
    }

    #[test]
    fn flows_that_no_longer_fit_go_without_a_word() {
        let (mut switch, bridge) = switch();
        let mut wanted = switch.table_features(bridge);
        for (table, line) in [
            (0, "tcp,actions=drop"),
            (0, "udp,actions=drop"),
            (9, "actions=drop"),
        ] {
            let removed = switch.flow_mod(bridge, &flow(table, line), 0).unwrap();
            assert!(removed.is_empty());
        }
        wanted.truncate(2);
        for table in &mut wanted {
            let (miss, tables) = (false, Vec::new());
            table.properties[1] = TableProperty::NextTables { miss, tables };
            if let TableProperty::Match(fields) = &mut table.properties[4] {
                fields.retain(|feature| feature.field != Field::IpProto);
            }
        }
        wanted[1].properties = everything(TableId(1)).properties;
        wanted[1].properties[1] = wanted[0].properties[1].clone();
        switch.set_table_features(bridge, wanted).unwrap();
        let every = openflow::FlowStatsRequest::default();
        assert_eq!(switch.flows(bridge, &every).count(), 0);
        let bad_field = Err(ErrorCode::BAD_MATCH_BAD_FIELD);
        let refused = switch.flow_mod(bridge, &flow(0, "tcp,actions=drop"), 0);
        assert_eq!(refused.map(|_| ()), bad_field);
        assert!(
            switch
                .flow_mod(bridge, &flow(0, "ip,actions=drop"), 0)
                .is_ok()
        );
        assert!(
            switch
                .flow_mod(bridge, &flow(1, "tcp,actions=drop"), 0)
                .is_ok()
        );
        let gone = Err(ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID);
        for command in ["Add", "Modify", "Delete"] {
            let mut change = flow(9, "actions=drop");
            change.command = match command {
                "Add" => openflow::FlowModCommand::Add,
                "Modify" => openflow::FlowModCommand::Modify,
                _ => openflow::FlowModCommand::Delete,
            };
            let refused = switch.flow_mod(bridge, &change, 0).map(|_| ());
            assert_eq!(refused, gone, "{command}");
        }
    }
}
