//! Programs that a worker has made already, found again by what decides them.
//!
//! Many flows have few programs among them: as many as there are ways through the rules. So a
//! miss first only finds its way ([`Path`]): tables are looked up and the key is changed as ever,
//! but nothing is written. If a packet has gone the same way before, its program is used for this
//! one, too; else the packet is translated once more, in full. So a miss allocates nothing as a
//! rule, and a cache of many flows has few programs to keep close at hand.
//!
//! A way is the entry point and every choice that the key made, in order. With the same state it
//! decides the program, whatever else is in the key; so what was made for one epoch is never used
//! in another. Ways are compared in full: no packet can be given another's program.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrayvec::ArrayVec;
use flowtable::FlowKey;
use foldhash::fast::RandomState;

use super::limits::{PATH_MAX, PROGRAMS_MAX};
use super::{Context, Ingress, NoTrace, Trace, translate};
use crate::action::Program;

/// The programs of one worker.
#[derive(Debug)]
pub struct Programs {
    hasher: RandomState,
    sets: Box<[Set]>,
    path: Path,
}

/// Those whose ways have neighbouring hashes; the next one takes the place at `hand`.
#[derive(Clone, Debug, Default)]
struct Set {
    known: [Option<Known>; WAYS],
    hand: usize,
}

#[derive(Clone, Debug)]
struct Known {
    epoch: u64,
    hash: u64,
    path: Box<[u64]>,
    program: Arc<Program>,
}

/// Hears the way that a packet goes.
#[derive(Debug, Default)]
pub(super) struct Path {
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
        Programs {
            hasher: RandomState::default(),
            sets: vec![Set::default(); PROGRAMS_MAX / WAYS].into(),
            path: Path::default(),
        }
    }

    /// Decides what happens to a packet, as [`translate`] does.
    pub fn decide(
        &mut self,
        context: &mut Context<'_>,
        ingress: &Ingress,
        key: &FlowKey,
    ) -> Arc<Program> {
        let entry = match ingress {
            Ingress::Port(port) => port.0,
            Ingress::Point(point) => *point,
            Ingress::PacketOut { .. } => {
                let ingress = ingress.clone();
                return Arc::new(translate(context, ingress, key, &mut NoTrace));
            }
        };
        self.path.words.clear();
        self.path.is_longer = false;
        self.path.choose(entry.into());
        translate(context, ingress.clone(), key, &mut self.path);
        let epoch = context.state.epoch();
        let mut make = || Arc::new(translate(context, ingress.clone(), key, &mut NoTrace));
        if self.path.is_longer {
            return make();
        }
        let hash = self.hasher.hash_one(&self.path.words[..]);
        let count = self.sets.len();
        let set = &mut self.sets[hash as usize % count];
        let is_it = |known: &&Known| {
            known.hash == hash && known.epoch == epoch && *known.path == *self.path.words
        };
        if let Some(known) = set.known.iter().flatten().find(is_it) {
            return Arc::clone(&known.program);
        }
        let program = make();
        set.insert(Known {
            epoch,
            hash,
            path: self.path.words[..].into(),
            program: Arc::clone(&program),
        });
        program
    }
}

impl Set {
    /// Takes the place of one of another epoch if there is one.
    fn insert(&mut self, new: Known) {
        let is_old = |known: &Option<Known>| known.as_ref().is_none_or(|it| it.epoch != new.epoch);
        let place = self.known.iter().position(is_old).unwrap_or(self.hand);
        self.hand = (place + 1) % WAYS;
        self.known[place] = Some(new);
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, key, run};
    use super::*;

    /// What becomes of a packet that comes in by p1.
    fn decide(world: &mut Script, programs: &mut Programs, headers: &str) -> Arc<Program> {
        let state = world.switch.publish();
        let ingress = Ingress::Port(world.number("p1"));
        world.points.renew(state.epoch());
        let mut context = Context {
            state: &state,
            points: &mut world.points,
        };
        let full = translate(&mut context, ingress.clone(), &key(headers), &mut NoTrace);
        let program = programs.decide(&mut context, &ingress, &key(headers));
        assert_eq!(format!("{full:?}"), format!("{program:?}"), "of {headers}");
        program
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
        let mut programs = Programs::new();
        let mut of = |headers| decide(&mut world, &mut programs, headers);
        let first = of("tcp,nw_dst=10.0.0.1");
        assert!(Arc::ptr_eq(&first, &of("tcp,nw_dst=11.0.0.2,tp_src=7")));
        assert!(!Arc::ptr_eq(&first, &of("udp,nw_dst=10.0.0.1")));
        let dropped = of("udp,nw_dst=11.0.0.1");
        assert!(Arc::ptr_eq(&dropped, &of("udp,nw_dst=12.0.0.1")));
        // The same rule of the last table by way of another of the first.
        assert!(!Arc::ptr_eq(&dropped, &of("icmp,nw_dst=11.0.0.1")));
    }

    #[test]
    fn a_program_is_of_its_epoch_alone() {
        let mut world = run(TWO_TABLES);
        let mut programs = Programs::new();
        let first = decide(&mut world, &mut programs, "tcp");
        assert!(Arc::ptr_eq(
            &first,
            &decide(&mut world, &mut programs, "tcp")
        ));
        world.run("flow priority=9,arp,actions=drop");
        assert!(!Arc::ptr_eq(
            &first,
            &decide(&mut world, &mut programs, "tcp")
        ));
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
        let mut programs = Programs::new();
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

    #[test]
    fn long_ways_and_many_of_them_are_right_too() {
        let tables = (0..PATH_MAX + 10).map(|table| {
            let next = table + 1;
            format!("flow table={table},actions=goto_table:{next}\n")
        });
        let mut world = run(&format!("port p1 1\n{}", tables.collect::<String>()));
        let mut programs = Programs::new();
        decide(&mut world, &mut programs, "tcp");
        decide(&mut world, &mut programs, "tcp");

        let mut set = Set::default();
        let program = Arc::new(Program::default());
        for (epoch, hash) in [
            (1, 1),
            (1, 2),
            (1, 3),
            (2, 4),
            (2, 5),
            (2, 6),
            (2, 7),
            (2, 8),
        ] {
            set.insert(Known {
                epoch,
                hash,
                path: Box::default(),
                program: Arc::clone(&program),
            });
        }
        let mut hashes = set.known.map(|known| known.map(|known| known.hash));
        hashes.sort();
        assert_eq!(hashes, [Some(5), Some(6), Some(7), Some(8)]);
    }
}
