//! Eight slots of the flow cache in one cache line: signatures, and what replacement must know.

use super::PROTECTED_MS;

/// Slots of a bucket: as many signatures as one 128-bit comparison takes.
pub(super) const SLOTS: usize = 8;

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Bucket {
    /// Sixteen bits of the hash; [`EMPTY`] in an empty slot.
    signatures: [u16; SLOTS],
    /// When each was last used, in milliseconds modulo 2^32.
    used_ms: [u32; SLOTS],
    /// Whether each was found again since it came.
    found: [bool; SLOTS],
    /// The batch that used each last, modulo 2^8: in one case of 256 an old one looks current
    /// and is spared once.
    batches: [u8; SLOTS],
}

impl Bucket {
    /// Bit n is set if the signature in slot n fits the hash.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u64) -> u8 {
        let wanted = signature(hash);
        let mut bits = 0;
        for (place, signature) in self.signatures.iter().enumerate() {
            bits |= u8::from(*signature == wanted) << place;
        }
        bits
    }

    /// Fills a slot; `found` says whether the flow was known before.
    pub(super) fn occupy(&mut self, place: usize, hash: u64, found: bool) {
        self.signatures[place] = signature(hash);
        self.found[place] = found;
    }

    /// Notes that a slot was found again.
    #[inline(always)]
    pub(super) fn found(&mut self, place: usize) {
        self.found[place] = true;
    }

    /// Notes that a slot was used.
    #[inline(always)]
    pub(super) fn touch(&mut self, place: usize, now_ms: u64, batch: u8) {
        self.used_ms[place] = now_ms as u32;
        self.batches[place] = batch;
    }

    /// Empties a slot.
    pub(super) fn vacate(&mut self, place: usize) {
        self.signatures[place] = EMPTY;
    }

    /// How long a slot was not used; an empty one is as old as can be.
    pub(super) fn age_ms(&self, place: usize, now_ms: u64) -> u32 {
        if self.signatures[place] == EMPTY {
            return u32::MAX;
        }
        (now_ms as u32).wrapping_sub(self.used_ms[place])
    }

    /// The slot for a new entry: an empty one, else of those that are not protected the least
    /// recently used.
    pub(super) fn victim(&self, now_ms: u64, batch: u8) -> Option<usize> {
        let open = (0..SLOTS).filter(|&place| {
            let age_ms = self.age_ms(place, now_ms);
            let current = self.batches[place] == batch && self.signatures[place] != EMPTY;
            !current && (!self.found[place] || age_ms >= PROTECTED_MS)
        });
        open.max_by_key(|&place| self.age_ms(place, now_ms))
    }
}

/// Bits of the hash that choose no bucket. None is like that of an empty slot.
#[inline(always)]
fn signature(hash: u64) -> u16 {
    (hash as u16).max(EMPTY + 1)
}

const EMPTY: u16 = 0;

const _: () = assert!(size_of::<Bucket>() == 64);
