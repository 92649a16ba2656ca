//! Turns at the machine among the cases of one program. Most wait far more than they compute, for
//! pings that nobody answers or processes that start, so two of them run side by side; whoever
//! starts several switches has the machine alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A case's turn; the next one's when dropped.
#[derive(Debug)]
pub struct Turn {
    places: usize,
}

impl Turn {
    /// Waits until one other case has the machine at most.
    pub fn beside_another() -> Turn {
        Turn::take(1)
    }

    /// Waits until nobody else has the machine.
    pub fn alone() -> Turn {
        Turn::take(PLACES)
    }

    fn take(places: usize) -> Turn {
        let free = FREED.wait_while(free(), |free| *free < places);
        *free.unwrap_or_else(PoisonError::into_inner) -= places;
        Turn { places }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *free() += self.places;
        FREED.notify_all();
    }
}

fn free() -> MutexGuard<'static, usize> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One for each core of a small machine.
const PLACES: usize = 2;

static FREE: Mutex<usize> = Mutex::new(PLACES);
static FREED: Condvar = Condvar::new();
