//! Bench programs: instruction counts, and packet rates side by side with OVS-DPDK and testpmd.

pub mod bridge;
pub mod counts;
pub mod judge;
pub mod openflow;
