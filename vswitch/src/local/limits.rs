//! Every limit of the switch's own addresses, with its reason.

/// Addresses of one endpoint: a router has one or two in each of its networks. Each packet is
/// compared with all.
pub const ADDRESSES_MAX: usize = 64;

/// Neighbours that one endpoint asks for: next hops of tunnels, on one link.
pub const NEIGHBOURS_MAX: usize = 4096;

/// Milliseconds after which a neighbour that has not answered is asked again (RFC 4861 §10,
/// `RETRANS_TIMER`).
pub const ASK_AGAIN_MS: u64 = 1_000;

/// How often it is asked in vain (RFC 4861 §10, `MAX_UNICAST_SOLICIT`).
pub const ASKED_MAX: u32 = 3;

/// Milliseconds for which an answer is believed (RFC 4861 §10, `REACHABLE_TIME`).
pub const REACHABLE_MS: u64 = 30_000;

/// Bytes of an ICMP error over IPv4, header included (RFC 1812 §4.3.2.3).
pub const ERROR_BYTES_V4_MAX: usize = 576;

/// The same over IPv6: the least MTU (RFC 4443 §2.4 (c)).
pub const ERROR_BYTES_V6_MAX: usize = MTU_V6_MIN;

/// The least MTU that an IPv4 host can make something of (RFC 1191 §3).
pub const MTU_V4_MIN: usize = 68;

/// The least that any link has for IPv6 (RFC 8200 §5).
pub const MTU_V6_MIN: usize = 1280;

/// The least that a router is believed to have for IPv4: as the kernel (`min_pmtu`), so that nobody
/// makes a tunnel useless by telling less.
pub const PATH_V4_MIN: usize = 552;
