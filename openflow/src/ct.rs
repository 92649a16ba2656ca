//! Connection tracking as actions say it (ovs-actions(7), `ct` and `nat`): actions of Nicira's, of
//! types 35 and 36. The codec is `v13::ct`, the syntax `text::ct`.

use std::net::IpAddr;
use std::sync::Arc;

use flowtable::Field;

use crate::{Action, Subfield, TableId};

/// Track the packet's connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ct {
    /// A packet of no connection makes one.
    pub commits: bool,
    /// A connection whose reply this is ends, and the packet makes one the other way.
    pub forces: bool,
    /// Where connections are looked for.
    pub zone: CtZone,
    /// A copy goes on in this table, with what was found out.
    pub table: Option<TableId>,
    /// Port of the protocol whose packets announce other connections: 21 for FTP, 69 for TFTP; 0
    /// for none.
    pub alg: u16,
    /// What is done with the connection: [`crate::Nicira::Nat`], and mark and label set.
    pub actions: Arc<[Action]>,
}

/// A zone: a number, or bits of the packet that are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtZone {
    /// This one.
    Number(u16),
    /// 16 bits.
    Field(Subfield),
}

/// Translate addresses and ports: as the connection says; a new one as this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nat {
    /// What is translated of a new connection, if anything.
    pub end: Option<NatEnd>,
    /// First and last address, of one version of IP.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// First and last port; only with addresses.
    pub ports: Option<(u16, u16)>,
    /// The same address after a restart.
    pub is_persistent: bool,
    /// Ports by hash.
    pub is_hashed: bool,
    /// Ports at random.
    pub is_random: bool,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatEnd {
    /// Who began it.
    Source,
    /// Whom it is for.
    Destination,
}

impl Nat {
    /// Whether it says how to translate a new connection: that takes a `ct` that commits.
    pub fn is_new(&self) -> bool {
        *self != Nat::default()
    }
}

/// Whether a field is the connection's, to be set within `ct` alone.
pub fn is_of_connection(field: Field) -> bool {
    matches!(field, Field::CtMark | Field::CtLabel)
}

/// Port that stands for FTP.
pub const ALG_FTP: u16 = 21;
/// Port that stands for TFTP.
pub const ALG_TFTP: u16 = 69;
