//! Time as control counts it: from when the workers were started, as they count it too.

use std::time::Instant;

/// A clock that starts at 0.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that is 0 at `origin`.
    pub fn new(origin: Instant) -> Clock {
        Clock { origin }
    }

    /// Milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    /// Nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}
