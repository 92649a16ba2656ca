//! A datagram of which fragments are missing.

use super::limits::{FRAGMENTS_MAX, LARGE_LEN_MIN, LARGE_WEIGHT};
use super::{Flaw, Fragment, Rest};
use crate::checksum::fold;

/// What is there of a datagram.
#[derive(Debug)]
pub(super) struct Pending<P> {
    /// Its place among all by age.
    pub number: u64,
    /// Whose its first packet was.
    pub owner: u32,
    pub due_ms: u64,
    /// By offset; they do not overlap.
    pieces: Vec<Piece<P>>,
    /// Bytes that are there.
    len: u32,
    /// Bytes that there will be, once the last fragment has told.
    end: Option<u32>,
    /// Its fragments contradict each other: nothing of it passes.
    is_spoilt: bool,
}

#[derive(Debug)]
struct Piece<P> {
    offset: u32,
    len: u32,
    sum: u16,
    packet: P,
}

/// What became of a fragment.
pub(super) enum Added {
    Held,
    /// With the others all bytes are there.
    Whole(Rest),
    /// It does not pass, nor do those that were held, of this weight.
    Refused {
        flaw: Flaw,
        released: usize,
    },
}

impl<P> Pending<P> {
    pub fn new(number: u64, owner: u32, due_ms: u64) -> Pending<P> {
        Pending {
            number,
            owner,
            due_ms,
            pieces: Vec::new(),
            len: 0,
            end: None,
            is_spoilt: false,
        }
    }

    /// Adds a fragment. If it is refused, `out` gets it and those that go with it.
    pub fn add(&mut self, fragment: &Fragment, packet: P, out: &mut Vec<P>) -> Added {
        if self.is_spoilt {
            out.push(packet);
            return refused(Flaw::Overlap, 0);
        }
        let at = self
            .pieces
            .partition_point(|piece| piece.offset < fragment.offset);
        if self.has(at, fragment) {
            out.push(packet);
            return refused(Flaw::Duplicate, 0);
        }
        let flaw = match self.pieces.len() < FRAGMENTS_MAX {
            true if self.fits(at, fragment) => None,
            true => Some(Flaw::Overlap),
            false => Some(Flaw::TooMany),
        };
        if let Some(flaw) = flaw {
            self.is_spoilt = true;
            out.push(packet);
            return refused(flaw, self.release(out));
        }
        let piece = Piece {
            offset: fragment.offset,
            len: fragment.len,
            sum: fragment.sum,
            packet,
        };
        self.pieces.insert(at, piece);
        self.len += fragment.len;
        if !fragment.has_more {
            self.end = Some(fragment.end());
        }
        match self.end == Some(self.len) {
            true => Added::Whole(self.rest()),
            false => Added::Held,
        }
    }

    /// What is there behind the first fragment.
    fn rest(&self) -> Rest {
        let later = self.pieces.iter().skip(1);
        let add = |(len, sum), piece: &Piece<P>| (len + piece.len, sum + u64::from(piece.sum));
        let (len, sum) = later.fold((0, 0), add);
        Rest {
            len,
            sum: fold(sum),
        }
    }

    /// Hands out all packets by offset; returns their weight.
    pub fn release(&mut self, out: &mut Vec<P>) -> usize {
        let total = self.pieces.iter().map(|piece| weight(piece.len)).sum();
        out.extend(self.pieces.drain(..).map(|piece| piece.packet));
        total
    }

    /// Whether the very same bytes are there already, and at the end alike.
    fn has(&self, at: usize, fragment: &Fragment) -> bool {
        let is_last = self.end == Some(fragment.end());
        let piece = self.pieces.get(at);
        piece.is_some_and(|piece| (piece.offset, piece.len) == (fragment.offset, fragment.len))
            && is_last != fragment.has_more
    }

    /// Whether a fragment that would stand at this place contradicts no other.
    fn fits(&self, at: usize, fragment: &Fragment) -> bool {
        let before = at.checked_sub(1).map(|at| &self.pieces[at]);
        let is_after = before.is_none_or(|piece| piece.offset + piece.len <= fragment.offset);
        let next = self.pieces.get(at);
        let is_before = next.is_none_or(|piece| fragment.end() <= piece.offset);
        let ends_right = match (self.end, fragment.has_more) {
            (Some(end), true) => fragment.end() < end,
            (Some(_), false) => false,
            // The last one comes behind all.
            (None, false) => next.is_none(),
            (None, true) => true,
        };
        is_after && is_before && ends_right
    }
}

/// For how many fragments one counts that has so many bytes.
pub(super) fn weight(len: u32) -> usize {
    match len < LARGE_LEN_MIN {
        true => 1,
        false => LARGE_WEIGHT,
    }
}

fn refused(flaw: Flaw, released: usize) -> Added {
    Added::Refused { flaw, released }
}
