//! What a packet's sender left to be done on the way out: checksums and segmentation.
//!
//! The vocabulary is that of the virtio-net header (virtio 1.2 §5.1.6): a sum that is not yet
//! finished, a frame that stands for many. It travels with each packet from guest, host stack or
//! wire to the port it leaves by. A port that can do the work passes it on (`virtio`,
//! `transmit`), one that cannot has it done here (`checksum`, `segment`).
//!
//! Everything below works on byte slices and bounds whatever a guest or the kernel claims.

pub mod checksum;
pub(crate) mod headers;
pub mod segment;
pub(crate) mod virtio;

/// Work left to be done on a packet, and what is known of its checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The layer 4 checksum is not finished.
    pub checksum: Option<PartialChecksum>,
    /// The frame stands for several.
    pub gso: Option<Gso>,
    /// The receiving hardware found the layer 4 checksum right.
    pub valid: bool,
}

/// A checksum field that holds the folded sum of the pseudo-header, not complemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where the sum starts, in bytes from the start of the frame: the layer 4 header.
    pub start: u16,
    /// Where the field is, in bytes from `start`.
    pub offset: u16,
}

/// How a frame is to be cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What it carries.
    pub kind: GsoKind,
    /// Payload bytes of each segment but the last, which may have fewer. Not 0.
    pub size: u16,
    /// The TCP header has CWR set, which only the first segment may have (RFC 3168 §6.1.2).
    pub ecn: bool,
}

/// What a frame with segmentation left to do carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// Datagrams of UDP over IPv4, of equal size.
    Udp4,
    /// Datagrams of UDP over IPv6, of equal size.
    Udp6,
}
