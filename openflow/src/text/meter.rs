//! Meters: `meter=1,kbps,burst,stats,bands=type=drop,rate=100,burst_size=10`.

use std::fmt::Write;

use super::token::{Token, Tokens, split_line};
use super::value::number;
use super::{SyntaxError, name, write_duration};
use crate::{Band, MeterConfig, MeterFlags, MeterId, MeterMod, MeterModCommand, MeterStats};

/// Reads a meter. A delete takes `meter` alone, or nothing for all meters.
pub fn parse(text: &str, command: MeterModCommand) -> Result<MeterMod, SyntaxError> {
    let deleting = command == MeterModCommand::Delete;
    let (mut meter, mut unit, mut flags) = (None, None, MeterFlags::default());
    let mut bands: Option<Vec<BandReader>> = None;
    for token in Tokens::new(text) {
        match (token.key, &mut bands) {
            ("meter", None) => meter = Some(meter_id(&token, deleting)?),
            _ if deleting => {
                let problem = "has no meaning in a delete";
                return Err(SyntaxError::new(token.text, problem, "meter"));
            }
            ("kbps" | "pktps", None) => set_unit(&token, &mut unit)?,
            ("burst", None) => flags.burst = true,
            ("stats", None) => flags.stats = true,
            ("band" | "bands", None) => {
                let mut started = Vec::new();
                for piece in Tokens::new(token.argument()) {
                    band_piece(&piece, &mut started)?;
                }
                bands = Some(started);
            }
            (_, Some(bands)) => band_piece(&token, bands)?,
            _ => {
                let words = ["meter", "kbps", "pktps", "burst", "stats", "bands"].into_iter();
                let allowed = "meter, kbps, pktps, burst, stats, bands";
                return Err(name::unknown(
                    token.text, token.key, "keyword", words, allowed,
                ));
            }
        }
    }
    if deleting {
        let meter = meter.unwrap_or(MeterId::ALL);
        return Ok(MeterMod {
            command,
            flags,
            meter,
            bands: Vec::new(),
        });
    }
    let meter = meter.ok_or_else(|| missing("no meter", "meter=NUMBER"))?;
    flags.packets = unit.ok_or_else(|| missing("no unit", "kbps or pktps"))?;
    let bands = bands.filter(|bands| !bands.is_empty());
    let bands = bands.ok_or_else(|| missing("no bands", "bands=type=drop,rate=NUMBER"))?;
    let bands = bands.into_iter().map(|band| band.finish(flags));
    let bands = bands.collect::<Result<_, _>>()?;
    Ok(MeterMod {
        command,
        flags,
        meter,
        bands,
    })
}

/// Reads a line of a file of meters: a meter, perhaps after one of the words `add`, `modify`,
/// `delete`. `None` for an empty line; `#` starts a comment.
pub fn parse_line(line: &str, command: MeterModCommand) -> Result<Option<MeterMod>, SyntaxError> {
    let Some(line) = split_line(line) else {
        return Ok(None);
    };
    let command = match line.word {
        "add" => MeterModCommand::Add,
        "modify" => MeterModCommand::Modify,
        "delete" => MeterModCommand::Delete,
        _ => return parse(line.whole, command).map(Some),
    };
    parse(line.rest, command).map(Some)
}

/// A meter modification as text that [`parse`] reads.
pub fn format(meter: &MeterMod) -> String {
    let mut out = String::new();
    if meter.command == MeterModCommand::Delete {
        out.push_str("meter=");
        write_id(&mut out, meter.meter);
    } else {
        write_bands(&mut out, meter.meter, meter.flags, &meter.bands);
    }
    out
}

/// Appends a meter: the words of `ovs-ofctl dump-meters`, but on one line.
pub fn write_configuration(out: &mut String, meter: &MeterConfig) {
    write_bands(out, meter.meter, meter.flags, &meter.bands);
}

/// Appends the statistics of a meter: the words of `ovs-ofctl meter-stats`, but on one line.
pub fn write_stats(out: &mut String, meter: &MeterStats) {
    out.push_str("meter:");
    write_id(out, meter.meter);
    let MeterStats {
        flows,
        packets,
        bytes,
        ..
    } = meter;
    // Writing to a String cannot fail, so the results are let go.
    let _ = write!(
        out,
        " flow_count:{flows} packet_in_count:{packets} byte_in_count:{bytes} duration:"
    );
    write_duration(out, meter.duration);
    out.push_str(" bands:");
    for (at, band) in meter.bands.iter().enumerate() {
        let space = if at > 0 { " " } else { "" };
        let (packets, bytes) = (band.packets, band.bytes);
        let _ = write!(
            out,
            "{space}{at}: packet_count:{packets} byte_count:{bytes}"
        );
    }
}

