//! Every limit of the pipeline, with its reason.

/// Flows of one table. A million rules is what the largest access lists of our users need; four
/// times that keeps one controller from taking all memory (about 200 bytes a flow).
pub const FLOWS_MAX: usize = 4_000_000;

/// Groups of one bridge. A group costs little; the bound is for `ofp_group_features` to name.
pub const GROUPS_MAX: usize = 1 << 20;

/// Buckets of one group: a select group's buckets are all translated on a miss.
pub const BUCKETS_MAX: usize = 1024;

/// Meters of one bridge.
pub const METERS_MAX: usize = 1 << 18;

/// Bands of one meter: each is looked at for every packet.
pub const BANDS_MAX: usize = 8;

/// Ports of the switch, over all bridges, patch ports included.
pub const PORTS_MAX: usize = 1 << 16;

/// Addresses that a bridge learns unless told otherwise; the default of Open vSwitch.
pub const MACS_DEFAULT: usize = 8192;

/// Seconds after which an address that was not heard of is forgotten, the usual value of 802.1D.
pub const MAC_AGE_DEFAULT_S: u32 = 300;

/// Groups within groups and patch ports behind patch ports: nested copies of one packet.
/// 64 is the limit of Open vSwitch, which rules are written for.
pub const DEPTH_MAX: u32 = 64;

/// Resubmits within resubmits of one packet; the limit of Open vSwitch.
pub const RESUBMITS_MAX: u32 = 64;

/// Bytes that actions may keep aside for one packet; the limit of Open vSwitch.
pub const STACK_BYTES_MAX: usize = 65_536;

/// Table lookups for one packet, over all its copies: bounds the time of a miss. Open vSwitch
/// allows as many resubmits.
pub const LOOKUPS_MAX: u32 = 4096;

/// Steps of one translation: actions, buckets, what buckets watch. They may lead to nothing that
/// the other limits count, and groups within groups double them with every level.
pub const STEPS_MAX: u32 = 16_384;

/// Operations of one program, all copies included, each port of a flood for one: bounds its
/// memory and the time of a hit.
pub const OPS_MAX: usize = 16_384;

/// Recirculation points that a trace follows: more than a person reads.
pub const TRACED_POINTS_MAX: usize = 64;

/// Times one packet may be parsed again.
pub const RECIRCULATIONS_MAX: u32 = 16;

/// Recirculation points of one worker. Their number follows from rules and ports, not traffic;
/// they are forgotten when the rules change.
pub const POINTS_MAX: usize = 65_536;

/// Programs of one worker that may be found again: a way through the rules of each. The longest
/// access lists have as many ways as rules; of more, those that come last take the place of others
/// and cost a translation each time. 30 MB if they are large.
pub const PROGRAMS_MAX: usize = 32_768;
const _: () = assert!(
    PROGRAMS_MAX < flowtable::KEPT_MAX,
    "they are kept in the flow cache"
);

/// Choices of one packet, such as rules that it matches, up to which its program is looked for: of
/// a way through most of the tables that there can be.
pub const PATH_MAX: usize = 192;

/// Operations of a packet that needs no program to run: changes of a few headers, and a way out.
pub const LINE_OPS_MAX: usize = 16;

/// What such a packet is counted in: a flow of each table that it passes, and some ports.
pub const LINE_COUNTED_MAX: usize = PATH_MAX;

/// Ways through the rules, of flows in the cache, up to which a flow gets a program of its own with
/// its second packet. One through eight tables takes a kilobyte and a half: 400 MB, where as many
/// flows go different ways. Packets of more such flows are translated one by one.
pub const ACCOUNTS_MAX: usize = 1 << 18;
