//! Rings, by a driver of ours in memory of ours: what a guest is given and gives, and what becomes
//! of one that lies.

use super::chain::{INDIRECT, WRITE};
use super::*;
use crate::port::LostReason;
use crate::testing::pools;
use crate::{BATCH_MAX, Batch, Gso, GsoKind, Offload, Packet, PartialChecksum, Pools};

/// What a guest's driver negotiated.
#[derive(Clone, Copy, Debug)]
struct Terms {
    packed: bool,
    mergeable: bool,
    event_index: bool,
    /// It may leave checksums and segmentation to us.
    leaves_work: bool,
    size: u16,
}

impl Terms {
    const SPLIT: Terms = Terms {
        packed: false,
        mergeable: true,
        event_index: false,
        leaves_work: true,
        size: 8,
    };

    /// Every combination of layout and event index.
    fn all() -> [Terms; 4] {
        let with = |packed, event_index| Terms {
            packed,
            event_index,
            ..Terms::SPLIT
        };
        [
            with(false, false),
            with(true, false),
            with(false, true),
            with(true, true),
        ]
    }
}

/// A guest with one ring. Its memory is in two regions, next to each other for the guest but not
/// here, with bytes around each that nobody may touch.
struct Guest {
    terms: Terms,
    host: Vec<u64>,
    ring: Ring,
    /// Descriptors offered, and of a split ring buffers.
    offered: u16,
    /// Buffers seen to be done with; of a packed ring their descriptors.
    seen: u16,
    calls: RawFd,
}

/// Words of a region, and of what lies before, between and after.
const WORDS: usize = 4096;
const MARGIN: usize = 512;
const BYTES: usize = WORDS * 8;
/// Where the guest has its memory, and where in it are the rings and what is behind them.
const BASE: u64 = 0x10_0000;
const DRIVER: usize = 2048;
const DEVICE: usize = 3072;
const BUFFERS: usize = 4096;
const UNTOUCHED: u64 = 0x5aa5_1234_dead_beef;

