//! What the flows of a table may be: the part of its features that is checked on every flow
//! modification (OpenFlow 1.3.5 §7.3.5.5), as sets of bits.
//!
//! Every table can do everything; a controller that asks for less gets less. So a table that
//! nobody cut down has no offer, and its flows are not checked here at all.

use flowtable::{Field, Match};
use openflow::{
    Action, ErrorCode, FieldFeature, Instructions, TableFeatures, TableId, TableProperty,
};

/// What flows a table takes.
#[derive(Clone, Debug)]
pub struct Offer {
    metadata_match: u64,
    metadata_write: u64,
    matched: Fields,
    masked: Fields,
    wildcards: Fields,
    flow: Abilities,
    miss: Abilities,
}

/// What flows may do.
#[derive(Clone, Debug, Default)]
struct Abilities {
    /// Bit N: instruction N.
    instructions: u32,
    /// Bit N: table N.
    next: [u128; 2],
    write: Actions,
    apply: Actions,
}

/// What the actions of one instruction may be.
#[derive(Clone, Debug, Default)]
struct Actions {
    /// Bit N: action N.
    kinds: u32,
    /// Fields to set.
    fields: Fields,
}

/// A set of fields.
#[derive(Clone, Copy, Debug, Default)]
struct Fields([u128; 2]);

impl Offer {
    /// What these features offer. What they do not say of the table-miss flow is as it is for
    /// other flows.
    pub fn new(features: &TableFeatures) -> Offer {
        let mut offer = Offer {
            metadata_match: features.metadata_match,
            metadata_write: features.metadata_write,
            matched: Fields::default(),
            masked: Fields::default(),
            wildcards: Fields::default(),
            flow: Abilities::default(),
            miss: Abilities::default(),
        };
        // What is about both goes first, so that what is about the table-miss flow replaces it.
        for property in &features.properties {
            match property {
                TableProperty::Match(list) => {
                    offer.matched = Fields::of(list.iter());
                    offer.masked = Fields::of(list.iter().filter(|feature| feature.masked));
                }
                TableProperty::Wildcards(list) => offer.wildcards = Fields::of(list.iter()),
                _ if !property.is_about_miss() => {
                    offer.flow.take(property);
                    offer.miss.take(property);
                }
                _ => {}
            }
        }
        for property in &features.properties {
            if property.is_about_miss() {
                offer.miss.take(property);
            }
        }
        offer
    }

    /// Whether a flow can be in the table, and if not, why.
    pub fn check(
        &self,
        matching: &Match,
        is_miss: bool,
        instructions: &Instructions,
    ) -> Result<(), ErrorCode> {
        if !is_miss {
            self.check_match(matching)?;
        }
        let abilities = if is_miss { &self.miss } else { &self.flow };
        abilities.check(instructions)?;
        match instructions.metadata {
            Some((_, mask)) if mask & !self.metadata_write != 0 => {
                Err(ErrorCode::BAD_INSTRUCTION_UNSUP_METADATA_MASK)
            }
            Some((value, _)) if value & !self.metadata_write != 0 => {
                Err(ErrorCode::BAD_INSTRUCTION_UNSUP_METADATA)
            }
            _ => Ok(()),
        }
    }

    fn check_match(&self, matching: &Match) -> Result<(), ErrorCode> {
        let mut present = Fields::default();
        // Options are not what tables tell of themselves.
        let fields = matching
            .fields()
            .filter(|(field, ..)| !field.is_tunnel_option());
        for (field, _, mask) in fields {
            present.insert(field);
            if !self.matched.has(field) {
                return Err(ErrorCode::BAD_MATCH_BAD_FIELD);
            }
            let beyond = field == Field::Metadata && mask as u64 & !self.metadata_match != 0;
            if beyond || mask != field.ones() && !self.masked.has(field) {
                return Err(ErrorCode::BAD_MATCH_BAD_MASK);
            }
        }
        let left_out = Field::ALL.iter().any(|&field| {
            let required = self.matched.has(field) && !self.wildcards.has(field);
            required && !present.has(field) && !matching.missing_prerequisite(field)
        });
        match left_out {
            true => Err(ErrorCode::BAD_MATCH_BAD_WILDCARDS),
            false => Ok(()),
        }
    }
}

