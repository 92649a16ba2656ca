//! The TLV table of a bridge: which Geneve options are which `tun_metadata` fields
//! (ovs-fields(7), "Tunnel Metadata"; options are RFC 8926 §3.5).
//!
//! A controller maps class, type and length of an option to a field by its number, 0 to 63. A key
//! has room for all options that are mapped at once ([`FlowKey::tunnel_options`]), each in the
//! units it was given when it was mapped, so that it is one of the fields that lie there: who says
//! `tun_metadata5` means that field for as long as the mapping is there. Codecs and flow syntax
//! ask the table; rules, masks and actions know fields of the key only.
//!
//! A field has 16 bytes at most. A longer option is several, side by side, of which the last has
//! its last 16 bytes, and so on; the first has what is left, in its lower bits. Matches need
//! nothing more, since they are words of the key; what sets a long option sets its fields, one by
//! one.
//!
//! There is room for 256 bytes, as in Open vSwitch, of which an option of 12 takes 16 and a longer
//! one multiples of 16. Packets without options pay nothing for it: a key is compared and hashed by
//! the words that count, and these are touched only where a packet has options.
//!
//! Why not a place in the key for each of the 64: 124 bytes each would be 8 KB of key.

use crate::key::OPTION_WORDS;
use crate::tunnel::{Fault, Options};
use crate::{Field, FlowKey, FlowMask};

/// A `tun_metadata` field: which option it is, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlvMapping {
    /// Number of the field, `tun_metadata<index>`.
    pub index: u8,
    /// Class of the option.
    pub class: u16,
    /// Type of the option, with the critical bit.
    pub kind: u8,
    /// Bytes of its data, a multiple of 4.
    pub len: u8,
    /// The fields of the key that it is, with its first bytes first.
    pub fields: &'static [Field],
}

/// The mappings of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlvTable {
    /// By index.
    mappings: Vec<TlvMapping>,
}

/// Why an option cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvError {
    /// There is no field of this number.
    Index,
    /// Options are not that long.
    Length,
    /// The field is another option.
    AlreadyMapped,
    /// The option is another field.
    Duplicate,
    /// There is no room for it.
    Full,
}

impl TlvMapping {
    /// The field that stands for it.
    pub fn field(&self) -> Field {
        self.fields[0]
    }

    /// Whether one field has no room for it.
    pub fn is_long(&self) -> bool {
        self.fields.len() > 1
    }

    /// Its bits.
    pub fn width(&self) -> u16 {
        u16::from(self.len) * 8
    }

    /// All ones in what a field has of it.
    pub fn ones(&self, field: Field) -> u128 {
        let width = self.width() - self.offset(field);
        u128::MAX >> 128_u16.saturating_sub(width)
    }

    /// Its bits to the right of a field.
    pub fn offset(&self, field: Field) -> u16 {
        let after = self.fields.iter().rev().position(|it| *it == field);
        after.unwrap_or(0) as u16 * FIELD_WIDTH
    }

    /// The field that has so many adjacent bits of it, and where in that; none if they are beyond
    /// its end or in two fields.
    pub fn part(&self, offset: u16, width: u16) -> Option<(Field, u8)> {
        let field = *self
            .fields
            .iter()
            .nth_back(usize::from(offset / FIELD_WIDTH))?;
        let within = offset % FIELD_WIDTH;
        let is_inside =
            width <= FIELD_WIDTH - within && width <= self.width().saturating_sub(offset);
        is_inside.then_some((field, within as u8))
    }

    /// The units of the data of all options that are its own, bit n for unit n.
    pub fn units(&self) -> u64 {
        let fields = self.fields.iter();
        fields.fold(0, |all, field| all | field.option_units())
    }

    /// Whether the option is there.
    pub fn is_in(&self, key: &FlowKey) -> bool {
        key.tunnel_option_units & self.units() != 0
    }
}

