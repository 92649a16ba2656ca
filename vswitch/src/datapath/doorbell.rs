//! A doorbell: wakes a thread that sleeps, and costs a load if it does not.
//!
//! How: who wants to sleep says so, looks once more for work, then waits for a pipe to become
//! readable. Who brings work puts it down, then rings; only if somebody sleeps is there
//! a system call. Both sides put a full fence between their write and their read, so that one of
//! them sees the other (the store buffer litmus test).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;

/// A doorbell with one listener and any number of callers.
#[derive(Debug)]
pub struct Doorbell {
    asleep: AtomicBool,
    listener: OwnedFd,
    caller: OwnedFd,
}

impl Doorbell {
    /// A doorbell whose listener is awake.
    pub fn new() -> io::Result<Doorbell> {
        let (listener, caller) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Doorbell {
            asleep: AtomicBool::new(false),
            listener,
            caller,
        })
    }

    /// The end to listen at for an asynchronous listener.
    pub fn receiver(&self) -> io::Result<pipe::Receiver> {
        pipe::Receiver::from_owned_fd(self.listener.try_clone()?)
    }

    /// Wakes the listener if it sleeps. Call after the work was put down.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // A full pipe is readable already; nothing else can fail.
            let _ = rustix::io::write(&self.caller, &[1]);
        }
    }

    /// Says that the listener is about to sleep. It must look for work once more before it does.
    pub fn about_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the listener is awake, and forgets rings.
    pub fn awake(&self) {
        if !self.asleep.swap(false, Ordering::Relaxed) {
            let _ = rustix::io::read(&self.listener, &mut [0u8; 8]);
        }
    }
}

impl AsFd for Doorbell {
    /// Readable when it was rung.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_rung(bell: &Doorbell) -> bool {
        let mut fds = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn rings_only_for_a_sleeper() {
        let bell = Doorbell::new().unwrap();
        bell.ring();
        assert!(!is_rung(&bell));
        bell.about_to_sleep();
        assert!(!is_rung(&bell));
        bell.ring();
        bell.ring();
        assert!(is_rung(&bell));
        bell.awake();
        assert!(!is_rung(&bell));
    }

    #[test]
    fn waking_without_a_ring_leaves_it_silent() {
        let bell = Doorbell::new().unwrap();
        bell.about_to_sleep();
        bell.awake();
        bell.ring();
        assert!(!is_rung(&bell));
    }
}
