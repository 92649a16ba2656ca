//! The two sides of a program, each of which the flow cache keeps once for all flows that have it:
//! what is done, and what it is counted in.
//!
//! What stands behind an `Arc` and changes (meters, counters) is the same only if it is the same
//! one. Hashes are taken of what tells most programs apart, not of everything: a packet whose flow
//! the cache does not know waits for them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flowtable::Counts;

use super::{Counted, Op, Program};

/// A program as what is done to a packet: its operations, and why the packet goes nowhere.
#[derive(Clone, Debug)]
pub struct Routine(pub Arc<Program>);

/// A program as what a packet is counted in, and what the program depends on.
#[derive(Clone, Debug)]
pub struct Account(pub Arc<Program>);

impl Program {
    /// Adds what was counted to the counters of the rules.
    pub fn credit(&self, counts: Counts) {
        for counters in &self.counters {
            counters.add(counts.packets, counts.bytes, counts.used_ms);
        }
        if counts.packets > 0 {
            let heard_s = (counts.used_ms / 1000) as u32;
            for heard in &self.heard {
                heard.0.fetch_max(heard_s, Ordering::Relaxed);
            }
        }
    }
}

impl PartialEq for Routine {
    fn eq(&self, other: &Routine) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        Arc::ptr_eq(ours, theirs) || ours.ops == theirs.ops && ours.drop == theirs.drop
    }
}

impl Eq for Routine {}

impl Hash for Routine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for op in &self.0.ops {
            match op {
                Op::Output(port) => state.write_u64(u64::from(port.0)),
                Op::SetField { field, value, .. } => {
                    state.write_u64((*field as u64) << 56 ^ *value as u64);
                }
                Op::PushVlan(kind) | Op::PushMpls(kind) | Op::PopMpls(kind) => {
                    state.write_u64(u64::from(*kind) << 40);
                }
                Op::Recirculate(point) => state.write_u64(u64::from(*point) << 8),
                _ => state.write_u64(1 << 63),
            }
        }
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Account) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        let heard = || ours.heard.iter().map(Arc::as_ptr);
        Arc::ptr_eq(ours, theirs)
            || ours.counters == theirs.counters
                && ours.scopes == theirs.scopes
                && heard().eq(theirs.heard.iter().map(Arc::as_ptr))
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for counted in &self.0.counters {
            if let Counted::Flow(flow) = counted {
                state.write_u64(flow.serial());
            }
        }
        for heard in &self.0.heard {
            state.write_usize(Arc::as_ptr(heard) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Counters, DropReason, PortNo};
    use flowtable::{Field, Scopes};
    use std::hash::{BuildHasher, RandomState};

    fn program(port: u32, counters: &Arc<Counters>) -> Program {
        let set = Op::SetField {
            field: Field::EthDst,
            value: 7,
            mask: u128::MAX,
        };
        Program {
            ops: [set, Op::Output(PortNo(port))].into(),
            counters: [Counted::from(counters)].into(),
            ..Program::default()
        }
    }

    fn sides(program: Program) -> (Routine, Account) {
        let program = Arc::new(program);
        (Routine(Arc::clone(&program)), Account(program))
    }

    #[test]
    fn sides_are_equal_if_they_do_and_count_the_same() {
        let counters = [Arc::default(), Arc::default()];
        let (routine, account) = sides(program(1, &counters[0]));
        let (same, other) = sides(program(1, &counters[1]));
        assert_eq!(routine, same);
        assert_ne!(account, other, "counters that both read 0 are not the same");
        let (other, same_account) = sides(program(2, &counters[0]));
        assert_eq!(account, same_account);
        assert_ne!(routine, other);
        let state = RandomState::new();
        assert_eq!(state.hash_one(&routine), state.hash_one(&same));
        assert_eq!(state.hash_one(&account), state.hash_one(&same_account));
    }

    #[test]
    fn reasons_and_scopes_tell_programs_apart() {
        let counters = Arc::default();
        let (routine, account) = sides(program(1, &counters));
        let (dropped, same) = sides(Program {
            drop: Some(DropReason::NoOutput),
            ..program(1, &counters)
        });
        assert_ne!(routine, dropped);
        assert_eq!(account, same);
        let (same, scoped) = sides(Program {
            scopes: Some(Scopes::default()),
            ..program(1, &counters)
        });
        assert_eq!(routine, same);
        assert_ne!(account, scoped);
    }
}
