//! What is known of a guest, and who may touch its device.
//!
//! # What
//! A device appears when the guest's driver has set up its rings, and goes when the guest stops it,
//! reboots, or its hypervisor dies. The library tells so by callbacks on a thread of its own, and
//! frees the device when the last of them returns; workers are meanwhile polling it.
//!
//! # How
//! Whoever calls the library with a device goes through a `Gate`, of which each ring has one and
//! control another. Entering says "busy" and then reads which device there is; detaching says
//! "there is none" and then waits until no gate is busy. Each is a store followed by a load of what
//! the other stores, all of them sequentially consistent, so at least one side sees the other:
//! either the worker finds no device, or the callback finds the worker and waits for the end of its
//! burst. A gate is also the lock of its ring.
//!
//! # Why not simpler
//! A counter that each worker advances once a loop would cost nothing per burst, but needs workers
//! that take part in it, and a callback that waits for a whole loop. The pair of an exchange and a
//! load costs some 20 cycles a burst.
//!
//! # Threads
//! Callbacks come from the library's event thread, or from the thread that closes the port; the
//! mutex keeps them apart. A worker never takes it. No callback waits while the library holds a
//! ring's own lock, on which a worker inside a gate may spin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::Settings;
use super::ring::{RxRing, TxRing};
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
    control: Gate,
    enabled: Mutex<Enabled>,
    /// Packets that were waiting for a ring when the device went.
    abandoned: AtomicU64,
    longest: AtomicUsize,
    pub retries_max: u32,
    pub rx_counters: Box<[LiveCounters]>,
    /// Those of the transmit queues, then one for what each receive queue sends in passing.
    pub tx_counters: Box<[LiveCounters]>,
    tx_queues: usize,
}

/// The rings that are enabled of each device that there is. They come to be known before the device
/// is attached, and a socket that we serve may have several.
type Enabled = BTreeMap<i32, BTreeSet<u16>>;

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
            control: Gate::default(),
            enabled: Mutex::default(),
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
            laid_out: true,
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
        self.enabled().remove(&vid);
    }

    /// A device is set up.
    pub(super) fn attach(&self, vid: i32) {
        let mut enabled = self.enabled();
        // A second connection to a socket that we serve replaces the first.
        self.detach_any();
        let mut features = 0;
        // SAFETY: the device of a callback lives until the callback returns.
        unsafe { ffi::rte_vhost_get_negotiated_features(vid, &mut features) };
        self.features.store(features, Ordering::Relaxed);
        self.publish(enabled.entry(vid).or_default());
        self.device.set(vid);
        tracing::info!(
            port = self.name,
            features = format_args!("{features:#x}"),
            "guest is there"
        );
    }

    /// A device is about to go. Returns when nobody uses it any more.
    pub(super) fn detach(&self, vid: i32) {
        let _alone = self.enabled();
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
        let mut enabled = self.enabled();
        let rings = enabled.entry(vid).or_default();
        if is_enabled {
            rings.insert(ring);
        } else {
            rings.remove(&ring);
        }
        if self.device.is(vid) {
            self.publish(rings);
        }
    }

    fn enabled(&self) -> MutexGuard<'_, Enabled> {
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets workers use these rings.
    fn publish(&self, enabled: &BTreeSet<u16>) {
        let pairs = |parity: u16| {
            let rings = enabled.iter().copied();
            rings
                .filter(move |ring| ring % 2 == parity)
                .map(|ring| ring / 2)
        };
        let mut words = [0; WORDS];
        for pair in pairs(SENDING).map(usize::from) {
            self.rx_rings[pair]
                .get_or_init(|| RxRing::of(pair))
                .gate
                .make_loud();
            words[pair / 64] |= 1 << (pair % 64);
        }
        for (word, bits) in self.sending.iter().zip(words) {
            word.store(bits, Ordering::Relaxed);
        }
        let receiving: Vec<u16> = pairs(RECEIVING).collect();
        for pair in receiving.iter().copied().map(usize::from) {
            self.tx_rings[pair]
                .get_or_init(|| TxRing::of(pair))
                .gate
                .make_loud();
        }
        for (queue, to) in self.receiving.iter().enumerate() {
            let pair = receiving.get(queue % receiving.len().max(1));
            // Release: the ring that was made above comes before the number that leads to it.
            to.store(pair.copied().unwrap_or(NO_PAIR), Ordering::Release);
        }
    }

    /// Takes the device away from everybody and waits until they have let go.
    fn detach_any(&self) {
        self.device.clear();
        self.control.wait();
        self.rx_rings
            .iter()
            .filter_map(OnceLock::get)
            .for_each(|ring| ring.gate.wait());
        for ring in self.tx_rings() {
            ring.gate.wait();
            self.abandoned.fetch_add(ring.abandon(), Ordering::Relaxed);
        }
        for word in &self.sending {
            word.store(0, Ordering::Relaxed);
        }
        for pair in &self.receiving {
            pair.store(NO_PAIR, Ordering::Relaxed);
        }
    }

    /// Calls the library on control's behalf, while there is a device.
    fn ask<T>(&self, question: impl FnOnce(i32) -> T) -> Option<T> {
        // One asker at a time: the gate admits one.
        for _ in 0..ASK_TRIES_MAX {
            match self.control.enter(&self.device) {
                Entry::Inside(inside) => return Some(question(inside.vid())),
                Entry::Absent => return None,
                Entry::Busy => thread::yield_now(),
            }
        }
        None
    }

    /// NUMA node of the guest's memory.
    pub(super) fn numa(&self) -> usize {
        // SAFETY: the gate keeps the device.
        let node = self.ask(|vid| unsafe { ffi::rte_vhost_get_numa_node(vid) });
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
        let Some((node, sizes)) = self.ask(device_details) else {
            put("status", "disconnected".into());
            return status;
        };
        put("status", "connected".into());
        let features = self.features.load(Ordering::Relaxed);
        put("features", format!("{features:#018x}"));
        if let Ok(node) = usize::try_from(node) {
            put("numa", node.to_string());
        }
        put("num_of_vrings", sizes.len().to_string());
        for (index, size) in sizes.into_iter().enumerate() {
            put(&format!("vring_{index}_size"), size.to_string());
        }
        status
    }
}

