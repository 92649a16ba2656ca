//! One connection in memory: three cache lines of atomic words, and what their bits mean.
//!
//! Used by all of connection tracking. The first line tells who the connection is and how it
//! fares, the second what packets are translated to, and the third what TCP has sent and the
//! lists that the record is in. So a packet of an established connection that is not translated
//! touches the first line and, of TCP, the third.
//!
//! Tuples are written before the index tells of the record and never while somebody can find it.
//! The state is changed by compare-and-swap alone. Links, and the place in the lists, belong to
//! who holds the lock of the record's shard.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed};

use zerocopy::{FromBytes, IntoBytes};

use super::tuple::Tuple;

/// A connection.
#[derive(Debug, FromBytes, IntoBytes)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// Tuple of the original direction, before translation.
    original: [AtomicU64; Tuple::WORDS],
    /// [`State`].
    pub state: AtomicU64,
    /// The second in which it is over, if no packet comes before.
    pub deadline_s: AtomicU32,
    /// How often the record was taken: tells a handle from that of another connection.
    pub generation: AtomicU32,
    /// Connection mark.
    pub mark: AtomicU32,
    /// Of the zone, when it came: another one means that the zone was flushed since.
    pub zone_generation: AtomicU32,

    /// Tuple of the reply direction, as replies come in.
    reply: [AtomicU64; Tuple::WORDS],
    /// Connection label.
    pub label: [AtomicU64; 2],
    /// Generation of the parent.
    pub parent_generation: AtomicU32,
    /// Number of the parent of an expected connection.
    pub parent: AtomicU32,

    /// What each direction's packets tell of TCP, or SCTP's verification tags.
    pub seen: [[AtomicU64; 2]; 2],
    /// A TCP segment that was let through though it did not fit.
    pub noted: AtomicU64,
    /// Links by which records are in lists.
    pub links: [Links; 2],
    /// Link of records that are gone and not yet collected.
    pub orphan: AtomicU32,
    /// In which slot of the wheel it is, and whether it is in the queue.
    pub place: AtomicU32,
}

/// A place in a list; a number is one more than that of the record, 0 for none.
#[derive(Debug, FromBytes, IntoBytes)]
#[repr(C)]
pub(super) struct Links {
    pub next: AtomicU32,
    pub before: AtomicU32,
}

/// Direction of a packet within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// That of the packet which made the connection.
    Original,
    /// The other.
    Reply,
}

impl Direction {
    /// The other direction.
    #[inline(always)]
    pub fn turned(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }
}

impl Record {
    pub fn original(&self) -> Tuple {
        Tuple::from_words(self.original.each_ref().map(|word| word.load(Relaxed)))
    }

    pub fn reply(&self) -> Tuple {
        Tuple::from_words(self.reply.each_ref().map(|word| word.load(Relaxed)))
    }

    /// Loads the first word of each of its lines, for its own sake.
    #[inline(always)]
    pub fn first_words(&self) -> u64 {
        let words = [&self.original[0], &self.reply[0], &self.seen[0][0]];
        words.iter().fold(0, |all, word| all ^ word.load(Relaxed))
    }

    /// Where its lines are.
    #[inline(always)]
    pub fn lines(&self) -> [*const u8; 3] {
        let words = [&self.original[0], &self.reply[0], &self.seen[0][0]];
        words.map(|word| core::ptr::from_ref(word).cast())
    }

    #[inline(always)]
    pub fn state(&self) -> State {
        State(self.state.load(Acquire))
    }

    /// Whether packets of this direction have this tuple.
    #[inline(always)]
    pub fn is(&self, direction: Direction, tuple: &Tuple) -> bool {
        let words = match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        };
        let pairs = words.iter().zip(tuple.words());
        let difference = pairs.fold(0, |sum, (kept, word)| sum | (kept.load(Relaxed) ^ word));
        difference == 0
    }

    /// The same in this state, by as few lines of memory as tell it. `reverse` makes the tuple of
    /// the other direction.
    #[inline(always)]
    pub fn is_of(
        &self,
        direction: Direction,
        state: State,
        tuple: &Tuple,
        reverse: impl Fn(&Tuple) -> Tuple,
    ) -> bool {
        match direction {
            Direction::Original => self.is(Direction::Original, tuple),
            // What is not translated has all in the first line.
            Direction::Reply if !state.has(SNAT | DNAT) => {
                self.is(Direction::Original, &reverse(tuple))
            }
            Direction::Reply => self.is(Direction::Reply, tuple),
        }
    }

    /// Whether neither its time is over nor its zone was flushed.
    #[inline(always)]
    pub fn is_kept(&self, zone_generation: u32, now_s: u32) -> bool {
        self.deadline_s.load(Relaxed) > now_s
            && self.zone_generation.load(Relaxed) == zone_generation
    }

    /// Makes a record that nobody else knows of a connection's.
    pub fn fill(&self, original: &Tuple, state: State, zone_generation: u32) {
        set(&self.original, original);
        self.state.store(state.0, Relaxed);
        self.mark.store(0, Relaxed);
        self.zone_generation.store(zone_generation, Relaxed);
        for word in self.label.iter().chain(self.seen.as_flattened()) {
            word.store(0, Relaxed);
        }
        self.noted.store(0, Relaxed);
    }

    /// Says what replies look like, as long as nobody else knows the record.
    pub fn set_reply(&self, reply: &Tuple) {
        set(&self.reply, reply);
    }

    /// Changes flags; whoever changes others meanwhile is not disturbed.
    pub fn change(&self, set: u64, clear: u64) {
        let change = |word| Some(word & !clear | set);
        let _ = self.state.fetch_update(Relaxed, Relaxed, change);
    }
}

