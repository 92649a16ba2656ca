//! The most work that a packet can be which the flow cache does not know, for each port that it may
//! come in by. It follows from the flows alone.
//!
//! How. A packet matches one flow of a table, whose work is that of finding it and of all that it
//! leads to, one after the other. So the most of a table is its own and the most of any of its
//! flows ([`Course`]), and that of table 0 is the pipeline's. Of what packets have in common it is
//! known by which port they came in and whether they were tracked: flows that say otherwise do not
//! count. What leads back to itself has no bound but that of all packets ([`LOOKUPS_MAX`]).
//!
//! Why not simpler. The sum over all tables, each once, is more where flows lead either here or
//! there, and less where they lead somewhere twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use openflow::{GroupId, GroupKind, OfPort, TableId};

use super::Switch;
use super::course::{Course, Stop, stops};
use super::structure::Work;
use crate::action::BridgeId;
use crate::pipeline::limits::LOOKUPS_MAX;

impl Switch {
    /// The most work that a packet can be which comes in by the ports of a bridge, and of which of
    /// them that is so. If patch ports tie it to other bridges, each of these counts once; flows
    /// that send several copies there make it a multiple, up to [`LOOKUPS_MAX`] tables.
    pub fn work_max(&self, bridge: BridgeId) -> Vec<(Vec<OfPort>, Work)> {
        let ports = self.state.bridge(bridge).into_iter();
        let ports = ports.flat_map(|bridge| bridge.ports().map(|port| port.of_port));
        let components = self.components();
        let tied = components.iter().find(|tied| tied.contains(&bridge));
        let others = tied.into_iter().flatten().filter(|id| **id != bridge);
        let mut walk = Walk {
            switch: self,
            known: HashMap::new(),
        };
        let beyond: Option<Vec<Work>> = others.map(|id| walk.of_bridge(*id, Way::ANY)).collect();
        let mut all: BTreeMap<Work, Vec<OfPort>> = BTreeMap::new();
        for port in ports {
            let way = Way {
                in_port: Some(port.0),
                is_tracked: Some(false),
            };
            let own = walk.of_bridge(bridge, way);
            let work = own.zip(beyond.as_ref()).map(|(own, beyond)| {
                let works = beyond.iter().copied();
                works.fold(own, Work::and)
            });
            let bounded = work.filter(|work| work.tables <= LOOKUPS_MAX as usize);
            let work = bounded.unwrap_or_else(|| walk.bound());
            all.entry(work).or_default().push(port);
        }
        all.into_iter().map(|(work, ports)| (ports, work)).collect()
    }
}

/// What is known of packets that come to a table; nothing is for what may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Way {
    in_port: Option<u32>,
    is_tracked: Option<bool>,
}

impl Way {
    const ANY: Way = Way {
        in_port: None,
        is_tracked: None,
    };

    /// Whether such packets may match flows with this course.
    fn may_take(self, course: &Course) -> bool {
        let port = self.in_port.zip(course.in_port);
        let state = self.is_tracked.zip(course.is_tracked);
        port.is_none_or(|(one, other)| one == other)
            && state.is_none_or(|(one, other)| one == other)
    }
}

/// A walk through the tables of all bridges; `None` stands for work without a bound.
struct Walk<'a> {
    switch: &'a Switch,
    known: HashMap<(BridgeId, TableId, Way), Option<Work>>,
}

