//! What tables can do (OpenFlow 1.3.5 §7.3.5.5). Every table can do everything; a controller that
//! configures tables may ask for that or less, and name them.

use std::collections::BTreeMap;

use flowtable::Field;
use openflow::{
    ActionKind, ErrorCode, FieldFeature, InstructionKind, TableFeatures, TableId, TableProperty,
};

use crate::pipeline::limits;

/// The names that controllers gave to tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    names: BTreeMap<TableId, String>,
}

impl Tables {
    /// Checks that the tables can do what is wanted of them and takes their names. The answer is
    /// what the wanted tables can do; of all, if nothing is wanted.
    pub(super) fn configure(
        &mut self,
        wanted: Vec<TableFeatures>,
    ) -> Result<Vec<TableFeatures>, ErrorCode> {
        let mut names = BTreeMap::new();
        for table in &wanted {
            check(table)?;
            if names.insert(table.table, table.name.clone()).is_some() {
                return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TABLE);
            }
        }
        let asked: Vec<_> = names.keys().copied().collect();
        self.names.append(&mut names);
        let all = || (0..=TableId::LAST.0).map(TableId).collect();
        let tables: Vec<_> = if asked.is_empty() { all() } else { asked };
        Ok(tables
            .into_iter()
            .map(|table| self.features(table))
            .collect())
    }

    fn features(&self, table: TableId) -> TableFeatures {
        let name = self.names.get(&table).cloned();
        TableFeatures {
            table,
            name: name.unwrap_or_else(|| format!("table{table}")),
            metadata_match: u64::MAX,
            metadata_write: u64::MAX,
            config: 0,
            entries_max: limits::FLOWS_MAX as u32,
            properties: properties(table),
        }
    }
}

/// The properties of a table. What the table-miss flow can do is left out: it can do the same.
fn properties(table: TableId) -> Vec<TableProperty> {
    let miss = false;
    let is_last = table == TableId::LAST;
    let kinds = InstructionKind::ALL.iter().copied();
    let kinds = kinds
        .filter(|kind| !is_last || *kind != InstructionKind::GotoTable)
        .collect();
    let tables = (table.0 + 1..=TableId::LAST.0).map(TableId).collect();
    let fields = |wanted: fn(Field) -> bool, masked: fn(Field) -> bool| {
        let fields = Field::ALL.iter().copied().filter(|field| v13_knows(*field));
        let fields = fields.filter(|field| wanted(*field));
        fields
            .map(|field| FieldFeature {
                field,
                masked: masked(field),
            })
            .collect::<Vec<_>>()
    };
    let settable = || fields(is_settable, |_| false);
    vec![
        TableProperty::Instructions { miss, kinds },
        TableProperty::NextTables { miss, tables },
        TableProperty::WriteActions {
            miss,
            kinds: ActionKind::ALL.to_vec(),
        },
        TableProperty::ApplyActions {
            miss,
            kinds: ActionKind::ALL.to_vec(),
        },
        TableProperty::Match(fields(|_| true, Field::maskable)),
        TableProperty::Wildcards(fields(|_| true, |_| false)),
        TableProperty::WriteSetField {
            miss,
            fields: settable(),
        },
        TableProperty::ApplySetField {
            miss,
            fields: settable(),
        },
    ]
}

/// Refuses what a table cannot do.
fn check(table: &TableFeatures) -> Result<(), ErrorCode> {
    if table.table > TableId::LAST {
        return Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TABLE);
    }
    let possible = properties(table.table);
    let fits = |wanted: &TableProperty| match wanted {
        TableProperty::Experimenter { .. } => Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_TYPE),
        wanted if possible.iter().any(|offered| covers(offered, wanted)) => Ok(()),
        _ => Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT),
    };
    table.properties.iter().try_for_each(fits)?;
    match table.entries_max as usize <= limits::FLOWS_MAX {
        true => Ok(()),
        false => Err(ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT),
    }
}

/// Whether all that is wanted is among what is offered of the same kind.
fn covers(offered: &TableProperty, wanted: &TableProperty) -> bool {
    use TableProperty::*;
    match (offered, wanted) {
        (Instructions { kinds: all, .. }, Instructions { kinds: some, .. }) => has(all, some),
        (NextTables { tables: all, .. }, NextTables { tables: some, .. }) => has(all, some),
        (WriteActions { kinds: all, .. }, WriteActions { kinds: some, .. })
        | (ApplyActions { kinds: all, .. }, ApplyActions { kinds: some, .. }) => has(all, some),
        (Match(all), Match(some)) => has_fields(all, some),
        (Wildcards(all), Wildcards(some)) => has_fields(all, some),
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
    !matches!(
        field,
        Field::IpTtl | Field::MplsTtl | Field::IpFrag | Field::TcpFlags
    )
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
    use super::*;

    #[test]
    fn all_tables_are_listed_and_what_is_listed_may_be_asked_for() {
        let mut tables = Tables::default();
        let all = tables.configure(Vec::new()).unwrap();
        assert_eq!(all.len(), 254);
        assert_eq!(tables.configure(all.clone()), Ok(all));
    }

    #[test]
    fn a_part_may_be_asked_for_and_named() {
        let mut tables = Tables::default();
        let wanted = TableFeatures {
            table: TableId(3),
            name: "acl".into(),
            metadata_match: 0xff,
            metadata_write: 0,
            config: 0,
            entries_max: 100,
            properties: vec![
                TableProperty::NextTables {
                    miss: false,
                    tables: vec![TableId(4)],
                },
                TableProperty::Match(vec![FieldFeature {
                    field: Field::EthDst,
                    masked: false,
                }]),
            ],
        };
        let answer = tables.configure(vec![wanted]).unwrap();
        assert_eq!(
            (answer.len(), answer[0].table, answer[0].name.as_str()),
            (1, TableId(3), "acl")
        );
        assert_eq!(tables.configure(Vec::new()).unwrap()[3].name, "acl");
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let refused = |change: fn(&mut TableFeatures)| {
            let mut wanted = Tables::default()
                .configure(Vec::new())
                .unwrap()
                .swap_remove(9);
            change(&mut wanted);
            Tables::default().configure(vec![wanted]).unwrap_err()
        };
        let bad_table = ErrorCode::TABLE_FEATURES_FAILED_BAD_TABLE;
        let bad_argument = ErrorCode::TABLE_FEATURES_FAILED_BAD_ARGUMENT;
        assert_eq!(refused(|table| table.table = TableId(254)), bad_table);
        assert_eq!(refused(|table| table.entries_max = u32::MAX), bad_argument);
        let backwards = |table: &mut TableFeatures| {
            let tables = vec![TableId(9)];
            table
                .properties
                .push(TableProperty::NextTables { miss: true, tables });
        };
        assert_eq!(refused(backwards), bad_argument);
        let masked = |table: &mut TableFeatures| {
            let field = FieldFeature {
                field: Field::InPort,
                masked: true,
            };
            table.properties.push(TableProperty::Match(vec![field]));
        };
        assert_eq!(refused(masked), bad_argument);
    }
}
