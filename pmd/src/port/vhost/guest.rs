//! What is known of a guest, and who may touch its device.
//!
//! # What
//! A device appears when the guest's driver has set up its rings, and goes when the guest stops it,
//! reboots, or its hypervisor dies. The library tells so by callbacks on a thread of its own, and
//! frees the device when the last of them returns; workers are meanwhile polling it.
//!
//! # How
//! Rings are made of what the library says of a device, and each is in a `Gate`, in which one
//! thread is at a time. A callback takes them out, waiting for the end of a burst that a worker is
//! in, before the device goes and before the library handles any message about it (vhost-user's
//! messages change memory, addresses and file descriptors); when that is done, it makes them anew.
//! How far a ring has come the library is told when it is taken out, and asked when it is made.
//! While there is a device but no ring, packets for it wait (`ring`).
//!
//! # Why not simpler
//! A counter that each worker advances once a loop would cost nothing per burst, but needs workers
//! that take part in it, and a callback that waits for a whole loop. The exchange costs some 20
//! cycles a burst.
//!
//! # Threads
//! Callbacks come from the library's event thread, or from the thread that closes the port; the
//! mutex keeps them apart. A worker never takes it, and never waits inside a gate.

use std::cell::UnsafeCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::Settings;
use super::ring::{RxRing, TxRing};
use super::rings::{self, Ring};
use crate::ffi;
use crate::offload::packet::Can;
use crate::port::{LiveCounters, LostReason, PortConfig, PortCounters};

/// A guest, whether or not it is there.
#[derive(Debug)]
pub(super) struct Guest {
    name: String,
    /// Its device by the library's number.
    device: Device,
    features: AtomicU64,
    admin_up: AtomicBool,
    /// Pairs whose ring for sending is enabled, a bit for each.
    sending: [AtomicU64; WORDS],
    /// For each transmit queue the pair to whose ring it sends.
    receiving: Box<[AtomicU16]>,
    /// A ring has packets waiting that whoever is next is to send.
    pub left_over: AtomicBool,
    /// Those that were ever enabled: made in callbacks, never by a worker.
    rx_rings: Box<[OnceLock<Box<RxRing>>]>,
    tx_rings: Box<[OnceLock<Box<TxRing>>]>,
    connections: Mutex<Connections>,
    details: Mutex<Option<Details>>,
    /// The number of a ring that could not be followed, and whether that was said.
    broken: AtomicU32,
    broken_told: AtomicBool,
    /// Packets that were waiting for a ring when the device went.
    abandoned: AtomicU64,
    longest: AtomicUsize,
    pub retries_max: u32,
    pub rx_counters: Box<[LiveCounters]>,
    /// Those of the transmit queues, then one for what each receive queue sends in passing.
    pub tx_counters: Box<[LiveCounters]>,
    tx_queues: usize,
}

/// Each device that there is or is about to be: a socket that we serve may have several.
type Connections = BTreeMap<i32, Connection>;

/// What callbacks told of a device.
#[derive(Debug, Default)]
struct Connection {
    /// Its rings that are enabled. They come to be known before the device is attached.
    enabled: BTreeSet<u16>,
    /// The library knows its memory.
    has_memory: bool,
    /// The library is handling a message, or could not handle the last.
    in_message: bool,
}

/// What is told of a device.
#[derive(Clone, Debug)]
struct Details {
    numa: i32,
    ring_sizes: Vec<u16>,
}

