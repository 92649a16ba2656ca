//! `[[ipfix]]`: who is told of packets that flows sample (docs/configuration.md).

use std::net::SocketAddr;

use super::reader::{ConfigError, Section};

/// `[[ipfix]]`, as OVS's `Flow_Sample_Collector_Set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorSet {
    /// What `sample` calls it: `collector_set_id`.
    pub id: u32,
    /// Where its collectors listen for UDP.
    pub targets: Vec<SocketAddr>,
}

/// The sets of a file; no two have one id.
pub(super) fn read(sections: Vec<Section<'_>>) -> Result<Vec<CollectorSet>, ConfigError> {
    let mut sets: Vec<CollectorSet> = Vec::new();
    for mut section in sections {
        let allowed = "collector set ids";
        let id = section.number("id", 0..i64::from(u32::MAX) + 1, allowed)?;
        let id = id.ok_or_else(|| section.missing("id", allowed))? as u32;
        if sets.iter().any(|set| set.id == id) {
            return Err(section.wrong("id", &id.to_string(), "another set has it"));
        }
        let mut targets = Vec::new();
        for text in section.strings("targets")? {
            let target = text.parse::<SocketAddr>();
            let target = target.ok().filter(|target| target.port() != 0);
            let Some(target) = target else {
                let why = "allowed are ADDRESS:PORT and [ADDRESS]:PORT";
                return Err(section.wrong("targets", &format!("\"{text}\""), why));
            };
            targets.push(target);
        }
        if targets.is_empty() || targets.len() > TARGETS_MAX {
            let why = format!("allowed are 1 to {TARGETS_MAX} addresses");
            return Err(section.wrong("targets", &format!("{} of them", targets.len()), &why));
        }
        section.finish("")?;
        sets.push(CollectorSet { id, targets });
    }
    Ok(sets)
}

/// Each gets a copy of every message.
const TARGETS_MAX: usize = 16;
