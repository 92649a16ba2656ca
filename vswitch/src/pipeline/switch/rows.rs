//! The rows of flows: one for each flow, with its counters, where it is, and what flow has the
//! same cookie. A modification leaves the row as it is, so its number names the flow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowtable::{Rows, RuleId};
use openflow::TableId;

use crate::action::FlowCounters;

/// The rows of a bridge's flows.
#[derive(Debug)]
pub struct FlowRows {
    rows: Arc<Rows>,
    /// Rows that were ever used.
    count: u32,
    free: Vec<u32>,
    /// Rows of flows that went.
    retired: VecDeque<Retired>,
    /// Rows that belong to nobody, with the epoch from which on nobody counts in them.
    limbo: VecDeque<(u64, u32)>,
    /// Serial number of the last flow.
    serial: u64,
    /// The newest flow of each cookie.
    cookies: BTreeMap<u64, u32>,
    /// Flows that came since rows were last made free.
    added: usize,
}

/// The row of a flow that went.
#[derive(Clone, Copy, Debug)]
struct Retired {
    row: u32,
    lists: Lists,
    /// From this epoch on nobody sees the flow.
    epoch: u64,
}

/// The lists that the row of a flow is in.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    /// Number of its instructions.
    pub instructions: u32,
    /// Its cookie.
    pub cookie: u64,
}

impl Lists {
    /// It has left them.
    const NONE: Lists = Lists {
        instructions: NONE,
        cookie: 0,
    };
}

impl FlowRows {
    /// No flows.
    pub fn new() -> FlowRows {
        FlowRows::after(0)
    }

    /// No flows. The first will have the serial number after this one.
    pub fn after(serial: u64) -> FlowRows {
        FlowRows {
            rows: Arc::new(Rows::new(WORDS)),
            count: 0,
            free: Vec::new(),
            retired: VecDeque::new(),
            limbo: VecDeque::new(),
            serial,
            cookies: BTreeMap::new(),
            added: 0,
        }
    }

    /// Serial number of the last flow.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// What workers count in.
    pub fn shared(&self) -> &Arc<Rows> {
        &self.rows
    }

    /// A row for a new flow; `None` if there is no room.
    pub fn add(&mut self, cookie: u64) -> Option<u32> {
        let row = match self.free.pop() {
            Some(row) => row,
            None => {
                self.rows.grow(self.count)?;
                self.count += 1;
                self.count - 1
            }
        };
        self.serial += 1;
        self.added += 1;
        FlowCounters::give(self.rows.get(row)?, self.serial);
        self.set(row, DEADLINE, 0);
        self.join(row, cookie);
        Some(row)
    }

    /// Gives up the row of a flow that is there until `epoch` and has left its lists.
    pub fn retire(&mut self, row: u32, epoch: u64) {
        self.retire_listed(row, Lists::NONE, epoch);
    }

    /// The same of a flow that leaves these lists when its row is made free: until then, who goes
    /// along them passes rows without a flow.
    pub fn retire_listed(&mut self, row: u32, lists: Lists, epoch: u64) {
        self.retired.push_back(Retired { row, lists, epoch });
    }

    /// A flow that goes on has another cookie.
    pub fn change_cookie(&mut self, row: u32, old: u64, new: u64) {
        if old != new {
            self.leave(row, old);
            self.join(row, new);
        }
    }

    /// Notes where a flow is.
    pub fn set_home(&self, row: u32, table: TableId, rule: RuleId) {
        let place = u64::from(rule.tuple) << 32 | u64::from(rule.cell);
        self.set(row, HOME, u64::from(table.0) << 56 | place);
    }

    /// Notes that a flow went, or that it goes on in another row.
    pub fn set_gone(&self, row: u32, next: Option<u32>) {
        self.set(row, HOME, NOWHERE | u64::from(next.unwrap_or(NONE)));
    }

    /// The row in which a flow goes on that is not in this one any more.
    pub fn next(&self, row: u32) -> Option<u32> {
        let home = self.load(row, HOME);
        let next = home as u32;
        (home & NOWHERE == NOWHERE && next != NONE).then_some(next)
    }

    /// Where a flow is; nowhere if it went.
    pub fn home(&self, row: u32) -> (TableId, RuleId) {
        let home = self.load(row, HOME);
        let rule = RuleId {
            tuple: (home >> 32) as u32 & TUPLE_MAX,
            cell: home as u32,
        };
        (TableId((home >> 56) as u8), rule)
    }

    /// When to look whether the flow has ended, 0 for never.
    pub fn deadline_ms(&self, row: u32) -> u64 {
        self.load(row, DEADLINE)
    }

    /// Sets that.
    pub fn set_deadline_ms(&self, row: u32, deadline_ms: u64) {
        self.set(row, DEADLINE, deadline_ms);
    }

    /// When the flow was used last.
    pub fn used_ms(&self, row: u32) -> u64 {
        let counters = FlowCounters::of_row(&self.rows, row);
        counters.map_or(0, |counters| counters.read().2)
    }