impl Guest {
    fn new(terms: Terms) -> Guest {
        let mut host = vec![UNTOUCHED; 2 * WORDS + 3 * MARGIN];
        for region in [0, 1] {
            host[Guest::word(region)..][..WORDS].fill(0);
        }
        let start = host.as_mut_ptr().cast::<u8>();
        let at = |region: usize| start.wrapping_add(Guest::word(region) * 8);
        let regions = [0, 1].map(|region| Region {
            guest: BASE + (region * BYTES) as u64,
            size: BYTES as u64,
            host: at(region),
        });
        let mut features = 1 << VERSION_1;
        for (has, bit) in [
            (terms.packed, PACKED),
            (terms.mergeable, ffi::VIRTIO_NET_F_MRG_RXBUF),
            (terms.event_index, EVENT_INDEX),
            (terms.leaves_work, ffi::VIRTIO_NET_F_CSUM),
        ] {
            features |= u64::from(has) << bit;
        }
        // SAFETY: takes integers.
        let calls = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK) };
        let first = if terms.packed { 1 << 15 } else { 0 };
        let place = Place {
            descriptors: at(0),
            driver: at(0).wrapping_add(DRIVER),
            device: at(0).wrapping_add(DEVICE),
            size: terms.size,
            base: (first, first),
            event_index: terms.event_index,
            call: Call(calls),
        };
        let device = Device {
            vid: -1,
            features,
            regions: regions.to_vec(),
        };
        // SAFETY: the guest keeps the regions for as long as the ring.
        let memory = unsafe { Memory::new(&regions) };
        let ring = device.ring_at(memory, &place).expect("a ring");
        Guest {
            terms,
            host,
            ring,
            offered: 0,
            seen: 0,
            calls,
        }
    }

    fn word(region: usize) -> usize {
        MARGIN + region * (WORDS + MARGIN)
    }

    /// The bytes of a region from `offset` on. The guest's memory is not referred to otherwise
    /// while the ring is at work.
    fn at(&mut self, offset: usize) -> *mut u8 {
        let word = Guest::word(offset / BYTES);
        let start = self.host.as_mut_ptr().cast::<u8>();
        start.wrapping_add(word * 8 + offset % BYTES)
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (index, &byte) in bytes.iter().enumerate() {
            // SAFETY: within the guest's memory.
            unsafe { self.at(offset + index).write_volatile(byte) };
        }
    }

    fn read(&mut self, offset: usize, length: usize) -> Vec<u8> {
        let bytes = (0..length).map(|index| {
            // SAFETY: within the guest's memory.
            unsafe { self.at(offset + index).read_volatile() }
        });
        bytes.collect()
    }

    fn u16(&mut self, offset: usize) -> u16 {
        u16::from_ne_bytes(self.read(offset, 2).try_into().unwrap())
    }

    fn is_untouched_outside(&self) -> bool {
        let margins = [0, WORDS + MARGIN, 2 * (WORDS + MARGIN)];
        let mut margins = margins
            .map(|start| &self.host[start..][..MARGIN])
            .into_iter();
        margins.all(|margin| margin.iter().all(|&word| word == UNTOUCHED))
    }

    /// Writes a descriptor at a guest's offset, of a ring or a table.
    fn describe(&mut self, at: usize, part: (usize, u32), id: u16, flags: u16, next: u16) {
        let address = BASE + part.0 as u64;
        let mut bytes = address.to_ne_bytes().to_vec();
        bytes.extend(part.1.to_ne_bytes());
        let last = if self.terms.packed {
            [id, flags]
        } else {
            [flags, next]
        };
        bytes.extend(last.iter().flat_map(|field| field.to_ne_bytes()));
        self.write(at, &bytes);
    }

    /// Offers a buffer of these parts, each an offset and a length.
    fn offer(&mut self, parts: &[(usize, u32)], flags: u16) {
        let first = self.offered % self.terms.size;
        for (index, &part) in parts.iter().enumerate() {
            let slot = (self.offered + index as u16) % self.terms.size;
            let more = if index + 1 < parts.len() { NEXT } else { 0 };
            let lap = (self.offered + index as u16) / self.terms.size;
            let turn = match (self.terms.packed, lap % 2) {
                (false, _) => 0,
                (true, 0) => 1 << 7,
                (true, _) => 1 << 15,
            };
            let next = (slot + 1) % self.terms.size;
            self.describe(
                usize::from(slot) * 16,
                part,
                first,
                flags | more | turn,
                next,
            );
        }
        self.offered += parts.len() as u16;
        if !self.terms.packed {
            let index = self.u16(DRIVER + 2);
            let to = DRIVER + 4 + usize::from(index % self.terms.size) * 2;
            self.write(to, &first.to_ne_bytes());
            self.write(DRIVER + 2, &(index + 1).to_ne_bytes());
        }
    }

    /// The next buffer that was given back, as its number and the bytes written to it. `slots` are
    /// the descriptors that it had.
    fn given_back(&mut self, slots: u16) -> Option<(u16, u32)> {
        let size = self.terms.size;
        let at = usize::from(self.seen % size);
        if self.terms.packed {
            let descriptor = self.read(at * 16 + 8, 8);
            let field = |at: usize| u16::from_ne_bytes([descriptor[at], descriptor[at + 1]]);
            let length = u32::from_ne_bytes(descriptor[..4].try_into().unwrap());
            let turn = (field(6) & 1 << 7 != 0, field(6) & 1 << 15 != 0);
            let lap = (self.seen / size).is_multiple_of(2);
            self.seen += if turn == (lap, lap) { slots } else { 0 };
            return (turn == (lap, lap)).then_some((field(4), length));
        }
        if self.u16(DEVICE + 2) == self.seen {
            return None;
        }
        self.seen += 1;
        let element = self.read(DEVICE + 4 + at * 8, 8);
        let [id, length] =
            [0, 4].map(|at| u32::from_ne_bytes(element[at..][..4].try_into().unwrap()));
        Some((id as u16, length))
    }

    fn send(&mut self, packets: &[Packet]) -> (usize, Vec<LostReason>) {
        let mut reasons = Vec::new();
        let sent = self.ring.send(packets, |reason, _| reasons.push(reason));
        (sent, reasons)
    }

    fn receive(&mut self, pools: &Pools) -> (Vec<Packet>, Vec<LostReason>) {
        let (mut batch, mut reasons) = (Batch::new(), Vec::new());
        self.ring
            .receive(&mut batch, pools, |reason| reasons.push(reason));
        let packets = batch.drain().collect();
        (packets, reasons)
    }

    /// How often it was called since it was asked.
    fn calls(&self) -> u64 {
        let mut count = [0; 8];
        // SAFETY: writes 8 bytes.
        let read = unsafe { libc::read(self.calls, count.as_mut_ptr().cast(), 8) };
        if read == 8 {
            u64::from_ne_bytes(count)
        } else {
            0
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { libc::close(self.calls) };
    }
}

fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + seed) as u8).collect()
}

fn packet(pools: &Pools, length: usize, seed: usize) -> Packet {
    Packet::from_bytes(pools, &bytes(length, seed)).unwrap()
}

/// A header without anything, then a frame.
fn message(frame: &[u8]) -> Vec<u8> {
    [&[0; HEADER][..], frame].concat()
}

#[test]
fn frames_go_round_a_ring_for_laps() {
    let pools = pools();
    for terms in Terms::all() {
        let (mut to, mut from) = (Guest::new(terms), Guest::new(terms));
        for round in 0..40 {
            let lengths = [60, 1514, 1 + round];
            for (index, length) in lengths.into_iter().enumerate() {
                let at = BUFFERS + index * 2048;
                to.offer(&[(at, 2048)], WRITE);
                from.write(at, &message(&bytes(length, round)));
                from.offer(&[(at, (HEADER + length) as u32)], 0);
            }
            let packets = lengths.map(|length| packet(&pools, length, round));
            assert_eq!(to.send(&packets), (3, vec![]), "{terms:?}");
            let (received, lost) = from.receive(&pools);
            assert_eq!((received.len(), lost), (3, vec![]), "{terms:?}");
            for (index, length) in lengths.into_iter().enumerate() {
                let number = ((round * 3 + index) % 8) as u16;
                let written = (HEADER + length) as u32;
                assert_eq!(to.given_back(1), Some((number, written)), "{terms:?}");
                let mut expected = message(&bytes(length, round));
                expected[HEADER - 2] = 1;
                assert_eq!(to.read(BUFFERS + index * 2048, HEADER + length), expected);
                assert_eq!(from.given_back(1), Some((number, 0)), "{terms:?}");
                assert_eq!(received[index].data(), bytes(length, round));
            }
            assert_eq!((to.given_back(1), from.given_back(1)), (None, None));
            assert_eq!(from.receive(&pools).0.len(), 0);
        }
    }
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn what_the_guest_has_no_room_for_is_left() {
    let pools = pools();
    for terms in Terms::all() {
        let mut guest = Guest::new(terms);
        for index in 0..8 {
            guest.offer(&[(BUFFERS + index * 256, 256)], WRITE);
        }
        let packets: Vec<_> = (0..BATCH_MAX)
            .map(|seed| packet(&pools, 60, seed))
            .collect();
        assert_eq!(guest.send(&packets), (8, vec![]));
        assert_eq!(guest.send(&packets[8..]), (0, vec![]));
        guest.offer(&[(BUFFERS, 256)], WRITE);
        assert_eq!(guest.send(&packets[8..]), (1, vec![]));
        assert!(!guest.ring.is_broken());
    }
}

#[test]
fn a_frame_is_spread_over_buffers_that_merge() {
    let pools = pools();
    for terms in Terms::all() {
        let mut guest = Guest::new(terms);
        // The second crosses from one region into the other.
        let parts = [(BUFFERS, 100), (BYTES - 50, 100), (BUFFERS + 1000, 100)];
        for part in parts {
            guest.offer(&[part], WRITE);
        }
        guest.offer(&[(BUFFERS + 2000, 100)], WRITE);
        let packets = [packet(&pools, 270, 3), packet(&pools, 60, 4)];
        assert_eq!(guest.send(&packets), (2, vec![]), "{terms:?}");
        let given: Vec<_> = (0..4).map_while(|_| guest.given_back(1)).collect();
        assert_eq!(given, [(0, 100), (1, 100), (2, 82), (3, 72)], "{terms:?}");
        let whole: Vec<u8> = (parts.iter())
            .flat_map(|&(at, length)| guest.read(at, length as usize))
            .collect();
        assert_eq!(whole[HEADER - 2..HEADER], [3, 0]);
        assert_eq!(whole[HEADER..][..270], bytes(270, 3));
        // Three buffers are needed, and one is there: none is used.
        guest.offer(&[(BUFFERS, 100)], WRITE);
        assert_eq!(guest.send(&packets), (0, vec![]));
        assert_eq!(guest.given_back(1), None);
    }
}

#[test]
fn buffers_that_do_not_merge_take_what_fits() {
    let pools = pools();
    for packed in [false, true] {
        let terms = Terms {
            packed,
            mergeable: false,
            ..Terms::SPLIT
        };
        let mut guest = Guest::new(terms);
        guest.offer(&[(BUFFERS, 100), (BUFFERS + 500, 100)], WRITE);
        let packets = [packet(&pools, 189, 1), packet(&pools, 188, 2)];
        let (sent, lost) = guest.send(&packets);
        assert_eq!((sent, lost), (2, vec![LostReason::TooLong]));
        assert_eq!(guest.given_back(2), Some((0, 200)));
        let frame = [
            guest.read(BUFFERS + HEADER, 100 - HEADER),
            guest.read(BUFFERS + 500, 100),
        ];
        assert_eq!(frame.concat(), bytes(188, 2));
    }
}

#[test]
fn chains_and_tables_are_gathered() {
    let pools = pools();
    for terms in Terms::all() {
        let mut guest = Guest::new(terms);
        let frame = bytes(3000, 5);
        let all = message(&frame);
        // Header by itself, a part across regions, and the rest.
        let parts = [
            (BUFFERS, 5),
            (BUFFERS + 64, 7),
            (BYTES - 1000, 2000),
            (BUFFERS + 512, 1000),
        ];
        let mut from = 0;
        for (at, length) in parts {
            guest.write(at, &all[from..][..length as usize]);
            from += length as usize;
        }
        guest.offer(&parts, 0);
        let table = BUFFERS + 8192;
        for (index, part) in parts.into_iter().enumerate() {
            let flags = if index < 3 { NEXT } else { 0 };
            guest.describe(table + index * 16, part, 0, flags, index as u16 + 1);
        }
        guest.offer(&[(table, 64)], INDIRECT);
        let (packets, lost) = guest.receive(&pools);
        assert_eq!((packets.len(), lost), (2, vec![]), "{terms:?}");
        assert!(packets.iter().all(|packet| packet.data() == frame));
        assert_eq!(guest.given_back(4), Some((0, 0)));
        assert_eq!(guest.given_back(1), Some((4, 0)));
    }
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn offloads_pass_both_ways() {
    let pools = pools();
    let frame = crate::offload::headers::tests::frame(&[], false, 6, 1800);
    for terms in Terms::all() {
        let (mut to, mut from) = (Guest::new(terms), Guest::new(terms));
        let mut packet = Packet::from_bytes(&pools, &frame).unwrap();
        let checksum = Some(PartialChecksum {
            start: 34,
            offset: 16,
        });
        let gso = Some(Gso {
            kind: GsoKind::Tcp4,
            size: 1000,
            ecn: false,
        });
        let offload = Offload {
            checksum,
            gso,
            valid: false,
        };
        assert!(packet.set_offload(offload));
        to.offer(&[(BUFFERS, 2048)], WRITE);
        assert_eq!(to.send(&[packet]), (1, vec![]));
        let mut written = to.read(BUFFERS, HEADER + frame.len());
        assert_eq!(written[..2], [1, 1]);
        // That the checksum is right is not for a guest to say.
        written[0] |= 2;
        from.write(BUFFERS, &written);
        from.offer(&[(BUFFERS, written.len() as u32)], 0);
        assert_eq!(from.receive(&pools).0[0].offload(), offload);
        // Segments of no bytes.
        written[4..6].fill(0);
        from.write(BUFFERS, &written);
        from.offer(&[(BUFFERS, written.len() as u32)], 0);
        assert_eq!(from.receive(&pools).1, [LostReason::Malformed]);
    }
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn a_guest_that_does_its_work_itself_is_not_asked_what_it_left() {
    let pools = pools();
    let mut frame = vec![1, 1, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0];
    frame.extend(crate::offload::headers::tests::frame(&[], false, 6, 100));
    let length = frame.len() as u32;
    let cut = (BUFFERS + 16, length - 16);
    for terms in Terms::all() {
        let mut guest = Guest::new(Terms {
            leaves_work: false,
            ..terms
        });
        guest.write(BUFFERS, &frame);
        guest.offer(&[(BUFFERS, length)], 0);
        guest.offer(&[(BUFFERS, 16), cut], 0);
        let (packets, lost) = guest.receive(&pools);
        assert_eq!((packets.len(), lost), (2, vec![]), "{terms:?}");
        for packet in packets {
            assert_eq!(packet.data(), &frame[HEADER..]);
            assert_eq!(packet.offload(), Offload::default());
        }
    }
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn a_buffer_that_makes_no_sense_costs_its_frame_alone() {
    let pools = pools();
    let outside = 2 * BYTES - 50;
    let table = BUFFERS + 8192;
    for terms in Terms::all() {
        let mut guest = Guest::new(terms);
        // A table whose entries lead to each other, and back into the ring.
        for index in 0..2 {
            guest.describe(table + index * 16, (BUFFERS, 64), 0, NEXT, 1 - index as u16);
        }
        guest.describe(table + 32, (BUFFERS, 64), 0, INDIRECT, 0);
        let bad: &[(&[(usize, u32)], u16)] = &[
            (&[(outside, 60)], 0),
            (&[(BUFFERS, u32::MAX)], 0),
            (&[(BUFFERS, 60)], WRITE),
            (&[(BUFFERS, HEADER as u32)], 0),
            (&[(BUFFERS, 0)], 0),
            (&[(table, 33)], INDIRECT),
            (&[(table + 32, 16)], INDIRECT),
            (&[(outside, 64)], INDIRECT),
            (&[(table, 1 << 20)], INDIRECT),
        ];
        for &(parts, flags) in bad {
            guest.offer(parts, flags);
            guest.write(BUFFERS, &message(&bytes(60, 1)));
            guest.offer(&[(BUFFERS, 72)], 0);
            let (packets, lost) = guest.receive(&pools);
            assert_eq!(
                (packets.len(), lost),
                (1, vec![LostReason::Malformed]),
                "{parts:?}"
            );
            assert!(guest.given_back(1).is_some() && guest.given_back(1).is_some());
        }
        let mut guest = Guest::new(terms);
        for &(parts, flags) in [bad[0], bad[2]].iter() {
            guest.offer(parts, flags ^ WRITE);
            guest.offer(&[(BUFFERS, 72)], WRITE);
            let packets = [packet(&pools, 60, 1), packet(&pools, 60, 2)];
            assert_eq!(
                guest.send(&packets),
                (2, vec![LostReason::Device]),
                "{parts:?}"
            );
            assert_eq!(guest.given_back(1).map(|given| given.1), Some(0));
            assert_eq!(guest.given_back(1).map(|given| given.1), Some(72));
        }
        assert!(guest.is_untouched_outside());
    }
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn a_ring_that_cannot_be_followed_is_left_alone() {
    let pools = pools();
    let mut split = Guest::new(Terms::SPLIT);
    split.offer(&[(BUFFERS, 72)], 0);
    split.write(DRIVER + 2, &9_u16.to_ne_bytes());
    assert_eq!(split.receive(&pools).0.len(), 0);
    assert!(split.ring.is_broken());
    let mut split = Guest::new(Terms::SPLIT);
    split.offer(&[(BUFFERS, 72)], 0);
    split.write(DRIVER + 4, &8_u16.to_ne_bytes());
    assert_eq!(split.receive(&pools).0.len(), 0);
    assert!(split.ring.is_broken());
    let mut packed = Guest::new(Terms {
        packed: true,
        ..Terms::SPLIT
    });
    for slot in 0..8 {
        packed.describe(slot * 16, (BUFFERS, 64), 0, NEXT | 1 << 7, 0);
    }
    assert_eq!(packed.receive(&pools).0.len(), 0);
    assert!(packed.ring.is_broken());
}

#[test]
fn a_guest_is_called_when_it_wants_to_be() {
    let pools = pools();
    for packed in [false, true] {
        let terms = Terms {
            packed,
            ..Terms::SPLIT
        };
        let mut guest = Guest::new(terms);
        let flags = DRIVER + if packed { 2 } else { 0 };
        for (quiet, calls) in [(0_u16, 1), (1, 0), (0, 1)] {
            guest.write(flags, &quiet.to_ne_bytes());
            guest.offer(&[(BUFFERS, 256)], WRITE);
            guest.offer(&[(BUFFERS, 256)], WRITE);
            let packets = [packet(&pools, 60, 0), packet(&pools, 60, 0)];
            assert_eq!(guest.send(&packets).0, 2);
            assert_eq!(guest.calls(), calls, "{terms:?}");
            assert_eq!(guest.send(&packets).0, 0);
            assert_eq!(guest.calls(), 0);
        }
    }
}

#[test]
fn a_guest_is_called_where_its_event_index_is_passed() {
    let pools = pools();
    for packed in [false, true] {
        let terms = Terms {
            packed,
            event_index: true,
            ..Terms::SPLIT
        };
        let mut guest = Guest::new(terms);
        if packed {
            guest.write(DRIVER + 2, &2_u16.to_ne_bytes());
        }
        // Three laps of one frame each; it wants to hear of each third.
        for done in 0..24_u16 {
            let wanted = done / 3 * 3 + 2;
            let event = match packed {
                true => (wanted % 8) | ((1 - wanted / 8 % 2) << 15),
                false => wanted,
            };
            let at = if packed { DRIVER } else { DRIVER + 4 + 16 };
            guest.write(at, &event.to_ne_bytes());
            guest.offer(&[(BUFFERS, 256)], WRITE);
            assert_eq!(guest.send(&[packet(&pools, 60, 0)]).0, 1);
            let expected = u64::from(done % 3 == 2 || done == 0);
            assert_eq!(guest.calls(), expected, "{terms:?} {done}");
        }
    }
}

#[test]
fn a_ring_goes_on_where_it_was() {
    let mut guest = Guest::new(Terms {
        packed: true,
        ..Terms::SPLIT
    });
    let pools = pools();
    for index in 0..11 {
        guest.offer(&[(BUFFERS, 256)], WRITE);
        assert_eq!(guest.send(&[packet(&pools, 60, index)]).0, 1);
    }
    // The second lap, whose wrap counter is 0.
    assert_eq!(guest.ring.base(), (3, 3));
    let mut guest = Guest::new(Terms::SPLIT);
    guest.offer(&[(BUFFERS, 256)], WRITE);
    assert_eq!(guest.send(&[packet(&pools, 60, 0)]).0, 1);
    assert_eq!(guest.ring.base(), (1, 1));
}

/// Words in no order that anybody would know (xorshift64).
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Scribbles on what the rings are made of: anything, or what is nearly right.
fn scribble(guest: &mut Guest, words: &mut Words) {
    let size = usize::from(guest.terms.size);
    for slot in 0..size {
        let word = words.next();
        let near = [BASE, BASE + 2 * BYTES as u64 - 40, BASE + BYTES as u64 - 30];
        let address = match word % 8 {
            0 => words.next(),
            1 => BASE + (words.next() % (size as u64 * 16)) / 16 * 16,
            kind => near[kind as usize % 3].wrapping_add(words.next() % 64),
        };
        let length = match word >> 8 & 7 {
            0 => words.next() as u32,
            1 => 16 * (words.next() % 300) as u32,
            _ => (words.next() % 3000) as u32,
        };
        let kind = match word >> 16 & 7 {
            0 | 1 => words.next() as u16 & 7,
            2 => NEXT | WRITE,
            3 => NEXT,
            4 | 5 => WRITE,
            _ => 0,
        };
        let flags = kind | words.next() as u16 & 0x8080;
        let next = words.next() as u16 % (size as u16 + 1);
        let part = (address.wrapping_sub(BASE) as usize, length);
        guest.describe(slot * 16, part, words.next() as u16, flags, next);
        let index = words.next() as u16
            % if word >> 24 & 15 == 0 {
                100
            } else {
                size as u16
            };
        guest.write(DRIVER + 4 + slot % size * 2, &index.to_ne_bytes());
    }
    let (next, _) = guest.ring.base();
    let more = (words.next() % (size as u64 + 2)) as u16;
    guest.write(DRIVER + 2, &next.wrapping_add(more).to_ne_bytes());
}

#[test]
fn nothing_that_a_guest_writes_leads_outside_its_memory() {
    let pools = pools();
    let mut words = Words(0x9e37_79b9_7f4a_7c15);
    let (mut moved, mut refused) = (0, 0);
    for round in 0..20_000_u32 {
        let terms = Terms {
            packed: round % 2 == 0,
            mergeable: round % 3 != 0,
            event_index: round % 5 == 0,
            leaves_work: round % 7 != 0,
            size: 1 << (words.next() % 6),
        };
        let mut guest = Guest::new(terms);
        for _ in 0..4 {
            scribble(&mut guest, &mut words);
            let length = 1 + words.next() as usize % 4000;
            let packets = [packet(&pools, length, 0), packet(&pools, 60, 0)];
            let (sent, lost) = guest.send(&packets);
            moved += sent - lost.len();
            refused += lost.len();
            scribble(&mut guest, &mut words);
            let (received, lost) = guest.receive(&pools);
            assert!(received.len() + lost.len() <= BATCH_MAX);
            moved += received.len();
            refused += lost.len();
        }
        assert!(guest.is_untouched_outside(), "round {round}");
    }
    assert!(moved > 2_000 && refused > 10_000, "{moved} {refused}");
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn rings_outside_the_memory_are_not_taken() {
    let mut guest = Guest::new(Terms::SPLIT);
    let start = guest.at(0);
    let region = Region {
        guest: BASE,
        size: BYTES as u64,
        host: start,
    };
    // SAFETY: the guest keeps it until the end of the test.
    let memory = unsafe { Memory::new(&[region]) };
    let good = Place {
        descriptors: start,
        driver: start.wrapping_add(DRIVER),
        device: start.wrapping_add(DEVICE),
        size: 8,
        base: (0, 0),
        event_index: true,
        call: Call(-1),
    };
    let end = start.wrapping_add(BYTES);
    let places = [
        Place { size: 0, ..good },
        Place {
            size: 16384,
            ..good
        },
        Place {
            descriptors: std::ptr::null_mut(),
            ..good
        },
        Place {
            descriptors: end.wrapping_sub(112),
            ..good
        },
        Place {
            descriptors: start.wrapping_add(8),
            ..good
        },
        Place {
            driver: end.wrapping_sub(2),
            ..good
        },
        Place {
            device: end.wrapping_sub(2),
            ..good
        },
        Place {
            device: start.wrapping_sub(4),
            ..good
        },
    ];
    assert!(Split::new(&memory, &good).is_some() && Packed::new(&memory, &good).is_some());
    for place in places {
        assert!(Split::new(&memory, &place).is_none(), "{place:?}");
        assert!(Packed::new(&memory, &place).is_none(), "{place:?}");
    }
    assert!(Split::new(&memory, &Place { size: 6, ..good }).is_none());
    assert!(
        Packed::new(
            &memory,
            &Place {
                base: (8, 8),
                ..good
            }
        )
        .is_none()
    );
}