impl Abilities {
    /// Takes what a property says.
    fn take(&mut self, property: &TableProperty) {
        match property {
            TableProperty::Instructions { kinds, .. } => {
                self.instructions = bits(kinds.iter().map(|kind| *kind as u32));
            }
            TableProperty::NextTables { tables, .. } => {
                self.next = [0; 2];
                for table in tables {
                    self.next[usize::from(table.0 >> 7)] |= 1 << (table.0 & 127);
                }
            }
            TableProperty::WriteActions { kinds, .. } => {
                self.write.kinds = bits(kinds.iter().map(|kind| *kind as u32));
            }
            TableProperty::ApplyActions { kinds, .. } => {
                self.apply.kinds = bits(kinds.iter().map(|kind| *kind as u32));
            }
            TableProperty::WriteSetField { fields, .. } => {
                self.write.fields = Fields::of(fields.iter());
            }
            TableProperty::ApplySetField { fields, .. } => {
                self.apply.fields = Fields::of(fields.iter());
            }
            TableProperty::Match(_)
            | TableProperty::Wildcards(_)
            | TableProperty::Experimenter { .. } => {}
        }
    }

    fn check(&self, instructions: &Instructions) -> Result<(), ErrorCode> {
        let unknown = |kind: openflow::InstructionKind| self.instructions & 1 << kind as u32 == 0;
        if instructions.kinds().any(unknown) {
            return Err(ErrorCode::BAD_INSTRUCTION_UNSUP_INST);
        }
        if instructions.goto.is_some_and(|table| !self.reaches(table)) {
            return Err(ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID);
        }
        self.apply.check(instructions.apply.as_deref())?;
        self.write.check(instructions.write.as_deref())
    }

    fn reaches(&self, table: TableId) -> bool {
        self.next[usize::from(table.0 >> 7)] & 1 << (table.0 & 127) != 0
    }
}

impl Actions {
    fn check(&self, list: Option<&[Action]>) -> Result<(), ErrorCode> {
        for action in list.unwrap_or_default() {
            if action
                .kind()
                .is_none_or(|kind| self.kinds & 1 << kind as u32 == 0)
            {
                return Err(ErrorCode::BAD_ACTION_BAD_TYPE);
            }
            if let Action::SetField { field, .. } = action
                && !self.fields.has(*field)
            {
                return Err(ErrorCode::BAD_ACTION_BAD_SET_TYPE);
            }
        }
        Ok(())
    }
}

impl Fields {
    fn of<'a>(list: impl Iterator<Item = &'a FieldFeature>) -> Fields {
        let mut fields = Fields::default();
        list.for_each(|feature| fields.insert(feature.field));
        fields
    }

    fn insert(&mut self, field: Field) {
        let (word, bit) = place(field);
        self.0[word] |= bit;
    }

    fn has(self, field: Field) -> bool {
        let (word, bit) = place(field);
        self.0[word] & bit != 0
    }
}

/// Where a field is in a set.
fn place(field: Field) -> (usize, u128) {
    let number = field as usize;
    (number / 128, 1 << (number % 128))
}

fn bits(numbers: impl Iterator<Item = u32>) -> u32 {
    numbers.fold(0, |bits, number| bits | 1 << number)
}

const _: () = assert!(Field::ALL.len() <= 256, "a set of fields");

#[cfg(test)]
mod tests {
    use openflow::text::flow;
    use openflow::{ActionKind, FlowModCommand, InstructionKind};

    use super::*;

    fn field(field: Field, masked: bool) -> FieldFeature {
        FieldFeature { field, masked }
    }

