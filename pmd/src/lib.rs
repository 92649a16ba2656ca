//! Everything that touches DPDK, the kernel or a raw pointer: EAL, packets, pools, ports.
//!
//! The API is safe: a [`Packet`] owns its buffer and frees it on drop; a queue moves to its worker
//! and cannot be shared. Start with [`Eal::start`], make [`Pools`], open ports with
//! [`port::open`], and call [`register_worker`] on each thread that polls.

mod batch;
mod eal;
mod error;
mod ffi;
mod memory;
pub mod offload;
mod packet;
mod pool;
pub mod port;
#[cfg(test)]
mod testing;
mod worker;

pub use batch::{BATCH_MAX, Batch};
pub use eal::{Eal, EalConfig, free_hugepages_mib};
pub use error::Error;
pub use memory::{prefer_huge_pages, prefetch, vacate};
pub use offload::{Gso, GsoKind, Offload, PartialChecksum};
pub use packet::Packet;
pub use pool::{FRAME_MAX, Pool, PoolStatus, Pools, PoolsConfig};
pub use port::{Port, PortConfig, PortControl, PortError, PortKind, RxQueue, TxQueue};
pub use worker::{Worker, cycles, cycles_hz, register_worker};
