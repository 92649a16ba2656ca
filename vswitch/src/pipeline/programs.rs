//! Programs that a worker has made already, found again by what decides them.
//!
//! Many flows have few programs among them: as many as there are ways through the rules. So a
//! miss first only finds its way ([`Path`]): tables are looked up and the key is changed as ever,
//! but nothing is written. If a packet has gone the same way before, its program is used for this
//! one, too; else the packet is translated once more, in full. So a miss allocates nothing as a
//! rule, and a cache of many flows has few programs to keep close at hand. The programs are in the
//! flow cache, kept by their numbers: an entry for one more packet is made of these.
//!
//! Packets of a batch are decided together: first the ways of all, then what is known of them, so
//! that the loads of their programs overlap. With many thousand programs nearly each is one that no
//! near cache has.
//!
//! There may be many more ways than programs can be kept, as where each of a thousand hosts sends
//! to each of a thousand routes. A way that comes where there is no room is kept only when it comes
//! again before others of its place: else each packet would push out a program that lies in no near
//! cache for one that nobody asks for again.
//!
//! A way is the entry point and every choice that the key made, in order. With the same state it
//! decides the program, whatever else is in the key; so what was made for one epoch is never used
//! in another. Ways are compared in full: no packet can be given another's program.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtable::{FlowKey, Pair};
use foldhash::fast::RandomState;

use super::limits::{PATH_MAX, PROGRAMS_MAX};
use super::{Context, Ingress, NoTrace, Trace, translate};
use crate::action::{Account, Cache, Routine};

/// The programs of one worker, which are kept in its flow cache.
#[derive(Debug)]
pub struct Programs {
    hasher: RandomState,
    sets: Box<[Set]>,
    /// Parts of the hashes of ways that came where there was no room.
    visitors: Box<[u16]>,
    /// Those of the packets that are decided together.
    paths: Box<[Path]>,
}

/// Those whose ways have neighbouring hashes; the next one takes the place at `hand`. A place where
/// there is none has a way without choices.
#[derive(Clone, Debug, Default)]
struct Set {
    hashes: [u64; WAYS],
    pairs: [Pair; WAYS],
    paths: [Box<[u64]>; WAYS],
    epochs: [u64; WAYS],
    hand: usize,
}

/// Hears the way that a packet goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    hash: u64,
    words: ArrayVec<u64, PATH_MAX>,
    /// There were more.
    is_longer: bool,
}

impl Default for Programs {
    fn default() -> Programs {
        Programs::new()
    }
}

impl Programs {
    /// None yet.
    pub fn new() -> Programs {
        Programs::of_sets(PROGRAMS_MAX / WAYS)
    }

    fn of_sets(count: usize) -> Programs {
        Programs {
            hasher: RandomState::default(),
            sets: vec![Set::default(); count].into(),
            visitors: vec![0; VISITORS].into(),
            paths: vec![Path::default(); TOGETHER].into(),
        }
    }

    /// Decides what happens to packets that enter at one point, as [`translate`] does. The program
    /// of each is in `cache`, and kept there for the caller, too, who is to let it go.
    pub fn decide<'k>(
        &mut self,
        context: &mut Context<'_>,
        ingress: &Ingress,
        keys: impl IntoIterator<Item = &'k FlowKey>,
        cache: &mut Cache,
        mut decided: impl FnMut(Pair),
    ) {
        let mut keys = keys.into_iter();
        loop {
            let together: ArrayVec<_, TOGETHER> = keys.by_ref().take(TOGETHER).collect();
            if together.is_empty() {
                return;
            }
            self.find_ways(context, ingress, &together);
            for (at, key) in together.iter().enumerate() {
                decided(self.program(context, ingress, (at, key), cache));
            }
        }
    }

    /// Finds the ways of packets, and fetches what is known of them.
    fn find_ways(&mut self, context: &mut Context<'_>, ingress: &Ingress, keys: &[&FlowKey]) {
        let entry = match ingress {
            Ingress::Port(port) => port.0,
            Ingress::Point(point) => *point,
            Ingress::PacketOut { .. } => return,
        };
        for (path, key) in self.paths.iter_mut().zip(keys) {
            path.begin(entry.into(), context.state.epoch());
            translate(context, ingress.clone(), key, path);
            path.hash = self.hasher.hash_one(&path.words[..]);
        }
        let paths = self.paths[..keys.len()].iter();
        let known = paths.map(|path| self.sets[path.hash as usize % self.sets.len()].peek(path));
        std::hint::black_box(known.fold(0, |all, one| all ^ one));
    }

    /// The program of a packet whose way is the one of this number.
    fn program(
        &mut self,
        context: &mut Context<'_>,
        ingress: &Ingress,
        (at, key): (usize, &FlowKey),
        cache: &mut Cache,
    ) -> Pair {
        let path = &self.paths[at];
        if path.is_longer || matches!(ingress, Ingress::PacketOut { .. }) {
            return make(context, ingress, key, cache);
        }
        let count = self.sets.len();
        let set = &mut self.sets[path.hash as usize % count];
        if let Some(pair) = set.find(path) {
            cache.keep_on(pair);
            return pair;
        }
        let (pair, epoch) = (make(context, ingress, key, cache), context.state.epoch());
        if set.has_room(epoch) || comes_again(&mut self.visitors, path.hash) {
            cache.keep_on(pair);
            let old = set.insert(path, pair, epoch);
            cache.let_go(old, Account::credit);
        }
        pair
    }
}

