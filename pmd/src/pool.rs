//! Packet buffers: pools per NUMA node in two sizes, and further ones for the rings of devices.
//!
//! What: *small* buffers take an ordinary frame, *large* ones anything up to [`FRAME_MAX`]:
//! super-frames of segmentation offload, and jumbo frames.
//! How: a DPDK mempool each, with a cache per registered thread. Getting one buffer from the cache
//! or putting it back is done here; refilling and flushing the cache is the shim's.
//! A device holds as many buffers as its rings have descriptors, so it reserves them: from the
//! node's small pool while that has some to spare, else in a pool made for it. Pools are never
//! freed, because a packet may outlive its port; one that a removed port leaves behind serves the
//! next that fits.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::last_error;
use crate::{Eal, Error, Packet, ffi, worker};

/// Longest frame that a packet holds: DPDK counts a buffer's bytes in 16 bits, and the room for
/// headers to be pushed is part of it.
pub const FRAME_MAX: usize = LARGE_ROOM - HEADROOM;

/// How many buffers, and where.
#[derive(Clone, Debug)]
pub struct PoolsConfig {
    /// The workers' CPUs: each of their NUMA nodes gets pools.
    pub worker_cpus: Vec<usize>,
    /// Small buffers per node.
    pub small: usize,
    /// Large buffers per node.
    pub large: usize,
}

impl PoolsConfig {
    /// Enough for these workers; devices with rings reserve theirs when they are opened.
    pub fn for_workers(worker_cpus: &[usize]) -> PoolsConfig {
        PoolsConfig {
            worker_cpus: worker_cpus.to_vec(),
            small: SMALL_BASE + worker_cpus.len() * SMALL_PER_WORKER,
            large: LARGE_BASE + worker_cpus.len() * LARGE_PER_WORKER,
        }
    }

    /// Memory that will do, with some left for the rings of a few devices.
    pub fn memory_mib(&self) -> usize {
        let small = self.small * (SMALL_ROOM + BUFFER_OVERHEAD);
        let large = self.large * (LARGE_ROOM + BUFFER_OVERHEAD);
        let mib = self.nodes().len() * (small + large) / (1 << 20) + OTHER_MIB;
        mib.next_multiple_of(OTHER_MIB)
    }

    /// NUMA nodes of the workers, at least one.
    fn nodes(&self) -> Vec<usize> {
        let cpus = self.worker_cpus.iter();
        let mut numbers: Vec<usize> = cpus.map(|&cpu| worker::node_of(cpu)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            numbers.push(0);
        }
        numbers
    }
}

/// All pools of the process's switch. Clones share them.
#[derive(Clone, Debug)]
pub struct Pools {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// At least one, in order of their numbers.
    nodes: Vec<Node>,
    /// Pools made for devices.
    devices: Mutex<Vec<DevicePool>>,
    /// Small buffers that device rings hold, per entry of `nodes`.
    reserved: Mutex<Vec<usize>>,
}

#[derive(Debug)]
struct Node {
    number: usize,
    small: Pool,
    large: Pool,
    spare: usize,
}

#[derive(Debug)]
struct DevicePool {
    pool: Pool,
    node: usize,
    in_use: bool,
}

impl Pools {
    /// Makes the pools of every NUMA node that has a worker.
    pub fn new(_eal: &Eal, config: &PoolsConfig) -> Result<Pools, Error> {
        let numbers = config.nodes();
        let floor = SMALL_PER_WORKER * config.worker_cpus.len().max(1);
        let node = |number| -> Result<Node, Error> {
            Ok(Node {
                number,
                small: Pool::new(number, SMALL_ROOM, config.small, SMALL_CACHE)?,
                large: Pool::new(number, LARGE_ROOM, config.large, LARGE_CACHE)?,
                spare: config.small.saturating_sub(floor),
            })
        };
        let nodes = numbers
            .into_iter()
            .map(node)
            .collect::<Result<Vec<_>, _>>()?;
        let reserved = Mutex::new(vec![0; nodes.len()]);
        Ok(Pools {
            shared: Arc::new(Shared {
                nodes,
                devices: Mutex::default(),
                reserved,
            }),
        })
    }

    /// A packet with room for `length` bytes, itself empty; `None` without a free buffer, or if
    /// `length` is more than [`FRAME_MAX`].
    #[inline]
    pub fn allocate(&self, length: usize) -> Option<Packet> {
        let node = self.here();
        if length <= SMALL_MAX {
            node.small.allocate()
        } else if length <= FRAME_MAX {
            node.large.allocate()
        } else {
            None
        }
    }

    /// The calling worker's pool of small buffers.
    #[inline]
    pub fn small(&self) -> &Pool {
        &self.here().small
    }

    /// The calling worker's pool of large buffers.
    #[inline]
    pub fn large(&self) -> &Pool {
        &self.here().large
    }

