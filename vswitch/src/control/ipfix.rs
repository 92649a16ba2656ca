//! Tells collectors of packets that flows sample (`sample`; IPFIX, RFC 7011).
//!
//! What: each sample that a worker hands over becomes a data record of one packet, as Open vSwitch
//! makes it without a cache of flows. How: records wait in one message for each set of collectors
//! and observation domain, which goes by UDP when it is full, or at the end of the control task's
//! turn; templates go before the first record that needs them, and again every minute, since UDP
//! loses them (RFC 7011 §8.1). What a socket refuses is counted, never waited for.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::debug;

use super::config::CollectorSet;
use crate::datapath::Sampled;

mod record;

use record::{Field, fields};

/// The sets of collectors, and what they are to be told.
#[derive(Debug, Default)]
pub struct Exporter {
    sets: BTreeMap<u32, Set>,
    /// Whether there is anything to be sent.
    waits: bool,
    lost: u64,
}

#[derive(Debug, Default)]
struct Set {
    targets: Vec<SocketAddr>,
    /// Its own: with a socket of another set a collector of both would take the templates of one
    /// for those of the other (RFC 7011 §8).
    sockets: Sockets,
    /// By observation domain.
    sessions: BTreeMap<u32, Session>,
}

/// What was and is to be told of one observation domain.
#[derive(Debug, Default)]
struct Session {
    /// Data records so far, modulo 2^32.
    sequence: u32,
    /// Fields by their elements and lengths; the place of a template gives its number.
    templates: Vec<Vec<(u16, u16)>>,
    /// How many of them the collectors were told of.
    told: usize,
    told_ms: u64,
    /// Data sets.
    data: Vec<u8>,
    /// Records in there.
    records: u32,
}

/// Sockets to send from, opened when they are first used.
#[derive(Debug, Default)]
struct Sockets {
    ipv4: Option<UdpSocket>,
    ipv6: Option<UdpSocket>,
}

impl Exporter {
    /// Takes over the sets of the configuration. Those that stay go on, their collectors told of
    /// the templates again if there are others among them; what waits in one that goes is lost.
    pub fn configure(&mut self, sets: &[CollectorSet]) {
        let mut before = std::mem::take(&mut self.sets);
        for wanted in sets {
            let mut set = before.remove(&wanted.id).unwrap_or_default();
            if set.targets != wanted.targets {
                set.targets.clone_from(&wanted.targets);
                set.sessions
                    .values_mut()
                    .for_each(|session| session.told = 0);
            }
            self.sets.insert(wanted.id, set);
        }
        let gone = before.values().flat_map(|set| set.sessions.values());
        self.lost += gone.map(|session| u64::from(session.records)).sum::<u64>();
    }

    /// Messages that could not be sent, and samples that nobody could be told of.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Adds a sample.
    pub fn add(&mut self, sampled: &Sampled, now_ms: u64) {
        let sampling = &sampled.sampling;
        let Some(set) = self.sets.get_mut(&sampling.collector_set) else {
            self.lost += 1;
            return;
        };
        let is_known = set.sessions.contains_key(&sampling.domain);
        if !is_known && set.sessions.len() == DOMAINS_MAX {
            self.lost += 1;
            return;
        }
        let session = set.sessions.entry(sampling.domain).or_default();
        session.add(&fields(sampled, now_ms));
        self.waits = true;
        if session.data.len() > DATA_BYTES_MAX {
            self.send(now_ms);
        }
    }

    /// Sends what waits.
    pub fn send(&mut self, now_ms: u64) {
        if !std::mem::take(&mut self.waits) {
            return;
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = since_1970.map_or(0, |since| since.as_secs() as u32);
        for set in self.sets.values_mut() {
            let Set {
                targets,
                sockets,
                sessions,
            } = set;
            for (domain, session) in sessions {
                let Some(message) = session.take_message((*domain, now_s), now_ms) else {
                    continue;
                };
                for target in targets.iter() {
                    if let Err(error) = sockets.send(&message, *target) {
                        debug!(%target, %error, "samples lost");
                        self.lost += 1;
                    }
                }
            }
        }
    }
}

impl Session {
    /// Adds a data record.
    fn add(&mut self, fields: &[Field]) {
        let template: Vec<_> = fields.iter().map(|it| (it.element, it.len)).collect();
        let known = self.templates.iter().position(|known| *known == template);
        let place = known.unwrap_or_else(|| {
            self.templates.push(template);
            self.templates.len() - 1
        });
        let start = self.data.len();
        put_set(&mut self.data, TEMPLATE_FIRST + place as u16, |data| {
            for field in fields {
                let bytes = field.value.to_be_bytes();
                data.extend(&bytes[bytes.len() - usize::from(field.len)..]);
            }
        });
        debug_assert!(self.data.len() - start < DATA_BYTES_MAX);
        self.records += 1;
    }

