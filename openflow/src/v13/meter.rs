//! Meter modification, configuration and statistics (OpenFlow 1.3.5 §7.3.4.4, §7.3.5.12 to
//! §7.3.5.14).

use crate::wire::{Reader, Writer, bit, has};
use crate::{
    Band, BandStats, ErrorCode, MeterConfig, MeterFeatures, MeterFlags, MeterId, MeterMod,
    MeterModCommand, MeterStats,
};

/// Most bands in a meter: what `ofp_meter_features` can say.
pub const BANDS_MAX: usize = 255;

pub(super) fn decode_mod(body: &mut Reader) -> Result<MeterMod, ErrorCode> {
    let command = match body.u16()? {
        0 => MeterModCommand::Add,
        1 => MeterModCommand::Modify,
        2 => MeterModCommand::Delete,
        _ => return Err(ErrorCode::METER_MOD_FAILED_BAD_COMMAND),
    };
    let flags = body.u16()?;
    let meter = checked_meter(MeterId(body.u32()?), command)?;
    if command == MeterModCommand::Delete {
        // What else is there does not matter.
        body.rest();
        return Ok(MeterMod {
            command,
            flags: MeterFlags::default(),
            meter,
            bands: Vec::new(),
        });
    }
    let both_units = flags & (KBPS | PKTPS) == KBPS | PKTPS;
    if flags & !FLAGS_KNOWN != 0 || both_units {
        return Err(ErrorCode::METER_MOD_FAILED_BAD_FLAGS);
    }
    let bands = decode_bands(body)?;
    if bands.len() > BANDS_MAX {
        return Err(ErrorCode::METER_MOD_FAILED_OUT_OF_BANDS);
    }
    Ok(MeterMod {
        command,
        flags: decode_flags(flags),
        meter,
        bands,
    })
}

fn checked_meter(meter: MeterId, command: MeterModCommand) -> Result<MeterId, ErrorCode> {
    let real = meter != MeterId(0) && meter <= MeterId::MAX;
    let reserved = meter == MeterId::SLOWPATH || meter == MeterId::CONTROLLER;
    let all = meter == MeterId::ALL && command == MeterModCommand::Delete;
    let valid = real || reserved || all;
    if valid {
        Ok(meter)
    } else {
        Err(ErrorCode::METER_MOD_FAILED_INVALID_METER)
    }
}

fn decode_flags(bits: u16) -> MeterFlags {
    let bits = u32::from(bits);
    MeterFlags {
        packets: has(bits, 1),
        burst: has(bits, 2),
        stats: has(bits, 3),
    }
}

fn encode_flags(flags: MeterFlags) -> u16 {
    let unit = if flags.packets { PKTPS } else { KBPS };
    unit | (bit(flags.burst, 2) | bit(flags.stats, 3)) as u16
}

fn decode_bands(reader: &mut Reader) -> Result<Vec<Band>, ErrorCode> {
    let mut bands = Vec::new();
    while !reader.is_empty() {
        bands.push(decode_band(reader)?);
    }
    Ok(bands)
}

fn decode_band(reader: &mut Reader) -> Result<Band, ErrorCode> {
    let kind = reader.u16()?;
    let len = reader.u16()?;
    let mut body = super::decode_entry(len, 4, reader)?;
    let rate = body.u32()?;
    let burst = body.u32()?;
    let band = match kind {
        DROP => {
            body.skip(4)?;
            Band::Drop { rate, burst }
        }
        DSCP_REMARK => {
            let precedence = body.u8()?;
            body.skip(3)?;
            if precedence == 0 {
                return Err(ErrorCode::METER_MOD_FAILED_BAD_BAND_VALUE);
            }
            Band::DscpRemark {
                rate,
                burst,
                precedence,
            }
        }
        _ => return Err(ErrorCode::METER_MOD_FAILED_BAD_BAND),
    };
    body.finish()?;
    Ok(band)
}

pub(super) fn encode_mod(meter_mod: &MeterMod, out: &mut Writer) {
    out.u16(match meter_mod.command {
        MeterModCommand::Add => 0,
        MeterModCommand::Modify => 1,
        MeterModCommand::Delete => 2,
    });
    out.u16(encode_flags(meter_mod.flags));
    out.u32(meter_mod.meter.0);
    encode_bands(&meter_mod.bands, out);
}

