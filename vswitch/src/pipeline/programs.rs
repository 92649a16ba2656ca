//! What a worker does with packets that its flow cache does not know.
//!
//! Many flows have few programs among them: as many as there are ways through the rules. So a
//! packet's way is found first ([`path`]): tables are looked up and the key is changed as ever, but
//! no program is written. If a packet has gone the same way before, its program is used for this
//! one, too; else the packet is translated once more, in full. So a miss allocates nothing as a
//! rule, and a cache of many flows has few programs to keep close at hand. The programs are in the
//! flow cache, kept by their numbers: an entry for one more packet is made of these.
//!
//! There may be many more ways than programs can be kept, as where each of a thousand hosts sends
//! to each of a thousand routes. Then a packet may be the last of its flow and of its way: to
//! make a program, an account and an entry for it costs ten times what it takes to find out what to
//! do. So a flow whose way has no program yet is let into the cache when a second packet of it
//! comes. Until then its packets are *settled*: what is done on the way was written down as it was
//! found, in memory that is used again for the next packet, as long as it is a plain line. Others
//! do the same, whatever rules they met on their way, so the cache has a code for it; and what
//! counts the packet is added to sums ([`Tallies`]). A way that comes where there is no room is
//! kept only when it comes again before it is forgotten ([`Visitors`]): else each packet would push
//! out a program that lies in no near cache for one that nobody asks for again.
//!
//! Packets of a batch are decided together: first the ways of all, then what is known of them, so
//! that the loads of their programs overlap. With many thousand programs nearly each is one that no
//! near cache has. Whether a way may be among them is told by a part of its hash in a small table.
//!
//! A way is the entry point and every choice that the key made, in order. With the same state it
//! decides the program, whatever else is in the key; so what was made for one epoch is never used
//! in another. Ways are compared in full: no packet can be given another's program.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtable::{Counts, FlowKey, KeyHash, Keyed, Pair, Visitors};
use foldhash::fast::RandomState;

use super::limits::{ACCOUNTS_MAX, PROGRAMS_MAX};
use super::translate::walk;
use super::{Context, Ingress, NoTrace, translate};
use crate::action::{Account, Cache, DropReason, Likeness, Routine, Tallies};

mod path;

use path::{Line, Path, Way};

/// The programs of one worker, which are kept in its flow cache.
#[derive(Debug)]
pub struct Programs {
    hasher: Keyed,
    /// Parts of the hashes of the ways in each set, [`NO_WAY`] where there is none of this epoch.
    tags: Box<[[u16; WAYS]]>,
    epoch: u64,
    sets: Box<[Set]>,
    /// Ways that came where there was no room.
    visitors: Visitors,
    /// Those of the packets that are decided together.
    ways: Box<[Way]>,
    /// Whether the cache was asked lately who comes again.
    asks: bool,
}

/// Where a worker keeps programs, and what it counts packets in.
pub struct Books<'a> {
    /// Its flow cache.
    pub cache: &'a mut Cache,
    /// What is counted without an account.
    pub tallies: &'a mut Tallies,
}

/// A packet of a flow without an entry that is good.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'k> {
    /// Its key.
    pub key: &'k FlowKey,
    /// The hash of its key in the flow cache.
    pub hash: KeyHash,
    /// Its length.
    pub bytes: u64,
    /// There is an entry of another epoch, whose place it is to take.
    pub is_stale: bool,
}

/// What was decided of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Its program. If it has no account the packet is settled: it is counted already.
    pub pair: Pair,
    /// An entry should be made for its flow.
    pub is_admitted: bool,
}

