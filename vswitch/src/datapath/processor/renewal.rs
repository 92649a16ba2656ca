//! Entries of the flow cache that were made at an older epoch and are as good as new, since no
//! change since then concerns their packets ([`flowtable::Changed`]). Called by `engine` for a
//! batch with such entries: after each publication every flow meets it once.
//!
//! How: all packets of the batch take each step together, so that the loads of their accounts and
//! of the stamps of what changed, which are seldom at hand, overlap.

use arrayvec::ArrayVec;
use flowtable::{CodeNo, Question};
use pmd::{BATCH_MAX, Batch};

use super::engine::{Engine, Entry};
use crate::action::Account;

impl Engine {
    /// Makes hits of entries of an older epoch that no change since then concerns.
    pub(super) fn renew(&mut self, entry: &Entry, batch: &Batch, codes: &mut [CodeNo]) {
        self.parse_stale(entry, batch, codes);
        let mut places = ArrayVec::<_, BATCH_MAX>::new();
        let mut questions = ArrayVec::<_, BATCH_MAX>::new();
        for (index, code) in codes.iter().enumerate() {
            let Some(slot) = code.stale() else {
                continue;
            };
            let account = self.cache.account(slot);
            let scopes = account.and_then(|Account(program)| program.scopes);
            if let Some((scopes, since)) = scopes.zip(self.cache.epoch(slot)) {
                places.push((index, slot));
                questions.push(Question {
                    key: &self.parsed.keys[index],
                    scopes,
                    since,
                    is_concerned: false,
                });
            }
        }
        entry.state.changes().answer(&mut questions);
        let epoch = entry.state.epoch();
        for (question, (index, slot)) in questions.iter().zip(places) {
            if question.is_concerned {
                continue;
            }
            // A packet before this one may have renewed it.
            if self.cache.epoch(slot) != Some(epoch) {
                self.cache.renew(slot, epoch);
                self.tally.renewed += 1;
            }
            let bytes = self.parsed.bytes[index].into();
            codes[index] = self.cache.count(slot, 1, bytes, Account::credit);
        }
    }

    /// Parses packets with entries of an older epoch as deep as anything changed.
    fn parse_stale(&mut self, entry: &Entry, batch: &Batch, codes: &[CodeNo]) {
        let depth = entry.state.changes().depth();
        if depth <= entry.depth {
            return;
        }
        for (index, (code, packet)) in codes.iter().zip(batch).enumerate() {
            if code.stale().is_some() {
                self.parsed.parse(depth, entry.number, index, packet);
            }
        }
    }
}
