//! The whole switch under test: text cases, foreign tools, network namespaces and QEMU guests.
//!
//! This library is the harness; the cases are in `tests/`. What a case starts it ends by process
//! id, and what it creates it removes, also when it fails. Cases that use the machine (namespaces,
//! guests, the switch itself) run one at a time in a process: [`Daemon::start`] takes the turn.
#![forbid(unsafe_code)]

pub mod capture;
pub mod cloud;
pub mod conformance;
pub mod controller;
pub mod crossing;
pub mod daemon;
pub mod frame;
pub mod guest;
pub mod naive;
pub mod netns;
pub mod ovs;
pub mod peer;
pub mod process;
pub mod tshark;
pub mod twins;

pub use capture::Capture;
pub use cloud::{Cloud, Plan};
pub use controller::Controller;
pub use crossing::Crossing;
pub use daemon::{Daemon, null_bridge};
pub use guest::{Guest, GuestOptions};
pub use netns::Netns;
pub use ovs::Ovs;
pub use process::{Background, Output, binary, eventually, folder, run, target_dir};
