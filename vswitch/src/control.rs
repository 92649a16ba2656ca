//! Talks to people and controllers: configuration, OpenFlow agent, management socket.

mod actor;
mod agent;
mod bridge;
mod clock;
pub mod config;
mod configurator;
mod connection;
pub mod conntrack;
pub mod daemon;
mod dial;
mod endpoints;
mod host;
mod identity;
mod ipfix;
mod listen;
pub mod logging;
mod management;
mod moderation;
mod outbox;
pub mod pace;
mod paths;
mod peer;
mod ports;
mod provision;
mod quiesce;
pub mod run_dir;
pub mod target;
mod tls;
mod underlay;

#[cfg(fuzzing)]
pub use agent::{Reader, Rehearsal};
