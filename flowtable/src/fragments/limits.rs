//! Every bound of putting fragments together, with its reason.

/// How long fragments wait for the others of their datagram, in milliseconds: as in Open vSwitch.
/// RFC 8200 §4.5 has a minute, which is for hosts far apart and lets more be held for nothing.
pub const FRAGMENT_TIMEOUT_MS: u64 = 15_000;
/// Most fragments and datagrams that are held at a time, together: some 90 datagrams of 64 KiB at
/// an MTU of 1500, or 9 MiB of packet memory. Open vSwitch holds 1000 fragments.
pub const HELD_MAX: usize = 4096;
/// Part of that which one owner may take: so that none alone comes near to the bound at
/// which the greediest loses what it has.
pub const HELD_OF_ONE_MAX: usize = HELD_MAX / 4;
/// Bytes from which on a fragment may be in a large packet buffer, of which there are few.
pub(super) const LARGE_LEN_MIN: u32 = 1600;
/// For how many fragments such a one counts: at most 128 are held, a quarter of the large buffers
/// that there are with one worker. A datagram of 64 KiB at an MTU of 9000 has eight.
pub(super) const LARGE_WEIGHT: usize = 32;
/// Most fragments of a datagram: 64 KiB at an MTU of 1280 are 52.
pub const FRAGMENTS_MAX: usize = 64;
/// Longest datagram, in bytes without its headers: offset and length of IPv4 (RFC 791 §3.1).
pub(super) const DATAGRAM_LEN_MAX: u32 = 65_535;
/// Extension headers that may stand before an IPv6 fragment header: hop-by-hop options,
/// destination options and routing (RFC 8200 §4.1), and one to spare.
pub(super) const EXTENSIONS_MAX: usize = 4;
/// How often the lock is tried that another worker holds for about a microsecond, unless it was
/// stopped meanwhile.
pub(super) const SPINS_MAX: u32 = 20_000;