fn encode_bands(bands: &[Band], out: &mut Writer) {
    for band in bands {
        let (kind, rate, burst, precedence) = match *band {
            Band::Drop { rate, burst } => (DROP, rate, burst, 0),
            Band::DscpRemark {
                rate,
                burst,
                precedence,
            } => (DSCP_REMARK, rate, burst, precedence),
        };
        out.u16(kind);
        out.u16(BAND_LEN);
        out.u32(rate);
        out.u32(burst);
        out.u8(precedence);
        out.zeros(3);
    }
}

pub(super) fn decode_config(body: &mut Reader) -> Result<MeterConfig, ErrorCode> {
    let len = body.u16()?;
    let mut entry = super::decode_entry(len, 2, body)?;
    Ok(MeterConfig {
        flags: decode_flags(entry.u16()?),
        meter: MeterId(entry.u32()?),
        bands: decode_bands(&mut entry)?,
    })
}

pub(super) fn encode_config(config: &MeterConfig, out: &mut Writer) {
    let start = out.position();
    out.u16(0);
    out.u16(encode_flags(config.flags));
    out.u32(config.meter.0);
    encode_bands(&config.bands, out);
    out.patch_len(start, start);
}

pub(super) fn decode_stats(body: &mut Reader) -> Result<MeterStats, ErrorCode> {
    let meter = MeterId(body.u32()?);
    let len = body.u16()?;
    let mut entry = super::decode_entry(len, 6, body)?;
    entry.skip(6)?;
    let flows = entry.u32()?;
    let packets = entry.u64()?;
    let bytes = entry.u64()?;
    let duration = entry.duration()?;
    let mut bands = Vec::new();
    while !entry.is_empty() {
        bands.push(BandStats {
            packets: entry.u64()?,
            bytes: entry.u64()?,
        });
    }
    Ok(MeterStats {
        meter,
        flows,
        packets,
        bytes,
        duration,
        bands,
    })
}

pub(super) fn encode_stats(stats: &MeterStats, out: &mut Writer) {
    let start = out.position();
    out.u32(stats.meter.0);
    out.u16(0);
    out.zeros(6);
    out.u32(stats.flows);
    out.u64(stats.packets);
    out.u64(stats.bytes);
    out.duration(stats.duration);
    for band in &stats.bands {
        out.u64(band.packets);
        out.u64(band.bytes);
    }
    out.patch_len(start + 4, start);
}

pub(super) fn decode_features(body: &mut Reader) -> Result<MeterFeatures, ErrorCode> {
    let meters_max = body.u32()?;
    let kinds = body.u32()?;
    let flags = body.u32()?;
    let features = MeterFeatures {
        meters_max,
        drop: has(kinds, DROP.into()),
        dscp_remark: has(kinds, DSCP_REMARK.into()),
        kbps: has(flags, 0),
        pktps: has(flags, 1),
        burst: has(flags, 2),
        stats: has(flags, 3),
        bands_max: body.u8()?,
        colors_max: body.u8()?,
    };
    body.skip(2)?;
    Ok(features)
}

pub(super) fn encode_features(features: &MeterFeatures, out: &mut Writer) {
    out.u32(features.meters_max);
    out.u32(bit(features.drop, DROP.into()) | bit(features.dscp_remark, DSCP_REMARK.into()));
    out.u32(
        bit(features.kbps, 0)
            | bit(features.pktps, 1)
            | bit(features.burst, 2)
            | bit(features.stats, 3),
    );
    out.u8(features.bands_max);
    out.u8(features.colors_max);
    out.zeros(2);
}

/// `OFPMF_KBPS`.
const KBPS: u16 = 1 << 0;
/// `OFPMF_PKTPS`.
const PKTPS: u16 = 1 << 1;
/// `OFPMF_*`.
const FLAGS_KNOWN: u16 = 0b1111;
/// `OFPMBT_DROP`.
const DROP: u16 = 1;
/// `OFPMBT_DSCP_REMARK`.
const DSCP_REMARK: u16 = 2;
/// Bytes of a band of either kind.
const BAND_LEN: u16 = 16;
