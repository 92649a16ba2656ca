//! Every limit of the datapath, with its reason.

/// Datapath port numbers are below this: workers find a port by index. As many as the pipeline
/// has ports.
pub const PORTS_MAX: usize = crate::pipeline::limits::PORTS_MAX;

/// Packets on their way to a worker that owns the transmit queue: the bursts of 64 loops of
/// another worker, which no worker falls behind by unless it is overloaded.
pub const HAND_OVER_MAX: usize = 4096;

/// Packets taken over per loop, so that one worker's flood does not keep another from its own
/// queues: as many as 4 queues give.
pub const TAKE_OVER_MAX: usize = 256;

/// Commands that wait for a worker. Control sends one at a time; the rest is slack.
pub const COMMANDS_MAX: usize = 16;

/// Packet-outs that wait for a worker: the most that one read of a controller's connection holds,
/// rounded up.
pub const INJECTIONS_MAX: usize = 1024;

/// Packet-outs run per loop: more would starve the receive queues.
pub const INJECTIONS_PER_LOOP: usize = 32;

/// Packets that wait for control, over all ports: 256 ports can use their share at once.
pub const PUNTS_MAX: usize = 8192;

/// Packets of one port that wait for control: what a controller answers in a millisecond or two;
/// a flood beyond it is dropped and starves only its own port.
pub const PUNTS_PER_PORT: usize = 32;

/// Packets for the switch itself that wait for control, over all ports: as for controllers.
pub const DELIVERIES_MAX: usize = 8192;

/// Those of one port: what control answers in less than a millisecond.
pub const DELIVERIES_PER_PORT: u32 = 32;

/// Addresses to be learned that wait for control, over all ports.
pub const LEARNS_MAX: usize = 8192;

/// Addresses of one port that wait for control to learn them: a burst from a port full of guests.
pub const LEARNS_PER_PORT: u32 = 256;

/// Neighbours to be asked for that wait for control: next hops of tunnels, of which a host has few.
pub const RESOLVES_MAX: usize = 1024;

/// Packets for collectors that wait for control, over all ports: half a kilobyte each.
pub const SAMPLES_MAX: usize = 1024;

/// Those of one port: a batch or two of which every packet is sampled.
pub const SAMPLES_PER_PORT: u32 = 128;

/// Neighbours of one port's packets that wait for control.
pub const RESOLVES_PER_PORT: u32 = 64;

/// Milliseconds for which a worker asks for no other neighbour at the same place of its memory: a
/// kernel asks once a second.
pub const RESOLVE_REPEAT_MS: u64 = 200;

/// Neighbours that a worker remembers to have asked for.
pub const RESOLVES_REMEMBERED: usize = 64;

/// Addresses that a worker remembers to have told of. Direct mapped, so that the cost is one
/// compare; a collision costs one message more.
pub const LEARNS_REMEMBERED: usize = 1024;

/// Milliseconds for which a told address is not told of again: control needs less to learn it.
pub const LEARN_REPEAT_MS: u64 = 100;

/// Changes of tables that packets ask for and control has not yet looked at, over all ports.
pub const WISHES_MAX: usize = 8192;

/// The same of one port: a burst of new connections.
pub const WISHES_PER_PORT: u32 = 256;

/// Milliseconds for which control is not told again what packets ask for: timeouts are in whole
/// seconds, and a flow that somebody deletes is made again as soon as Open vSwitch does it.
pub const WISH_REPEAT_MS: u64 = 500;

/// Packets to be parsed again that one batch can lead to, per pass: rules that make more copies
/// than this of every packet have them dropped.
pub const RECIRCULATED_MAX: usize = 1024;

/// Packets that a super-frame stands for at most: what `pmd` cuts one into.
pub const SEGMENTS_MAX: usize = 512;

/// Cache entries whose counters are flushed per loop: some 10 microseconds.
pub const FLUSH_ENTRIES_PER_LOOP: usize = 256;

/// States that a worker has put down and control has not yet freed. Publishing empties the queue.
pub const RETIRED_MAX: usize = 4;

/// Kernel descriptors told ready by one look.
pub const READY_MAX: usize = 64;

/// Nanoseconds between looks at kernel descriptors while other queues keep the worker busy:
/// adds that much latency, and costs 2 % for the system call.
pub const READY_LOOK_NS: u64 = 10_000;

/// Nanoseconds without a packet after which a worker may sleep: bursts of one conversation are
/// closer together.
pub const IDLE_SPIN_NS: u64 = 20_000;

/// Default bound of an idle worker's sleep in microseconds. A guest's packet waits that long at
/// worst; a core costs about 3 % idle.
pub const IDLE_SLEEP_US_DEFAULT: u32 = 100;

/// Flow cache entries per worker by default: a million flows under the finest mask find a place,
/// but for a few in a hundred that come together in a bucket. 150 MB.
pub const CACHE_ENTRIES_DEFAULT: usize = 2_097_152;

/// Milliseconds after which an unused flow cache entry is forgotten, with what it keeps alive.
pub const CACHE_IDLE_MS: u32 = 10_000;

/// Buckets of the flow cache looked at per millisecond: the default cache is gone through in eight
/// seconds.
pub const MAINTAIN_BUCKETS: usize = 32;

/// Connections that a worker ends between two rounds of its queues, while there are some to be
/// ended: as many as it can make in a round, in the time that as many packets take.
pub const ENDED_PER_LOOP: usize = 64;

/// Microseconds that control polls for a worker's answer before it sleeps between looks: longer
/// than a busy worker's loop, and than an idle one takes to wake.
pub const ANSWER_POLL_US: u64 = 200;
