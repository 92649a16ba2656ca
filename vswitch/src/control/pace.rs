//! So many a second and no more, with a burst: the virtual schedule of ITU-T I.371 annex A.

/// A rate and what may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Per second, from 1.
    pub rate: u32,
    /// At once after a pause, and waiting at most, from 1.
    pub burst: u32,
}

/// Keeps to a limit.
#[derive(Debug)]
pub struct Pace {
    limit: Limit,
    /// When the burst is whole again.
    whole_us: u64,
}

impl Pace {
    /// With the whole burst to spend.
    pub fn new(limit: Limit) -> Pace {
        Pace { limit, whole_us: 0 }
    }

    /// The limit.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Takes one if it is time for one.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let is_due = self.due_ms() <= now_ms;
        if is_due {
            self.whole_us = self.whole_us.max(now_ms * 1000) + self.pause_us();
        }
        is_due
    }

    /// When it is time for the next one.
    pub fn due_ms(&self) -> u64 {
        let ahead_us = self.pause_us() * u64::from(self.limit.burst.max(1) - 1);
        self.whole_us.saturating_sub(ahead_us).div_ceil(1000)
    }

    fn pause_us(&self) -> u64 {
        1_000_000 / u64::from(self.limit.rate.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut pace = Pace::new(Limit {
            rate: 100,
            burst: 5,
        });
        let mut taken = |from_ms: u64, to_ms: u64| {
            let each = (from_ms..to_ms).flat_map(|now| [now; 3]);
            each.filter(|now| pace.take(*now)).count()
        };
        assert_eq!(taken(0, 1), 3);
        assert_eq!(taken(1, 2), 2, "the rest of the burst");
        assert_eq!(taken(2, 1002), 100);
        assert_eq!(taken(5000, 5002), 5, "the burst again");
        assert!(pace.due_ms() > 5001 && pace.due_ms() <= 5011);
    }
}