    /// The message of all records that wait, with the templates that their collectors lack.
    fn take_message(&mut self, (domain, now_s): (u32, u32), now_ms: u64) -> Option<Vec<u8>> {
        if self.records == 0 {
            return None;
        }
        if now_ms >= self.told_ms + TEMPLATE_REPEAT_MS {
            self.told = 0;
        }
        let mut message = Vec::with_capacity(HEADER_LEN + self.data.len());
        message.extend(VERSION.to_be_bytes());
        message.extend([0; 2]);
        for word in [now_s, self.sequence, domain] {
            message.extend(word.to_be_bytes());
        }
        if self.told < self.templates.len() {
            put_set(&mut message, TEMPLATE_SET, |data| {
                for (place, template) in self.templates.iter().enumerate().skip(self.told) {
                    data.extend((TEMPLATE_FIRST + place as u16).to_be_bytes());
                    data.extend((template.len() as u16).to_be_bytes());
                    for (element, len) in template {
                        data.extend(element.to_be_bytes());
                        data.extend(len.to_be_bytes());
                    }
                }
            });
            self.told_ms = match self.told {
                0 => now_ms,
                _ => self.told_ms,
            };
            self.told = self.templates.len();
        }
        message.append(&mut self.data);
        let len = message.len() as u16;
        message[2..4].copy_from_slice(&len.to_be_bytes());
        self.sequence = self
            .sequence
            .wrapping_add(std::mem::take(&mut self.records));
        Some(message)
    }
}

/// Appends a set: number, length with these four bytes, content (RFC 7011 §3.3.2).
fn put_set(out: &mut Vec<u8>, number: u16, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(number.to_be_bytes());
    out.extend([0; 2]);
    content(out);
    let len = (out.len() - start) as u16;
    out[start + 2..start + 4].copy_from_slice(&len.to_be_bytes());
}

impl Sockets {
    fn send(&mut self, message: &[u8], target: SocketAddr) -> io::Result<()> {
        let (socket, own): (_, SocketAddr) = match target {
            SocketAddr::V4(_) => (&mut self.ipv4, (Ipv4Addr::UNSPECIFIED, 0).into()),
            SocketAddr::V6(_) => (&mut self.ipv6, (Ipv6Addr::UNSPECIFIED, 0).into()),
        };
        let open = match socket.take() {
            Some(open) => open,
            None => {
                let open = UdpSocket::bind(own)?;
                open.set_nonblocking(true)?;
                open
            }
        };
        let sent = socket.insert(open).send_to(message, target);
        sent.map(|_| ())
    }
}

/// RFC 7011 §3.1.
const VERSION: u16 = 10;
const HEADER_LEN: usize = 16;
/// RFC 7011 §3.3.2.
const TEMPLATE_SET: u16 = 2;
/// Numbers below are those of sets that are no data (RFC 7011 §3.4.1).
const TEMPLATE_FIRST: u16 = 256;
/// With all templates and one more record a message fits in Ethernet's 1,500 bytes and, if not,
/// in fragments.
const DATA_BYTES_MAX: usize = 1000;
/// A collector that was started later, or lost them, knows the templates after a minute.
const TEMPLATE_REPEAT_MS: u64 = 60_000;
/// Observation domains of a set: flows say them, and each costs a few hundred bytes.
const DOMAINS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn field(element: u16, value: u128) -> Field {
        Field {
            element,
            len: 2,
            value,
        }
    }