    /// A flow whose counters begin anew is in use as that before was: its idle time goes on.
    pub fn use_as(&self, row: u32, before: u32) {
        if let Some(counters) = FlowCounters::of_row(&self.rows, row) {
            counters.add(0, 0, self.used_ms(before));
        }
    }

    /// Flows whose cookies are like this in the bits of `mask`. Looks at these alone if the bits
    /// are the upper ones, else at every cookie that is in use.
    ///
    /// Every step of the search is one item, without a flow if it found none.
    pub fn with_cookie(&self, cookie: u64, mask: u64) -> impl Iterator<Item = Option<u32>> {
        let upper = match mask.leading_ones() {
            0 => 0,
            bits => u64::MAX << (64 - bits),
        };
        let range = cookie & upper..=cookie & upper | !upper;
        let cookies = self.cookies.range(range);
        cookies.flat_map(move |(other, newest)| {
            let is_wanted = (other ^ cookie) & mask == 0;
            let flows = is_wanted.then(|| self.list(LINKS, *newest).map(Some));
            let other = (!is_wanted).then_some(None);
            flows.into_iter().flatten().chain(other)
        })
    }

    /// Makes rows free that nobody uses any more; readers are at `oldest` or later, changes are
    /// made for `epoch`. At most `steps` at a time, or a few for each flow that came meanwhile.
    /// Whoever `leave_alike` is told leaves the list of those with its instructions. Whether there
    /// may be more that can be made free at once.
    pub fn maintain(
        &mut self,
        (oldest, epoch): (u64, u64),
        steps: usize,
        mut leave_alike: impl FnMut(&FlowRows, u32, u32),
    ) -> bool {
        let steps = steps.max(std::mem::take(&mut self.added) * STEPS_PER_FLOW);
        let mut left = steps;
        while left > 0
            && let Some(retired) = self.retired.pop_front_if(|retired| retired.epoch <= oldest)
        {
            left -= 1;
            let Retired { row, lists, .. } = retired;
            if lists.instructions != NONE {
                self.leave(row, lists.cookie);
                leave_alike(self, lists.instructions, row);
            }
            if let Some(words) = self.rows.get(row) {
                FlowCounters::give(words, 0);
            }
            self.limbo.push_back((epoch, row));
        }
        while let Some((_, row)) = self.limbo.pop_front_if(|unused| unused.0 <= oldest) {
            self.free.push(row);
        }
        if self.retired.is_empty() {
            self.retired.shrink_to(QUEUE_KEPT);
        }
        if self.limbo.is_empty() {
            self.limbo.shrink_to(QUEUE_KEPT);
        }
        left == 0
    }

    /// Rows that wait for their last readers.
    pub fn waiting(&self) -> usize {
        self.retired.len() + self.limbo.len()
    }

    /// A flow has this cookie now, and had none.
    pub fn join(&mut self, row: u32, cookie: u64) {
        let older = self.cookies.insert(cookie, row).unwrap_or(NONE);
        self.link(LINKS, row, older);
    }

    /// A flow does not have this cookie any more.
    pub fn leave(&mut self, row: u32, cookie: u64) {
        match self.unlink(LINKS, row) {
            (NONE, NONE) => drop(self.cookies.remove(&cookie)),
            (NONE, older) => drop(self.cookies.insert(cookie, older)),
            _ => {}
        }
    }

    /// A flow does the same now as the list of flows that begins with `newest`: the first of the
    /// list is this one now.
    pub fn join_alike(&self, row: u32, newest: u32) {
        self.link(ALIKE, row, newest);
    }

    /// A flow does not do the same any more as others; the first of the list then, which was
    /// `newest`.
    pub fn leave_alike(&self, row: u32, newest: u32) -> u32 {
        let (_, older) = self.unlink(ALIKE, row);
        if newest == row { older } else { newest }
    }

    /// The flows of the list that begins with `newest`.
    pub fn alike(&self, newest: u32) -> impl Iterator<Item = u32> {
        self.list(ALIKE, newest)
    }

    /// Puts a row before the first of a list.
    fn link(&self, word: usize, row: u32, older: u32) {
        self.set_links(word, row, NONE, older);
        if older != NONE {
            let next = self.load(older, word) as u32;
            self.set_links(word, older, row, next);
        }
    }

    /// Takes a row out of its list; the rows next to it, newer and older.
    fn unlink(&self, word: usize, row: u32) -> (u32, u32) {
        let links = self.load(row, word);
        let (newer, older) = ((links >> 32) as u32, links as u32);
        if newer != NONE {
            let before = (self.load(newer, word) >> 32) as u32;
            self.set_links(word, newer, before, older);
        }
        if older != NONE {
            let next = self.load(older, word) as u32;
            self.set_links(word, older, newer, next);
        }
        (newer, older)
    }