    /// Buffers that are not free, over all pools: those of live packets and those that devices
    /// hold for receiving.
    pub fn in_use(&self) -> usize {
        let nodes = &self.shared.nodes;
        let nodes: usize = nodes
            .iter()
            .map(|node| node.small.in_use() + node.large.in_use())
            .sum();
        nodes
            + lock(&self.shared.devices)
                .iter()
                .map(|device| device.pool.in_use())
                .sum::<usize>()
    }

    /// Every pool as it is now.
    pub fn list(&self) -> Vec<PoolStatus> {
        let mut pools = Vec::new();
        for node in &self.shared.nodes {
            pools.push(node.small.status("small", node.number));
            pools.push(node.large.status("large", node.number));
        }
        for device in lock(&self.shared.devices).iter() {
            let node = self.shared.nodes.get(device.node);
            let number = node.map_or(0, |node| node.number);
            pools.push(device.pool.status("device", number));
        }
        pools
    }

    /// Sets `buffers` for frames of up to `frame_max` bytes aside for a device's rings.
    pub(crate) fn reserve(
        &self,
        node: usize,
        frame_max: usize,
        buffers: usize,
    ) -> Result<Reservation, Error> {
        let shared = &self.shared;
        let place = shared
            .nodes
            .iter()
            .position(|known| known.number == node)
            .unwrap_or(0);
        if frame_max <= SMALL_MAX {
            let mut reserved = lock(&shared.reserved);
            if reserved[place] + buffers <= shared.nodes[place].spare {
                reserved[place] += buffers;
                let pools = self.clone();
                return Ok(Reservation {
                    pools,
                    source: Source::Node { place, buffers },
                });
            }
        }
        let room = (frame_max + HEADROOM)
            .next_multiple_of(ROOM_STEP)
            .min(LARGE_ROOM);
        let mut devices = lock(&shared.devices);
        let fits = |device: &DevicePool| {
            let size = device.pool.size();
            let right = (buffers..=2 * buffers).contains(&size) && device.pool.room() == room;
            !device.in_use && device.node == node && right
        };
        let index = match devices.iter().position(fits) {
            Some(index) => index,
            None => {
                let pool = Pool::new(shared.nodes[place].number, room, buffers, SMALL_CACHE)?;
                devices.push(DevicePool {
                    pool,
                    node,
                    in_use: false,
                });
                devices.len() - 1
            }
        };
        devices[index].in_use = true;
        Ok(Reservation {
            pools: self.clone(),
            source: Source::Device { index },
        })
    }

    #[inline]
    fn here(&self) -> &Node {
        let nodes = &self.shared.nodes;
        let number = worker::node();
        nodes
            .iter()
            .find(|node| node.number == number)
            .unwrap_or(&nodes[0])
    }
}

/// Buffers set aside for a device, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    pools: Pools,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Node { place: usize, buffers: usize },
    Device { index: usize },
}

impl Reservation {
    /// The mempool they are in.
    pub(crate) fn mempool(&self) -> *mut ffi::rte_mempool {
        match self.source {
            Source::Node { place, .. } => self.pools.shared.nodes[place].small.pool.as_ptr(),
            Source::Device { index } => lock(&self.pools.shared.devices)[index].pool.pool.as_ptr(),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self.source {
            Source::Node { place, buffers } => {
                lock(&self.pools.shared.reserved)[place] -= buffers;
            }
            Source::Device { index } => lock(&self.pools.shared.devices)[index].in_use = false,
        }
    }
}

/// A pool as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// What it is for: `small`, `large` or `device`.
    pub name: String,
    /// Its NUMA node.
    pub numa: usize,
    /// Bytes in each buffer.
    pub buffer_bytes: usize,
    /// Buffers, free or not.
    pub buffers: usize,
    /// Buffers that are not free.
    pub in_use: usize,
}

/// One pool of buffers of one size on one NUMA node.
#[derive(Debug)]
pub struct Pool {
    pool: NonNull<ffi::rte_mempool>,
}

