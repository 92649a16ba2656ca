//! Packets that the switch keeps while a controller decides (OpenFlow 1.3.5 §6.1.2).

use openflow::ErrorCode;

/// A bounded pool of packets. When it is full the oldest packet makes room, unless it is so young
/// that its controller may still be about to answer.
#[derive(Debug, Default)]
pub struct Buffers {
    slots: Vec<Slot>,
    next: usize,
}

/// A packet that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffered {
    /// OpenFlow number of the port it came in by.
    pub in_port: u32,
    /// The whole packet.
    pub frame: Vec<u8>,
}

/// Why a packet is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferError {
    /// It was taken already.
    Empty,
    /// There never was such a packet, or it made room for a newer one.
    Unknown,
}

impl BufferError {
    /// As the peer is told.
    pub fn code(self) -> ErrorCode {
        match self {
            BufferError::Empty => ErrorCode::BAD_REQUEST_BUFFER_EMPTY,
            BufferError::Unknown => ErrorCode::BAD_REQUEST_BUFFER_UNKNOWN,
        }
    }
}

#[derive(Debug)]
struct Slot {
    /// Times the slot was used, part of the buffer's id: an old id does not name a new packet.
    generation: u32,
    kept_ms: u64,
    packet: Option<Buffered>,
}

impl Buffers {
    /// How many packets can be kept.
    pub const COUNT: usize = 256;

    /// Keeps a packet: its buffer id, or `None` if every slot holds a young one.
    pub fn keep(&mut self, packet: Buffered, now_ms: u64) -> Option<u32> {
        if self.slots.len() < Buffers::COUNT {
            self.slots.push(Slot {
                generation: 0,
                kept_ms: now_ms,
                packet: None,
            });
            self.next = self.slots.len() - 1;
        }
        let index = self.next;
        let slot = self.slots.get_mut(index)?;
        let is_young = now_ms.saturating_sub(slot.kept_ms) < KEPT_MS_MIN;
        if slot.packet.is_some() && is_young {
            return None;
        }
        slot.generation = (slot.generation + 1) & GENERATION_MAX;
        slot.kept_ms = now_ms;
        slot.packet = Some(packet);
        self.next = (index + 1) % Buffers::COUNT;
        Some(slot.generation << INDEX_BITS | index as u32)
    }

    /// How many packets there is memory for.
    #[cfg(any(test, fuzzing))]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes a packet out.
    pub fn take(&mut self, id: u32) -> Result<Buffered, BufferError> {
        self.check(id)?;
        let slot = self.slots.get_mut((id & INDEX_MASK) as usize);
        let packet = slot.and_then(|slot| slot.packet.take());
        packet.ok_or(BufferError::Empty)
    }

    /// Whether a packet is there to be taken out.
    pub fn check(&self, id: u32) -> Result<(), BufferError> {
        let slot = self.slots.get((id & INDEX_MASK) as usize);
        match slot {
            Some(slot) if slot.generation == id >> INDEX_BITS => match slot.packet {
                Some(_) => Ok(()),
                None => Err(BufferError::Empty),
            },
            _ => Err(BufferError::Unknown),
        }
    }
}

/// Bits of a buffer id that name the slot.
const INDEX_BITS: u32 = 8;
const INDEX_MASK: u32 = Buffers::COUNT as u32 - 1;
/// Generations stay below the top bit, so that no id is `OFP_NO_BUFFER`.
const GENERATION_MAX: u32 = 0x7f_ffff;
/// How long a controller may take before its packet makes room for another.
const KEPT_MS_MIN: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u32) -> Buffered {
        Buffered {
            in_port: number,
            frame: number.to_be_bytes().to_vec(),
        }
    }

    #[test]
    fn a_packet_is_taken_once() {
        let mut buffers = Buffers::default();
        let id = buffers.keep(packet(7), 0).unwrap();
        assert_eq!(buffers.take(id ^ 1 << 9), Err(BufferError::Unknown));
        assert_eq!(buffers.take(id + 1), Err(BufferError::Unknown));
        assert_eq!(buffers.take(id), Ok(packet(7)));
        assert_eq!(buffers.take(id), Err(BufferError::Empty));
        assert_eq!(buffers.take(u32::MAX), Err(BufferError::Unknown));
    }

    #[test]
    fn the_oldest_makes_room_once_it_is_old_enough() {
        let mut buffers = Buffers::default();
        let keep = |buffers: &mut Buffers, number, now| buffers.keep(packet(number), now);
        let first = keep(&mut buffers, 0, 0).unwrap();
        let count = Buffers::COUNT as u32;
        let ids: Vec<_> = (1..count)
            .map(|n| keep(&mut buffers, n, 1).unwrap())
            .collect();
        assert_eq!(keep(&mut buffers, count, 4_999), None);
        let newest = keep(&mut buffers, count, 5_000).unwrap();
        assert_eq!(buffers.take(first), Err(BufferError::Unknown));
        assert_eq!(buffers.take(newest), Ok(packet(count)));
        assert_eq!(buffers.take(ids[9]), Ok(packet(10)));
        assert_eq!(keep(&mut buffers, 0, 5_000), None);
        assert!(keep(&mut buffers, 0, 5_001).is_some());
    }
}
