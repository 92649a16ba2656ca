//! Hello and the versions it offers (OpenFlow 1.3.5 §6.3.1, §7.5.1).

use std::fmt;

/// A protocol version as it stands in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u8);

impl Version {
    /// OpenFlow 1.0.
    pub const V1_0: Version = Version(1);
    /// OpenFlow 1.3.
    pub const V1_3: Version = Version(4);
    /// OpenFlow 1.4.
    pub const V1_4: Version = Version(5);
    /// OpenFlow 1.5.
    pub const V1_5: Version = Version(6);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number @ 1..=6 => write!(f, "OpenFlow 1.{}", number - 1),
            number => write!(f, "OpenFlow version {number:#04x}"),
        }
    }
}

/// A set of versions, bit N for header version N, as in the hello bitmap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions(pub u32);

impl Versions {
    /// The set of just these.
    pub fn of(versions: &[Version]) -> Versions {
        let bits = versions
            .iter()
            .filter(|version| version.0 < u32::BITS as u8);
        Versions(bits.fold(0, |set, version| set | 1 << version.0))
    }

    /// Whether `version` is in the set.
    pub fn contains(self, version: Version) -> bool {
        self.0.checked_shr(version.0.into()).unwrap_or(0) & 1 == 1
    }

    /// Highest version of the set.
    pub fn highest(self) -> Option<Version> {
        self.0.checked_ilog2().map(|bit| Version(bit as u8))
    }
}

/// A hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the header: the highest that the sender speaks.
    pub version: Version,
    /// Versions the sender speaks, if it says so.
    pub bitmap: Option<Versions>,
}