/// Those whose ways have neighbouring hashes; the next one takes the place at `hand`. A place where
/// there is none has a way without choices.
#[derive(Clone, Debug, Default)]
struct Set {
    hashes: [u64; WAYS],
    pairs: [Pair; WAYS],
    paths: [Box<[u64]>; WAYS],
    hand: usize,
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
        let secrets = RandomState::default();
        Programs {
            visitors: Visitors::new(VISITORS, secrets.hash_one(VISITORS)),
            hasher: Keyed::new(secrets.hash_one(WAYS)),
            tags: vec![[NO_WAY; WAYS]; count].into(),
            epoch: 0,
            sets: vec![Set::default(); count].into(),
            ways: vec![Way::default(); TOGETHER].into(),
            asks: false,
        }
    }

    /// Decides what happens to packets that enter at one point, as [`translate`] does. The program
    /// of each is in `cache`, and kept there for the caller, too, who is to let it go.
    pub fn decide<'k>(
        &mut self,
        context: &mut Context<'_>,
        ingress: &Ingress,
        arrivals: impl IntoIterator<Item = Arrival<'k>>,
        books: &mut Books<'_>,
        mut decided: impl FnMut(Decided),
    ) {
        self.begin(context.state.epoch());
        let mut arrivals = arrivals.into_iter();
        loop {
            let together: ArrayVec<_, TOGETHER> = arrivals.by_ref().take(TOGETHER).collect();
            if together.is_empty() {
                return;
            }
            if std::mem::take(&mut self.asks) {
                let hashes = together.iter().map(|arrival| arrival.hash);
                books.cache.foresee_visitors(hashes);
            }
            let mut fates = ArrayVec::<Fate, TOGETHER>::new();
            for (at, arrival) in together.iter().enumerate() {
                fates.push(self.find_way(context, ingress, (at, arrival), books));
            }
            self.peek(&fates);
            for (at, (arrival, fate)) in together.iter().zip(fates).enumerate() {
                decided(match fate {
                    Fate::Settled(pair) => Decided {
                        pair,
                        is_admitted: false,
                    },
                    Fate::Open { is_admitted } => Decided {
                        pair: self.program(context, ingress, (at, arrival.key), books.cache),
                        is_admitted,
                    },
                });
            }
        }
    }

    /// Takes back that a settled packet was counted where it did not come to, since an edit ended
    /// it.
    #[cold]
    pub fn take_back(
        context: &mut Context<'_>,
        ingress: &Ingress,
        key: &FlowKey,
        (edit, counts): (u16, Counts),
        tallies: &mut Tallies,
    ) {
        let program = translate(context, ingress.clone(), key, &mut NoTrace);
        for counted in &program.counters {
            tallies.take_back(counted.into(), counts);
        }
        Account(Arc::new(program)).credit_ended(edit, counts);
    }

    /// No way of another epoch comes again.
    fn begin(&mut self, epoch: u64) {
        if std::mem::replace(&mut self.epoch, epoch) != epoch {
            self.tags.fill([NO_WAY; WAYS]);
        }
    }

    /// Finds the way of a packet, and settles it if its flow is not admitted.
    fn find_way(
        &mut self,
        context: &mut Context<'_>,
        ingress: &Ingress,
        (at, arrival): (usize, &Arrival<'_>),
        books: &mut Books<'_>,
    ) -> Fate {
        let entry = match ingress {
            Ingress::Port(port) | Ingress::Tunnel(port) => port.0,
            Ingress::Point(point) => *point,
            Ingress::PacketOut { .. } | Ingress::Resume { .. } => {
                return Fate::Open { is_admitted: false };
            }
        };
        let way = &mut self.ways[at];
        way.begin(entry.into(), self.epoch);
        let mut line = Line::default();
        let mut path = Path {
            way,
            line: &mut line,
        };
        let reason = walk(context, ingress, arrival.key, &mut path);
        way.hash = self.hasher.hash_words(&way.words);
        let is_admitted = self.admits(at, arrival, books.cache);
        if is_admitted || !line.is_whole() {
            return Fate::Open { is_admitted };
        }
        match settle(&line, reason, arrival, books) {
            Some(pair) => Fate::Settled(pair),
            None => Fate::Open { is_admitted },
        }
    }

    /// Whether an entry is to be made for a flow: in place of an old one; as one of the first, if
    /// it takes no program of its own; and with its second packet.
    fn admits(&mut self, at: usize, arrival: &Arrival<'_>, cache: &mut Cache) -> bool {
        let way = &self.ways[at];
        let shares = !way.is_longer && {
            let tags = self.tags[place(&self.tags, way.hash)];
            tags.contains(&tag(way.hash)) || tags.contains(&NO_WAY)
        };
        let hash = arrival.hash;
        if arrival.is_stale || shares && cache.has_room(hash) {
            return true;
        }
        self.asks = true;
        cache.comes_again(hash) && (shares || cache.accounts() < ACCOUNTS_MAX)
    }

    /// Fetches what is known of ways.
    fn peek(&self, fates: &[Fate]) {
        let open = |(_, fate): &(_, &Fate)| matches!(fate, Fate::Open { .. });
        let ways = self.ways.iter().zip(fates).filter(open);
        let known = ways.map(|(way, _)| self.sets[place(&self.sets, way.hash)].peek(way));
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
        let way = &self.ways[at];
        if way.is_longer || matches!(ingress, Ingress::PacketOut { .. } | Ingress::Resume { .. }) {
            return make(context, ingress, key, cache);
        }
        let at = place(&self.sets, way.hash);
        let (set, tags) = (&mut self.sets[at], &mut self.tags[at]);
        if let Some(pair) = set.find(way) {
            cache.keep_on(pair);
            return pair;
        }
        let pair = make(context, ingress, key, cache);
        if tags.contains(&NO_WAY) || self.visitors.come(way.hash) {
            cache.keep_on(pair);
            let old = set.insert(tags, way, pair);
            cache.let_go(old, Account::credit);
        }
        pair
    }
}

