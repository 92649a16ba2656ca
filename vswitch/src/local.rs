//! Answers for the switch's own addresses, those of `endpoint` ports: ARP, neighbour discovery,
//! echo, and the errors of ICMP that a router owes.
//!
//! Called by control for each packet that comes to such a port, and for each whose time to live
//! ended in a bridge that has one. Frames in, frames out: no sockets, no clock, no tables of the
//! switch. Read RFC 826, RFC 4861 §7, RFC 792, RFC 4443 and RFC 1812 §4.3 first.
//!
//! Why not an IP stack from a library: such a stack answers for addresses and keeps its neighbours
//! to itself; here errors are owed for packets to others, each neighbour is asked for by name and
//! told to the workers, and one endpoint costs as much memory as its addresses.

mod arp;
mod endpoint;
mod frame;
mod icmp;
pub mod limits;
mod nd;
mod neighbours;
pub mod path;
mod settings;
#[cfg(test)]
mod testing;

pub use endpoint::{Endpoint, Link, Outcome};
pub use settings::{Prefix, Settings};
