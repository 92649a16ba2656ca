//! Connection tracking from outside: sequences of packets as hosts send them, and random ones
//! against naive models.

#[path = "conntrack/announcements.rs"]
mod announcements;
#[path = "conntrack/bench.rs"]
mod bench;
#[path = "conntrack/flood.rs"]
mod flood;
#[path = "conntrack/frames.rs"]
mod frames;
#[path = "conntrack/life.rs"]
mod life;
#[path = "conntrack/model.rs"]
mod model;
#[path = "conntrack/nat.rs"]
mod nat;
#[path = "conntrack/nat_model.rs"]
mod nat_model;
#[path = "conntrack/tcp.rs"]
mod tcp;
#[path = "conntrack/tcp_model.rs"]
mod tcp_model;
#[path = "conntrack/threads.rs"]
mod threads;
