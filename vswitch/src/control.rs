//! Talks to people and controllers: configuration, OpenFlow agent, management socket.

pub mod config;
pub mod logging;
pub mod target;
