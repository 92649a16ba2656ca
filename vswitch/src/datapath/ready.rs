//! Which kernel descriptors are readable, and a worker's sleep until one is.
//!
//! A queue that the kernel feeds is read until it is empty, then left alone until epoll tells of
//! it: an empty queue costs no system call per loop, and wakes its worker at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};

use super::limits;

/// A worker's epoll instance.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
}

impl Readiness {
    /// Watches nothing.
    pub fn new() -> io::Result<Readiness> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Readiness { epoll })
    }

    /// Watches a descriptor, known by `token`.
    pub fn add(&self, descriptor: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(
            &self.epoll,
            descriptor,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    /// Watches a descriptor no more.
    pub fn remove(&self, descriptor: BorrowedFd<'_>) {
        // It fails only for a descriptor that is not watched.
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Waits until a descriptor is readable, `wait_ns` at most, and tells the tokens of those
    /// that are.
    pub fn wait(&self, wait_ns: u64, mut tell: impl FnMut(u64)) {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; limits::READY_MAX];
        let timeout = Timespec {
            tv_sec: (wait_ns / 1_000_000_000) as i64,
            tv_nsec: (wait_ns % 1_000_000_000) as i64,
        };
        // Interrupted: the next loop looks again.
        let told = epoll::wait(self.epoll.as_fd(), &mut events[..], Some(&timeout)).unwrap_or(0);
        for event in &events[..told] {
            tell(event.data.u64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::pipe;

    fn told(readiness: &Readiness) -> Vec<u64> {
        let mut told = Vec::new();
        readiness.wait(0, |token| told.push(token));
        told
    }

    #[test]
    fn readable_descriptors_are_told_until_they_are_read() {
        let readiness = Readiness::new().unwrap();
        let (reader, writer) = pipe().unwrap();
        let (other, _open) = pipe().unwrap();
        readiness.add(reader.as_fd(), 7).unwrap();
        readiness.add(other.as_fd(), 8).unwrap();
        assert!(told(&readiness).is_empty());
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(told(&readiness), [7]);
        assert_eq!(told(&readiness), [7]);
        rustix::io::read(&reader, &mut [0; 8]).unwrap();
        assert!(told(&readiness).is_empty());
        rustix::io::write(&writer, b"x").unwrap();
        readiness.remove(reader.as_fd());
        assert!(told(&readiness).is_empty());
    }
}