impl TlvTable {
    /// Fields that there are.
    pub const FIELDS: u8 = 64;
    /// Bytes of all options that are mapped.
    pub const BYTES_MAX: usize = OPTION_WORDS * 8;
    /// No mapping.
    pub const EMPTY: &TlvTable = &TlvTable {
        mappings: Vec::new(),
    };

    /// Maps an option to a field.
    pub fn add(&mut self, index: u8, class: u16, kind: u8, len: u8) -> Result<(), TlvError> {
        if index >= TlvTable::FIELDS {
            return Err(TlvError::Index);
        }
        if len == 0 || !len.is_multiple_of(4) || len > LEN_OF_OPTIONS_MAX {
            return Err(TlvError::Length);
        }
        let at = match self.mappings.binary_search_by_key(&index, |it| it.index) {
            Ok(_) => return Err(TlvError::AlreadyMapped),
            Err(at) => at,
        };
        if self.of_option(class, kind).is_some() {
            return Err(TlvError::Duplicate);
        }
        let mapping = TlvMapping {
            index,
            class,
            kind,
            len,
            fields: self.room(len).ok_or(TlvError::Full)?,
        };
        self.mappings.insert(at, mapping);
        Ok(())
    }

    /// Takes a mapping out, if it is there.
    pub fn remove(&mut self, index: u8) {
        self.mappings.retain(|mapping| mapping.index != index);
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// All mappings by index.
    pub fn iter(&self) -> impl Iterator<Item = &TlvMapping> {
        self.mappings.iter()
    }

    /// The field of this number.
    pub fn of_index(&self, index: u8) -> Option<&TlvMapping> {
        self.iter().find(|mapping| mapping.index == index)
    }

    /// What a field of the key is, or is part of.
    pub fn of_field(&self, field: Field) -> Option<&TlvMapping> {
        self.iter().find(|mapping| mapping.fields.contains(&field))
    }

    /// What an option is.
    pub fn of_option(&self, class: u16, kind: u8) -> Option<&TlvMapping> {
        let mut all = self.iter();
        all.find(|mapping| (mapping.class, mapping.kind) == (class, kind))
    }

    /// The bits of a key that all of them have.
    pub fn mask(&self) -> FlowMask {
        let mut mask = FlowMask::default();
        for mapping in self.iter() {
            let fields = mapping.fields.iter();
            fields.for_each(|field| mask.unite(&field.mask()));
        }
        mask
    }

    /// Writes the options that came with a packet to a key. Those that are not mapped are ignored,
    /// unless they are critical; one of another length than that of its mapping is wrong.
    pub fn decode(&self, options: &[u8], key: &mut FlowKey) -> Result<(), Fault> {
        for option in Options(options) {
            let (class, kind, data) = option?;
            match self.of_option(class, kind) {
                Some(mapping) if data.len() == usize::from(mapping.len) => {
                    for (field, bytes) in mapping.fields.iter().rev().zip(data.rchunks(16)) {
                        let value = bytes.iter();
                        let value = value.fold(0, |all, byte| all << 8 | u128::from(*byte));
                        field.write(key, value, u128::MAX);
                    }
                }
                Some(_) => return Err(Fault::Length),
                None if kind & Options::CRITICAL != 0 => return Err(Fault::Option),
                None => {}
            }
        }
        Ok(())
    }

    /// The options that a key has, as they go before a packet, in the order of their fields. They
    /// may be more than go before one ([`Options::BYTES_MAX`]).
    pub fn encode(&self, key: &FlowKey) -> Vec<u8> {
        let mut options = Vec::new();
        for mapping in self.iter().filter(|mapping| mapping.is_in(key)) {
            options.extend(mapping.class.to_be_bytes());
            options.extend([mapping.kind, mapping.len / 4]);
            for &field in mapping.fields {
                let value = field.read(key).to_be_bytes();
                let is_zero = mapping.ones(field).leading_zeros() as usize / 8;
                options.extend(&value[is_zero..]);
            }
        }
        options
    }

    /// Fields that no mapping has a part of.
    fn room(&self, len: u8) -> Option<&'static [Field]> {
        let taken = self.iter().fold(0, |all, mapping| all | mapping.units());
        let fields = match len {
            4 => SINGLE,
            8 => PAIRS,
            _ => QUADS,
        };
        let mut places = fields.windows(usize::from(len.div_ceil(16)));
        places.find(|fields| fields.iter().all(|field| field.option_units() & taken == 0))
    }
}

