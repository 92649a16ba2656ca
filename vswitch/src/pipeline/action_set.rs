//! The action set: at most one action of a kind, carried out in the order that the specification
//! gives (OpenFlow 1.3.5 §5.10), not in the order they came in. A bucket of a group is one, too.

use std::sync::Arc;

use openflow::{Action, Nicira};

/// Actions to be carried out at the end of the pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ActionSet(Vec<Action>);

impl ActionSet {
    /// Merges a list: an action takes the place of one of its kind.
    pub fn write(&mut self, list: &[Action]) {
        for action in list {
            self.0.retain(|old| !same_kind(old, action));
            self.0.push(action.clone());
        }
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The actions in the order they are to be carried out. A group excludes an output, and
    /// either a resubmit.
    pub fn ordered(&self) -> Arc<[Action]> {
        let group = self.has(|action| matches!(action, Action::Group(_)));
        let output = self.has(|action| matches!(action, Action::Output { .. }));
        let excluded = |action: &Action| match action {
            Action::Output { .. } => group,
            Action::Nicira(Nicira::Resubmit { .. }) => group || output,
            _ => false,
        };
        let mut list: Vec<_> = self.0.iter().filter(|a| !excluded(a)).cloned().collect();
        list.sort_by_key(rank);
        list.into()
    }

    fn has(&self, wanted: fn(&Action) -> bool) -> bool {
        self.0.iter().any(wanted)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn same_kind(a: &Action, b: &Action) -> bool {
    match (a, b) {
        (Action::SetField { field: a, .. }, Action::SetField { field: b, mask, .. }) => {
            a == b && *mask == b.ones()
        }
        // They change bits one after the other.
        (Action::Nicira(Nicira::Resubmit { .. }), Action::Nicira(Nicira::Resubmit { .. })) => true,
        (Action::Nicira(_), Action::Nicira(_)) => false,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// Place in the order. Pops are from the outside in.
fn rank(action: &Action) -> u8 {
    match action {
        Action::CopyTtlIn => 1,
        Action::PopVlan => 2,
        Action::PopMpls(_) => 3,
        Action::PopPbb => 4,
        Action::PushMpls(_) => 5,
        Action::PushPbb(_) => 6,
        Action::PushVlan(_) => 7,
        Action::CopyTtlOut => 8,
        Action::DecMplsTtl | Action::DecNwTtl => 9,
        Action::SetField { .. } | Action::SetMplsTtl(_) | Action::SetNwTtl(_) => 10,
        Action::SetQueue(_) => 11,
        Action::Group(_) => 12,
        Action::Nicira(Nicira::Resubmit { .. }) => 13,
        Action::Nicira(_) => 10,
        Action::Output { .. } => 13,
    }
}

#[cfg(test)]
mod tests {
    use flowtable::Field;
    use openflow::{GroupId, OfPort};

    use super::*;

    fn output(port: u32) -> Action {
        let port = OfPort(port);
        Action::Output { port, max_len: 0 }
    }

    fn set(field: Field, value: u128) -> Action {
        let mask = field.ones();
        Action::SetField { field, value, mask }
    }

    #[test]
    fn the_order_is_that_of_the_specification() {
        let mut actions = ActionSet::default();
        actions.write(&[
            output(1),
            set(Field::VlanVid, 0x1005),
            Action::DecNwTtl,
            Action::PushVlan(0x8100),
            Action::PushMpls(0x8847),
            Action::PopVlan,
            Action::CopyTtlIn,
        ]);
        let ordered = actions.ordered();
        assert_eq!(
            *ordered,
            [
                Action::CopyTtlIn,
                Action::PopVlan,
                Action::PushMpls(0x8847),
                Action::PushVlan(0x8100),
                Action::DecNwTtl,
                set(Field::VlanVid, 0x1005),
                output(1),
            ]
        );
    }

    #[test]
    fn one_of_a_kind_and_one_of_a_field() {
        let mut actions = ActionSet::default();
        actions.write(&[output(1), set(Field::EthDst, 1), set(Field::EthSrc, 2)]);
        actions.write(&[set(Field::EthDst, 3), output(2)]);
        let expected = [set(Field::EthSrc, 2), set(Field::EthDst, 3), output(2)];
        assert_eq!(*actions.ordered(), expected);
    }

    #[test]
    fn a_group_excludes_the_output() {
        let mut actions = ActionSet::default();
        actions.write(&[output(1), Action::Group(GroupId(7))]);
        assert_eq!(*actions.ordered(), [Action::Group(GroupId(7))]);
        actions.clear();
        assert!(actions.is_empty());
    }
}