// SAFETY: a mempool is a multi-producer, multi-consumer ring, and each thread's cache is found by
// its own lcore number; mempools are never freed.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    fn new(node: usize, room: usize, buffers: usize, cache: usize) -> Result<Pool, Error> {
        let failed = |reason| Error::Pool {
            buffers,
            room,
            node,
            reason,
        };
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("packets{serial}")).map_err(|_| failed(String::new()))?;
        let room = u16::try_from(room).map_err(|_| failed("more than 65,535 bytes".into()))?;
        // DPDK refuses a cache that could hold most of the pool.
        let cache = cache.min(buffers * 2 / 3);
        // SAFETY: EAL runs: `Pools::new` was given the proof. The name is copied.
        let pool = unsafe {
            ffi::rte_pktmbuf_pool_create(
                name.as_ptr(),
                buffers as u32,
                cache as u32,
                0,
                room,
                node as i32,
            )
        };
        NonNull::new(pool)
            .map(|pool| Pool { pool })
            .ok_or_else(|| failed(last_error()))
    }

    /// An empty packet, or `None` without a free buffer.
    #[inline]
    pub fn allocate(&self) -> Option<Packet> {
        let buffer = self.get()?;
        // SAFETY: a buffer out of its pool is whole, linear and ours.
        Some(unsafe { Packet::fresh(buffer) })
    }

    /// Bytes in each buffer, the room for pushed headers included.
    pub fn room(&self) -> usize {
        // SAFETY: the pool is alive, and no field read here changes after its creation; an element
        // is the mbuf followed by its room.
        let element = unsafe { (*self.pool.as_ptr()).elt_size } as usize;
        element - size_of::<ffi::rte_mbuf>()
    }

    /// Buffers in the pool, free or not.
    pub fn size(&self) -> usize {
        // SAFETY: as in `room`.
        unsafe { (*self.pool.as_ptr()).size as usize }
    }

    /// Buffers that are not free.
    pub fn in_use(&self) -> usize {
        // SAFETY: the pool is alive; the count is a snapshot and touches nothing.
        unsafe { ffi::rte_mempool_in_use_count(self.pool.as_ptr()) as usize }
    }

    fn status(&self, purpose: &str, numa: usize) -> PoolStatus {
        PoolStatus {
            name: purpose.to_owned(),
            numa,
            buffer_bytes: self.room(),
            buffers: self.size(),
            in_use: self.in_use(),
        }
    }

    #[inline]
    fn get(&self) -> Option<NonNull<ffi::rte_mbuf>> {
        let pool = self.pool.as_ptr();
        // SAFETY: the pool is alive. The cache, if there is one, belongs to this thread alone, and
        // its first `len` entries are free buffers.
        unsafe {
            let cache = cache_of(pool);
            if !cache.is_null() && (*cache).len > 0 {
                let last = (*cache).len - 1;
                (*cache).len = last;
                let objects = (&raw const (*cache).objs).cast::<*mut ffi::rte_mbuf>();
                return NonNull::new(*objects.add(last as usize));
            }
            let mut buffer = std::ptr::null_mut();
            if ffi::shim_mempool_get(pool, &mut buffer, 1) != 0 {
                return None;
            }
            NonNull::new(buffer)
        }
    }
}

/// Returns a buffer to its pool.
///
/// # Safety
/// The caller owns the buffer, which is direct, linear and referred to once.
#[inline]
pub(crate) unsafe fn put(buffer: NonNull<ffi::rte_mbuf>) {
    // SAFETY: the buffer is the caller's, so its pool is alive. The cache belongs to this thread
    // alone and has room for twice RTE_MEMPOOL_CACHE_MAX_SIZE entries, which is more than
    // `flushthresh`.
    unsafe {
        let pool = (*buffer.as_ptr()).pool;
        let cache = cache_of(pool);
        if !cache.is_null() && (*cache).len < (*cache).flushthresh {
            let length = (*cache).len;
            let objects = (&raw mut (*cache).objs).cast::<*mut ffi::rte_mbuf>();
            *objects.add(length as usize) = buffer.as_ptr();
            (*cache).len = length + 1;
            return;
        }
        let mut buffer = buffer.as_ptr();
        ffi::shim_mempool_put(pool, &mut buffer, 1);
    }
}

/// This thread's cache of a pool, null where it has none.
///
/// # Safety
/// The pool is alive.
#[inline]
unsafe fn cache_of(pool: *mut ffi::rte_mempool) -> *mut ffi::rte_mempool_cache {
    let lcore = worker::lcore();
    // SAFETY: `local_cache` has an entry for every number that EAL gives to threads.
    unsafe {
        if lcore == worker::NO_LCORE || (*pool).cache_size == 0 {
            return std::ptr::null_mut();
        }
        (*pool).local_cache.add(lcore as usize)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes names of pools unique.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Room before the data, for headers to be pushed.
pub(crate) const HEADROOM: usize = ffi::RTE_PKTMBUF_HEADROOM as usize;
/// Longest frame in a small buffer: an Ethernet frame of 1,500 bytes with every tag there is.
pub(crate) const SMALL_MAX: usize = 2048;
const SMALL_ROOM: usize = SMALL_MAX + HEADROOM;
const LARGE_ROOM: usize = u16::MAX as usize;
/// A buffer's header, and what its place in a pool costs.
const BUFFER_OVERHEAD: usize = 384;
/// For everything of DPDK's but the pools made at the start.
const OTHER_MIB: usize = 64;
/// Drivers hand the room to hardware in steps of so many bytes.
const ROOM_STEP: usize = 1024;
/// Free buffers that a thread keeps: several batches, so that the shared ring is rarely touched.
const SMALL_CACHE: usize = 256;
/// Large ones are few, and what one thread keeps another cannot have.
const LARGE_CACHE: usize = 32;
/// For kernel ports, controllers and everything else without rings.
const SMALL_BASE: usize = 16_384;
/// A full cache (half as much again as its size) and batches staged for every port it serves.
const SMALL_PER_WORKER: usize = 4_096;
/// 16 MiB: super-frames on their way between two ports.
const LARGE_BASE: usize = 256;
/// 16 MiB for each worker's batches and cache.
const LARGE_PER_WORKER: usize = 256;
