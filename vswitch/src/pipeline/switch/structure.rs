//! What tables are made of, and how much work a packet that the flow cache does not know can be:
//! for the operator. It follows from the flows alone, whatever packets come.

use flowtable::{Classifier, HashTable};
use openflow::TableId;

use super::Switch;
use super::masks::reachable;
use crate::action::BridgeId;

/// What a table is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStructure {
    /// Which.
    pub table: TableId,
    /// Flows in it.
    pub flows: usize,
    /// Masks that flows have.
    pub masks: usize,
    /// Whether packets come to it: it is table 0, or flows that they may meet lead there.
    pub is_reachable: bool,
    /// Most work of finding a flow.
    pub work: Work,
    /// Bytes of memory, estimated.
    pub memory_bytes: usize,
    /// In the order in which they are probed.
    pub hash_tables: Vec<HashTable>,
}

/// What finding flows takes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work {
    /// Tables that are looked into.
    pub tables: usize,
    /// Hash tables that are probed.
    pub probes: usize,
    /// Flows that are compared with the packet, where hashes of different flows do not fall
    /// together; nobody knows which do, and on average it is less than one for each probe.
    pub compares: usize,
}

impl Work {
    pub(super) fn of(table: &Classifier) -> Work {
        let stacks = table.hash_tables().map(|it| it.stack_max as usize);
        Work {
            tables: 1,
            probes: table.rules().probes_max(),
            compares: stacks.sum(),
        }
    }

    /// One after the other.
    pub(super) fn and(self, other: Work) -> Work {
        self.each(other, usize::saturating_add)
    }

    /// One or the other.
    pub(super) fn or(self, other: Work) -> Work {
        self.each(other, usize::max)
    }

    /// So many times.
    pub(super) fn times(self, count: usize) -> Work {
        let count = Work {
            tables: count,
            probes: count,
            compares: count,
        };
        self.each(count, usize::saturating_mul)
    }

    fn each(self, other: Work, join: fn(usize, usize) -> usize) -> Work {
        Work {
            tables: join(self.tables, other.tables),
            probes: join(self.probes, other.probes),
            compares: join(self.compares, other.compares),
        }
    }
}

impl Switch {
    /// The tables of a bridge that were ever used.
    pub fn table_structures(&self, bridge: BridgeId) -> Vec<TableStructure> {
        let Some(ledger) = self.ledgers.get(&bridge) else {
            return Vec::new();
        };
        let reachable = reachable(ledger);
        let show = |(id, table): (TableId, &Classifier)| TableStructure {
            table: id,
            flows: table.len(),
            masks: table.masks(),
            is_reachable: reachable.contains(&id),
            work: Work::of(table),
            memory_bytes: table.memory_bytes(),
            hash_tables: table.hash_tables().collect(),
        };
        ledger.used(TableId::ALL).map(show).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::run;
    use super::*;

    #[test]
    fn tables_tell_what_they_are_made_of_and_bridges_behind_patch_ports_count() {
        let world = run("
            port p1 1
            port p2 2
            port a 8 peer=b
            bridge br1
            port b 9 peer=a
            port p3 3
            flow priority=1,udp,tp_dst=1,actions=output:3
            bridge br0
            flow priority=7,ip,nw_dst=10.0.0.0/8,actions=goto_table:2
            flow priority=6,ip,nw_dst=10.0.0.0/8,actions=output:2
            flow priority=5,ip,nw_dst=10.1.0.0/16,actions=goto_table:2
            flow table=2,tcp,tp_dst=80,actions=output:8
            flow table=3,tcp,tp_dst=80,actions=output:2
        ");
        let tables = world.switch.table_structures(world.bridge);
        let told: Vec<_> = tables
            .iter()
            .map(|it| (it.table.0, it.flows, it.masks, it.is_reachable, it.work))
            .collect();
        let work = |tables, probes, compares| Work {
            tables,
            probes,
            compares,
        };
        assert_eq!(
            told,
            [
                (0, 3, 2, true, work(1, 2, 3)),
                (2, 1, 1, true, work(1, 1, 1)),
                (3, 1, 1, false, work(1, 1, 1)),
            ]
        );
        assert_eq!(tables[0].hash_tables.len(), 2);
        assert!(tables.iter().all(|it| it.memory_bytes > 0));
        let worst = world.switch.work_max(world.bridge);
        assert_eq!(worst.len(), 1);
        assert_eq!(worst[0].1, work(3, 4, 5));
        assert_eq!(world.switch.work_max(BridgeId(77)), []);
    }
}