    /// Port and masked destination may be matched, the port has to be; flows output, the
    /// table-miss flow drops.
    fn offer() -> Offer {
        let set = vec![field(Field::EthDst, false)];
        let matched = vec![
            field(Field::InPort, false),
            field(Field::EthDst, true),
            field(Field::EthSrc, false),
            field(Field::Metadata, true),
        ];
        let apply = [InstructionKind::ApplyActions, InstructionKind::GotoTable];
        let properties = vec![
            TableProperty::Instructions {
                miss: true,
                kinds: vec![InstructionKind::WriteMetadata],
            },
            TableProperty::Instructions {
                miss: false,
                kinds: [&apply[..], &[InstructionKind::WriteMetadata]].concat(),
            },
            TableProperty::NextTables {
                miss: false,
                tables: vec![TableId(1), TableId(200)],
            },
            TableProperty::ApplyActions {
                miss: false,
                kinds: vec![ActionKind::Output, ActionKind::SetField],
            },
            TableProperty::ApplySetField {
                miss: false,
                fields: set,
            },
            TableProperty::Match(matched),
            TableProperty::Wildcards(vec![
                field(Field::EthDst, false),
                field(Field::EthSrc, false),
                field(Field::Metadata, false),
            ]),
        ];
        Offer::new(&TableFeatures {
            table: TableId(0),
            name: String::new(),
            metadata_match: 0xff,
            metadata_write: 0xf,
            config: 0,
            entries_max: 0,
            properties,
        })
    }

    fn check(line: &str) -> Result<(), ErrorCode> {
        let flow = flow::parse(line, FlowModCommand::Add).unwrap();
        let is_miss = flow.priority == 0 && flow.matching.is_empty();
        offer().check(&flow.matching, is_miss, &flow.instructions)
    }

    #[test]
    fn matches_are_checked() {
        assert_eq!(check("in_port=1,actions=drop"), Ok(()));
        let masked = "in_port=1,dl_dst=02:00:00:00:00:00/fe:00:00:00:00:00,actions=drop";
        assert_eq!(check(masked), Ok(()));
        let bad_mask = Err(ErrorCode::BAD_MATCH_BAD_MASK);
        let masked = "in_port=1,dl_src=02:00:00:00:00:00/fe:00:00:00:00:00,actions=drop";
        assert_eq!(check(masked), bad_mask);
        assert_eq!(check("in_port=1,metadata=1/0xff,actions=drop"), Ok(()));
        assert_eq!(check("in_port=1,metadata=1/0x100,actions=drop"), bad_mask);
        let bad_field = Err(ErrorCode::BAD_MATCH_BAD_FIELD);
        assert_eq!(check("in_port=1,ip,actions=drop"), bad_field);
        let left_out = Err(ErrorCode::BAD_MATCH_BAD_WILDCARDS);
        assert_eq!(check("dl_src=02:00:00:00:00:01,actions=drop"), left_out);
    }

    #[test]
    fn instructions_and_actions_are_checked() {
        for (line, answer) in [
            ("output:1", Ok(())),
            ("set_field:02:00:00:00:00:01->eth_dst,output:1", Ok(())),
            (
                "set_field:02:00:00:00:00:01->eth_src,output:1",
                Err(ErrorCode::BAD_ACTION_BAD_SET_TYPE),
            ),
            ("group:1", Err(ErrorCode::BAD_ACTION_BAD_TYPE)),
            ("goto_table:200", Ok(())),
            ("goto_table:2", Err(ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID)),
            ("clear_actions", Err(ErrorCode::BAD_INSTRUCTION_UNSUP_INST)),
            ("write_metadata:3/0xf", Ok(())),
            (
                "write_metadata:3/0x1f",
                Err(ErrorCode::BAD_INSTRUCTION_UNSUP_METADATA_MASK),
            ),
        ] {
            assert_eq!(
                check(&format!("in_port=1,actions={line}")),
                answer,
                "{line}"
            );
        }
    }

    #[test]
    fn the_table_miss_flow_is_judged_by_its_own_properties() {
        assert_eq!(check("priority=0,actions=drop"), Ok(()));
        assert_eq!(check("priority=0,actions=write_metadata:1/1"), Ok(()));
        let unsupported = Err(ErrorCode::BAD_INSTRUCTION_UNSUP_INST);
        assert_eq!(check("priority=0,actions=output:1"), unsupported);
    }
}
