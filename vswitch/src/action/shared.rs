//! The two sides of a program, each of which the flow cache keeps once for all flows that have it:
//! what is done, and what it is counted in.
//!
//! What stands behind an `Arc` and changes (meters, counters) is the same only if it is the same
//! one.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use flowtable::{Counts, FlowCache};
use foldhash::fast::RandomState;

use super::{DropReason, Op, Program, Quick, Straight};

/// A program as what is done to a packet: its operations, why the packet goes nowhere, and where on
/// the way it is counted.
#[derive(Clone, Debug)]
pub struct Routine(pub Arc<Program>);

/// A program as what a packet is counted in, and what the program depends on.
#[derive(Clone, Debug)]
pub struct Account(pub Arc<Program>);

/// The flow cache of a worker.
pub type Cache = FlowCache<Routine, Account>;

impl Account {
    /// Adds what was counted to the counters of the rules.
    pub fn credit(&self, counts: Counts) {
        self.credit_ended(u16::MAX, counts);
    }

    /// Adds packets that ended with this edit to the counters of the rules that they met.
    pub fn credit_ended(&self, edit: u16, counts: Counts) {
        let Account(program) = self;
        let certain = program.counters.len().saturating_sub(program.behind.len());
        let behind = std::iter::repeat_n(&0, certain).chain(&program.behind);
        for (counters, _) in program
            .counters
            .iter()
            .zip(behind)
            .filter(|it| *it.1 <= edit)
        {
            counters.add(counts.packets, counts.bytes, counts.used_ms);
        }
        if counts.packets > 0 {
            let heard_s = (counts.used_ms / 1000) as u32;
            for heard in &program.heard {
                heard.0.fetch_max(heard_s, Ordering::Relaxed);
            }
        }
    }
}

/// Hashes of a program's two sides, made once: a packet whose flow the cache does not know need not
/// wait for them. They depend on a secret of the process, since operations may name addresses that
/// packets choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    routine: u64,
    account: u64,
}

impl Program {
    /// The program with its hashes and the form in which it runs, to be called when all else is in
    /// it.
    pub fn sealed(mut self) -> Program {
        self.straight = Straight::of(&mut self).map(Box::new);
        self.quick = self.straight.as_deref().and_then(Quick::of);
        let heard: Vec<_> = self.heard.iter().map(Arc::as_ptr).collect();
        self.hashes = Hashes {
            routine: HASHER.hash_one((&self.ops, self.drop)),
            account: HASHER.hash_one((&self.counters, heard)),
        };
        self
    }
}

impl PartialEq for Routine {
    fn eq(&self, other: &Routine) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        Arc::ptr_eq(ours, theirs)
            || ours.ops == theirs.ops && ours.drop == theirs.drop && ours.behind == theirs.behind
    }
}

impl Eq for Routine {}

impl Hash for Routine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hashes.routine);
    }
}

/// What a routine hashes as that does this, and is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Likeness<'a> {
    /// [`Program::ops`].
    pub ops: &'a [Op],
    /// [`Program::drop`].
    pub drop: Option<DropReason>,
}

impl Likeness<'_> {
    /// Whether a routine does just this.
    #[inline]
    pub fn is_of(&self, routine: &Routine) -> bool {
        *self.ops == *routine.0.ops && self.drop == routine.0.drop
    }
}

impl Hash for Likeness<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(HASHER.hash_one((self.ops, self.drop)));
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Account) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        let heard = || ours.heard.iter().map(Arc::as_ptr);
        Arc::ptr_eq(ours, theirs)
            || ours.counters == theirs.counters
                && ours.behind == theirs.behind
                && ours.scopes == theirs.scopes
                && heard().eq(theirs.heard.iter().map(Arc::as_ptr))
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hashes.account);
    }
}

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{BridgeId, Counted, Counters, DropReason, Learn, Op, PortNo};
    use flowtable::{Field, Scopes};
    use std::collections::BTreeSet;

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
        let program = Arc::new(program.sealed());
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
        assert_eq!(HASHER.hash_one(&routine), HASHER.hash_one(&same));
        assert_eq!(HASHER.hash_one(&account), HASHER.hash_one(&same_account));
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

    #[test]
    fn addresses_that_are_to_be_learned_have_hashes_of_their_own() {
        let learn = |mac| Program {
            ops: [Op::Learn(Learn {
                bridge: BridgeId(0),
                vlan: 0,
                mac,
                port: PortNo(1),
            })]
            .into(),
            ..Program::default()
        };
        // Else a flood of new senders would make long lists.
        let hashes: BTreeSet<_> = (0..1000)
            .map(|mac| learn(mac).sealed().hashes.routine)
            .collect();
        assert_eq!(hashes.len(), 1000);
    }
}
