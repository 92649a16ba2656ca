//! What is known of the packets of a batch: keys, where headers lie, lengths.
//!
//! Packets are parsed as deep as their entry point's mask has bits. Behind a port whose rules look
//! at no header they are not parsed at all. The rest is parsed where it turns out to be needed: on
//! a miss, for an entry of an older epoch, and for programs that ask.

use arrayvec::ArrayVec;
use flowtable::{Counts, Depth, FlowKey, Layout, parse, parse_link, parse_network};
use pmd::{BATCH_MAX, Batch, Packet};

use super::super::edit::Editor;
use super::super::execute::Executor;
use super::super::rewrite::Headers;
use super::super::straight::{self, Counting, Way};
use super::super::track::Tracked;
use super::Now;
use crate::action::Straight;

/// By place in the batch.
pub struct Parsed {
    /// Keys, as far as they were parsed; without any depth that of the first stands for all.
    pub keys: Box<[FlowKey; BATCH_MAX]>,
    /// Where headers lie, of packets that were parsed as far as the network header.
    pub headers: [Headers; BATCH_MAX],
    /// Lengths as they came in.
    pub bytes: [u32; BATCH_MAX],
    /// What connection tracking said of packets that carry something.
    pub tracked: [Option<Tracked>; BATCH_MAX],
    /// Whether the checksums of all are known to be right: they were when the packets were tracked
    /// last, and nothing else was done with them since.
    pub are_right: bool,
}

/// Which packets of a batch are left, by their places.
#[derive(Debug, Default)]
pub struct Kept(ArrayVec<u8, BATCH_MAX>);

impl Kept {
    /// Moves what there is of each packet that is left to its new place.
    pub fn close_up<T: Copy>(&self, all: &mut [T]) {
        for (to, from) in self.0.iter().enumerate() {
            let from = usize::from(*from);
            if from != to {
                all[to] = all[from];
            }
        }
    }

    /// Keeps the packet at a place, which goes to the end of those that are left.
    #[inline(always)]
    pub fn keep(&mut self, place: usize, packet: Packet, left: &mut Batch) {
        self.0.push(place as u8);
        let _ = left.push(packet);
    }
}

impl Default for Parsed {
    fn default() -> Parsed {
        Parsed {
            keys: Box::new([FlowKey::default(); BATCH_MAX]),
            headers: [Headers::default(); BATCH_MAX],
            bytes: [0; BATCH_MAX],
            tracked: [None; BATCH_MAX],
            are_right: false,
        }
    }
}

impl Parsed {
    /// Parses a batch that came in by an entry point to a depth.
    pub fn parse_all(&mut self, depth: Depth, entry: u32, batch: &Batch) {
        match depth {
            Depth::Nothing => self.measure(entry, batch),
            Depth::Link => self.parse_links(entry, batch),
            Depth::Network => self.parse_headers(entry, batch, parse_network),
            Depth::All => self.parse_headers(entry, batch, parse),
        }
    }

    /// Parses a packet, the one at this place, to a depth that is not nothing.
    #[inline]
    pub fn parse(&mut self, depth: Depth, entry: u32, index: usize, packet: &Packet) {
        let (key, headers) = (&mut self.keys[index], &mut self.headers[index]);
        let frame = packet.data();
        key.entry = entry;
        *headers = match depth {
            Depth::Nothing | Depth::Link => return parse_link(frame, key),
            Depth::Network => Headers::new(parse_network(frame, key), key),
            Depth::All => Headers::new(parse(frame, key), key),
        };
    }

    /// Runs a straight line on a packet that was parsed to a depth, and deeper where it asks.
    pub fn run(
        &mut self,
        straight: &Straight,
        (depth, entry): (Depth, u32),
        (index, packet): (usize, &mut Packet),
        executor: &mut Executor,
    ) -> Way {
        if depth < straight.depth {
            self.parse(straight.depth, entry, index, packet);
        }
        let mut editor = Editor {
            packet,
            headers: &mut self.headers[index],
        };
        let counting = Counting {
            tallies: &mut executor.tallies,
            bytes: self.bytes[index],
            now: executor.now,
        };
        straight::run(straight, &mut editor, &self.keys[index], counting)
    }

    /// Moves what is known of packets that are left to their new places.
    pub fn close_up(&mut self, kept: &Kept) {
        kept.close_up(&mut *self.keys);
        kept.close_up(&mut self.headers);
        kept.close_up(&mut self.bytes);
        kept.close_up(&mut self.tracked);
    }

    /// The packet at this place, as it came in.
    pub fn counts_of(&self, index: usize, now: Now) -> Counts {
        Counts {
            packets: 1,
            bytes: self.bytes[index].into(),
            used_ms: now.ms(),
        }
    }

    fn measure(&mut self, entry: u32, batch: &Batch) {
        self.keys[0].entry = entry;
        for (bytes, packet) in self.bytes.iter_mut().zip(batch) {
            *bytes = packet.len() as u32;
        }
    }

    #[inline(never)]
    fn parse_links(&mut self, entry: u32, batch: &Batch) {
        batch.iter().for_each(Packet::prefetch);
        let slots = self.keys.iter_mut().zip(&mut self.bytes);
        for (packet, (key, bytes)) in batch.iter().zip(slots) {
            let data = packet.data();
            parse_link(data, key);
            key.entry = entry;
            *bytes = data.len() as u32;
        }
    }

    #[inline(always)]
    fn parse_headers(
        &mut self,
        entry: u32,
        batch: &Batch,
        parse: impl Fn(&[u8], &mut FlowKey) -> Layout,
    ) {
        batch.iter().for_each(Packet::prefetch);
        let slots = self.keys.iter_mut().zip(&mut self.bytes);
        for ((packet, headers), (key, bytes)) in batch.iter().zip(&mut self.headers).zip(slots) {
            let data = packet.data();
            key.entry = entry;
            *headers = Headers::new(parse(data, key), key);
            *bytes = data.len() as u32;
        }
    }
}