    fn words(message: &[u8]) -> Vec<u16> {
        let (words, rest) = message.as_chunks::<2>();
        assert!(rest.is_empty());
        words.iter().map(|word| u16::from_be_bytes(*word)).collect()
    }

    /// RFC 7011 §3.1 to §3.4.
    #[test]
    fn templates_go_before_records_once_a_minute() {
        let mut session = Session::default();
        assert_eq!(session.take_message((3, 9), 1), None);
        session.add(&[field(60, 4)]);
        session.add(&[field(60, 6), field(4, 17)]);
        let message = session.take_message((3, 9), 1).unwrap();
        let header = [10, 16 + 24 + 6 + 8, 0, 9, 0, 0, 0, 3];
        let templates = [2, 24, 256, 1, 60, 2, 257, 2, 60, 2, 4, 2];
        let data = [256, 6, 4, 257, 8, 6, 17];
        assert_eq!(words(&message), [&header[..], &templates, &data].concat());
        let mut later = |now_ms| {
            session.add(&[field(60, 5)]);
            words(&session.take_message((3, 9), now_ms).unwrap())
        };
        let expected = [10, 22, 0, 9, 0, 2, 0, 3, 256, 6, 5];
        assert_eq!(later(2), expected);
        let again = later(2 + TEMPLATE_REPEAT_MS);
        assert_eq!(again[5], 3, "records so far");
        assert_eq!(again[8..20], templates);
    }

    /// A collector, and sets of these numbers that it is of.
    fn collector(ids: &[u32]) -> (UdpSocket, Vec<CollectorSet>) {
        let collector = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let limit = std::time::Duration::from_secs(60);
        collector.set_read_timeout(Some(limit)).unwrap();
        let target = collector.local_addr().unwrap();
        let set = |id: &u32| CollectorSet {
            id: *id,
            targets: vec![target],
        };
        let sets = ids.iter().map(set).collect();
        (collector, sets)
    }

    /// From where the next message comes, its sequence number and whether it has templates.
    fn heard(collector: &UdpSocket) -> (SocketAddr, u32, bool) {
        let mut message = [0; 1500];
        let (len, from) = collector.recv_from(&mut message).unwrap();
        let words = words(&message[..len / 2 * 2]);
        assert_eq!(words[0], VERSION);
        let sequence = u32::from(words[4]) << 16 | u32::from(words[5]);
        (from, sequence, words[8] == TEMPLATE_SET)
    }

    /// RFC 7011 §8: the numbers of templates are those of a transport session.
    #[test]
    fn sets_with_one_collector_are_told_apart() {
        let (collector, sets) = collector(&[1, 2]);
        let mut exporter = Exporter::default();
        exporter.configure(&sets);
        let mut sampled = record::sample_of_udp();
        exporter.add(&sampled, 5);
        let mut sampling = (*sampled.sampling).clone();
        sampling.collector_set = 2;
        sampled.sampling = sampling.into();
        exporter.add(&sampled, 5);
        exporter.send(5);
        let [one, two] = [(); 2].map(|()| heard(&collector));
        assert_ne!(one.0, two.0);
        assert!(one.2 && two.2, "both have templates");
    }

    #[test]
    fn sets_that_stay_go_on() {
        let (collector, mut sets) = collector(&[1, 2]);
        let mut exporter = Exporter::default();
        let mut tell = |sets: &[CollectorSet]| {
            exporter.configure(sets);
            exporter.add(&record::sample_of_udp(), 5);
            exporter.send(5);
            heard(&collector)
        };
        let (from, sequence, has_templates) = tell(&sets);
        assert_eq!((sequence, has_templates), (0, true));
        sets.pop();
        assert_eq!(tell(&sets), (from, 1, false));
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sets[0].targets.push(other.local_addr().unwrap());
        assert_eq!(tell(&sets), (from, 2, true));
        exporter.add(&record::sample_of_udp(), 5);
        exporter.configure(&[]);
        assert_eq!(exporter.lost(), 1, "what waited");
    }

    #[test]
    fn what_nobody_is_there_for_is_counted() {
        let mut exporter = Exporter::default();
        let sampled = record::sample_of_udp();
        exporter.add(&sampled, 1);
        assert_eq!((exporter.lost(), exporter.waits), (1, false));
    }
}
