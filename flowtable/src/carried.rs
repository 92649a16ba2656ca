//! What a packet carries of its own beside its bytes: what a tunnel told when it was decapsulated,
//! and what connection tracking said of it.
//!
//! These words of a key differ from packet to packet at one entry point, as headers do, and no
//! parser finds them again: so they go with the packet from where they were learned to where it is
//! looked up next. The datapath writes them into the key; the pipeline says which of their bits
//! actions have written since ([`Carried`] as a mask), for these are the same for all packets.

use core::mem::offset_of;
use core::ops::Range;

use crate::FlowKey;

/// The words of a key that a packet carries of its own; or bits of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Carried([u64; Carried::LEN]);

impl Carried {
    /// Where they are in a key.
    pub const WORDS: Range<usize> = offset_of!(FlowKey, tunnel_id) / 8..CONNECTION.end;
    const LEN: usize = Carried::WORDS.end - Carried::WORDS.start;
    /// Nothing; as a mask, no bit.
    pub const NONE: Carried = Carried([0; Carried::LEN]);
    /// Every bit.
    pub const ALL: Carried = Carried([u64::MAX; Carried::LEN]);

    /// What a key has.
    #[inline(always)]
    pub fn of(key: &FlowKey) -> Carried {
        let mut carried = Carried::NONE;
        carried.0.copy_from_slice(&key.words()[Carried::WORDS]);
        carried
    }

    /// Writes them into a key.
    #[inline(always)]
    pub fn write(&self, key: &mut FlowKey) {
        key.words_mut()[Carried::WORDS].copy_from_slice(&self.0);
    }

    /// Zeroes in a key what tunnels told.
    #[inline(always)]
    pub fn clear_tunnel(key: &mut FlowKey) {
        key.words_mut()[Carried::WORDS.start..CONNECTION.start].fill(0);
    }

    /// Adds all bits of connection tracking.
    pub fn add_connection(&mut self) {
        self.0[CONNECTION.start - Carried::WORDS.start..].fill(u64::MAX);
    }

    /// Takes out all bits of connection tracking.
    pub fn take_connection(&mut self) {
        self.0[CONNECTION.start - Carried::WORDS.start..].fill(0);
    }

    /// Adds the bits that a key has, as a mask.
    pub fn unite(&mut self, mask: &FlowKey) {
        let words = mask.words()[Carried::WORDS].iter();
        self.0
            .iter_mut()
            .zip(words)
            .for_each(|(word, more)| *word |= more);
    }

    /// These bits within a mask.
    #[inline(always)]
    pub fn within(&self, mask: &Carried) -> Carried {
        Carried(core::array::from_fn(|at| self.0[at] & mask.0[at]))
    }

    /// These bits, and in place of those of a mask the bits of another.
    #[inline(always)]
    pub fn overlaid(&self, mask: &Carried, other: &Carried) -> Carried {
        Carried(core::array::from_fn(|at| {
            self.0[at] & !mask.0[at] | other.0[at] & mask.0[at]
        }))
    }
}

impl Default for Carried {
    fn default() -> Carried {
        Carried::NONE
    }
}

/// The words of connection tracking.
const CONNECTION: Range<usize> = offset_of!(FlowKey, ct_state) / 8..CONNECTION_END;
const CONNECTION_END: usize = offset_of!(FlowKey, conjunction) / 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    /// Every field of tunnels and connections is carried, whole, and no other.
    #[test]
    fn fields_are_carried_whole_or_not_at_all() {
        for field in Field::ALL {
            let mut key = FlowKey::default();
            field.write(&mut key, field.ones(), field.ones());
            let mut carried = FlowKey::default();
            Carried::of(&key).write(&mut carried);
            let expected = match field.is_carried() {
                true => field.ones(),
                false => 0,
            };
            assert_eq!(field.read(&carried), expected, "{field:?}");
            let name = field.name();
            let is_told = name.starts_with("tun") || name.starts_with("ct_");
            assert_eq!(field.is_carried(), is_told, "{name}");
        }
    }

    #[test]
    fn what_was_written_lies_over_what_came() {
        let of = |id: u64, mark: u32| {
            Carried::of(&FlowKey {
                tunnel_id: id,
                ct_mark: mark,
                ..FlowKey::default()
            })
        };
        let mut mask = of(0xff, 0);
        let laid = of(0x1234, 7).overlaid(&mask, &of(0x5678, 9));
        assert_eq!(laid, of(0x1278, 7));
        mask.add_connection();
        assert_eq!(laid.overlaid(&mask, &of(0, 9)), of(0x1200, 9));
        mask.take_connection();
        assert_eq!(mask, of(0xff, 0));
        assert_eq!(laid.within(&mask), of(0x78, 0));
    }
}
