//! Features, configuration, description, roles and asynchronous messages (OpenFlow 1.3.5 §7.3.1,
//! §7.3.2, §7.3.5.1, §7.3.9, §7.3.10).

use crate::wire::{Reader, Writer, bit, has};
use crate::{
    AsyncConfig, Capabilities, Description, ErrorCode, Features, Fragments, Role, RoleMessage,
    SwitchConfig,
};

pub(super) fn decode_features(body: &mut Reader) -> Result<Features, ErrorCode> {
    let datapath_id = body.u64()?;
    let buffers = body.u32()?;
    let tables = body.u8()?;
    let auxiliary_id = body.u8()?;
    body.skip(2)?;
    let bits = body.u32()?;
    body.skip(4)?;
    let capabilities = Capabilities {
        flow_stats: has(bits, 0),
        table_stats: has(bits, 1),
        port_stats: has(bits, 2),
        group_stats: has(bits, 3),
        ip_reassembly: has(bits, 5),
        queue_stats: has(bits, 6),
        port_blocked: has(bits, 8),
    };
    Ok(Features {
        datapath_id,
        buffers,
        tables,
        auxiliary_id,
        capabilities,
    })
}

pub(super) fn encode_features(features: &Features, out: &mut Writer) {
    let capabilities = features.capabilities;
    out.u64(features.datapath_id);
    out.u32(features.buffers);
    out.u8(features.tables);
    out.u8(features.auxiliary_id);
    out.zeros(2);
    out.u32(
        bit(capabilities.flow_stats, 0)
            | bit(capabilities.table_stats, 1)
            | bit(capabilities.port_stats, 2)
            | bit(capabilities.group_stats, 3)
            | bit(capabilities.ip_reassembly, 5)
            | bit(capabilities.queue_stats, 6)
            | bit(capabilities.port_blocked, 8),
    );
    out.zeros(4);
}

pub(super) fn decode_config(body: &mut Reader) -> Result<SwitchConfig, ErrorCode> {
    let fragments = match body.u16()? {
        0 => Fragments::Normal,
        1 => Fragments::Drop,
        2 => Fragments::Reassemble,
        _ => return Err(ErrorCode::SWITCH_CONFIG_FAILED_BAD_FLAGS),
    };
    Ok(SwitchConfig {
        fragments,
        miss_send_len: body.u16()?,
    })
}

pub(super) fn encode_config(config: SwitchConfig, out: &mut Writer) {
    out.u16(match config.fragments {
        Fragments::Normal => 0,
        Fragments::Drop => 1,
        Fragments::Reassemble => 2,
    });
    out.u16(config.miss_send_len);
}

pub(super) fn decode_description(body: &mut Reader) -> Result<Description, ErrorCode> {
    Ok(Description {
        manufacturer: body.text(DESCRIPTION_LEN)?,
        hardware: body.text(DESCRIPTION_LEN)?,
        software: body.text(DESCRIPTION_LEN)?,
        serial_number: body.text(SERIAL_NUMBER_LEN)?,
        datapath: body.text(DESCRIPTION_LEN)?,
    })
}

pub(super) fn encode_description(description: &Description, out: &mut Writer) {
    out.text(&description.manufacturer, DESCRIPTION_LEN);
    out.text(&description.hardware, DESCRIPTION_LEN);
    out.text(&description.software, DESCRIPTION_LEN);
    out.text(&description.serial_number, SERIAL_NUMBER_LEN);
    out.text(&description.datapath, DESCRIPTION_LEN);
}

pub(super) fn decode_role(body: &mut Reader) -> Result<RoleMessage, ErrorCode> {
    let role = match body.u32()? {
        0 => Role::NoChange,
        1 => Role::Equal,
        2 => Role::Master,
        3 => Role::Slave,
        _ => return Err(ErrorCode::ROLE_REQUEST_FAILED_BAD_ROLE),
    };
    body.skip(4)?;
    Ok(RoleMessage {
        role,
        generation_id: body.u64()?,
    })
}

pub(super) fn encode_role(role: RoleMessage, out: &mut Writer) {
    out.u32(match role.role {
        Role::NoChange => 0,
        Role::Equal => 1,
        Role::Master => 2,
        Role::Slave => 3,
    });
    out.zeros(4);
    out.u64(role.generation_id);
}

pub(super) fn decode_async(body: &mut Reader) -> Result<AsyncConfig, ErrorCode> {
    let mut config = AsyncConfig::default();
    config.master.packet_in = body.u32()?;
    config.slave.packet_in = body.u32()?;
    config.master.port_status = body.u32()?;
    config.slave.port_status = body.u32()?;
    config.master.flow_removed = body.u32()?;
    config.slave.flow_removed = body.u32()?;
    Ok(config)
}

pub(super) fn encode_async(config: &AsyncConfig, out: &mut Writer) {
    out.u32(config.master.packet_in);
    out.u32(config.slave.packet_in);
    out.u32(config.master.port_status);
    out.u32(config.slave.port_status);
    out.u32(config.master.flow_removed);
    out.u32(config.slave.flow_removed);
}

/// `DESC_STR_LEN`.
const DESCRIPTION_LEN: usize = 256;
/// `SERIAL_NUM_LEN`.
const SERIAL_NUMBER_LEN: usize = 32;
