//! The tuples of a classifier in the order in which readers look at them: a list that is cheap to
//! copy and to change, however many tuples there are.
//!
//! It is a list of chunks; a copy shares them all. A change copies one chunk and the list of
//! chunks if a copy is held, hence some hundred pointers for ten thousand tuples. Most tables have
//! one chunk, to which readers come at once: finding is mostly to wait for memory, so each step to
//! it costs as much as all else that is done for a tuple.

use core::cmp::Reverse;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::rules::Face;

/// Tuples by descending weight of their heaviest rule, then by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Faces {
    first: Option<Chunk>,
    /// Those behind it; none if there are none.
    others: Option<Arc<Vec<Chunk>>>,
}

type Chunk = Arc<ArrayVec<Face, CHUNK_MAX>>;

/// A place in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    chunk: usize,
    offset: usize,
}

impl Faces {
    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Face> {
        self.first().iter().chain(self.others().flatten())
    }

    /// Whether there is just one.
    #[inline(always)]
    pub(super) fn is_one(&self) -> bool {
        self.first().len() == 1 && self.others.is_none()
    }

    /// The first of them in order, all of most tables.
    #[inline(always)]
    pub(super) fn first(&self) -> &[Face] {
        self.first.as_ref().map_or(&[], |chunk| chunk)
    }

    /// Those behind, piece by piece.
    #[inline(always)]
    pub(super) fn others(&self) -> impl Iterator<Item = &[Face]> {
        let others = self.others.iter().flat_map(|others| others.iter());
        others.map(|chunk| &chunk[..])
    }

    /// The tuple at a place, or the next one; the place becomes its.
    pub(super) fn at(&self, place: &mut Place) -> Option<&Face> {
        loop {
            let chunk = match place.chunk.checked_sub(1) {
                None => self.first.as_ref()?,
                Some(other) => self.others.as_ref()?.get(other)?,
            };
            match chunk.get(place.offset) {
                Some(face) => return Some(face),
                None => (place.chunk, place.offset) = (place.chunk + 1, 0),
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.first().len() + self.others().map(<[Face]>::len).sum::<usize>()
    }

    pub(super) fn insert(&mut self, face: Face) {
        self.change(|chunks| {
            let mut at = chunk_of(chunks, &face).min(chunks.len().saturating_sub(1));
            let Some(chunk) = chunks.get_mut(at) else {
                return chunks.push(Arc::new(ArrayVec::from_iter([face])));
            };
            if chunk.is_full() {
                let rest = Arc::make_mut(chunk).drain(CHUNK_MAX / 2..).collect();
                chunks.insert(at + 1, Arc::new(rest));
                at = chunk_of(chunks, &face).min(at + 1);
            }
            let chunk = Arc::make_mut(&mut chunks[at]);
            let place = chunk.partition_point(|other| order(other) < order(&face));
            chunk.insert(place, face);
        });
    }

    pub(super) fn remove(&mut self, face: &Face) {
        self.change(|chunks| {
            let at = chunk_of(chunks, face);
            let Some(chunk) = chunks.get_mut(at) else {
                return;
            };
            let list = Arc::make_mut(chunk);
            if let Ok(place) = list.binary_search_by(|other| order(other).cmp(&order(face))) {
                list.remove(place);
            }
            let room = CHUNK_MAX / 2 - list.len().min(CHUNK_MAX / 2);
            match chunks.get(at + 1).filter(|next| next.len() <= room) {
                Some(next) => {
                    let next = Arc::clone(next);
                    Arc::make_mut(&mut chunks[at]).extend(next.iter().cloned());
                    chunks.remove(at + 1);
                }
                None if chunks[at].is_empty() => drop(chunks.remove(at)),
                None => {}
            }
        });
    }

    /// Changes the list of all chunks.
    fn change(&mut self, act: impl FnOnce(&mut Vec<Chunk>)) {
        let mut others = self.others.take().unwrap_or_default();
        let mut chunks = core::mem::take(Arc::make_mut(&mut others));
        chunks.splice(..0, self.first.take());
        act(&mut chunks);
        self.first = (!chunks.is_empty()).then(|| chunks.remove(0));
        if !chunks.is_empty() {
            *Arc::make_mut(&mut others) = chunks;
            self.others = Some(others);
        }
    }

    pub(super) fn is_same(&self, other: &Faces) -> bool {
        fn are_same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
            a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
        }
        are_same(self.first.as_ref(), other.first.as_ref())
            && are_same(self.others.as_ref(), other.others.as_ref())
    }
}

impl Place {
    pub(super) fn step(&mut self) {
        self.offset += 1;
    }
}

fn order(face: &Face) -> (Reverse<u64>, u32) {
    (Reverse(face.weight_max), face.tuple)
}

/// The chunk in which a tuple is, or belongs.
fn chunk_of(chunks: &[Chunk], face: &Face) -> usize {
    let is_before = |last: &Face| order(last) < order(face);
    chunks.partition_point(|chunk| chunk.last().is_some_and(is_before))
}

/// Tuples in a chunk: two kilobytes, since most tables have one. Ten thousand are six hundred
/// chunks, and to copy the list of them takes a few microseconds.
const CHUNK_MAX: usize = 16;
