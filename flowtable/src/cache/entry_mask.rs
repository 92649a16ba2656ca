//! The significant bits of packets at one entry point, and the hash of a key under them.

use crate::hash::{Stream, fold};
use crate::parse::Depth;
use crate::{FlowKey, FlowMask};

/// The bits that may matter for packets that enter the pipeline at one point, as a list of words.
/// Masks are equal if they have the same bits.
///
/// The words count in pairs. One without a partner is folded into another that has no bits where it
/// comes to lie, turned as needed: the Ethernet type into the free half of an address' word. Never
/// into the first, which in the switch is metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryMask {
    /// In pairs, at least one; a word without a partner has one that selects nothing.
    pairs: Box<[[MaskWord; 2]]>,
    /// A word that is folded into the last of them.
    folded: Option<Folded>,
    id: u64,
    depth: Depth,
    is_coarse: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MaskWord {
    index: usize,
    mask: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Folded {
    word: MaskWord,
    /// Bits that it is turned left by.
    turn: u32,
}

impl MaskWord {
    #[inline(always)]
    fn of(self, words: &[u64; FlowKey::WORDS]) -> u64 {
        words[self.index] & self.mask
    }
}

impl Folded {
    /// A way to fold a word into another without a bit of both in one place.
    fn between(word: MaskWord, into: MaskWord) -> Option<Folded> {
        let mut turns = 0..u64::BITS;
        let turn = turns.find(|turn| word.mask.rotate_left(*turn) & into.mask == 0)?;
        Some(Folded { word, turn })
    }

    #[inline(always)]
    fn of(self, words: &[u64; FlowKey::WORDS]) -> u64 {
        self.word.of(words).rotate_left(self.turn)
    }
}

/// Folds one word of an odd number into another, which goes to the end, if there are two that fit.
fn fold_odd(words: &mut Vec<MaskWord>) -> Option<Folded> {
    if words.len().is_multiple_of(2) {
        return None;
    }
    let places = 1..words.len();
    let ways = places.clone().flat_map(|from| {
        let others = places.clone().filter(move |into| *into != from);
        others.map(move |into| (from, into))
    });
    let fit = |(from, into): (usize, usize)| {
        Some((from, into, Folded::between(words[from], words[into])?))
    };
    let (from, into, folded) = ways.clone().find_map(fit)?;
    let last = words[into];
    let mut place = 0..;
    words.retain(|_| {
        place
            .next()
            .is_none_or(|place| place != from && place != into)
    });
    words.push(last);
    Some(folded)
}

/// The words of a key that count, masked, in pairs; only as many as the mask has are in use. The
/// first word tells the mask, too.
pub(super) type Row = [[u64; 2]; PAIRS_MAX];

/// Most bits behind the first word, which is metadata, of a mask under which all packets of a batch
/// may well be alike: as many as the Ethernet type has.
const COARSE_BITS_MAX: u32 = 16;

/// Pairs of words of the widest mask.
pub(super) const PAIRS_MAX: usize = FlowKey::WORDS.div_ceil(2);

impl EntryMask {
    /// The words of `mask` that have a bit.
    pub fn new(mask: &FlowMask) -> EntryMask {
        let words = mask.0.words().iter().enumerate();
        let mut words: Vec<MaskWord> = words
            .filter(|(_, mask)| **mask != 0)
            .map(|(index, &mask)| MaskWord { index, mask })
            .collect();
        let id = words.iter().fold(0, |id, word| {
            let word_id = Stream(word.mask ^ Stream(word.index as u64).next()).next();
            Stream(id ^ word_id).next()
        });
        let bits = words.iter().skip(1).map(|word| word.mask.count_ones());
        let is_coarse = words.len() <= 2 && bits.sum::<u32>() <= COARSE_BITS_MAX;
        let folded = fold_odd(&mut words);
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let pairs = (0..words.len().max(1)).step_by(2);
        EntryMask {
            pairs: pairs.map(|at| [word(at), word(at + 1)]).collect(),
            folded,
            id,
            depth: Depth::of(mask),
            is_coarse,
        }
    }

    /// Whether it has so few bits that all packets of a batch may well be alike under it.
    #[inline]
    pub fn is_coarse(&self) -> bool {
        self.is_coarse
    }

    /// Whether keys are all the same for the cache under a coarse mask.
    #[inline]
    pub fn are_alike(&self, keys: &[FlowKey]) -> bool {
        let ([[one, other]], [first, rest @ ..]) = (&*self.pairs, keys) else {
            return false;
        };
        let of = |key: &FlowKey| [one.of(key.words()), other.of(key.words())];
        let [a, b] = of(first);
        // Without a way out, so that the loop is short.
        let differs = |sum: u64, key: &FlowKey| sum | (of(key)[0] ^ a) | (of(key)[1] ^ b);
        self.is_coarse() && rest.iter().fold(0, differs) == 0
    }

    /// How deep packets must be parsed for every bit of the mask to be known.
    #[inline]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Whether two keys are the same for the cache.
    pub fn agree(&self, a: &FlowKey, b: &FlowKey) -> bool {
        let (a, b) = (a.words(), b.words());
        let folded = self.folded.as_ref().map(|folded| &folded.word);
        let words = self.pairs.iter().flatten().chain(folded);
        let differences = words.map(|word| (a[word.index] ^ b[word.index]) & word.mask);
        differences.fold(0, |all, one| all | one) == 0
    }

    /// Number of pairs of words.
    pub(super) fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Whether a word is folded into another.
    pub(super) fn is_folded(&self) -> bool {
        self.folded.is_some()
    }
}

/// What the hash depends on besides the key: two secret words for each pair of words.
pub(super) struct Secret {
    pairs: Row,
    factor: u64,
}

impl Secret {
    pub(super) fn new(secret: u64) -> Secret {
        let mut stream = Stream(secret);
        Secret {
            pairs: core::array::from_fn(|_| [stream.next(), stream.next()]),
            factor: stream.next() | 1,
        }
    }

    /// Writes the words of `key` that count under `mask` to `row` and returns their hash. Each pair
    /// of words, hidden behind secret ones, is multiplied on its own, so that the products do not
    /// wait for one another.
    ///
    /// The first word is mixed with a number that equal masks share and others in all likelihood do
    /// not: so keys are told apart with the masks under which they were taken. In the switch this
    /// word is metadata, so that no packet chooses it.
    #[inline(always)]
    pub(super) fn pack(&self, mask: &EntryMask, key: &FlowKey, row: &mut [[u64; 2]]) -> u64 {
        let words = key.words();
        let (mut sum, mut id) = (0_u64, mask.id);
        let last = mask.pairs.len() - 1;
        let pairs = mask.pairs.iter().zip(&self.pairs).enumerate();
        for ((place, ([a, b], [secret_a, secret_b])), packed) in pairs.zip(row) {
            let (a, mut b) = (a.of(words) ^ id, b.of(words));
            id = 0;
            if let Some(folded) = mask.folded.filter(|_| place == last) {
                b ^= folded.of(words);
            }
            *packed = [a, b];
            sum = sum.wrapping_add(fold(a ^ secret_a, b ^ secret_b));
        }
        fold(sum, self.factor)
    }

    /// Does the same under a mask of `N` pairs, a number that is known to the compiler, as is
    /// whether a word is `FOLDED`.
    #[inline(always)]
    pub(super) fn packer<const N: usize, const FOLDED: bool>(
        &self,
        mask: &EntryMask,
    ) -> Option<Packer<N, FOLDED>> {
        Some(Packer {
            words: *mask.pairs.first_chunk()?,
            folded: mask.folded.unwrap_or_default(),
            secrets: *self.pairs.first_chunk()?,
            id: mask.id,
            factor: self.factor,
        })
    }
}

/// What [`Secret::pack`] needs for keys of `N` pairs.
pub(super) struct Packer<const N: usize, const FOLDED: bool> {
    words: [[MaskWord; 2]; N],
    folded: Folded,
    secrets: [[u64; 2]; N],
    id: u64,
    factor: u64,
}

impl<const N: usize, const FOLDED: bool> Packer<N, FOLDED> {
    /// Writes the words of `key` that count to the first pairs of `row`, which has no fewer, and
    /// returns their hash.
    #[inline(always)]
    pub(super) fn pack<const ROOM: usize>(&self, key: &FlowKey, row: &mut [[u64; 2]; ROOM]) -> u64 {
        let words = key.words();
        let (mut sum, mut id) = (0_u64, self.id);
        let pairs = self.words.iter().zip(&self.secrets).enumerate();
        for ((place, ([a, b], [secret_a, secret_b])), packed) in pairs.zip(row) {
            let (a, mut b) = (a.of(words) ^ id, b.of(words));
            id = 0;
            if FOLDED && place == N - 1 {
                b ^= self.folded.of(words);
            }
            *packed = [a, b];
            sum = sum.wrapping_add(fold(a ^ secret_a, b ^ secret_b));
        }
        fold(sum, self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    fn mask(fields: &[Field]) -> EntryMask {
        let mut mask = FlowMask::default();
        fields.iter().for_each(|field| mask.unite(&field.mask()));
        EntryMask::new(&mask)
    }

    fn packed(mask: &EntryMask, key: &FlowKey) -> (u64, Row) {
        let mut row = [[0; 2]; PAIRS_MAX];
        let hash = Secret::new(3).pack(mask, key, &mut row);
        (hash, row)
    }

    #[test]
    fn all_are_alike_under_few_bits() {
        let key = |eth_type, src| FlowKey {
            eth_type,
            eth_src: src,
            ..FlowKey::default()
        };
        let keys = [key(7, 1), key(7, 2), key(7, 3)];
        let coarse = |fields: &[Field]| {
            let mut mask = FlowMask::default();
            mask.0.entry = u32::MAX;
            fields.iter().for_each(|field| mask.unite(&field.mask()));
            EntryMask::new(&mask)
        };
        let mask = coarse(&[Field::EthType]);
        assert!(mask.are_alike(&keys) && mask.are_alike(&keys[..1]) && !mask.are_alike(&[]));
        for place in 0..3 {
            let mut others = keys;
            others[place].eth_type = 8;
            assert!(!mask.are_alike(&others));
            let mut others = keys;
            others[place].entry = 9;
            assert!(!mask.are_alike(&others));
        }
        assert!(!coarse(&[Field::EthType, Field::IpProto]).are_alike(&keys));
        assert!(!coarse(&[Field::Ipv4Dst]).are_alike(&keys), "too many bits");
    }

    #[test]
    fn equal_bits_make_equal_masks() {
        let (a, b) = (Field::EthDst, Field::TcpSrc);
        assert_eq!(mask(&[a, b]), mask(&[b, a]));
        assert_ne!(mask(&[a]), mask(&[a, b]));
        assert_ne!(mask(&[Field::VlanVid]).id, mask(&[Field::VlanPcp]).id);
        assert_eq!(mask(&[]).pairs(), 1);
        assert_eq!(mask(&[a, b]).pairs(), 1);
        assert_eq!(mask(&[a, b, Field::InPort]).pairs(), 1);
    }

    #[test]
    fn only_bits_of_the_mask_count() {
        let mask = mask(&[Field::EthDst, Field::VlanVid, Field::Ipv4Src]);
        let key = FlowKey {
            eth_dst: 5,
            vlan_tci: 0xe001,
            ipv4_src: 9,
            ..FlowKey::default()
        };
        let same = FlowKey {
            vlan_tci: 1,
            ipv4_dst: 7,
            eth_src: 8,
            ..key
        };
        assert_eq!(packed(&mask, &key), packed(&mask, &same));
        for other in [
            FlowKey { eth_dst: 6, ..key },
            FlowKey { vlan_tci: 2, ..key },
            FlowKey { ipv4_src: 8, ..key },
        ] {
            assert_ne!(packed(&mask, &key).0, packed(&mask, &other).0);
        }
    }

    #[test]
    fn keys_agree_if_the_cache_takes_them_for_the_same() {
        let mask = mask(&[Field::EthDst, Field::VlanVid, Field::Ipv4Src]);
        let key = |eth_dst, ipv4_src, ipv4_dst| FlowKey {
            eth_dst,
            ipv4_src,
            ipv4_dst,
            ..FlowKey::default()
        };
        assert!(mask.agree(&key(1, 2, 3), &key(1, 2, 4)));
        assert!(!mask.agree(&key(1, 2, 3), &key(1, 5, 3)));
        assert!(!mask.agree(&key(1, 2, 3), &key(6, 2, 3)));
    }

    #[test]
    fn words_that_change_places_hash_otherwise() {
        let mask = mask(&[Field::EthDst, Field::EthSrc]);
        let key = |eth_dst, eth_src| FlowKey {
            eth_dst,
            eth_src,
            ..FlowKey::default()
        };
        assert_ne!(packed(&mask, &key(1, 2)).0, packed(&mask, &key(2, 1)).0);
        assert_ne!(packed(&mask, &key(1, 1)).0, packed(&mask, &key(2, 2)).0);
    }

    #[test]
    fn keys_of_known_width_are_packed_alike() {
        let key = |n: u64| FlowKey {
            eth_dst: n,
            eth_src: n * 3,
            ipv4_src: n as u32 * 5,
            ipv6_src: [n * 7, n * 9],
            ..FlowKey::default()
        };
        fn check<const FOLDED: bool>(mask: &EntryMask, key: &FlowKey) {
            assert_eq!((mask.pairs(), mask.is_folded()), (2, FOLDED));
            let secret = Secret::new(3);
            let packer = secret.packer::<2, FOLDED>(mask).expect("two pairs");
            let mut row = [[0; 2]; 2];
            let hash = packer.pack(key, &mut row);
            let (plain, plain_row) = packed(mask, key);
            assert_eq!((hash, &row[..]), (plain, &plain_row[..2]));
        }
        let three = mask(&[Field::Ipv6Src, Field::EthSrc]);
        let five = mask(&[
            Field::InPort,
            Field::Ipv6Src,
            Field::Ipv4Src,
            Field::EthType,
        ]);
        for key in (0..5).map(key) {
            check::<false>(&three, &key);
            check::<true>(&five, &key);
        }
    }

    #[test]
    fn an_odd_word_is_folded_where_there_is_room() {
        let first = Field::InPort;
        let tuple = [Field::EthType, Field::IpProto, Field::TcpSrc, Field::TcpDst];
        let networks = [Field::Ipv6Src, Field::Ipv6Dst];
        let shape = |fields: &[&[Field]]| {
            let mask = mask(&fields.concat());
            (mask.pairs(), mask.is_folded())
        };
        assert_eq!(
            shape(&[&[first, Field::EthType, Field::Ipv4Dst]]),
            (1, true)
        );
        assert_eq!(shape(&[&[first], &tuple]), (1, true));
        assert_eq!(shape(&[&[first], &tuple, &networks[..1]]), (2, true));
        assert_eq!(shape(&[&[first], &networks[..1]]), (2, false));
        assert_eq!(shape(&[&[first], &tuple, &[Field::Ipv4Dst]]), (2, false));
        assert_eq!(shape(&[&[first]]), (1, false));
    }

    #[test]
    fn every_bit_of_a_folded_word_counts() {
        let mask = mask(&[Field::InPort, Field::EthType, Field::Ipv4Dst]);
        let mut rows = std::collections::BTreeSet::new();
        for bit in 0..48 {
            let key = FlowKey {
                eth_type: (1_u64 << bit >> 32) as u16,
                ipv4_dst: (1_u64 << bit) as u32,
                ..FlowKey::default()
            };
            let (_, row) = packed(&mask, &key);
            assert!(rows.insert(row), "bit {bit}");
            assert!(!mask.agree(&key, &FlowKey::default()));
        }
    }
}
