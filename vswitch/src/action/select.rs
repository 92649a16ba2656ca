//! Which bucket of a select group a packet undergoes (OpenFlow 1.3.5 §5.6.1).
//!
//! A hash of the packet is a point on a line on which each bucket has a stretch as long as its
//! weight. Buckets that are down keep theirs: whoever finds one there hashes the hash and looks
//! again, until he finds one that lives. So packets of all other buckets stay with theirs when one
//! goes down or comes back, however many are down already.
//!
//! Why not stretches of those that live alone: all of them would move, and connections with them.
//! Why not the highest of a hash for each bucket, as Open vSwitch has it: a packet would pay for
//! each bucket.

use flowtable::Field;

use super::Op;

/// The buckets of a select group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Select {
    /// In their order, those that are down with them.
    pub buckets: Box<[Bucket]>,
    /// They are next hops: of an IP packet's conversation its two directions are to choose the same
    /// one, though each has Ethernet addresses and a VLAN of its own.
    pub routes: bool,
}

/// One of the buckets of a select group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// Sum of all weights up to and including its own.
    pub upto: u32,
    /// What packets undergo; none if what it watches is down.
    pub ops: Option<Box<[Op]>>,
}

impl Select {
    /// Buckets for packets that were routed before or not. Those that set Ethernet addresses or
    /// decrement the time to live are next hops, and so are those that packets come to whose time
    /// to live was.
    pub fn new(buckets: Box<[Bucket]>, is_routed: bool) -> Select {
        let is_of_router = |op: &Op| match op {
            Op::SetField { field, .. } => matches!(field, Field::EthDst | Field::EthSrc),
            Op::DecNwTtl(_) => true,
            _ => false,
        };
        let buckets_route = live(&buckets).any(|ops| ops.iter().any(is_of_router));
        Select {
            buckets,
            routes: is_routed || buckets_route,
        }
    }

    /// What packets of the buckets that live undergo.
    pub fn live(&self) -> impl Iterator<Item = &[Op]> {
        live(&self.buckets)
    }

    /// What packets with this hash undergo.
    pub fn choose(&self, hash: u32) -> &[Op] {
        let total = self.buckets.last().map_or(0, |bucket| bucket.upto);
        let chosen = first_live(hash, |hash| {
            let point = point(hash, total);
            let mut buckets = self.buckets.iter();
            Some(&buckets.find(|bucket| point < bucket.upto)?.ops)
        });
        match chosen {
            Some(ops) => ops,
            None => self.live().next().unwrap_or_default(),
        }
    }
}

fn live(buckets: &[Bucket]) -> impl Iterator<Item = &[Op]> {
    buckets.iter().filter_map(|bucket| bucket.ops.as_deref())
}

/// Where a hash lies on a line of this length.
#[inline(always)]
pub(super) fn point(hash: u32, total: u32) -> u32 {
    ((u64::from(hash) * u64::from(total)) >> 32) as u32
}

/// What a hash chooses, or the first of those that follow from it that chooses what lives; none if
/// there is nothing to choose, or little alive.
#[inline(always)]
pub(super) fn first_live<'a, T>(
    hash: u32,
    choose: impl Fn(u32) -> Option<&'a Option<T>>,
) -> Option<&'a T> {
    match choose(hash)? {
        Some(chosen) => Some(chosen),
        None => look_again(hash, choose),
    }
}

#[inline(never)]
fn look_again<'a, T>(
    mut hash: u32,
    choose: impl Fn(u32) -> Option<&'a Option<T>>,
) -> Option<&'a T> {
    (0..LOOKS_MAX).find_map(|_| {
        hash = (hash ^ hash >> 15).wrapping_mul(0x85eb_ca6b);
        choose(hash ^ hash >> 13)?.as_ref()
    })
}

/// So that of a hundred thousand packets one does not find a tenth that lives.
const LOOKS_MAX: usize = 110;

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::straight::Choice;
    use super::super::{End, PortNo};
    use super::*;

    /// Buckets by weight, of which each sends by a port of its number if it lives.
    pub(crate) fn select(buckets: impl IntoIterator<Item = (u32, bool)>) -> Select {
        let mut upto = 0;
        let bucket = |(number, (weight, lives)): (u32, (u32, bool))| {
            upto += weight;
            let ops: Box<[Op]> = [Op::Output(PortNo(number))].into();
            let ops = lives.then_some(ops);
            Bucket { upto, ops }
        };
        Select::new((0..).zip(buckets).map(bucket).collect(), false)
    }

    /// Which bucket it is, of either kind of program.
    fn chosen(select: &Select, hash: u32) -> Option<u32> {
        let one = match select.choose(hash) {
            [Op::Output(port)] => Some(port.0),
            _ => None,
        };
        let choice = Choice::of(select).expect("straight lines");
        let other = match choice.find(hash).map(|line| &line.end) {
            Some(End::Output(port)) => Some(port.0),
            _ => None,
        };
        assert_eq!(one, other);
        one
    }

    fn hashes(count: u32) -> impl Iterator<Item = u32> {
        (0..count).map(|number| (number ^ number << 16).wrapping_mul(0x9e37_79b9))
    }

    fn weighted() -> impl Strategy<Value = Vec<(u32, bool)>> {
        prop::collection::vec((1..6_u32, prop::bool::weighted(0.7)), 2..20)
            .prop_filter("two live", |buckets| {
                buckets.iter().filter(|(_, lives)| *lives).count() > 1
            })
    }

    proptest! {
        #[test]
        fn only_flows_of_a_bucket_that_goes_down_move(
            buckets in weighted(), pick in any::<prop::sample::Index>(),
        ) {
            let live: Vec<_> = (0..buckets.len()).filter(|place| buckets[*place].1).collect();
            let down = live[pick.index(live.len())];
            let mut fewer = buckets.clone();
            fewer[down].1 = false;
            let (before, after) = (select(buckets.clone()), select(fewer));
            for hash in hashes(300) {
                let was = chosen(&before, hash).expect("one lives");
                let is = chosen(&after, hash).expect("one lives");
                prop_assert!(buckets[was as usize].1 && is != down as u32);
                prop_assert!(was == is || was == down as u32, "{was} {is}");
            }
        }
    }

    #[test]
    fn those_that_live_share_by_weight_what_others_had() {
        let buckets = [(1, true), (5, false), (2, true), (3, false), (1, true)];
        let select = select(buckets);
        let mut counts = BTreeMap::new();
        for hash in hashes(40_000) {
            *counts.entry(chosen(&select, hash)).or_insert(0) += 1;
        }
        let [first, second, third] = [0, 2, 4].map(|number| counts[&Some(number)]);
        assert_eq!(first + second + third, 40_000);
        for (count, share) in [(first, 10_000), (second, 20_000), (third, 10_000)] {
            assert!((share - 500..share + 500).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn one_of_hundreds_that_lives_is_found() {
        let select = select((0..1000).map(|number| (1, number == 777)));
        assert!(hashes(1000).all(|hash| chosen(&select, hash) == Some(777)));
        let nothing = super::tests::select([(1, false), (2, false)]);
        assert_eq!(chosen(&nothing, 7), None);
    }
}
