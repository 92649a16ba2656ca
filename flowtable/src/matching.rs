//! A rule's match: values and masks over a [`FlowKey`].

use crate::{Field, FlowKey, FlowMask};

/// Values and masks that a packet's key must agree with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    key: FlowKey,
    mask: FlowMask,
}

impl Match {
    /// Requires `field` to equal `value` in the bits of `mask`.
    pub fn set(&mut self, field: Field, value: u128, mask: u128) {
        field.write(&mut self.key, value & mask, mask);
        field.write(&mut self.mask.0, u128::MAX, mask);
    }

    /// Value and mask required of `field`; the mask is 0 if it may be anything.
    pub fn read(&self, field: Field) -> (u128, u128) {
        (field.read(&self.key), field.read(&self.mask.0))
    }

    /// The values, 0 where the mask is.
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The bits that count.
    pub fn mask(&self) -> &FlowMask {
        &self.mask
    }

    /// Whether a packet with `key` matches.
    pub fn matches(&self, key: &FlowKey) -> bool {
        self.mask.agree(&self.key, key)
    }
}