fn write_bands(out: &mut String, meter: MeterId, flags: MeterFlags, bands: &[Band]) {
    out.push_str("meter=");
    write_id(out, meter);
    out.push_str(if flags.packets { " pktps" } else { " kbps" });
    out.push_str(if flags.burst { " burst" } else { "" });
    out.push_str(if flags.stats { " stats" } else { "" });
    out.push_str(" bands=");
    for (at, band) in bands.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        let (kind, rate, burst) = match *band {
            Band::Drop { rate, burst } => ("drop", rate, burst),
            Band::DscpRemark { rate, burst, .. } => ("dscp_remark", rate, burst),
        };
        // Writing to a String cannot fail, so the results are let go.
        let _ = write!(out, "type={kind} rate={rate}");
        if flags.burst {
            let _ = write!(out, " burst_size={burst}");
        }
        if let Band::DscpRemark { precedence, .. } = band {
            let _ = write!(out, " prec_level={precedence}");
        }
    }
}

/// Appends the number or reserved name of a meter.
pub fn write_id(out: &mut String, meter: MeterId) {
    match RESERVED.iter().find(|(_, id)| *id == meter) {
        Some((name, _)) => out.push_str(name),
        None => out.push_str(&meter.to_string()),
    }
}

struct BandReader {
    remark: bool,
    rate: Option<u32>,
    burst: Option<u32>,
    precedence: Option<u8>,
}

impl BandReader {
    fn finish(self, flags: MeterFlags) -> Result<Band, SyntaxError> {
        let band = |problem, allowed| SyntaxError::new("bands", problem, allowed);
        let rate = self
            .rate
            .ok_or_else(|| band("no rate", "rate=NUMBER in every band"))?;
        let burst = match (flags.burst, self.burst) {
            (true, None) => {
                return Err(band("no burst size", "burst_size=NUMBER, as it says burst"));
            }
            (false, Some(_)) => {
                return Err(band("a burst size", "burst before bands, or none here"));
            }
            (_, burst) => burst.unwrap_or(0),
        };
        match (self.remark, self.precedence) {
            (false, None) => Ok(Band::Drop { rate, burst }),
            (true, Some(precedence)) => Ok(Band::DscpRemark {
                rate,
                burst,
                precedence,
            }),
            (false, Some(_)) => Err(band("a precedence level", "only with type=dscp_remark")),
            (true, None) => Err(band("no precedence level", "prec_level=1 to 255")),
        }
    }
}

fn band_piece(token: &Token<'_>, bands: &mut Vec<BandReader>) -> Result<(), SyntaxError> {
    let text = token.argument();
    if token.key == "type" {
        let remark = match text {
            "drop" => false,
            "dscp_remark" => true,
            _ => {
                let allowed = "drop, dscp_remark";
                return Err(SyntaxError::new(
                    token.text,
                    "unknown type of band",
                    allowed,
                ));
            }
        };
        bands.push(BandReader {
            remark,
            rate: None,
            burst: None,
            precedence: None,
        });
        return Ok(());
    }
    let Some(band) = bands.last_mut() else {
        let problem = "a band starts with its type";
        return Err(SyntaxError::new(
            token.text,
            problem,
            "type=drop, type=dscp_remark",
        ));
    };
    let taken = match token.key {
        "rate" => number(text, u32::MAX.into()).map(|rate| band.rate = Some(rate as u32)),
        "burst_size" => number(text, u32::MAX.into()).map(|size| band.burst = Some(size as u32)),
        "prec_level" => number(text, 0xff).map(|level| band.precedence = Some(level as u8)),
        word => {
            let words = ["type", "rate", "burst_size", "prec_level"].into_iter();
            let allowed = "type, rate, burst_size, prec_level";
            return Err(name::unknown(token.text, word, "keyword", words, allowed));
        }
    };
    taken.map_err(|e| e.within(token.text))
}