impl Walk<'_> {
    fn of_bridge(&mut self, bridge: BridgeId, way: Way) -> Option<Work> {
        let state = self.switch.state.bridge(bridge);
        match state.is_none_or(|bridge| bridge.standalone) {
            true => Some(Work::default()),
            false => self.of_table(bridge, TableId(0), way),
        }
    }

    fn of_table(&mut self, bridge: BridgeId, table: TableId, way: Way) -> Option<Work> {
        let place = (bridge, table, way);
        if let Some(known) = self.known.get(&place) {
            return *known;
        }
        // Whoever comes back here from here has no bound.
        self.known.insert(place, None);
        let ledger = self.switch.ledgers.get(&bridge)?;
        let own = ledger.used(table).next();
        let own = own.map_or(Work::default(), |(_, table)| Work::of(table));
        let courses = ledger.footprints.get(&table);
        let courses = courses
            .into_iter()
            .flat_map(|footprint| footprint.courses());
        let mut most = Some(Work::default());
        for course in courses.filter(|course| way.may_take(course)) {
            let work = self.of_stops(bridge, table, way, course.stops.iter().copied());
            most = most.zip(work).map(|(most, work)| most.or(work));
        }
        let work = most.map(|most| own.and(most));
        self.known.insert(place, work);
        work
    }

    fn of_stops(
        &mut self,
        bridge: BridgeId,
        table: TableId,
        mut way: Way,
        stops: impl Iterator<Item = Stop>,
    ) -> Option<Work> {
        let mut sum = Work::default();
        for stop in stops {
            let work = match stop {
                Stop::Table(next) => self.of_table(bridge, next.unwrap_or(table), way)?,
                Stop::Tracked(next) => {
                    let is_tracked = Some(true);
                    self.of_table(bridge, next, Way { is_tracked, ..way })?
                }
                Stop::Group(group) => self.of_group(bridge, table, way, group)?,
                Stop::Untracked => {
                    way.is_tracked = Some(false);
                    continue;
                }
                Stop::CameBy(port) => {
                    way.in_port = port;
                    continue;
                }
            };
            sum = sum.and(work);
        }
        Some(sum)
    }

    /// Groups lead to no group that leads back to them.
    fn of_group(
        &mut self,
        bridge: BridgeId,
        table: TableId,
        way: Way,
        group: GroupId,
    ) -> Option<Work> {
        let state = self.switch.state.bridge(bridge)?;
        let Some(group) = state.group(group) else {
            return Some(Work::default());
        };
        let mut work = Work::default();
        for bucket in &group.buckets {
            let of_bucket = self.of_stops(bridge, table, way, stops(&bucket.actions))?;
            work = match group.kind {
                GroupKind::All => work.and(of_bucket),
                _ => work.or(of_bucket),
            };
        }
        Some(work)
    }

    /// What no packet exceeds: as many lookups as one may have, each in the worst table of those
    /// that were met.
    fn bound(&self) -> Work {
        let places: BTreeSet<_> = self
            .known
            .keys()
            .map(|(id, table, _)| (*id, *table))
            .collect();
        let tables = places.iter().filter_map(|(id, table)| {
            let (_, table) = self.switch.ledgers.get(id)?.used(*table).next()?;
            Some(Work::of(table))
        });
        tables
            .fold(Work::default(), Work::or)
            .times(LOOKUPS_MAX as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::run;
    use super::*;

    /// Each port with tables, probes and compares.
    fn worst(script: &str) -> Vec<(Vec<u32>, [usize; 3])> {
        let world = run(script);
        let all = world.switch.work_max(world.bridge).into_iter();
        let told = all.map(|(ports, work)| {
            let ports = ports.iter().map(|port| port.0).collect();
            (ports, [work.tables, work.probes, work.compares])
        });
        told.collect()
    }

    #[test]
    fn tables_that_are_visited_twice_count_twice() {
        let told = worst(
            "
            port p1 1
            port p2 2
            flow udp,actions=resubmit(,2),resubmit(,2),resubmit(,2)
            flow tcp,actions=resubmit(,2)
            flow table=2,udp,actions=resubmit(,3),resubmit(,3)
            flow table=3,actions=output:2
        ",
        );
        assert_eq!(told, [(vec![1, 2], [10, 10, 10])]);
    }

    #[test]
    fn each_port_has_its_own() {
        let told = worst(
            "
            port p1 1
            port p2 2
            port p3 3
            flow in_port=1,actions=goto_table:2
            flow in_port=2,actions=goto_table:3
            flow table=2,actions=goto_table:4
            flow table=3,actions=output:1
            flow table=4,actions=output:1
        ",
        );
        let expected = [
            (vec![3], [1, 1, 1]),
            (vec![2], [2, 2, 2]),
            (vec![1], [3, 3, 3]),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn tracked_packets_come_back_once_and_loops_are_bounded() {
        let tracked = worst(
            "
            port p1 1
            flow priority=2,ct_state=-trk,ip,actions=ct(table=0)
            flow priority=1,ct_state=+trk,ip,actions=output:1
        ",
        );
        assert_eq!(tracked[0].1[0], 2);
        let looped = worst(
            "
            port p1 1
            flow ip,actions=resubmit(,1)
            flow table=1,ip,actions=resubmit(,0)
        ",
        );
        assert_eq!(looped[0].1[0], LOOKUPS_MAX as usize);
    }

    #[test]
    fn groups_are_walked_by_their_kind() {
        let of = |kind: &str| {
            worst(&format!(
                "
                port p1 1
                group group_id=1,type={kind},bucket=actions=resubmit(,2),bucket=actions=resubmit(,2)
                flow actions=group:1
                flow table=2,actions=output:1
            "
            ))[0]
                .1[0]
        };
        assert_eq!((of("all"), of("select")), (3, 2));
    }
}
