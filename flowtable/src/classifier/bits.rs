//! The union of masks that come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mask::TupleMask;
use crate::FlowMask;

/// How many masks have each bit, for words that some mask has.
#[derive(Debug, Default)]
pub(super) struct Bits {
    counts: BTreeMap<u8, Box<[u32; 64]>>,
}

impl Bits {
    /// Counts a mask and adds its bits to the union.
    pub(super) fn add(&mut self, mask: &TupleMask, union: &mut Arc<FlowMask>) {
        for &(index, bits) in mask.words() {
            let counts = self
                .counts
                .entry(index)
                .or_insert_with(|| Box::new([0; 64]));
            ones(bits).for_each(|bit| counts[bit] += 1);
        }
        let missing = |(index, bits): &(u8, u64)| bits & !union.0.words()[usize::from(*index)] != 0;
        if mask.words().iter().any(missing) {
            mask.unite_into(Arc::make_mut(union));
        }
    }

    /// Takes back [`Bits::add`].
    pub(super) fn remove(&mut self, mask: &TupleMask, union: &mut Arc<FlowMask>) {
        for &(index, bits) in mask.words() {
            let Some(counts) = self.counts.get_mut(&index) else {
                continue;
            };
            let mut gone = 0;
            for bit in ones(bits) {
                counts[bit] -= 1;
                gone |= u64::from(counts[bit] == 0) << bit;
            }
            if gone != 0 {
                let union = Arc::make_mut(union);
                union.0.words_mut()[usize::from(index)] &= !gone;
                if union.0.words()[usize::from(index)] == 0 {
                    self.counts.remove(&index);
                }
            }
        }
    }
}

/// The numbers of the bits that are set.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    })
}
