//! Tables: statistics, modification, features (OpenFlow 1.3.5 §7.3.3, §7.3.5.4, §7.3.5.5).

use flowtable::Field;

use crate::{ActionKind, InstructionKind, TableId};

/// Table modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMod {
    /// Which table; [`TableId::ALL`] for all.
    pub table: TableId,
    /// `ofp_table_config`: deprecated bits, 0 in 1.3.
    pub config: u32,
}

/// Statistics of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStats {
    /// Which table.
    pub table: TableId,
    /// Flows in it.
    pub active: u32,
    /// Packets looked up.
    pub lookups: u64,
    /// Packets that matched a flow.
    pub matched: u64,
}

/// A field in a list of what a table can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldFeature {
    /// The field.
    pub field: Field,
    /// Whether it may be masked.
    pub masked: bool,
}

/// Something a table can do (`ofp_table_feature_prop_type`). `miss` says it is about the
/// table-miss flow, where that differs from other flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableProperty {
    /// Instructions.
    Instructions {
        /// For the table-miss flow.
        miss: bool,
        /// Which.
        kinds: Vec<InstructionKind>,
    },
    /// Tables to go on with.
    NextTables {
        /// For the table-miss flow.
        miss: bool,
        /// Which.
        tables: Vec<TableId>,
    },
    /// Actions of the write-actions instruction.
    WriteActions {
        /// For the table-miss flow.
        miss: bool,
        /// Which.
        kinds: Vec<ActionKind>,
    },
    /// Actions of the apply-actions instruction.
    ApplyActions {
        /// For the table-miss flow.
        miss: bool,
        /// Which.
        kinds: Vec<ActionKind>,
    },
    /// Fields that may be matched.
    Match(Vec<FieldFeature>),
    /// Fields that may be left out of a match.
    Wildcards(Vec<FieldFeature>),
    /// Fields that the write-actions instruction may set.
    WriteSetField {
        /// For the table-miss flow.
        miss: bool,
        /// Which.
        fields: Vec<FieldFeature>,
    },
    /// Fields that the apply-actions instruction may set.
    ApplySetField {
        /// For the table-miss flow.
        miss: bool,
        /// Which.
        fields: Vec<FieldFeature>,
    },
    /// A property of an experimenter.
    Experimenter {
        /// For the table-miss flow.
        miss: bool,
        /// What it says.
        property: crate::Experimenter,
    },
}

impl TableProperty {
    /// Whether it is about the table-miss flow alone.
    pub fn is_about_miss(&self) -> bool {
        match self {
            TableProperty::Instructions { miss, .. }
            | TableProperty::NextTables { miss, .. }
            | TableProperty::WriteActions { miss, .. }
            | TableProperty::ApplyActions { miss, .. }
            | TableProperty::WriteSetField { miss, .. }
            | TableProperty::ApplySetField { miss, .. }
            | TableProperty::Experimenter { miss, .. } => *miss,
            TableProperty::Match(_) | TableProperty::Wildcards(_) => false,
        }
    }
}

/// What a table can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFeatures {
    /// Which table.
    pub table: TableId,
    /// Name, up to 31 bytes.
    pub name: String,
    /// Metadata bits that may be matched.
    pub metadata_match: u64,
    /// Metadata bits that may be written.
    pub metadata_write: u64,
    /// `ofp_table_config`.
    pub config: u32,
    /// Most flows it can hold.
    pub entries_max: u32,
    /// The rest.
    pub properties: Vec<TableProperty>,
}
