//! The `null` port: receives nothing, drops and counts what is sent.

use std::sync::Arc;

use super::{
    ControlKind, Link, LiveCounters, Options, Port, PortConfig, PortControl, PortCounters,
};
use super::{PortError, RxKind, RxQueue, TxKind, TxQueue};
use crate::Batch;

pub(super) fn check(config: &PortConfig) -> Result<(), PortError> {
    Options::of(config, &[]).map(drop)
}

pub(super) fn open(config: &PortConfig) -> Result<Port, PortError> {
    check(config)?;
    let counters: Arc<[LiveCounters]> = LiveCounters::several(config.tx_queues).into();
    let tx = |queue| {
        TxQueue::new(TxKind::Null(Tx {
            queue,
            counters: counters.clone(),
        }))
    };
    Ok(Port {
        rx: vec![RxQueue::new(RxKind::Null)],
        tx: (0..config.tx_queues).map(tx).collect(),
        control: PortControl::new(ControlKind::Null(Control {
            mtu: config.mtu,
            up: true,
            counters,
        })),
    })
}

#[derive(Debug)]
pub(crate) struct Tx {
    queue: usize,
    counters: Arc<[LiveCounters]>,
}

impl Tx {
    pub(super) fn send(&mut self, batch: &mut Batch) {
        let bytes = batch.iter().map(|packet| packet.len() as u64).sum();
        self.counters[self.queue].add(batch.len() as u64, bytes);
        batch.clear();
    }
}

#[derive(Debug)]
pub(crate) struct Control {
    mtu: u16,
    up: bool,
    counters: Arc<[LiveCounters]>,
}

impl Control {
    pub(super) fn link(&self) -> Link {
        Link {
            up: self.up,
            ..Link::default()
        }
    }

    pub(super) fn set_admin_up(&mut self, up: bool) {
        self.up = up;
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu;
    }

    pub(super) fn mtu(&self) -> u16 {
        self.mtu
    }

    pub(super) fn counters(&self) -> PortCounters {
        PortCounters::of(&[], &self.counters)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::testing::pools;
    use crate::{Batch, Packet, PortConfig, PortKind, port};

    #[test]
    fn counts_and_frees_what_is_sent() {
        let pools = pools();
        let config = PortConfig {
            name: "n".into(),
            kind: PortKind::Null,
            options: BTreeMap::new(),
            mtu: 1500,
            tx_queues: 2,
        };
        let mut port = port::open(&config, &pools).unwrap();
        let mut batch = Batch::new();
        batch
            .push(Packet::from_bytes(&pools, &[0; 60]).unwrap())
            .unwrap();
        batch
            .push(Packet::from_bytes(&pools, &[0; 70]).unwrap())
            .unwrap();
        port.tx[1].send(&mut batch);
        port.rx[0].receive(&mut batch);
        assert!(batch.is_empty());
        let counters = port.control.counters();
        assert_eq!((counters.tx.packets, counters.tx.bytes), (2, 130));
        assert_eq!(counters.tx_queues[0].packets, 0);
        assert_eq!(pools.in_use(), 0);
    }
}
