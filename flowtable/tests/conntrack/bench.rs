//! What the tests have in common: a table with one tracker, and packets without bytes.

use std::sync::Arc;

use flowtable::conntrack::{
    Body, Connection, Item, Packet, Request, Segment, Table, Tracker, Tuple, Verdict, ct_state,
    mapped,
};

pub const NEW: u32 = ct_state::TRK | ct_state::NEW;
pub const EST: u32 = ct_state::TRK | ct_state::EST;
pub const RPL: u32 = EST | ct_state::RPL;
pub const INV: u32 = ct_state::TRK | ct_state::INV;
pub const ZONE: u16 = 5;

/// A table and the worker that has it for itself.
pub struct Bench {
    pub tracker: Tracker,
    pub now_ms: u64,
}

impl Bench {
    pub fn new(connections: usize) -> Bench {
        let table = Table::new(connections, 7, |_, _| ()).expect("memory");
        Bench {
            tracker: Arc::new(table).tracker().expect("a tracker"),
            now_ms: 1_000_000,
        }
    }

    pub fn table(&self) -> &Table {
        self.tracker.table()
    }

    /// Tracks a packet by itself.
    pub fn track(&mut self, request: &Request, packet: Packet) -> Verdict {
        let item = Item {
            packet,
            known: None,
            is_translated: false,
        };
        self.track_item(request, item)
    }

    pub fn track_item(&mut self, request: &Request, item: Item) -> Verdict {
        self.track_all(request, &[item]).remove(0)
    }

    pub fn track_all(&mut self, request: &Request, items: &[Item]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        self.tracker.begin(self.now_ms);
        self.tracker.track(request, items, |place, verdict| {
            assert_eq!(place, verdicts.len());
            verdicts.push(*verdict);
        });
        self.tracker.end();
        verdicts
    }

    /// Tracks a packet with commit, and returns its bits.
    pub fn bits(&mut self, packet: Packet) -> u32 {
        let request = Request {
            zone: packet.tuple.zone,
            ..commit()
        };
        self.track(&request, packet).bits
    }

    pub fn connections(&mut self) -> Vec<Connection> {
        let mut all = Vec::new();
        self.tracker.begin(self.now_ms);
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let show = |connection: &Connection| all.push(*connection);
            cursor = self.tracker.list(from, 100, show);
        }
        self.tracker.end();
        all
    }

    /// Lets time go by, with housekeeping.
    pub fn sleep(&mut self, ms: u64) {
        self.now_ms += ms;
        while self.tracker.maintain(self.now_ms, 50) {}
    }
}

pub fn commit() -> Request {
    Request {
        zone: ZONE,
        commits: true,
        ..Request::default()
    }
}

pub fn look() -> Request {
    Request {
        zone: ZONE,
        ..Request::default()
    }
}

pub fn tuple(proto: u8, client: u32, port: u16) -> Tuple {
    Tuple {
        src: mapped(client),
        dst: mapped(0x0a00_0001),
        src_port: port,
        dst_port: 80,
        zone: ZONE,
        proto,
        version: 4,
    }
}

pub fn udp(tuple: Tuple) -> Packet {
    Packet {
        tuple,
        body: Body::Other,
    }
}

/// An echo request.
pub fn echo(client: u32, id: u16) -> Packet {
    let tuple = Tuple {
        src_port: id,
        dst_port: 8 << 8,
        ..tuple(1, client, 0)
    };
    Packet {
        tuple,
        body: Body::Query,
    }
}

pub fn reversed(packet: Packet) -> Packet {
    Packet {
        tuple: packet.tuple.reversed(),
        ..packet
    }
}

pub fn item(packet: Packet) -> Item {
    Item {
        packet,
        known: None,
        is_translated: false,
    }
}

pub fn tcp(tuple: Tuple, segment: Segment) -> Packet {
    Packet {
        tuple,
        body: Body::Tcp(segment),
    }
}