/// What is to become of a packet whose way is found.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It has its code, and is counted.
    Settled(Pair),
    /// It wants a program.
    Open { is_admitted: bool },
}

/// Counts a packet for which no program is made, if the cache has a code that does the same.
#[inline]
fn settle(
    line: &Line<'_>,
    reason: DropReason,
    arrival: &Arrival<'_>,
    books: &mut Books<'_>,
) -> Option<Pair> {
    let ops = &line.ops[..];
    let drop = ops.is_empty().then_some(reason);
    let like = Likeness { ops, drop };
    let cache = &mut *books.cache;
    let pair = cache.keep_like(&like, |routine| like.is_of(routine))?;
    let counts = cache.counts(arrival.bytes);
    for counted in &line.counted {
        books.tallies.add(*counted, counts);
    }
    Some(pair)
}

/// The set of a way with this hash.
#[inline(always)]
fn place<T>(sets: &[T], hash: u64) -> usize {
    hash as usize % sets.len()
}

/// A part of a hash that chooses no place.
#[inline(always)]
fn tag(hash: u64) -> u16 {
    (hash >> 16) as u16 | 1
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
    fn peek(&self, way: &Way) -> u64 {
        let place = self.places(way.hash).trailing_zeros() as usize;
        let known = self.paths.get(place).and_then(|known| known.first());
        known.copied().unwrap_or_default()
    }

    #[inline]
    fn find(&self, way: &Way) -> Option<Pair> {
        let mut places = self.places(way.hash);
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            if are_equal(&self.paths[place], &way.words) {
                return Some(self.pairs[place]);
            }
            places &= places - 1;
        }
        None
    }

    /// Takes the place of one of another epoch if there is one; the program that was there.
    fn insert(&mut self, tags: &mut [u16; WAYS], way: &Way, pair: Pair) -> Pair {
        let place = tags.iter().position(|tag| *tag == NO_WAY);
        let place = place.unwrap_or(self.hand);
        self.hand = (place + 1) % WAYS;
        (self.hashes[place], tags[place]) = (way.hash, tag(way.hash));
        self.paths[place] = way.words[..].into();
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

/// Programs in a set.
const WAYS: usize = 4;

/// In place of a part of a hash.
const NO_WAY: u16 = 0;

/// Ways noted that found no room: of more that come in a row, some are forgotten. So few that they
/// stay close at hand.
const VISITORS: usize = 8192;

/// Packets whose ways are found before their programs: those of a batch.
const TOGETHER: usize = flowtable::KEYS_MAX;

#[cfg(test)]
pub(super) use path::assert_plain_line_agrees;

#[cfg(test)]
mod tests {
    use super::super::limits::PATH_MAX;
    use super::super::testing::{Script, arrival, as_text, kept_as_text, key, run};
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
        let mut books = Books {
            cache,
            tallies: &mut Tallies::default(),
        };
        let mut pairs = Vec::new();
        let arrivals = [arrival(key), arrival(key)];
        programs.decide(&mut context, &ingress, arrivals, &mut books, |it| {
            pairs.push(it.pair)
        });
        assert_plain_line_agrees(&mut context, &ingress, key, &full);
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
        flow table=1,priority=40000,tcp,actions=output:2
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
            let arrivals = [Arrival {
                is_stale: true,
                ..arrival(&key)
            }];
            let mut books = Books {
                cache,
                tallies: &mut Tallies::default(),
            };
            programs.decide(&mut context, &ingress, arrivals, &mut books, |it| {
                pair = it.pair
            });
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

        let (mut set, mut tags) = (Set::default(), [NO_WAY; WAYS]);
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
            let mut way = Way::default();
            way.begin(hash, epoch);
            way.hash = hash;
            set.insert(&mut tags, &way, Pair::default());
            assert_eq!(set.find(&way), Some(Pair::default()));
        }
        set.hashes.sort_unstable();
        assert_eq!(set.hashes, [5, 6, 7, 8]);
    }
}