fn set(words: &[AtomicU64; Tuple::WORDS], tuple: &Tuple) {
    for (word, value) in words.iter().zip(tuple.words()) {
        word.store(*value, Relaxed);
    }
}

/// How a connection fares, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State(pub u64);

/// A packet has come in the reply direction.
pub(super) const REPLIED: u64 = 1 << 4;
/// Both sides have shown that they want it: it never has to go for another.
pub(super) const ASSURED: u64 = 1 << 5;
/// The source of the original direction is translated.
pub(super) const SNAT: u64 = 1 << 6;
/// The destination of the original direction is translated.
pub(super) const DNAT: u64 = 1 << 7;
/// It was expected by another.
pub(super) const EXPECTED: u64 = 1 << 8;
/// It is gone.
pub(super) const DYING: u64 = 1 << 9;
/// Both directions have the same tuple, which is in the index once.
pub(super) const LONE: u64 = 1 << 10;
/// It stays half-open, but not for long: it was passed over once.
pub(super) const SPARED: u64 = 1 << 11;
/// Something else than zeros is its label.
pub(super) const LABELLED: u64 = 1 << 12;
/// Its data was made longer or shorter by translation ([`super::shift`]).
pub(super) const SHIFTED: u64 = 1 << 47;
/// A helper reads its packets.
pub(super) const HELPED: u64 = 3 << HELPER;
/// The helper's number in two bits.
const HELPER: u32 = 13;
/// Number of its policy of timeouts, 8 bits.
const POLICY: u32 = 16;
/// What is known of both TCP sides: [`TCP_SIDE`] bits each, and of what was noted.
const TCP: u32 = 24;
const TCP_SIDE: u32 = 10;

impl State {
    /// State of the protocol's automaton.
    #[inline(always)]
    pub fn phase(self) -> u8 {
        (self.0 & 0xf) as u8
    }

    #[inline(always)]
    pub fn with_phase(self, phase: u8) -> State {
        State(self.0 & !0xf | u64::from(phase & 0xf))
    }

    #[inline(always)]
    pub fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    #[inline(always)]
    pub fn with(self, flags: u64) -> State {
        State(self.0 | flags)
    }

    #[inline(always)]
    pub fn policy(self) -> u8 {
        (self.0 >> POLICY) as u8
    }

    pub fn with_policy(self, policy: u8) -> State {
        State(self.0 & !(0xff << POLICY) | u64::from(policy) << POLICY)
    }

    pub fn helper(self) -> u8 {
        (self.0 >> HELPER) as u8 & 3
    }

    pub fn with_helper(self, helper: u8) -> State {
        State(self.0 & !(3 << HELPER) | u64::from(helper & 3) << HELPER)
    }

    /// The bits that TCP keeps about a side.
    #[inline(always)]
    pub fn side(self, of: Direction) -> u16 {
        (self.0 >> side_shift(of)) as u16 & SIDE_MASK
    }

    #[inline(always)]
    pub fn with_side(self, of: Direction, bits: u16) -> State {
        let shift = side_shift(of);
        State(self.0 & !(u64::from(SIDE_MASK) << shift) | u64::from(bits & SIDE_MASK) << shift)
    }

    /// What kind of segment was noted, in three bits.
    pub fn noted(self) -> u8 {
        (self.0 >> NOTED) as u8 & 7
    }

    pub fn with_noted(self, kind: u8) -> State {
        State(self.0 & !(7 << NOTED) | u64::from(kind & 7) << NOTED)
    }
}

#[inline(always)]
fn side_shift(of: Direction) -> u32 {
    TCP + of as u32 * TCP_SIDE
}

const SIDE_MASK: u16 = (1 << TCP_SIDE) - 1;
const NOTED: u32 = TCP + 2 * TCP_SIDE;

const _: () = assert!(size_of::<Record>() == 192);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_state_leave_each_other_alone() {
        let full = State(u64::MAX);
        let emptied = full.with_phase(0).with_policy(0).with_helper(0);
        let emptied = emptied.with_side(Direction::Original, 0);
        let emptied = emptied.with_side(Direction::Reply, 0).with_noted(0);
        let parts = 0xf | 3 << HELPER | 0xff << POLICY | 0xf_ffff << TCP | 7 << NOTED;
        assert_eq!(emptied.0, !parts);
        let state = State::default()
            .with_phase(9)
            .with_policy(200)
            .with_helper(2);
        let state = state.with_side(Direction::Original, 0x155);
        let state = state.with_side(Direction::Reply, 0x2aa).with_noted(5);
        assert_eq!((state.phase(), state.policy(), state.helper()), (9, 200, 2));
        assert_eq!(state.side(Direction::Original), 0x155);
        assert_eq!((state.side(Direction::Reply), state.noted()), (0x2aa, 5));
        let flags = REPLIED | ASSURED | SNAT | DNAT | EXPECTED | DYING | LONE | SPARED | LABELLED;
        let flags = flags | SHIFTED;
        assert_eq!((flags.count_ones(), flags & parts), (10, 0));
    }

    #[test]
    fn a_packet_touches_few_lines() {
        use core::mem::offset_of;
        assert!(offset_of!(Record, zone_generation) < 64);
        assert_eq!(offset_of!(Record, reply), 64);
        assert_eq!(offset_of!(Record, seen), 128);
    }
}