impl Guest {
    pub(super) fn new(config: &PortConfig, settings: &Settings) -> Guest {
        let tx_counters = settings.tx_queues + settings.rx_queues;
        Guest {
            name: config.name.clone(),
            device: Device::none(),
            features: AtomicU64::new(0),
            admin_up: AtomicBool::new(true),
            sending: Default::default(),
            receiving: (0..settings.tx_queues)
                .map(|_| AtomicU16::new(NO_PAIR))
                .collect(),
            left_over: AtomicBool::new(false),
            rx_rings: (0..settings.pairs_max).map(|_| OnceLock::new()).collect(),
            tx_rings: (0..settings.pairs_max).map(|_| OnceLock::new()).collect(),
            connections: Mutex::default(),
            details: Mutex::default(),
            broken: AtomicU32::new(NO_RING),
            broken_told: AtomicBool::new(false),
            abandoned: AtomicU64::new(0),
            longest: AtomicUsize::new(settings.longest),
            retries_max: settings.retries_max,
            rx_counters: LiveCounters::several(settings.rx_queues),
            tx_counters: LiveCounters::several(tx_counters),
            tx_queues: settings.tx_queues,
        }
    }

    /// Whether packets can pass, as far as a glance tells.
    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.device.is_some() && self.admin_up.load(Ordering::Relaxed)
    }

    /// Whether packets can pass: a ring is enabled as well.
    pub(super) fn is_running(&self) -> bool {
        let sends = self
            .sending
            .iter()
            .any(|word| word.load(Ordering::Relaxed) != 0);
        let receives = self
            .receiving
            .iter()
            .any(|pair| pair.load(Ordering::Relaxed) != NO_PAIR);
        self.is_up() && (sends || receives)
    }

    pub(super) fn set_admin_up(&self, up: bool) {
        self.admin_up.store(up, Ordering::Relaxed);
    }

    pub(super) fn set_longest(&self, longest: usize) {
        self.longest.store(longest, Ordering::Relaxed);
    }

    /// Longest frame to send.
    #[inline]
    pub(super) fn longest(&self) -> usize {
        self.longest.load(Ordering::Relaxed)
    }

    /// What the guest does for a packet.
    #[inline]
    pub(super) fn can(&self) -> Can {
        let features = self.features.load(Ordering::Relaxed);
        let has = |bit: u32| features & 1 << bit != 0;
        Can {
            checksum: has(ffi::VIRTIO_NET_F_GUEST_CSUM),
            tcp4: has(ffi::VIRTIO_NET_F_GUEST_TSO4),
            tcp6: has(ffi::VIRTIO_NET_F_GUEST_TSO6),
            ecn: has(ffi::VIRTIO_NET_F_GUEST_ECN),
            udp: false,
            within: false,
            laid_out: false,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Pairs whose ring for sending is enabled, 64 from `word` on.
    #[inline]
    pub(super) fn sending(&self, word: usize) -> u64 {
        self.sending[word].load(Ordering::Relaxed)
    }

    /// The ring that a transmit queue sends to.
    #[inline]
    pub(super) fn receiving(&self, queue: usize) -> Option<&TxRing> {
        let pair = self.receiving[queue].load(Ordering::Acquire);
        self.tx_rings
            .get(usize::from(pair))?
            .get()
            .map(|ring| &**ring)
    }

    /// A ring by which the guest sends.
    #[inline]
    pub(super) fn rx_ring(&self, pair: usize) -> Option<&RxRing> {
        Some(self.rx_rings.get(pair)?.get()?)
    }

    /// Every ring by which the guest receives that was ever enabled.
    pub(super) fn tx_rings(&self) -> impl Iterator<Item = &TxRing> {
        self.tx_rings
            .iter()
            .filter_map(|ring| ring.get().map(|ring| &**ring))
    }

    /// A connection is made or gone: what was known of its device is of another.
    pub(super) fn forget(&self, vid: i32) {
        self.connections().remove(&vid);
    }

    /// A device is set up.
    pub(super) fn attach(&self, vid: i32) {
        let mut connections = self.connections();
        // A second connection to a socket that we serve replaces the first.
        self.detach_any();
        self.open_rings(vid, connections.entry(vid).or_default());
        self.device.set(vid);
        let features = self.features.load(Ordering::Relaxed);
        tracing::info!(
            port = self.name,
            features = format_args!("{features:#x}"),
            "guest is there"
        );
    }

    /// A device is about to go. Returns when nobody uses it any more.
    pub(super) fn detach(&self, vid: i32) {
        let _alone = self.connections();
        if self.device.is(vid) {
            self.detach_any();
            tracing::info!(port = self.name, "guest is gone");
        }
    }

    /// A ring of a device was enabled or disabled.
    pub(super) fn ring_changed(&self, vid: i32, ring: u16, is_enabled: bool) {
        let most = self.rx_rings.len();
        if usize::from(ring / 2) >= most {
            if is_enabled {
                tracing::warn!(
                    port = self.name,
                    ring,
                    most,
                    "ring of more pairs than are served"
                );
            }
            return;
        }
        let mut connections = self.connections();
        let connection = connections.entry(vid).or_default();
        if is_enabled {
            connection.enabled.insert(ring);
        } else {
            connection.enabled.remove(&ring);
        }
        if self.device.is(vid) && !connection.in_message {
            self.close_rings(vid);
            self.open_rings(vid, connection);
        }
    }

    /// The library is about to handle a message about a device.
    pub(super) fn before_message(&self, vid: i32, request: u32) {
        let mut connections = self.connections();
        let connection = connections.entry(vid).or_default();
        connection.in_message = true;
        if matches!(request, RESET_OWNER | SET_MEM_TABLE) {
            // The library has none if it fails.
            connection.has_memory = false;
        }
        if self.device.is(vid) {
            self.close_rings(vid);
        }
    }

    /// The library has handled a message about a device, without an error.
    pub(super) fn after_message(&self, vid: i32, request: u32) {
        let mut connections = self.connections();
        let connection = connections.entry(vid).or_default();
        connection.in_message = false;
        connection.has_memory |= request == SET_MEM_TABLE;
        if self.device.is(vid) {
            self.open_rings(vid, connection);
        }
    }

    /// A ring could not be followed any further.
    #[cold]
    pub(super) fn note_broken(&self, ring: u16) {
        self.broken.store(u32::from(ring), Ordering::Relaxed);
    }

    /// Says once that a ring is broken.
    pub(super) fn tell_broken(&self) {
        let ring = self.broken.load(Ordering::Relaxed);
        if ring != NO_RING && !self.broken_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                port = self.name,
                ring,
                "the guest broke this ring, which is left alone until it is set up again"
            );
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }

    /// Makes the rings that are enabled, and lets workers use them. None of them is there now.
    fn open_rings(&self, vid: i32, connection: &Connection) {
        self.broken.store(NO_RING, Ordering::Relaxed);
        self.broken_told.store(false, Ordering::Relaxed);
        // SAFETY: called in a callback for this device.
        let device = unsafe { connection.has_memory.then(|| rings::Device::of(vid)) }.flatten();
        let features = device.as_ref().map_or(0, rings::Device::features);
        self.features.store(features, Ordering::Relaxed);
        // SAFETY: `close_rings` takes the ring out before the next message, and before the device
        // goes.
        let open = |ring| unsafe { device.as_ref()?.ring(ring) };
        let mut sending = [0; WORDS];
        let mut receiving = Vec::new();
        for &number in &connection.enabled {
            let pair = number / 2;
            let Some(ring) = open(number) else {
                tracing::warn!(port = self.name, ring = number, "ring is not in the memory");
                continue;
            };
            if number % 2 == SENDING {
                let pair = usize::from(pair);
                let to = self.rx_rings[pair].get_or_init(|| RxRing::of(pair));
                to.gate.put(Some(ring));
                sending[pair / 64] |= 1 << (pair % 64);
            } else {
                let to = &self.tx_rings[usize::from(pair)];
                let to = to.get_or_init(|| TxRing::of(usize::from(pair)));
                to.gate.put(Some(ring));
                receiving.push(pair);
            }
        }
        self.publish(sending, &receiving);
        *lock(&self.details) = Some(details_of(vid));
    }

    /// Lets workers use the rings of these pairs.
    fn publish(&self, sending: [u64; WORDS], receiving: &[u16]) {
        for (word, bits) in self.sending.iter().zip(sending) {
            word.store(bits, Ordering::Relaxed);
        }
        for (queue, to) in self.receiving.iter().enumerate() {
            let pair = receiving.get(queue % receiving.len().max(1));
            // Release: the ring that was made before comes before the number that leads to it.
            to.store(pair.copied().unwrap_or(NO_PAIR), Ordering::Release);
        }
        for ring in self.tx_rings() {
            if !receiving.contains(&(ring.number / 2)) {
                self.abandoned.fetch_add(ring.abandon(), Ordering::Relaxed);
            }
        }
    }

    /// Takes all rings of a device away from workers, and tells the library how far they are.
    fn close_rings(&self, vid: i32) {
        let close = |number: u16, ring: Option<Ring>| {
            if let Some(ring) = ring {
                let (next, done) = ring.base();
                // SAFETY: the device of a callback lives until the callback returns.
                unsafe { ffi::rte_vhost_set_vring_base(vid, number, next, done) };
            }
        };
        for ring in self.rx_rings.iter().filter_map(OnceLock::get) {
            close(ring.number, ring.gate.put(None));
        }
        for ring in self.tx_rings() {
            close(ring.number, ring.gate.put(None));
        }
    }

    /// Takes the device away from everybody and waits until they have let go.
    fn detach_any(&self) {
        let Some(vid) = self.device.take() else {
            return;
        };
        self.close_rings(vid);
        self.publish([0; WORDS], &[]);
        *lock(&self.details) = None;
    }

    /// NUMA node of the guest's memory.
    pub(super) fn numa(&self) -> usize {
        let node = lock(&self.details).as_ref().map(|details| details.numa);
        node.and_then(|node| usize::try_from(node).ok())
            .unwrap_or(0)
    }

    pub(super) fn counters(&self) -> PortCounters {
        let (own, passing) = self.tx_counters.split_at(self.tx_queues);
        let mut counters = PortCounters::of(&self.rx_counters, own);
        passing
            .iter()
            .for_each(|more| counters.tx.add(&more.read()));
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        counters.tx.drops.add(LostReason::Down, abandoned);
        counters
    }

    /// What Open vSwitch tells of such a port.
    pub(super) fn status(&self) -> BTreeMap<String, String> {
        let mut status = BTreeMap::new();
        let mut put = |name: &str, value: String| drop(status.insert(name.to_string(), value));
        put("n_rxq", self.rx_counters.len().to_string());
        put("n_txq", self.tx_queues.to_string());
        let Some(details) = lock(&self.details).clone() else {
            put("status", "disconnected".into());
            return status;
        };
        put("status", "connected".into());
        let features = self.features.load(Ordering::Relaxed);
        put("features", format!("{features:#018x}"));
        if let Ok(node) = usize::try_from(details.numa) {
            put("numa", node.to_string());
        }
        put("num_of_vrings", details.ring_sizes.len().to_string());
        for (index, size) in details.ring_sizes.into_iter().enumerate() {
            put(&format!("vring_{index}_size"), size.to_string());
        }
        let broken = self.broken.load(Ordering::Relaxed);
        if broken != NO_RING {
            put("broken_vring", broken.to_string());
        }
        status
    }
}

