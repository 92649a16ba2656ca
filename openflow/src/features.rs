//! What a switch is and how it is set up: features, configuration, description, roles,
//! asynchronous messages (OpenFlow 1.3.5 §7.3.1, §7.3.2, §7.3.5.1, §7.3.9, §7.3.10).

/// `ofp_capabilities`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Flow statistics.
    pub flow_stats: bool,
    /// Table statistics.
    pub table_stats: bool,
    /// Port statistics.
    pub port_stats: bool,
    /// Group statistics.
    pub group_stats: bool,
    /// Reassembles IP fragments.
    pub ip_reassembly: bool,
    /// Queue statistics.
    pub queue_stats: bool,
    /// Blocks looping ports.
    pub port_blocked: bool,
}

/// Reply to a features request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Datapath id.
    pub datapath_id: u64,
    /// Packets the switch can buffer.
    pub buffers: u32,
    /// Number of tables.
    pub tables: u8,
    /// 0 for the main connection.
    pub auxiliary_id: u8,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What becomes of IP fragments (`ofp_config_flags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragments {
    /// Nothing special.
    #[default]
    Normal,
    /// Dropped.
    Drop,
    /// Reassembled.
    Reassemble,
}

/// Configuration of a switch, per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// What becomes of IP fragments.
    pub fragments: Fragments,
    /// Bytes of a packet that misses a table, `0xffff` for all of it, unbuffered.
    pub miss_send_len: u16,
}

/// Text about a switch (multipart DESC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Manufacturer, up to 255 bytes.
    pub manufacturer: String,
    /// Hardware, up to 255 bytes.
    pub hardware: String,
    /// Software, up to 255 bytes.
    pub software: String,
    /// Serial number, up to 31 bytes.
    pub serial_number: String,
    /// Datapath, for people, up to 255 bytes.
    pub datapath: String,
}

/// `ofp_controller_role`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Leave it; a question.
    NoChange,
    /// Full access, among equals.
    #[default]
    Equal,
    /// Full access, at most one.
    Master,
    /// Reads only.
    Slave,
}

/// A role request, and the reply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleMessage {
    /// The role.
    pub role: Role,
    /// Election this belongs to; a reply carries the newest seen, all ones before the first.
    pub generation_id: u64,
}

/// Which asynchronous messages are sent: bit N of a mask for reason N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncMasks {
    /// Reasons of packet-in ([`crate::PacketInReason`]).
    pub packet_in: u32,
    /// Reasons of port status ([`crate::PortReason`]).
    pub port_status: u32,
    /// Reasons of flow removed ([`crate::FlowRemovedReason`]).
    pub flow_removed: u32,
}

/// Asynchronous messages by role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncConfig {
    /// What a master or equal gets.
    pub master: AsyncMasks,
    /// What a slave gets.
    pub slave: AsyncMasks,
}

impl Default for AsyncConfig {
    /// What OpenFlow 1.3.5 §6.3.5 prescribes: everything to a master or equal, only port status
    /// to a slave. Invalid-TTL packets go nowhere until a controller asks for them.
    fn default() -> AsyncConfig {
        AsyncConfig {
            master: AsyncMasks {
                packet_in: 0b011,
                port_status: 0b111,
                flow_removed: 0b1111,
            },
            slave: AsyncMasks {
                port_status: 0b111,
                ..AsyncMasks::default()
            },
        }
    }
}
