//! Queue configuration and statistics (OpenFlow 1.3.5 §7.2.2, §7.3.5.8, §7.3.6).

use crate::wire::{Reader, Writer};
use crate::{ErrorCode, OfPort, Queue, QueueConfig, QueueId, QueueStats};

pub(super) fn decode_config(body: &mut Reader) -> Result<QueueConfig, ErrorCode> {
    let port = OfPort(body.u32()?);
    body.skip(4)?;
    let mut queues = Vec::new();
    while !body.is_empty() {
        queues.push(decode_queue(body)?);
    }
    Ok(QueueConfig { port, queues })
}

fn decode_queue(body: &mut Reader) -> Result<Queue, ErrorCode> {
    let queue = QueueId(body.u32()?);
    let port = OfPort(body.u32()?);
    let len = body.u16()?;
    let mut entry = super::decode_entry(len, 10, body)?;
    entry.skip(6)?;
    let mut queue = Queue {
        queue,
        port,
        rate_permille_min: None,
        rate_permille_max: None,
    };
    while !entry.is_empty() {
        decode_property(&mut entry, &mut queue)?;
    }
    Ok(queue)
}

fn decode_property(entry: &mut Reader, queue: &mut Queue) -> Result<(), ErrorCode> {
    let kind = entry.u16()?;
    let len = entry.u16()?;
    let mut body = super::decode_entry(len, 4, entry)?;
    body.skip(4)?;
    // More than the whole means that the rate is not in force.
    let rate = |rate: u16| (rate <= RATE_PERMILLE_MAX).then_some(rate);
    match kind {
        MIN_RATE => queue.rate_permille_min = rate(body.u16()?),
        MAX_RATE => queue.rate_permille_max = rate(body.u16()?),
        _ => {}
    }
    Ok(())
}

pub(super) fn encode_config(config: &QueueConfig, out: &mut Writer) {
    out.u32(config.port.0);
    out.zeros(4);
    for queue in &config.queues {
        let start = out.position();
        out.u32(queue.queue.0);
        out.u32(queue.port.0);
        out.u16(0);
        out.zeros(6);
        encode_rate(MIN_RATE, queue.rate_permille_min, out);
        encode_rate(MAX_RATE, queue.rate_permille_max, out);
        out.patch_len(start + 8, start);
    }
}

fn encode_rate(kind: u16, rate_permille: Option<u16>, out: &mut Writer) {
    if let Some(rate) = rate_permille {
        out.u16(kind);
        out.u16(PROPERTY_LEN);
        out.zeros(4);
        out.u16(rate);
        out.zeros(6);
    }
}

pub(super) fn decode_stats_request(body: &mut Reader) -> Result<(OfPort, QueueId), ErrorCode> {
    Ok((OfPort(body.u32()?), QueueId(body.u32()?)))
}

pub(super) fn decode_stats(body: &mut Reader) -> Result<QueueStats, ErrorCode> {
    Ok(QueueStats {
        port: OfPort(body.u32()?),
        queue: QueueId(body.u32()?),
        tx_bytes: body.u64()?,
        tx_packets: body.u64()?,
        tx_errors: body.u64()?,
        duration: body.duration()?,
    })
}

pub(super) fn encode_stats(stats: &QueueStats, out: &mut Writer) {
    out.u32(stats.port.0);
    out.u32(stats.queue.0);
    out.u64(stats.tx_bytes);
    out.u64(stats.tx_packets);
    out.u64(stats.tx_errors);
    out.duration(stats.duration);
}

/// `OFPQT_MIN_RATE`.
const MIN_RATE: u16 = 1;
/// `OFPQT_MAX_RATE`.
const MAX_RATE: u16 = 2;
/// All of a port's speed.
const RATE_PERMILLE_MAX: u16 = 1000;
/// Bytes of a property that is a rate.
const PROPERTY_LEN: u16 = 16;
