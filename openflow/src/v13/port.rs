//! Port description, status, modification and statistics (OpenFlow 1.3.5 §7.2.1, §7.3.4.3,
//! §7.3.5.6, §7.4.3).

use crate::wire::{Reader, Writer, bit, has};
use crate::{
    ErrorCode, OfPort, PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState,
    PortStats, PortStatus,
};

pub(super) fn decode_desc(body: &mut Reader) -> Result<PortDesc, ErrorCode> {
    let number = OfPort(body.u32()?);
    body.skip(4)?;
    let mac = body.array()?;
    body.skip(2)?;
    Ok(PortDesc {
        number,
        mac,
        name: body.text(NAME_LEN)?,
        config: decode_config(body.u32()?),
        state: decode_state(body.u32()?),
        current: PortFeatures(body.u32()?),
        advertised: PortFeatures(body.u32()?),
        supported: PortFeatures(body.u32()?),
        peer: PortFeatures(body.u32()?),
        speed_kbps: body.u32()?,
        speed_kbps_max: body.u32()?,
    })
}

pub(super) fn encode_desc(port: &PortDesc, out: &mut Writer) {
    out.u32(port.number.0);
    out.zeros(4);
    out.bytes(&port.mac);
    out.zeros(2);
    out.text(&port.name, NAME_LEN);
    out.u32(encode_config(port.config));
    out.u32(encode_state(port.state));
    out.u32(port.current.0);
    out.u32(port.advertised.0);
    out.u32(port.supported.0);
    out.u32(port.peer.0);
    out.u32(port.speed_kbps);
    out.u32(port.speed_kbps_max);
}

fn decode_config(bits: u32) -> PortConfig {
    PortConfig {
        port_down: has(bits, 0),
        no_receive: has(bits, 2),
        no_forward: has(bits, 5),
        no_packet_in: has(bits, 6),
    }
}

fn encode_config(config: PortConfig) -> u32 {
    bit(config.port_down, 0)
        | bit(config.no_receive, 2)
        | bit(config.no_forward, 5)
        | bit(config.no_packet_in, 6)
}

fn decode_state(bits: u32) -> PortState {
    PortState {
        link_down: has(bits, 0),
        blocked: has(bits, 1),
        live: has(bits, 2),
    }
}

fn encode_state(state: PortState) -> u32 {
    bit(state.link_down, 0) | bit(state.blocked, 1) | bit(state.live, 2)
}

pub(super) fn decode_status(body: &mut Reader) -> Result<PortStatus, ErrorCode> {
    let reason = match body.u8()? {
        0 => PortReason::Add,
        1 => PortReason::Delete,
        2 => PortReason::Modify,
        _ => return Err(ErrorCode::BAD_REQUEST_BAD_TYPE),
    };
    body.skip(7)?;
    Ok(PortStatus {
        reason,
        port: decode_desc(body)?,
    })
}

pub(super) fn encode_status(status: &PortStatus, out: &mut Writer) {
    out.u8(status.reason as u8);
    out.zeros(7);
    encode_desc(&status.port, out);
}

pub(super) fn decode_mod(body: &mut Reader) -> Result<PortMod, ErrorCode> {
    let port = OfPort(body.u32()?);
    body.skip(4)?;
    let mac = body.array()?;
    body.skip(2)?;
    let config = body.u32()?;
    let mask = body.u32()?;
    let advertise = PortFeatures(body.u32()?);
    body.skip(4)?;
    if (config | mask) & !CONFIG_KNOWN != 0 {
        return Err(ErrorCode::PORT_MOD_FAILED_BAD_CONFIG);
    }
    if advertise.0 & !FEATURES_KNOWN != 0 {
        return Err(ErrorCode::PORT_MOD_FAILED_BAD_ADVERTISE);
    }
    let (config, mask) = (decode_config(config), decode_config(mask));
    Ok(PortMod {
        port,
        mac,
        config,
        mask,
        advertise,
    })
}

pub(super) fn encode_mod(port_mod: &PortMod, out: &mut Writer) {
    out.u32(port_mod.port.0);
    out.zeros(4);
    out.bytes(&port_mod.mac);
    out.zeros(2);
    out.u32(encode_config(port_mod.config));
    out.u32(encode_config(port_mod.mask));
    out.u32(port_mod.advertise.0);
    out.zeros(4);
}

pub(super) fn decode_stats_request(body: &mut Reader) -> Result<OfPort, ErrorCode> {
    let port = OfPort(body.u32()?);
    body.skip(4)?;
    Ok(port)
}

pub(super) fn encode_stats_request(port: OfPort, out: &mut Writer) {
    out.u32(port.0);
    out.zeros(4);
}

pub(super) fn decode_stats(body: &mut Reader) -> Result<PortStats, ErrorCode> {
    let port = OfPort(body.u32()?);
    body.skip(4)?;
    Ok(PortStats {
        port,
        rx_packets: body.u64()?,
        tx_packets: body.u64()?,
        rx_bytes: body.u64()?,
        tx_bytes: body.u64()?,
        rx_dropped: body.u64()?,
        tx_dropped: body.u64()?,
        rx_errors: body.u64()?,
        tx_errors: body.u64()?,
        rx_frame_errors: body.u64()?,
        rx_overrun_errors: body.u64()?,
        rx_crc_errors: body.u64()?,
        collisions: body.u64()?,
        duration: body.duration()?,
    })
}

pub(super) fn encode_stats(stats: &PortStats, out: &mut Writer) {
    out.u32(stats.port.0);
    out.zeros(4);
    out.u64(stats.rx_packets);
    out.u64(stats.tx_packets);
    out.u64(stats.rx_bytes);
    out.u64(stats.tx_bytes);
    out.u64(stats.rx_dropped);
    out.u64(stats.tx_dropped);
    out.u64(stats.rx_errors);
    out.u64(stats.tx_errors);
    out.u64(stats.rx_frame_errors);
    out.u64(stats.rx_overrun_errors);
    out.u64(stats.rx_crc_errors);
    out.u64(stats.collisions);
    out.duration(stats.duration);
}

/// `OFP_MAX_PORT_NAME_LEN`.
const NAME_LEN: usize = 16;
/// `OFPPC_*`.
const CONFIG_KNOWN: u32 = 0b110_0101;
/// `OFPPF_*`.
const FEATURES_KNOWN: u32 = 0xffff;
