//! Which worker polls which receive queue.
//!
//! Called by the control side when ports come and go. A queue's weight is one half for being
//! polled at all and, on average, one half for the packets it brought since the last look; a new
//! queue has the average weight. A queue goes to the worker with the least weight; afterwards
//! queues move from the heaviest to the lightest worker while that brings the two clearly closer,
//! so that only what must move does.

use std::collections::BTreeMap;

use crate::action::PortNo;

/// A receive queue: its port, and its place among the port's queues.
pub type QueueId = (PortNo, usize);

/// Number of a worker.
pub type WorkerId = usize;

/// A queue that should move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which queue.
    pub queue: QueueId,
    /// Its worker.
    pub from: WorkerId,
    /// Its worker to be.
    pub to: WorkerId,
}

/// The assignment of all queues.
#[derive(Debug)]
pub struct Assignment {
    workers: usize,
    queues: BTreeMap<QueueId, Place>,
}

#[derive(Debug)]
struct Place {
    worker: WorkerId,
    weight: u64,
}

impl Assignment {
    /// No queues yet, for so many workers (at least one).
    pub fn new(workers: usize) -> Assignment {
        Assignment {
            workers: workers.max(1),
            queues: BTreeMap::new(),
        }
    }

    /// Gives a new queue to a worker.
    pub fn place(&mut self, queue: QueueId) -> WorkerId {
        let weights = self.weights();
        let worker = (0..self.workers)
            .min_by_key(|worker| weights[*worker])
            .unwrap_or(0);
        let weight = AVERAGE;
        self.queues.insert(queue, Place { worker, weight });
        worker
    }

    /// Takes a queue away; its worker.
    pub fn remove(&mut self, queue: QueueId) -> Option<WorkerId> {
        Some(self.queues.remove(&queue)?.worker)
    }

    /// Weighs all queues anew by the packets each has brought since the last look.
    pub fn weigh(&mut self, packets_of: impl Fn(QueueId) -> u64) {
        let packets: Vec<u64> = self.queues.keys().map(|id| packets_of(*id)).collect();
        let total: u128 = packets.iter().map(|count| u128::from(*count)).sum();
        let share = u128::from(AVERAGE / 2) * packets.len() as u128;
        for (place, packets) in self.queues.values_mut().zip(packets) {
            let load = match total {
                0 => AVERAGE / 2,
                total => (u128::from(packets) * share / total) as u64,
            };
            place.weight = AVERAGE / 2 + load;
        }
    }

    /// The next move that brings the heaviest and the lightest worker clearly closer; it is taken
    /// for done.
    pub fn next_move(&mut self) -> Option<Move> {
        let weights = self.weights();
        let from = (0..self.workers).max_by_key(|worker| weights[*worker])?;
        let to = (0..self.workers).min_by_key(|worker| weights[*worker])?;
        let gap = weights[from] - weights[to];
        let places = self.queues.iter_mut();
        let of_heaviest = places.filter(|(_, place)| place.worker == from);
        let gap_after = |weight: u64| gap.abs_diff(2 * weight);
        let (queue, place) = of_heaviest.min_by_key(|(_, place)| gap_after(place.weight))?;
        if gap_after(place.weight) + CLEARLY > gap {
            return None;
        }
        place.worker = to;
        let queue = *queue;
        Some(Move { queue, from, to })
    }

    fn weights(&self) -> Vec<u64> {
        let mut weights = vec![0; self.workers];
        for place in self.queues.values() {
            weights[place.worker] += place.weight;
        }
        weights
    }
}

/// Weight of a queue with average load.
const AVERAGE: u64 = 1000;
/// A move must shrink the gap by half a queue: what is gained must outweigh the disturbance.
const CLEARLY: u64 = AVERAGE / 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(port: u32) -> QueueId {
        (PortNo(port), 0)
    }

    fn moves(assignment: &mut Assignment) -> Vec<Move> {
        std::iter::from_fn(|| assignment.next_move()).collect()
    }

    fn counts(assignment: &Assignment) -> Vec<usize> {
        let mut counts = vec![0; assignment.workers];
        for place in assignment.queues.values() {
            counts[place.worker] += 1;
        }
        counts
    }

    fn together(assignment: &Assignment, [one, other]: [QueueId; 2]) -> bool {
        assignment.queues[&one].worker == assignment.queues[&other].worker
    }

    #[test]
    fn queues_of_unknown_load_are_spread_by_count() {
        let mut assignment = Assignment::new(3);
        for port in 0..7 {
            assignment.place(queue(port));
            assert_eq!(moves(&mut assignment), []);
        }
        assert_eq!(counts(&assignment), [3, 2, 2]);
    }

    #[test]
    fn only_what_must_move_moves() {
        let mut assignment = Assignment::new(2);
        for port in 0..6 {
            assignment.place(queue(port));
        }
        // Worker 0 has the even ports. Without its ports 0 and 2, one of worker 1's must move.
        assignment.remove(queue(0));
        assert_eq!(moves(&mut assignment), []);
        assignment.remove(queue(2));
        let moved = moves(&mut assignment);
        assert_eq!(moved.len(), 1);
        assert_eq!((moved[0].from, moved[0].to), (1, 0));
        assert_eq!(counts(&assignment), [2, 2]);
    }

    #[test]
    fn two_busy_queues_do_not_stay_together() {
        let mut assignment = Assignment::new(2);
        for port in 0..4 {
            assignment.place(queue(port));
        }
        let busy = [queue(0), queue(2)];
        assert!(together(&assignment, busy));
        assignment.weigh(|id| if busy.contains(&id) { 1_000_000 } else { 0 });
        let moved = moves(&mut assignment);
        assert!(moved.len() <= 2, "{moved:?}");
        assert_eq!(counts(&assignment), [2, 2]);
        assert!(!together(&assignment, busy));
    }

    proptest! {
        #[test]
        fn moving_ends_and_leaves_no_queue_behind(
            workers in 1usize..6,
            loads in prop::collection::vec(0u64..1_000_000, 0..40),
        ) {
            let mut assignment = Assignment::new(workers);
            for port in 0..loads.len() as u32 {
                assignment.place(queue(port));
            }
            assignment.weigh(|(port, _)| loads[port.0 as usize]);
            let moved = (0..10_000).map_while(|_| assignment.next_move()).count();
            prop_assert!(moved <= loads.len() * workers);
            prop_assert_eq!(assignment.next_move(), None);
            prop_assert_eq!(assignment.queues.len(), loads.len());
        }
    }
}