/// NUMA node of a device, and the size of each ring. Called with its gate entered.
fn device_details(vid: i32) -> (i32, Vec<u16>) {
    // SAFETY: the gate keeps the device; `ring` outlives the call.
    unsafe {
        let rings = 0..ffi::rte_vhost_get_vring_num(vid);
        let sizes = rings.map(|index| {
            let mut ring = ffi::rte_vhost_vring::default();
            let told = ffi::rte_vhost_get_vhost_vring(vid, index, &mut ring);
            if told == 0 { ring.size } else { 0 }
        });
        (ffi::rte_vhost_get_numa_node(vid), sizes.collect())
    }
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

    pub(super) fn clear(&self) {
        self.0.store(NO_DEVICE, Ordering::SeqCst);
    }
}

/// Keeps the device while one thread is inside.
#[derive(Debug, Default)]
pub(super) struct Gate {
    busy: AtomicBool,
    /// The guest still notifies us of this ring, which nobody waits for.
    loud: AtomicBool,
}

/// What came of entering a gate.
pub(super) enum Entry<'gate> {
    /// The device lives as long as this.
    Inside(Inside<'gate>),
    /// Somebody else is inside.
    Busy,
    /// There is no device.
    Absent,
}

/// Being inside a gate.
pub(super) struct Inside<'gate> {
    gate: &'gate Gate,
    vid: i32,
}

impl Gate {
    /// Enters without waiting.
    #[inline]
    pub(super) fn enter(&self, device: &Device) -> Entry<'_> {
        if self.busy.swap(true, Ordering::SeqCst) {
            return Entry::Busy;
        }
        let inside = Inside {
            gate: self,
            vid: device.0.load(Ordering::SeqCst),
        };
        if inside.vid == NO_DEVICE {
            Entry::Absent
        } else {
            Entry::Inside(inside)
        }
    }

    /// Waits until nobody is inside. The device was cleared: nobody enters again.
    pub(super) fn wait(&self) {
        // A burst takes microseconds, or as long as its worker is off its CPU.
        while self.busy.load(Ordering::SeqCst) {
            thread::sleep(WAIT);
        }
    }

    /// The guest is to be told to be quiet.
    fn make_loud(&self) {
        self.loud.store(true, Ordering::Relaxed);
    }
}

impl Inside<'_> {
    /// The library's number of the device.
    #[inline]
    pub(super) fn vid(&self) -> i32 {
        self.vid
    }

    /// Tells the guest, once, not to notify us of a ring: it is polled.
    ///
    /// Not done in a callback, because the library holds the lock that this takes during those that
    /// tell of a ring. It holds it for as long as it handles a message; every burst shares that.
    #[inline]
    pub(super) fn quieten(&self, ring: u16) {
        if self.gate.loud.load(Ordering::Relaxed) {
            // SAFETY: the gate keeps the device; the library checks the ring's number.
            let told = unsafe { ffi::rte_vhost_enable_guest_notification(self.vid, ring, 0) };
            // Where the ring cannot be reached yet, the next burst tries again.
            self.gate.loud.store(told != 0, Ordering::Relaxed);
        }
    }
}

impl Drop for Inside<'_> {
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
const WAIT: Duration = Duration::from_micros(10);
/// Questions take microseconds; whoever finds another asking for so long goes without.
const ASK_TRIES_MAX: usize = 1_000;