fn meter_id(token: &Token<'_>, deleting: bool) -> Result<MeterId, SyntaxError> {
    let text = token.argument();
    let reserved = RESERVED.iter().find(|(name, _)| *name == text);
    match reserved {
        Some((_, id)) if *id != MeterId::ALL || deleting => return Ok(*id),
        _ => {}
    }
    let allowed = "1 to 4294901760, controller, slowpath";
    match number(text, MeterId::MAX.0.into()) {
        Ok(id @ 1..) => Ok(MeterId(id as u32)),
        _ => Err(SyntaxError::new(token.text, "no such meter", allowed)),
    }
}

/// Whether rates count packets; kilobits and packets at once make no sense.
fn set_unit(token: &Token<'_>, unit: &mut Option<bool>) -> Result<(), SyntaxError> {
    let packets = token.key == "pktps";
    if unit.is_some_and(|before| before != packets) {
        return Err(SyntaxError::new(token.text, "two units", "kbps or pktps"));
    }
    *unit = Some(packets);
    Ok(())
}

fn missing(what: &str, allowed: &str) -> SyntaxError {
    SyntaxError::new("", what, allowed)
}

const RESERVED: [(&str, MeterId); 3] = [
    ("slowpath", MeterId::SLOWPATH),
    ("controller", MeterId::CONTROLLER),
    ("all", MeterId::ALL),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str) -> Result<MeterMod, String> {
        parse(text, MeterModCommand::Add).map_err(|error| error.to_string())
    }

    #[test]
    fn meters_come_back_in_their_canonical_form() {
        let cases = [
            (
                "burst stats kbps meter=1 bands=type=drop,rate=0x10,burst_size=10",
                "meter=1 kbps burst stats bands=type=drop rate=16 burst_size=10",
            ),
            (
                "meter=controller,pktps,band=type=dscp_remark,prec_level=2,rate=5,type=drop rate=9",
                "meter=controller pktps bands=type=dscp_remark rate=5 prec_level=2 \
                 type=drop rate=9",
            ),
        ];
        for (text, canonical) in cases {
            let meter = add(text).unwrap();
            assert_eq!(format(&meter), canonical, "{text}");
            assert_eq!(add(canonical).as_ref(), Ok(&meter), "{text}");
        }
        let all = parse("", MeterModCommand::Delete).unwrap();
        assert_eq!(
            (all.meter, format(&all).as_str()),
            (MeterId::ALL, "meter=all")
        );
    }

    #[test]
    fn errors_say_what_is_missing_or_wrong() {
        let told = [
            (
                "kbps,bands=type=drop,rate=1",
                "no meter; allowed: meter=NUMBER",
            ),
            (
                "meter=1,bands=type=drop,rate=1",
                "no unit; allowed: kbps or pktps",
            ),
            ("meter=1,kbps", "no bands"),
            ("meter=1,kbps,bands=", "no bands"),
            (
                "meter=1,kbps,pktps,bands=type=drop,rate=1",
                "pktps: two units",
            ),
            (
                "meter=0,kbps,bands=type=drop,rate=1",
                "meter=0: no such meter",
            ),
            (
                "meter=all,kbps,bands=type=drop,rate=1",
                "meter=all: no such meter",
            ),
            (
                "meter=1,kbps,bands=rate=1",
                "rate=1: a band starts with its type",
            ),
            (
                "meter=1,kbps,bands=type=mark,rate=1",
                "type=mark: unknown type of band",
            ),
            ("meter=1,kbps,bands=type=drop", "bands: no rate"),
            (
                "meter=1,kbps,burst,bands=type=drop,rate=1",
                "bands: no burst size",
            ),
            (
                "meter=1,kbps,bands=type=drop,rate=1,burst_size=1",
                "bands: a burst size",
            ),
            (
                "meter=1,kbps,bands=type=dscp_remark,rate=1",
                "bands: no precedence level",
            ),
            (
                "meter=1,kbps,bands=type=drop,rate=1,prec_level=1",
                "bands: a precedence level",
            ),
            (
                "meter=1,kbps,bands=type=drop,rat=1",
                "rat=1: unknown keyword, did you mean rate?",
            ),
            (
                "meter=1,kbps,stat,bands=type=drop,rate=1",
                "stat: unknown keyword, did you mean stats?",
            ),
        ];
        for (text, wanted) in told {
            let told = add(text).unwrap_err();
            assert!(told.starts_with(wanted), "{text}: {told}");
        }
        assert!(parse("meter=1,kbps", MeterModCommand::Delete).is_err());
    }
}
