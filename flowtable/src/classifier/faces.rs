//! The tuples of a classifier in the order in which readers look at them: a list that is cheap to
//! copy and to change, however many tuples there are.
//!
//! It is a list of chunks; a copy shares them all. A change copies one chunk and the list of
//! chunks if a copy is held, hence some hundred pointers for ten thousand tuples.

use core::cmp::Reverse;
use std::sync::Arc;

use super::rules::Face;

/// Tuples by descending weight of their heaviest rule, then by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Faces {
    chunks: Arc<Vec<Chunk>>,
}

type Chunk = Arc<Vec<Arc<Face>>>;

/// A place in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    chunk: usize,
    offset: usize,
}

impl Faces {
    /// All, in order.
    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Face>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The tuple at a place, or the next one; the place becomes its.
    pub(super) fn at(&self, place: &mut Place) -> Option<&Arc<Face>> {
        loop {
            let chunk = self.chunks.get(place.chunk)?;
            match chunk.get(place.offset) {
                Some(face) => return Some(face),
                None => (place.chunk, place.offset) = (place.chunk + 1, 0),
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    pub(super) fn insert(&mut self, face: Arc<Face>) {
        let chunks = Arc::make_mut(&mut self.chunks);
        let at = chunk_of(chunks, &face).min(chunks.len().saturating_sub(1));
        let Some(chunk) = chunks.get_mut(at) else {
            chunks.push(Arc::new(vec![face]));
            return;
        };
        let chunk = Arc::make_mut(chunk);
        let place = chunk.partition_point(|other| order(other) < order(&face));
        chunk.insert(place, face);
        if chunk.len() > CHUNK_MAX {
            let rest = chunk.split_off(CHUNK_MAX / 2);
            chunks.insert(at + 1, Arc::new(rest));
        }
    }

    pub(super) fn remove(&mut self, face: &Face) {
        let chunks = Arc::make_mut(&mut self.chunks);
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
    }

    pub(super) fn is_same(&self, other: &Faces) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
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
    let is_before = |last: &Arc<Face>| order(last) < order(face);
    chunks.partition_point(|chunk| chunk.last().is_some_and(is_before))
}

/// Tuples in a chunk: with as many chunks it makes 16,000, and copying it takes half a microsecond.
const CHUNK_MAX: usize = 128;