/// What is told of a device. Called in its callbacks.
fn details_of(vid: i32) -> Details {
    // SAFETY: the device of a callback lives until the callback returns; `ring` outlives the call.
    unsafe {
        let rings = 0..ffi::rte_vhost_get_vring_num(vid);
        let sizes = rings.map(|index| {
            let mut ring = ffi::rte_vhost_vring::default();
            let told = ffi::rte_vhost_get_vhost_vring(vid, index, &mut ring);
            if told == 0 { ring.size } else { 0 }
        });
        Details {
            ring_sizes: sizes.collect(),
            numa: ffi::rte_vhost_get_numa_node(vid),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The library's number of a device, if there is one.
#[derive(Debug)]
pub(super) struct Device(AtomicI32);

impl Device {
    pub(super) fn none() -> Device {
        Device(AtomicI32::new(NO_DEVICE))
    }

    #[inline]
    fn is_some(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NO_DEVICE
    }

    fn is(&self, vid: i32) -> bool {
        self.0.load(Ordering::Relaxed) == vid
    }

    pub(super) fn set(&self, vid: i32) {
        self.0.store(vid, Ordering::SeqCst);
    }

    /// There is none any more. Returns which there was.
    pub(super) fn take(&self) -> Option<i32> {
        let vid = self.0.swap(NO_DEVICE, Ordering::SeqCst);
        (vid != NO_DEVICE).then_some(vid)
    }

    /// Whether there is one, asked by who found a gate empty: if so, whoever takes the device away
    /// sees what was stored before.
    pub(super) fn is_attached(&self) -> bool {
        self.0.load(Ordering::SeqCst) != NO_DEVICE
    }
}

/// Holds a ring, for one thread at a time.
#[derive(Debug)]
pub(super) struct Gate<R> {
    busy: AtomicBool,
    ring: UnsafeCell<Option<R>>,
}

// SAFETY: whoever set `busy` has the ring to itself until it clears it.
unsafe impl<R: Send> Sync for Gate<R> {}

/// What came of entering a gate.
pub(super) enum Entry<'gate, R> {
    /// The ring is the caller's as long as this lives.
    Inside(Inside<'gate, R>),
    /// Somebody else is inside.
    Busy,
    /// There is no ring.
    Empty,
}

/// Being inside a gate.
pub(super) struct Inside<'gate, R> {
    gate: &'gate Gate<R>,
}

impl<R> Default for Gate<R> {
    fn default() -> Gate<R> {
        Gate {
            busy: AtomicBool::new(false),
            ring: UnsafeCell::new(None),
        }
    }
}

impl<R> Gate<R> {
    /// Enters without waiting.
    #[inline]
    pub(super) fn enter(&self) -> Entry<'_, R> {
        if self.busy.swap(true, Ordering::SeqCst) {
            return Entry::Busy;
        }
        let mut inside = Inside { gate: self };
        if inside.place().is_some() {
            Entry::Inside(inside)
        } else {
            Entry::Empty
        }
    }

    /// Replaces the ring. Waits for the end of a burst that somebody is in: microseconds, or as
    /// long as its worker is off its CPU.
    pub(super) fn put(&self, ring: Option<R>) -> Option<R> {
        while self.busy.swap(true, Ordering::SeqCst) {
            thread::sleep(WAIT);
        }
        std::mem::replace(Inside { gate: self }.place(), ring)
    }
}

impl<R> Inside<'_, R> {
    #[inline]
    fn place(&mut self) -> &mut Option<R> {
        // SAFETY: this thread set `busy`, and clears it when this is dropped.
        unsafe { &mut *self.gate.ring.get() }
    }

    /// The ring.
    #[inline]
    pub(super) fn ring(&mut self) -> &mut R {
        let place: *mut Option<R> = self.place();
        // SAFETY: as above; it was looked at when this was made.
        unsafe { (*place).as_mut().unwrap_unchecked() }
    }
}

impl<R> Drop for Inside<'_, R> {
    #[inline]
    fn drop(&mut self) {
        self.gate.busy.store(false, Ordering::SeqCst);
    }
}

/// Pairs of rings that the library gives a guest at most.
pub(super) const PAIRS: usize = 128;
/// Words of 64 bits, one for each pair.
pub(super) const WORDS: usize = PAIRS / 64;
/// Parity of rings by which the guest receives (virtio 1.2 §5.1.2).
pub(super) const RECEIVING: u16 = 0;
/// Parity of rings by which the guest sends.
pub(super) const SENDING: u16 = 1;
const NO_PAIR: u16 = u16::MAX;
const NO_DEVICE: i32 = -1;
const NO_RING: u32 = u32::MAX;
const WAIT: Duration = Duration::from_micros(10);
/// Vhost-user's messages after which the library may have no memory table.
const RESET_OWNER: u32 = 4;
const SET_MEM_TABLE: u32 = 5;
