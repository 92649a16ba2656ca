//! The judge of how fast packets are forwarded: ours, Open vSwitch on DPDK and dpdk-testpmd, with
//! the same devices, CPU, frames and rules, in turn. Used by the `judge` bench program.

pub mod contender;
pub mod controller;
pub mod conversation;
pub mod figure;
pub mod frames;
pub mod generator;
pub mod guest;
pub mod hosts;
pub mod machine;
pub mod measure;
pub mod memif;
pub mod profile;
pub mod report;
pub mod scenario;
pub mod scenarios;
pub mod tcp;
pub mod tunnels;