/// Notes that a way with this hash came; whether it was noted before, and no other of the same
/// place since then.
fn comes_again(visitors: &mut [u16], hash: u64) -> bool {
    let visitor = &mut visitors[(hash >> 32) as usize % VISITORS];
    let part = (hash >> 16) as u16 | 1;
    std::mem::replace(visitor, part) == part
}

fn make(context: &mut Context<'_>, ingress: &Ingress, key: &FlowKey, cache: &mut Cache) -> Pair {
    let program = Arc::new(translate(context, ingress.clone(), key, &mut NoTrace));
    cache.keep(Routine(Arc::clone(&program)), Account(program))
}

impl Set {
    /// The places of ways with this hash, as bits.
    #[inline(always)]
    fn places(&self, hash: u64) -> u32 {
        let bits = self.hashes.iter().enumerate();
        bits.fold(0, |all, (place, known)| {
            all | u32::from(*known == hash) << place
        })
    }

    /// Loads what [`Set::find`] will look at.
    #[inline(always)]
    fn peek(&self, path: &Path) -> u64 {
        let place = self.places(path.hash).trailing_zeros() as usize;
        let known = self.paths.get(place).and_then(|known| known.first());
        known.copied().unwrap_or_default()
    }

    #[inline]
    fn find(&self, path: &Path) -> Option<Pair> {
        let mut places = self.places(path.hash);
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            if are_equal(&self.paths[place], &path.words) {
                return Some(self.pairs[place]);
            }
            places &= places - 1;
        }
        None
    }

    /// Whether there is one of another epoch, whose place can be taken.
    fn has_room(&self, epoch: u64) -> bool {
        self.epochs.iter().any(|other| *other != epoch)
    }

    /// Takes the place of one of another epoch if there is one; the program that was there.
    fn insert(&mut self, path: &Path, pair: Pair, epoch: u64) -> Pair {
        let mut others = self.epochs.iter();
        let place = others.position(|other| *other != epoch);
        let place = place.unwrap_or(self.hand);
        self.hand = (place + 1) % WAYS;
        (self.hashes[place], self.epochs[place]) = (path.hash, epoch);
        self.paths[place] = path.words[..].into();
        std::mem::replace(&mut self.pairs[place], pair)
    }
}

/// Whether two ways are the same, told by looking at all of them: ways of one hash nearly always
/// are.
fn are_equal(a: &[u64], b: &[u64]) -> bool {
    let difference = |(a, b): (&u64, &u64)| a ^ b;
    let differences = a.iter().zip(b).map(difference);
    a.len() == b.len() && differences.fold(0, |all, one| all | one) == 0
}

impl Path {
    /// Ways from different entry points, or in different epochs, are different.
    fn begin(&mut self, entry: u64, epoch: u64) {
        self.words.clear();
        self.is_longer = false;
        self.choose(entry);
        self.choose(epoch);
    }
}

impl Trace for Path {
    const WANTS_PROGRAM: bool = false;

    #[inline]
    fn choose(&mut self, way: u64) {
        self.is_longer |= self.words.try_push(way).is_err();
    }

