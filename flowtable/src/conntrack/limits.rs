//! Every bound of connection tracking, with its reason.

/// Most connections of a table: a record's number and its direction go into 31 bits of a slot of
/// the index, and half of that is already 200 times what Open vSwitch allows by default.
pub const CONNECTIONS_MAX: usize = 1 << 28;
/// Fewest: each shard has some of its own.
pub const CONNECTIONS_MIN: usize = 64;
/// Most threads that track packets or look at connections at a time: one for each worker of a
/// large machine and some for those who ask.
pub const TRACKERS_MAX: usize = 64;
/// Most packets that are looked up together: a worker's batch.
pub const BATCH_MAX: usize = 32;
/// Most policies of timeouts; a connection keeps the number of its own in 8 bits.
pub const POLICIES_MAX: usize = 256;
/// Longest timeout, in seconds: a year.
pub const TIMEOUT_MAX_S: u32 = 365 * 24 * 60 * 60;
/// Most connections that are expected at a time: each needs a control connection, of which
/// netfilter lets one expect at most 64.
pub const EXPECTATIONS_MAX: usize = 1 << 16;
/// How long a connection is expected, in seconds, as in Open vSwitch.
pub const EXPECTATION_TIMEOUT_S: u32 = 30;
/// Most connections whose sequence numbers are shifted: as many as can expect others.
pub(super) const SHIFTS_MAX: usize = EXPECTATIONS_MAX;

/// Lists of records, so that workers that make connections seldom meet at one: a power of two,
/// and with few connections fewer, so that none is starved.
pub(super) const SHARDS_MAX: usize = 16;
/// Fewest connections of a shard before there is another.
pub(super) const SHARD_LEN_MIN: usize = 1 << 10;
/// Records of a shard beyond its connections, as a part of these (a shift): when no more are left,
/// half-open connections have to go for new ones, since a record is free again only when all
/// workers have begun another batch.
pub(super) const RESERVE_SHIFT: u32 = 4;
/// Most of these: several batches of all workers at a time.
pub(super) const RESERVE_MAX: usize = 1 << 12;
/// Connections that are ended together, so that the loads of what they need overlap.
pub(super) const TOGETHER: usize = 16;
/// Records that have memory before they are taken: 12 MiB, what a worker takes in 40 milliseconds
/// of new connections alone.
pub(super) const WARM_AHEAD: u32 = 1 << 16;
/// Connections looked at to find a half-open one that may go.
pub(super) const VICTIMS_MAX: usize = 32;
/// Half-open connections that go for a new one at least, so that there is room again after a while.
pub(super) const EVICTED_MIN: usize = 2;
/// As many go as this part of a shard's reserve, if that is more, and at most [`TOGETHER`]: what is
/// free but for them stays much more than what rests.
pub(super) const VICTIMS_SHARE: usize = 8;
/// Seconds around a wheel. A connection is looked at that often at least, so that one that has come
/// to a shorter timeout is gone soon after; with millions of them that is little work still.
pub(super) const WHEEL_SLOTS: usize = 1 << 6;
/// Buckets in a row that can hold a tuple. With the load below more are needed in one of 10^12
/// full tables, but by who knows the secret.
pub(super) const REACH: usize = 32;
/// Slots of a bucket that are taken when the table is full, in tenths of one, out of 7 slots: so
/// that one bucket in 20 has more to hold than it can.
pub(super) const LOAD_TENTHS: usize = 42;
/// How often a bucket is tried that another worker is inserting into, which takes it well under a
/// microsecond, unless it was stopped there.
pub(super) const SPINS_MAX: u32 = 20_000;
/// How often a change of a connection's state is tried that others change at the same time.
pub(super) const CHANGES_MAX: u32 = 8;
/// How often a connection is looked up again that changed meanwhile.
pub(super) const RETRIES_MAX: u32 = 4;
/// Ports that are tried on one address, then half as many from another start, and so on down to
/// [`PORT_TRIES_MIN`], as in Open vSwitch.
pub(super) const PORT_TRIES_MAX: u32 = 128;
/// Fewest ports that are tried from one start.
pub(super) const PORT_TRIES_MIN: u32 = 8;
/// Addresses of a range that are tried.
pub(super) const ADDRESS_TRIES_MAX: u64 = 4;
/// Chunks of an SCTP packet that are looked at: control chunks come first.
pub(super) const CHUNKS_MAX: usize = 8;
