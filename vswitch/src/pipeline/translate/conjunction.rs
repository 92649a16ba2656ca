//! Conjunctions (ovs-fields(7), `conj_id`): flows that stand for a product of clauses.
//!
//! What: a flow with `conjunction(ID,K/N)` actions is a clause; it says nothing by itself. A packet
//! that matches flows of all N clauses, all of one priority, is looked up again with `conj_id` ID.
//! So an access list of a thousand sources and a thousand ports takes two thousand flows.
//!
//! How: the table finds the best flow as ever. Only if that is a clause, all flows that the packet
//! matches are gathered: the table visits the same lists of cells as before, one for each of its
//! hash tables, so that the cost grows with the masks and not with the members of a clause. From
//! the highest priority down, a flow that is no clause decides, before clauses of the same
//! priority; else the conjunctions are tried whose clauses are all there, lowest id first; clauses
//! that come to nothing are passed over.
//!
//! Why not clauses in a structure of their own: they are flows like others to controllers, which
//! list, count, change and delete them by match.

use openflow::{Action, Instructions, Nicira, TableId};

use flowtable::Rule;

use super::super::flow::FlowRef;
use super::super::table::Table;
use super::super::{Bridge, Trace, scope};
use super::strand::Strand;
use super::{Machine, way};

impl<'a, T: Trace<'a>> Machine<'a, '_, T> {
    /// The flow that decides about a packet whose best match is a clause.
    #[cold]
    pub(super) fn find_conjunction(
        &mut self,
        strand: &mut Strand<'a>,
        id: TableId,
        table: &'a Table,
    ) -> Option<Rule<'a>> {
        let bridge = strand.bridge;
        let matches = self.matches(strand, table);
        let mut rest = &matches[..];
        while let Some(priority) = rest.first().map(|rule| rule.priority()) {
            let same = rest.iter().take_while(|rule| rule.priority() == priority);
            let (group, lower) = rest.split_at(same.count());
            rest = lower;
            let mut plain = group.iter().filter(|rule| !is_clause(bridge, id, **rule));
            if let Some(rule) = plain.next() {
                return Some(*rule);
            }
            // It depends on them, whether they come to something or not.
            self.ask(scope::table(bridge.id, id), priority);
            self.trace.choose(way::clauses(priority));
            for conjunction in complete(bridge, id, group) {
                if let Some(rule) = self.find_with(strand, id, table, conjunction) {
                    return Some(rule);
                }
            }
        }
        None
    }

    /// The best flow of a packet with this `conj_id`, clauses aside.
    fn find_with(
        &mut self,
        strand: &mut Strand<'a>,
        id: TableId,
        table: &'a Table,
        conjunction: u32,
    ) -> Option<Rule<'a>> {
        self.trace.note(format_args!("conjunction {conjunction}"));
        strand.key.conjunction = conjunction;
        let matches = self.matches(strand, table);
        strand.key.conjunction = 0;
        let mut matches = matches.into_iter();
        matches.find(|rule| !is_clause(strand.bridge, id, *rule))
    }

    /// All flows that a packet matches, those of highest priority first.
    fn matches(&self, strand: &Strand<'a>, table: &'a Table) -> Vec<Rule<'a>> {
        let mut matches = Vec::new();
        table
            .rules
            .find_all(&strand.key, self.state.epoch(), |rule| matches.push(rule));
        matches.sort_by_key(|rule| std::cmp::Reverse(rule.priority()));
        matches
    }
}

/// Whether a flow with these instructions begins as clauses do.
#[inline(always)]
pub(super) fn may_be_clause(instructions: &Instructions) -> bool {
    let first = instructions.apply.as_deref().and_then(<[Action]>::first);
    matches!(
        first,
        Some(Action::Nicira(Nicira::Conjunction { .. } | Nicira::Note(_)))
    )
}

/// Whether a flow is a clause of a conjunction.
fn is_clause(bridge: &Bridge, table: TableId, rule: Rule<'_>) -> bool {
    clauses(bridge, table, rule).next().is_some()
}

/// The clauses that a flow is, of conjunctions of these ids and numbers of clauses. Flows that are
/// some have no other actions but notes.
fn clauses<'a>(
    bridge: &'a Bridge,
    table: TableId,
    rule: Rule<'a>,
) -> impl Iterator<Item = (u32, u8, u8)> + 'a {
    let instructions = FlowRef::new(bridge, table, rule).instructions();
    let list = instructions.and_then(|instructions| instructions.apply.as_deref());
    let list = list.unwrap_or_default().iter();
    let mut list = list.map_while(|action| match action {
        Action::Nicira(nicira @ (Nicira::Conjunction { .. } | Nicira::Note(_))) => Some(nicira),
        _ => None,
    });
    std::iter::from_fn(move || {
        list.find_map(|nicira| match *nicira {
            Nicira::Conjunction {
                id,
                clause,
                clauses,
            } => Some((id, clause, clauses)),
            _ => None,
        })
    })
}

/// Conjunctions of which all clauses are among some flows, lowest first.
fn complete(bridge: &Bridge, table: TableId, rules: &[Rule<'_>]) -> Vec<u32> {
    let all = rules.iter().flat_map(|rule| clauses(bridge, table, *rule));
    let mut all: Vec<(u32, u8, u8)> = all.collect();
    // Those of one conjunction together, by the number of clauses that they speak of.
    all.sort_unstable_by_key(|&(id, clause, clauses)| (id, clauses, clause));
    all.dedup();
    let groups = all.chunk_by(|a, b| (a.0, a.2) == (b.0, b.2));
    let whole = groups.filter(|group| group.len() == usize::from(group[0].2));
    whole.map(|group| group[0].0).collect()
}