    fn enter(&mut self, _text: std::fmt::Arguments<'_>) {}

    fn leave(&mut self) {}

    fn end(&mut self, _key: &FlowKey) {}
}

/// Programs in a set.
const WAYS: usize = 4;

/// Ways noted that found no room: of more that come in a row, the first are forgotten. So few that
/// they stay close at hand.
const VISITORS: usize = 8192;

/// Packets whose ways are found before their programs: those of a batch.
const TOGETHER: usize = flowtable::KEYS_MAX;

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, as_text, kept_as_text, key, run};
    use super::*;

    /// The programs of a worker under test.
    struct Known {
        programs: Programs,
        cache: Cache,
    }

    impl Known {
        fn new() -> Known {
            Known {
                programs: Programs::new(),
                cache: Cache::new(1024, 7),
            }
        }
    }

    /// What becomes of a packet that comes in by p1.
    fn decide(world: &mut Script, known: &mut Known, headers: &str) -> Pair {
        decide_by_key(world, known, &key(headers))
    }

    fn decide_by_key(world: &mut Script, known: &mut Known, key: &FlowKey) -> Pair {
        let state = world.switch.publish();
        let ingress = Ingress::Port(world.number("p1"));
        world.points.renew(state.epoch());
        let mut context = Context {
            state: &state,
            points: &mut world.points,
        };
        let full = translate(&mut context, ingress.clone(), key, &mut NoTrace);
        let Known { programs, cache } = known;
        let mut pairs = Vec::new();
        programs.decide(&mut context, &ingress, [key, key], cache, |pair| {
            pairs.push(pair)
        });
        let [pair, again] = pairs[..] else {
            panic!("{pairs:?} for two packets");
        };
        assert_eq!(kept_as_text(cache, pair), kept_as_text(cache, again));
        assert_eq!(as_text(&full), kept_as_text(cache, pair), "of {key:?}");
        pair
    }

    const TWO_TABLES: &str = "
        port p1 1
        port p2 2
        flow priority=1,actions=goto_table:1
        flow priority=2,udp,actions=goto_table:1
        flow table=1,tcp,actions=output:2
        flow table=1,ip,nw_dst=10.0.0.0/8,actions=pop_vlan,dec_ttl,controller
    ";

    #[test]
    fn packets_that_go_the_same_way_share_a_program() {
        let mut world = run(TWO_TABLES);
        let mut programs = Known::new();
        let mut of = |headers| decide(&mut world, &mut programs, headers);
        let first = of("tcp,nw_dst=10.0.0.1");
        assert_eq!(first, of("tcp,nw_dst=11.0.0.2,tp_src=7"));
        assert_ne!(first, of("udp,nw_dst=10.0.0.1"));
        let dropped = of("udp,nw_dst=11.0.0.1");
        assert_eq!(dropped, of("udp,nw_dst=12.0.0.1"));
        // The same rule of the last table by way of another of the first.
        assert_ne!(dropped, of("icmp,nw_dst=11.0.0.1"));
    }

    #[test]
    fn a_program_is_of_its_epoch_alone() {
        let mut world = run(TWO_TABLES);
        let mut programs = Known::new();
        let first = decide(&mut world, &mut programs, "tcp");
        assert_eq!(first, decide(&mut world, &mut programs, "tcp"));
        let ways = |programs: &Known| {
            let sets = programs.programs.sets.iter();
            sets.flat_map(|set| &set.paths)
                .filter(|path| !path.is_empty())
                .count()
        };
        assert_eq!(ways(&programs), 1);
        world.run("flow priority=9,arp,actions=drop");
        decide(&mut world, &mut programs, "tcp");
        assert_eq!(ways(&programs), 2);
        world.run("flow table=1,tcp,actions=drop");
        decide(&mut world, &mut programs, "tcp");
    }

    #[test]
    fn what_normal_makes_of_addresses_and_tags_is_told_apart() {
        let mut world = run("
            port p1 1
            port p2 2
            port p3 3 tag=10
            flow actions=normal
            learn p2 vlan=0 00:00:00:00:00:02
            learn p1 vlan=0 00:00:00:00:00:01
        ");
        let mut programs = Known::new();
        let (tags, hosts) = (["", ",dl_vlan=10", ",dl_vlan=11"], [1, 2, 3, 4]);
        for (source, destination) in hosts.into_iter().flat_map(|it| hosts.map(|to| (it, to))) {
            for tag in tags {
                let addresses = format!(
                    "dl_src=00:00:00:00:00:0{source},dl_dst=00:00:00:00:00:0{destination}{tag}"
                );
                decide(&mut world, &mut programs, &addresses);
            }
        }
        decide(&mut world, &mut programs, "dl_dst=01:80:c2:00:00:00");
        decide(&mut world, &mut programs, "dl_src=01:00:00:00:00:01");
    }

    /// Whatever a packet has that no rule asks for must not be in what others are given, too: what
    /// controllers are told, where packets are parsed again.
    #[test]
    fn nothing_of_a_packet_is_in_a_program_but_what_chose_its_way() {
        let mut world = run("
            port p1 1
            port p2 2
            group group_id=1,type=all,bucket=push_vlan:0x88a8,controller,bucket=output:2
            flow priority=3,dl_vlan=10,actions=pop_vlan,controller,write_metadata:5,goto_table:1
            flow priority=2,ip,actions=dec_ttl,push_vlan:0x8100,controller,goto_table:1
            flow priority=1,actions=set_field:7->tun_id,controller,goto_table:1
            flow table=1,priority=2,tcp,actions=set_field:10.0.0.1->ip_dst,group:1,goto_table:2
            flow table=1,priority=1,mpls,actions=pop_mpls:0x0800,goto_table:2
            flow table=1,priority=0,actions=push_mpls:0x8847,set_queue:3,goto_table:2
            flow table=2,priority=1,ip,actions=controller,pop_mpls:0x0800,goto_table:3
            flow table=2,priority=0,actions=controller,goto_table:3
            flow table=3,udp,actions=controller
        ");
        let mut programs = Known::new();
        let hasher = RandomState::default();
        let (mut shared, mut seen) = (0, Vec::new());
        for number in 0..4000_u64 {
            let mut key = FlowKey::default();
            let random = |word: usize| hasher.hash_one((number, word));
            let words = key.words_mut().iter_mut().enumerate();
            words.for_each(|(at, word)| *word = random(at));
            let pick = |values: &[u16], at| values[random(at) as usize % values.len()];
            key.eth_type = pick(&[0x0800, 0x86dd, 0x0806, 0x8847, 0x8100, 0x88e7, 1], 100);
            key.ip_proto = pick(&[1, 6, 17, 58, 132], 101) as u8;
            key.vlan_tci = pick(&[0, 0x100a, 0xf00a, 0x100b], 102);
            let pair = decide_by_key(&mut world, &mut programs, &key);
            match seen.contains(&pair) {
                true => shared += 1,
                false => seen.push(pair),
            }
        }
        assert!(
            shared > 3900 && seen.len() > 5,
            "{shared} shared, {}",
            seen.len()
        );
    }

    #[test]
    fn where_there_is_no_room_a_way_is_kept_when_it_comes_again() {
        let flows =
            (1..=6).map(|host| format!("flow ip,nw_dst=10.0.0.{host},actions=output:{host}\n"));
        let mut world = run(&format!("port p1 1\n{}", flows.collect::<String>()));
        let mut known = Known {
            programs: Programs::of_sets(1),
            cache: Cache::new(1024, 7),
        };
        let mut come = |host| {
            let state = world.switch.publish();
            let ingress = Ingress::Port(world.number("p1"));
            let points = &mut world.points;
            let mut context = Context {
                state: &state,
                points,
            };
            let key = key(&format!("tcp,nw_dst=10.0.0.{host}"));
            let Known { programs, cache } = &mut known;
            let mut pair = Pair::default();
            programs.decide(&mut context, &ingress, [&key], cache, |one| pair = one);
            let full = translate(&mut context, ingress, &key, &mut NoTrace);
            assert_eq!(as_text(&full), kept_as_text(cache, pair));
            let is_kept = programs.sets[0].pairs.contains(&pair);
            cache.let_go(pair, Account::credit);
            assert_eq!(cache.account_of(pair).is_some(), is_kept);
            is_kept
        };
        let kept = [1, 2, 3, 4, 5, 5, 5, 6, 6].map(&mut come);
        let [t, f] = [true, false];
        assert_eq!(kept, [t, t, t, t, f, t, t, f, t]);
    }

    #[test]
    fn long_ways_and_many_of_them_are_right_too() {
        let tables = (0..PATH_MAX + 10).map(|table| {
            let next = table + 1;
            format!("flow table={table},actions=goto_table:{next}\n")
        });
        let mut world = run(&format!("port p1 1\n{}", tables.collect::<String>()));
        let mut programs = Known::new();
        decide(&mut world, &mut programs, "tcp");
        decide(&mut world, &mut programs, "tcp");

        let mut set = Set::default();
        let ways = [
            (1, 1),
            (1, 2),
            (1, 3),
            (2, 4),
            (2, 5),
            (2, 6),
            (2, 7),
            (2, 8),
        ];
        for (epoch, hash) in ways {
            let mut path = Path::default();
            path.begin(hash, epoch);
            path.hash = hash;
            set.insert(&path, Pair::default(), epoch);
            assert_eq!(set.find(&path), Some(Pair::default()));
        }
        set.hashes.sort_unstable();
        assert_eq!(set.hashes, [5, 6, 7, 8]);
    }
}
