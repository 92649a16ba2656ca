//! The actions that choose by a hash of headers (ovs-actions(7), `bundle` and `multipath`).

use std::sync::Arc;

use super::Subfield;
use crate::OfPort;

/// Headers that a choice depends on (`nx_hash_fields`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum HashFields {
    /// Ethernet source.
    EthSrc = 0,
    /// Addresses, VLAN, protocol and ports, the same for both directions.
    SymmetricL4 = 1,
    /// IP addresses, protocol, and ports of TCP and SCTP, the same for both directions.
    SymmetricL3L4 = 2,
    /// The same with ports of UDP.
    SymmetricL3L4Udp = 3,
    /// IP source.
    NwSrc = 4,
    /// IP destination.
    NwDst = 5,
    /// IP addresses, the same for both directions.
    SymmetricL3 = 6,
}

impl HashFields {
    /// All, at their numbers.
    pub const ALL: [HashFields; 7] = [
        HashFields::EthSrc,
        HashFields::SymmetricL4,
        HashFields::SymmetricL3L4,
        HashFields::SymmetricL3L4Udp,
        HashFields::NwSrc,
        HashFields::NwDst,
        HashFields::SymmetricL3,
    ];

    /// The name in flow syntax.
    pub fn name(self) -> &'static str {
        match self {
            HashFields::EthSrc => "eth_src",
            HashFields::SymmetricL4 => "symmetric_l4",
            HashFields::SymmetricL3L4 => "symmetric_l3l4",
            HashFields::SymmetricL3L4Udp => "symmetric_l3l4+udp",
            HashFields::NwSrc => "nw_src",
            HashFields::NwDst => "nw_dst",
            HashFields::SymmetricL3 => "symmetric_l3",
        }
    }
}

/// How one of some ports is chosen (`nx_bd_algorithm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum BundleAlgorithm {
    /// The first that is live.
    ActiveBackup = 0,
    /// Of those that are live the one of the greatest weight for the packet.
    HighestRandomWeight = 1,
}

impl BundleAlgorithm {
    /// All, at their numbers.
    pub const ALL: [BundleAlgorithm; 2] = [
        BundleAlgorithm::ActiveBackup,
        BundleAlgorithm::HighestRandomWeight,
    ];

    /// The name in flow syntax.
    pub fn name(self) -> &'static str {
        match self {
            BundleAlgorithm::ActiveBackup => "active_backup",
            BundleAlgorithm::HighestRandomWeight => "hrw",
        }
    }
}

/// One of some ports is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bundle {
    /// By what of the packet.
    pub fields: HashFields,
    /// What the hash begins with.
    pub basis: u16,
    /// How.
    pub algorithm: BundleAlgorithm,
    /// Where its number goes; the packet is sent to it if that is nowhere.
    pub dst: Option<Subfield>,
    /// The ports.
    pub members: Arc<[OfPort]>,
}

/// How one of some numbers is chosen (`nx_mp_algorithm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum MultipathAlgorithm {
    /// The hash modulo their count.
    Modulo = 0,
    /// The part of the hash's range that it is in.
    Threshold = 1,
    /// The one of the greatest weight for the packet.
    HighestRandomWeight = 2,
    /// Hashes in a range of a power of two, until one is a number.
    Iterative = 3,
}

impl MultipathAlgorithm {
    /// All, at their numbers.
    pub const ALL: [MultipathAlgorithm; 4] = [
        MultipathAlgorithm::Modulo,
        MultipathAlgorithm::Threshold,
        MultipathAlgorithm::HighestRandomWeight,
        MultipathAlgorithm::Iterative,
    ];

    /// The name in flow syntax.
    pub fn name(self) -> &'static str {
        match self {
            MultipathAlgorithm::Modulo => "modulo_n",
            MultipathAlgorithm::Threshold => "hash_threshold",
            MultipathAlgorithm::HighestRandomWeight => "hrw",
            MultipathAlgorithm::Iterative => "iter_hash",
        }
    }
}

/// One of some numbers is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Multipath {
    /// By what of the packet.
    pub fields: HashFields,
    /// What the hash begins with.
    pub basis: u16,
    /// How.
    pub algorithm: MultipathAlgorithm,
    /// The last of the numbers, of which 0 is the first.
    pub last: u16,
    /// What the algorithm asks for besides.
    pub argument: u32,
    /// Where it goes.
    pub dst: Subfield,
}
