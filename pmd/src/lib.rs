//! Everything that touches DPDK, the kernel or a raw pointer: EAL, packets, pools, ports.

pub mod offload;
