//! Ports of ours with nothing between: what one receives another sends, on a thread of the test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use pmd::{
    Batch, Eal, EalConfig, Pools, PoolsConfig, Port, PortConfig, PortControl, PortKind, RxQueue,
    TxQueue,
};

/// Pools of a test's own, so that it can count their buffers; without huge pages.
pub fn pools() -> Pools {
    static EAL: OnceLock<Eal> = OnceLock::new();
    let eal = EAL.get_or_init(|| {
        let args = vec!["--no-huge".to_string()];
        let config = EalConfig {
            memory_mib: 512,
            args,
            ..EalConfig::default()
        };
        Eal::start(config).expect("EAL starts without huge pages")
    });
    let config = PoolsConfig {
        worker_cpus: vec![0],
        small: 4096,
        large: 192,
    };
    Pools::new(eal, &config).expect("room for a few pools")
}

/// A port to be opened, with one transmit queue.
pub fn port(kind: PortKind, name: &str, mtu: u16, options: &[(&str, &str)]) -> PortConfig {
    let options = options
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    let options = options.collect::<BTreeMap<_, _>>();
    PortConfig {
        name: name.into(),
        kind,
        options,
        mtu,
        tx_queues: 1,
    }
}

/// Two ports that a thread forwards between until this is dropped.
#[derive(Debug)]
pub struct Crossing {
    /// Control of each port.
    pub controls: Vec<PortControl>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Crossing {
    /// Starts to forward as is.
    pub fn start(ports: [Port; 2]) -> Crossing {
        Crossing::start_with(ports, |batch, to| to.send(batch))
    }

    /// Starts to forward; `hand` sends a batch by a queue.
    pub fn start_with(
        ports: [Port; 2],
        hand: impl FnMut(&mut Batch, &mut TxQueue) + Send + 'static,
    ) -> Crossing {
        let stop = Arc::new(AtomicBool::new(false));
        let [Port { rx, tx, control }, other] = ports;
        let until = stop.clone();
        let queues = [(rx, tx), (other.rx, other.tx)];
        let worker = thread::spawn(move || forward(queues, hand, &until));
        Crossing {
            controls: vec![control, other.control],
            stop,
            worker: Some(worker),
        }
    }

    /// What port `index` received: packets and bytes.
    pub fn received(&self, index: usize) -> (u64, u64) {
        let rx = self.controls[index].counters().rx;
        (rx.packets, rx.bytes)
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.worker.take().map(JoinHandle::join);
        if ended.is_some_and(|result| result.is_err()) && !thread::panicking() {
            panic!("the thread that forwards has panicked");
        }
    }
}

fn forward(
    mut queues: [(Vec<RxQueue>, Vec<TxQueue>); 2],
    mut hand: impl FnMut(&mut Batch, &mut TxQueue),
    stop: &AtomicBool,
) {
    let mut batch = Batch::new();
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for from in [0, 1] {
            for queue in 0..queues[from].0.len() {
                queues[from].0[queue].receive(&mut batch);
                if !batch.is_empty() {
                    idle = false;
                    hand(&mut batch, &mut queues[1 - from].1[0]);
                }
            }
        }
        if idle {
            thread::yield_now();
        }
    }
}
