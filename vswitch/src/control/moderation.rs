//! Seldom reading of a stream of changes that nobody waits for, as a network card interrupts
//! seldom (interrupt moderation): to be woken for a few changes costs more than the changes do, and
//! it is paid by whoever shares a core with the control task. A message that wants an answer ends
//! it, and all before that is read at once.

/// When a peer is read again.
#[derive(Debug, Default)]
pub struct Moderation {
    /// Reads in a row, none long after the one before, that brought nothing anybody waits for.
    streak: u32,
    read_ms: u64,
    /// The last read took all there was room for.
    was_full: bool,
}

impl Moderation {
    /// Something was read: perhaps as much as can be read at once.
    pub fn note_read(&mut self, is_full: bool, now_ms: u64) {
        self.streak = match now_ms.saturating_sub(self.read_ms) {
            ..=LULL_MS => self.streak.saturating_add(1),
            _ => 0,
        };
        self.read_ms = now_ms;
        self.was_full = is_full;
    }

    /// What was read has something in it that the peer waits for.
    pub fn note_request(&mut self) {
        self.streak = 0;
    }

    /// When to read again, if not at once.
    pub fn pause_ms(&self, now_ms: u64) -> Option<u64> {
        let is_stream = self.streak >= STREAM_READS && !self.was_full;
        let until_ms = self.read_ms + GAP_MS;
        (is_stream && now_ms < until_ms).then_some(until_ms)
    }
}

/// Between two reads of a stream: well below what publication of a stream's changes may wait.
const GAP_MS: u64 = 4;
/// A stream is over when nothing came for so long.
const LULL_MS: u64 = 2 * GAP_MS;
/// Reads that make a stream: more than a peer needs to send a few changes and ask whether they are
/// done.
const STREAM_READS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// One to which changes came every millisecond since the time 0.
    fn in_stream(now_ms: u64) -> Moderation {
        let mut moderation = Moderation::default();
        (0..=now_ms).for_each(|now_ms| moderation.note_read(false, now_ms));
        moderation
    }

    #[test]
    fn a_stream_is_read_seldom() {
        assert_eq!(in_stream(14).pause_ms(14), None);
        let mut moderation = in_stream(15);
        for round in 0..10 {
            let now_ms = 15 + round * GAP_MS;
            assert_eq!(moderation.pause_ms(now_ms), Some(now_ms + GAP_MS));
            assert_eq!(moderation.pause_ms(now_ms + GAP_MS), None);
            moderation.note_read(false, now_ms + GAP_MS);
        }
    }

    #[test]
    fn who_waits_is_read_at_once_and_so_is_who_has_more() {
        let mut moderation = in_stream(100);
        moderation.note_read(true, 101);
        assert_eq!(moderation.pause_ms(101), None);
        moderation.note_read(false, 102);
        assert_eq!(moderation.pause_ms(102), Some(106));
        moderation.note_request();
        moderation.note_read(false, 103);
        assert_eq!(moderation.pause_ms(103), None);
    }

    #[test]
    fn a_stream_that_ended_begins_anew() {
        let mut moderation = in_stream(100);
        moderation.note_read(false, 101 + LULL_MS);
        assert_eq!(moderation.pause_ms(101 + LULL_MS), None);
    }
}