/// Bits of the widest fields.
const FIELD_WIDTH: u16 = 128;
/// Longest data of an option (RFC 8926 §3.5).
const LEN_OF_OPTIONS_MAX: u8 = 124;

/// Fields of one, two and four units.
const SINGLE: &[Field] = &[
    Field::TunnelOption0,
    Field::TunnelOption1,
    Field::TunnelOption2,
    Field::TunnelOption3,
    Field::TunnelOption4,
    Field::TunnelOption5,
    Field::TunnelOption6,
    Field::TunnelOption7,
    Field::TunnelOption8,
    Field::TunnelOption9,
    Field::TunnelOption10,
    Field::TunnelOption11,
    Field::TunnelOption12,
    Field::TunnelOption13,
    Field::TunnelOption14,
    Field::TunnelOption15,
    Field::TunnelOption16,
    Field::TunnelOption17,
    Field::TunnelOption18,
    Field::TunnelOption19,
    Field::TunnelOption20,
    Field::TunnelOption21,
    Field::TunnelOption22,
    Field::TunnelOption23,
    Field::TunnelOption24,
    Field::TunnelOption25,
    Field::TunnelOption26,
    Field::TunnelOption27,
    Field::TunnelOption28,
    Field::TunnelOption29,
    Field::TunnelOption30,
    Field::TunnelOption31,
    Field::TunnelOption32,
    Field::TunnelOption33,
    Field::TunnelOption34,
    Field::TunnelOption35,
    Field::TunnelOption36,
    Field::TunnelOption37,
    Field::TunnelOption38,
    Field::TunnelOption39,
    Field::TunnelOption40,
    Field::TunnelOption41,
    Field::TunnelOption42,
    Field::TunnelOption43,
    Field::TunnelOption44,
    Field::TunnelOption45,
    Field::TunnelOption46,
    Field::TunnelOption47,
    Field::TunnelOption48,
    Field::TunnelOption49,
    Field::TunnelOption50,
    Field::TunnelOption51,
    Field::TunnelOption52,
    Field::TunnelOption53,
    Field::TunnelOption54,
    Field::TunnelOption55,
    Field::TunnelOption56,
    Field::TunnelOption57,
    Field::TunnelOption58,
    Field::TunnelOption59,
    Field::TunnelOption60,
    Field::TunnelOption61,
    Field::TunnelOption62,
    Field::TunnelOption63,
];
const PAIRS: &[Field] = &[
    Field::TunnelOptionPair0,
    Field::TunnelOptionPair1,
    Field::TunnelOptionPair2,
    Field::TunnelOptionPair3,
    Field::TunnelOptionPair4,
    Field::TunnelOptionPair5,
    Field::TunnelOptionPair6,
    Field::TunnelOptionPair7,
    Field::TunnelOptionPair8,
    Field::TunnelOptionPair9,
    Field::TunnelOptionPair10,
    Field::TunnelOptionPair11,
    Field::TunnelOptionPair12,
    Field::TunnelOptionPair13,
    Field::TunnelOptionPair14,
    Field::TunnelOptionPair15,
    Field::TunnelOptionPair16,
    Field::TunnelOptionPair17,
    Field::TunnelOptionPair18,
    Field::TunnelOptionPair19,
    Field::TunnelOptionPair20,
    Field::TunnelOptionPair21,
    Field::TunnelOptionPair22,
    Field::TunnelOptionPair23,
    Field::TunnelOptionPair24,
    Field::TunnelOptionPair25,
    Field::TunnelOptionPair26,
    Field::TunnelOptionPair27,
    Field::TunnelOptionPair28,
    Field::TunnelOptionPair29,
    Field::TunnelOptionPair30,
    Field::TunnelOptionPair31,
];
const QUADS: &[Field] = &[
    Field::TunnelOptionQuad0,
    Field::TunnelOptionQuad1,
    Field::TunnelOptionQuad2,
    Field::TunnelOptionQuad3,
    Field::TunnelOptionQuad4,
    Field::TunnelOptionQuad5,
    Field::TunnelOptionQuad6,
    Field::TunnelOptionQuad7,
    Field::TunnelOptionQuad8,
    Field::TunnelOptionQuad9,
    Field::TunnelOptionQuad10,
    Field::TunnelOptionQuad11,
    Field::TunnelOptionQuad12,
    Field::TunnelOptionQuad13,
    Field::TunnelOptionQuad14,
    Field::TunnelOptionQuad15,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `{class=0x102,type=0x80,len=4}->tun_metadata0` and three more of other lengths.
    fn table() -> TlvTable {
        let mut table = TlvTable::default();
        for (index, kind, len) in [(0, 0x80, 4), (63, 1, 8), (7, 2, 12), (8, 3, 16)] {
            assert_eq!(table.add(index, 0x102, kind, len), Ok(()));
        }
        table
    }

    #[test]
    fn no_two_options_share_a_unit() {
        let mut table = table();
        let mut seen = 0u64;
        for mapping in table.iter() {
            let units = mapping.units();
            assert_eq!(
                units.count_ones(),
                u32::from(mapping.len.next_power_of_two() / 4)
            );
            assert_eq!(seen & units, 0);
            seen |= units;
            assert_eq!(mapping.field().mask().0.tunnel_option_units, units);
        }
        // 64 units, of which 1, 2, 4 and 4 are taken.
        assert_eq!(table.add(18, 1, 18, 124), Ok(()));
        assert_eq!(table.add(19, 1, 19, 64), Ok(()));
        for index in 20..25 {
            assert_eq!(table.add(index, 1, index, 4), Ok(()));
        }
        assert_eq!(table.add(30, 1, 30, 4), Err(TlvError::Full));
        table.remove(8);
        assert_eq!(table.add(30, 1, 30, 16), Ok(()));
        let indices: Vec<u8> = table.iter().map(|mapping| mapping.index).collect();
        assert_eq!(indices, [0, 7, 18, 19, 20, 21, 22, 23, 24, 30, 63]);
    }

    #[test]
    fn what_cannot_be_mapped_says_why() {
        let mut table = table();
        for (index, kind, len, error) in [
            (64, 9, 4, TlvError::Index),
            (1, 9, 0, TlvError::Length),
            (1, 9, 6, TlvError::Length),
            (1, 9, 128, TlvError::Length),
            (0, 9, 4, TlvError::AlreadyMapped),
            (1, 0x80, 4, TlvError::Duplicate),
        ] {
            assert_eq!(table.add(index, 0x102, kind, len), Err(error));
        }
        assert_eq!(table, self::table());
    }

    #[test]
    fn options_come_back_as_they_went() {
        let table = table();
        let mut key = FlowKey::default();
        assert!(table.encode(&key).is_empty());
        let option = [1, 2, 0x80, 1, 0xde, 0xad, 0xbe, 0xef];
        let other = [1, 2, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        assert_eq!(
            table.decode(&[&other[..], &option].concat(), &mut key),
            Ok(())
        );
        let mapping = table.of_index(0).unwrap();
        assert!(mapping.is_in(&key));
        assert_eq!(mapping.field().read(&key), 0xdead_beef);
        let longer = table.of_index(7).unwrap();
        assert_eq!(longer.field().read(&key), 0x0102_0304_0506_0708_090a_0b0c);
        assert_eq!(table.encode(&key), [&option[..], &other].concat());
        assert!(!table.of_index(63).unwrap().is_in(&key));
    }

    #[test]
    fn a_long_option_is_several_fields() {
        let mut table = TlvTable::default();
        assert_eq!(table.add(0, 0x102, 1, 4), Ok(()));
        assert_eq!(table.add(1, 0x102, 2, 20), Ok(()));
        assert_eq!(table.add(2, 0x102, 3, 16), Ok(()));
        assert_eq!(table.add(3, 0x102, 4, 124), Ok(()));
        assert_eq!(table.add(4, 0x102, 5, 68), Err(TlvError::Full));
        let long = table.of_index(1).unwrap();
        let [first, last] = *long.fields else {
            panic!("{long:?}");
        };
        assert_eq!(table.of_field(last), Some(long));
        assert_eq!(
            (long.ones(first), long.ones(last)),
            (0xffff_ffff, u128::MAX)
        );
        assert_eq!((long.offset(first), long.offset(last)), (128, 0));
        assert_eq!(long.part(0, 128), Some((last, 0)));
        assert_eq!(long.part(130, 30), Some((first, 2)));
        assert_eq!(long.part(120, 9), None);
        assert_eq!(long.part(130, 31), None);
        assert_eq!(long.part(256, 1), None);

        let bytes: Vec<u8> = [1, 2, 2, 5].into_iter().chain(1..=20).collect();
        let mut key = FlowKey::default();
        assert_eq!(table.decode(&bytes, &mut key), Ok(()));
        assert!(long.is_in(&key));
        assert_eq!(first.read(&key), 0x0102_0304);
        assert_eq!(last.read(&key) >> 112, 0x0506);
        assert_eq!(table.encode(&key), bytes);
        assert_eq!(table.decode(&bytes[..20], &mut key), Err(Fault::Length));
    }

    #[test]
    fn two_of_the_longest_have_room() {
        let mut table = TlvTable::default();
        let mut bytes = Vec::new();
        for kind in 0..2 {
            assert_eq!(table.add(kind, 0x102, kind, LEN_OF_OPTIONS_MAX), Ok(()));
            bytes.extend([1, 2, kind, 31]);
            bytes.extend((0..LEN_OF_OPTIONS_MAX).map(|byte| byte + kind));
        }
        assert_eq!(table.add(2, 0x102, 2, 4), Err(TlvError::Full));
        let mut key = FlowKey::default();
        assert_eq!(table.decode(&bytes, &mut key), Ok(()));
        assert_eq!(key.tunnel_option_units, u64::MAX);
        assert_eq!(table.encode(&key), bytes);
        let second = table.of_index(1).unwrap();
        assert_eq!(second.ones(second.field()), u128::MAX >> 32);
        let (field, offset) = second.part(984, 8).unwrap();
        assert_eq!(field.read(&key) >> offset & 0xff, 1);
    }

    #[test]
    fn an_option_of_zeros_is_there() {
        let (table, mut key) = (table(), FlowKey::default());
        let option = [1, 2, 0x80, 1, 0, 0, 0, 0];
        assert_eq!(table.decode(&option, &mut key), Ok(()));
        assert_eq!(table.encode(&key), option);
    }

    #[test]
    fn options_that_are_not_understood() {
        let table = table();
        for (option, expected) in [
            (&[1, 2, 9, 0][..], Ok(())),
            (&[9, 9, 0x89, 0], Err(Fault::Option)),
            (&[1, 2, 0x80, 0], Err(Fault::Length)),
            (&[1, 2, 1, 1, 0, 0, 0, 0], Err(Fault::Length)),
            (&[1, 2, 1, 2, 0, 0, 0, 0], Err(Fault::Length)),
            (&[1, 2], Err(Fault::Length)),
            // Reserved bits say nothing.
            (&[1, 2, 0x80, 0xe1, 0, 0, 0, 0], Ok(())),
        ] {
            let mut key = FlowKey::default();
            assert_eq!(table.decode(option, &mut key), expected, "{option:?}");
        }
    }
}
