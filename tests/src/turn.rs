//! Turns at the machine among the cases of one program: how many of those with one switch may run
//! side by side. Whoever starts several switches has the machine alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A case's turn; the next one's when dropped.
#[derive(Debug)]
pub struct Turn {
    places: usize,
}

impl Turn {
    /// Waits until there is room for one switch more.
    pub fn of_one_switch() -> Turn {
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

/// One switch at a time: the machine has two cores.
const PLACES: usize = 1;

static FREE: Mutex<usize> = Mutex::new(PLACES);
static FREED: Condvar = Condvar::new();
