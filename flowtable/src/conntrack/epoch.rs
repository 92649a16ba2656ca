//! When a record that is gone may be used again: not before all have forgotten it.
//!
//! What. A worker that has found a record in the index may write to it until its batch ends,
//! whatever others do meanwhile. So a record that was taken out of the index rests until every
//! worker has begun another batch, or has none.
//!
//! How. There is a counter, the epoch, and for each worker a pin: the epoch in which its batch
//! began, or that it has none. Who takes records out of the index notes the epoch and raises it;
//! those records are free when no pin is that old any more. A worker writes its pin before it looks
//! into the index, and who frees looks at the pins after records have left the index, with a fence
//! between on both sides: so either the pin is seen or the record is not found.
//!
//! Why not simpler. Reference counts would be two writes to a shared line for each packet. Time
//! alone proves nothing: a worker may be stopped for as long as the machine likes.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst, fence};

use super::limits::TRACKERS_MAX;

/// The epoch and everybody's pin.
#[derive(Debug)]
pub(super) struct Epochs {
    now: AtomicU64,
    pins: Box<[Pin]>,
    /// So many pins, from the first on, were ever anybody's.
    joined: AtomicUsize,
}

/// A pin, with lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Pin(AtomicU64);

impl Epochs {
    pub fn new() -> Epochs {
        let vacant = |_| Pin(AtomicU64::new(VACANT));
        Epochs {
            now: AtomicU64::new(0),
            pins: (0..TRACKERS_MAX).map(vacant).collect(),
            joined: AtomicUsize::new(0),
        }
    }

    /// A pin that nobody has, if there is one.
    pub fn join(&self) -> Option<usize> {
        let free = |pin: &Pin| {
            let taken = pin.0.compare_exchange(VACANT, IDLE, SeqCst, Relaxed);
            taken.is_ok()
        };
        let pin = self.pins.iter().position(free)?;
        // Before it is written for the first time, so that who misses it here misses nothing there.
        self.joined.fetch_max(pin + 1, SeqCst);
        Some(pin)
    }

    /// Gives a pin back.
    pub fn leave(&self, pin: usize) {
        self.pins[pin].0.store(VACANT, SeqCst);
    }

    /// From here on what is found in the index stays what it is.
    pub fn pin(&self, pin: usize) {
        self.pins[pin].0.store(self.now.load(Relaxed), Relaxed);
        fence(SeqCst);
    }

    /// What was found is forgotten.
    pub fn unpin(&self, pin: usize) {
        self.pins[pin].0.store(IDLE, SeqCst);
    }

    /// The epoch in which records have left the index: they are free when [`Epochs::oldest`] is
    /// later.
    pub fn close(&self) -> u64 {
        self.now.fetch_add(1, SeqCst)
    }

    /// The oldest epoch in which somebody's batch began that has not ended.
    pub fn oldest(&self) -> u64 {
        fence(SeqCst);
        let pins = self.pins.iter().take(self.joined.load(Relaxed));
        let pinned = pins.map(|pin| pin.0.load(Relaxed));
        pinned.min().unwrap_or(IDLE)
    }
}

/// No batch is under way.
const IDLE: u64 = u64::MAX - 1;
/// Nobody has this pin.
const VACANT: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_is_free_when_batches_that_began_before_have_ended() {
        let epochs = Epochs::new();
        let pins = [epochs.join().unwrap(), epochs.join().unwrap()];
        assert_ne!(pins[0], pins[1]);
        let closed = epochs.close();
        assert!(epochs.oldest() > closed, "nobody has a batch");
        epochs.pin(pins[0]);
        let closed = epochs.close();
        epochs.pin(pins[1]);
        assert!(epochs.oldest() <= closed);
        epochs.unpin(pins[0]);
        assert!(epochs.oldest() > closed);
        epochs.leave(pins[0]);
        assert_eq!(epochs.join(), Some(pins[0]));
        assert!((2..TRACKERS_MAX).all(|_| epochs.join().is_some()));
        assert_eq!(epochs.join(), None);
    }
}
