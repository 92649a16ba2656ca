//! Ending tracked connections (Nicira's extension: `NXT_CT_FLUSH_ZONE`, `NXT_CT_FLUSH`).

/// Which connections end: those that have all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CtFlush {
    /// IP protocol, 0 for any.
    pub ip_proto: u8,
    /// Zone.
    pub zone: Option<u16>,
    /// Tuple of the original direction.
    pub original: CtTuple,
    /// Tuple of the reply direction.
    pub reply: CtTuple,
    /// Value and mask of the mark.
    pub mark: Option<(u32, u32)>,
    /// Value and mask of the label.
    pub label: Option<(u128, u128)>,
}

/// One direction of a connection; what is 0 is not looked at, and identifier, type and code of ICMP
/// are only if there is an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtTuple {
    /// Source address; IPv4 as `::ffff:a.b.c.d`.
    pub src: u128,
    /// Destination address; IPv4 as `::ffff:a.b.c.d`.
    pub dst: u128,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Identifier of ICMP.
    pub icmp_id: u16,
    /// Type of ICMP.
    pub icmp_type: u8,
    /// Code of ICMP.
    pub icmp_code: u8,
}

impl CtFlush {
    /// All connections of a zone.
    pub fn zone(zone: u16) -> CtFlush {
        CtFlush {
            zone: Some(zone),
            ..CtFlush::default()
        }
    }
}
