//! Addresses of two neighbours, for tests.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A guest.
pub const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
/// Its router.
pub const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The guest.
pub const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7);
/// Its router.
pub const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