    fn list(&self, word: usize, newest: u32) -> impl Iterator<Item = u32> {
        let first = (newest != NONE).then_some(newest);
        std::iter::successors(first, move |row| match self.load(*row, word) as u32 {
            NONE => None,
            older => Some(older),
        })
    }

    fn set_links(&self, word: usize, row: u32, newer: u32, older: u32) {
        self.set(row, word, u64::from(newer) << 32 | u64::from(older));
    }

    fn word(&self, row: u32, word: usize) -> Option<&AtomicU64> {
        self.rows.get(row)?.get(word)
    }

    fn load(&self, row: u32, word: usize) -> u64 {
        self.word(row, word)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn set(&self, row: u32, word: usize, value: u64) {
        if let Some(word) = self.word(row, word) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// For each flow that comes so many rows are made free if they wait: those that wait are then never
/// more than there were flows at one time.
const STEPS_PER_FLOW: usize = 2;
/// Room that an empty queue keeps.
const QUEUE_KEPT: usize = 1024;
/// Where the flow is: table, tuple, cell.
const HOME: usize = FlowCounters::WORDS;
/// In that word: no table has such a number. The lower half may be another row.
const NOWHERE: u64 = 0xffff_ffff << 32;
/// The next newer and older flow of the same cookie.
const LINKS: usize = HOME + 1;
/// When to look whether it has ended.
const DEADLINE: usize = HOME + 2;
/// The next newer and older flow that does the same.
const ALIKE: usize = HOME + 3;
const WORDS: usize = HOME + 4;
/// No row has this number.
pub const NONE: u32 = u32::MAX;
/// Numbers of tuples have 24 bits: a table has fewer flows than that.
const TUPLE_MAX: u32 = 0xff_ffff;
const _: () = assert!(super::limits::FLOWS_MAX < TUPLE_MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &FlowRows, cookie: u64, mask: u64) -> Vec<u32> {
        let mut list: Vec<_> = rows.with_cookie(cookie, mask).flatten().collect();
        list.sort_unstable();
        list
    }

    #[test]
    fn flows_are_found_by_any_bits_of_their_cookies() {
        let mut rows = FlowRows::new();
        let cookies = [0x1_0000, 0x1_0001, 0x2_0000, 0x2_0001, 0x1_0000, 0];
        let numbers = cookies.map(|cookie| rows.add(cookie).expect("room"));
        assert_eq!(found(&rows, 0x1_0000, !0), [numbers[0], numbers[4]]);
        assert_eq!(found(&rows, 0x1_0000, !0xffff), [0, 1, 4]);
        assert_eq!(found(&rows, 1, 0xffff), [1, 3]);
        assert_eq!(found(&rows, 7, 0), [0, 1, 2, 3, 4, 5]);
        rows.leave(4, 0x1_0000);
        rows.change_cookie(3, 0x2_0001, 0x1_0000);
        assert_eq!(found(&rows, 0x1_0000, !0), [0, 3]);
        rows.leave(0, 0x1_0000);
        assert_eq!(found(&rows, 0x1_0000, !0), [3]);
        rows.leave(3, 0x1_0000);
        assert!(found(&rows, 0x1_0000, !0).is_empty());
    }

    #[test]
    fn flows_that_went_leave_their_lists_a_few_at_a_time() {
        let mut rows = FlowRows::new();
        for cookie in [7, 7, 8, 9] {
            rows.add(cookie).expect("room");
        }
        rows.maintain((0, 1), 1, |_, _, _| ());
        for (row, cookie) in [(1, 7), (2, 8), (0, 7)] {
            let instructions = row + 10;
            rows.retire_listed(
                row,
                Lists {
                    instructions,
                    cookie,
                },
                5,
            );
        }
        let mut told = Vec::new();
        let mut maintain = |rows: &mut FlowRows| {
            rows.maintain((5, 6), 2, |_, number, row| told.push((number, row)))
        };
        assert!(maintain(&mut rows));
        assert_eq!(found(&rows, 0, 0), [0, 3]);
        assert!(!maintain(&mut rows));
        assert_eq!(found(&rows, 0, 0), [3]);
        assert_eq!(told, [(11, 1), (12, 2), (10, 0)]);
    }

    #[test]
    fn a_row_is_used_again_once_nobody_can_count_in_it() {
        let mut rows = FlowRows::new();
        let row = rows.add(0).expect("room");
        let counters = FlowCounters::of_row(rows.shared(), row).expect("made");
        rows.leave(row, 0);
        rows.retire(row, 5);
        let none_alike = |_: &FlowRows, _, _| panic!("it has left");
        rows.maintain((4, 6), 10, none_alike);
        counters.add(1, 1, 1);
        assert_eq!(counters.read(), (1, 1, 1));
        rows.maintain((5, 7), 10, none_alike);
        assert_eq!(counters.read(), (0, 0, 0));
        assert_ne!(rows.add(0), Some(row));
        rows.maintain((7, 8), 10, none_alike);
        assert_eq!((rows.add(0), rows.waiting()), (Some(row), 0));
    }
}
