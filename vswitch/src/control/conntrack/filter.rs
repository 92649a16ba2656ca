//! Which connections somebody means.

use flowtable::conntrack::{Connection, Tuple};
use flowtable::ip_proto;
use openflow::{CtFlush, CtTuple};

/// What connections have to have; nothing said, and all fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Zone.
    pub zone: Option<u16>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// Tuple of the original direction, before translation.
    pub original: Ends,
    /// Tuple of the reply direction, before translation.
    pub reply: Ends,
    /// Value and mask of the mark.
    pub mark: Option<(u32, u32)>,
    /// Value and mask of the label.
    pub label: Option<([u64; 2], [u64; 2])>,
}

/// What a tuple has to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Source address.
    pub src: Option<[u64; 2]>,
    /// Destination address.
    pub dst: Option<[u64; 2]>,
    /// Source port, or the identifier of ICMP queries.
    pub src_port: Option<u16>,
    /// Destination port, or type and code of ICMP queries.
    pub dst_port: Option<u16>,
}

impl Filter {
    /// Whether a connection is meant.
    pub fn fits(&self, connection: &Connection) -> bool {
        let original = &connection.original;
        let is_masked = |value: u64, (wanted, mask): (u64, u64)| (value ^ wanted) & mask == 0;
        let mark = self.mark.map(|(mark, mask)| (mark.into(), mask.into()));
        self.zone.is_none_or(|zone| zone == original.zone)
            && self.proto.is_none_or(|proto| proto == original.proto)
            && self.original.fit(original)
            && self.reply.fit(&connection.reply)
            && mark.is_none_or(|mark| is_masked(connection.mark.into(), mark))
            && self.label.is_none_or(|(label, mask)| {
                let mut words = connection.label.iter().zip(label.iter().zip(mask));
                words.all(|(value, (wanted, mask))| is_masked(*value, (*wanted, mask)))
            })
    }

    /// The tuple of the one connection that is meant, if all of it is said.
    pub fn tuple(&self) -> Option<Tuple> {
        let ends = &self.original;
        let src = ends.src?;
        let is_ipv4 = src[0] == 0 && src[1] >> 32 == 0xffff;
        Some(Tuple {
            src,
            dst: ends.dst?,
            src_port: ends.src_port?,
            dst_port: ends.dst_port?,
            zone: self.zone?,
            proto: self.proto?,
            version: if is_ipv4 { 4 } else { 6 },
        })
    }

    /// The zone, if nothing else is said.
    pub fn zone_alone(&self) -> Option<u16> {
        let rest = Filter {
            zone: None,
            ..self.clone()
        };
        self.zone.filter(|_| rest == Filter::default())
    }
}

impl From<&CtFlush> for Filter {
    /// What a controller means: where no zone is said, that is 0, unless nothing is said at all.
    fn from(flush: &CtFlush) -> Filter {
        let mut filter = Filter {
            zone: flush.zone,
            proto: Some(flush.ip_proto).filter(|proto| *proto != 0),
            original: Ends::of(&flush.original, flush.ip_proto),
            reply: Ends::of(&flush.reply, flush.ip_proto),
            mark: flush.mark,
            label: flush.label.map(|(label, mask)| (words(label), words(mask))),
        };
        if filter != Filter::default() {
            filter.zone = Some(flush.zone.unwrap_or(0));
        }
        filter
    }
}

/// 128 bits as tuples have them.
fn words(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

impl Ends {
    /// What is 0 is not said; what ICMP has is if there is an address.
    fn of(tuple: &CtTuple, proto: u8) -> Ends {
        let address = |bits: u128| (bits != 0).then(|| words(bits));
        let (src, dst) = (address(tuple.src), address(tuple.dst));
        let port = |port: u16| Some(port).filter(|port| *port != 0);
        let is_icmp = [ip_proto::ICMP, ip_proto::ICMPV6].contains(&proto);
        let (src_port, dst_port) = match is_icmp {
            false => (port(tuple.src_port), port(tuple.dst_port)),
            true if src.is_none() && dst.is_none() => (None, None),
            true => (
                Some(tuple.icmp_id),
                Some(u16::from(tuple.icmp_type) << 8 | u16::from(tuple.icmp_code)),
            ),
        };
        Ends {
            src,
            dst,
            src_port,
            dst_port,
        }
    }

    fn fit(&self, tuple: &Tuple) -> bool {
        self.src.is_none_or(|src| src == tuple.src)
            && self.dst.is_none_or(|dst| dst == tuple.dst)
            && self.src_port.is_none_or(|port| port == tuple.src_port)
            && self.dst_port.is_none_or(|port| port == tuple.dst_port)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowtable::conntrack::{Body, Item, Packet, Request, Table, mapped};

    use super::*;

    fn connection() -> Connection {
        let table = Arc::new(Table::new(64, 1, |_, _| ()).expect("memory"));
        let mut tracker = table.tracker().expect("a tracker");
        let tuple = Tuple {
            src: mapped(1),
            dst: mapped(2),
            src_port: 1000,
            dst_port: 53,
            zone: 7,
            proto: 17,
            version: 4,
        };
        let request = Request {
            zone: 7,
            commits: true,
            mark: Some((0x12, u32::MAX)),
            label: Some(([5, 6], [u64::MAX; 2])),
            ..Request::default()
        };
        let body = Body::Other;
        let item = Item {
            packet: Packet { tuple, body },
            known: None,
            is_translated: false,
        };
        let mut found = None;
        tracker.begin(0);
        tracker.track(&request, &[item], |_, _| ());
        tracker.list(0, 64, |connection| found = Some(*connection));
        tracker.end();
        found.expect("a connection")
    }

    #[test]
    fn all_that_is_said_has_to_fit() {
        let connection = connection();
        let base = Filter::default();
        let ends = Ends::default();
        let fitting = [
            base.clone(),
            Filter {
                zone: Some(7),
                proto: Some(17),
                ..base.clone()
            },
            Filter {
                original: Ends {
                    src: Some(mapped(1)),
                    src_port: Some(1000),
                    ..ends.clone()
                },
                ..base.clone()
            },
            Filter {
                reply: Ends {
                    src: Some(mapped(2)),
                    dst_port: Some(1000),
                    ..ends.clone()
                },
                ..base.clone()
            },
            Filter {
                mark: Some((2, 0xf)),
                label: Some(([0, 6], [0, 0xff])),
                ..base.clone()
            },
        ];
        for filter in fitting {
            assert!(filter.fits(&connection), "{filter:?}");
        }
        let other = [
            Filter {
                zone: Some(8),
                ..base.clone()
            },
            Filter {
                zone: Some(7),
                proto: Some(6),
                ..base.clone()
            },
            Filter {
                original: Ends {
                    dst: Some(mapped(1)),
                    ..ends.clone()
                },
                ..base.clone()
            },
            Filter {
                reply: Ends {
                    src_port: Some(1000),
                    ..ends
                },
                ..base.clone()
            },
            Filter {
                mark: Some((3, 0xf)),
                ..base.clone()
            },
            Filter {
                label: Some(([4, 0], [5, 0])),
                ..base.clone()
            },
        ];
        for filter in other {
            assert!(!filter.fits(&connection), "{filter:?}");
        }
        assert_eq!(base.zone_alone(), None);
        let zone = Filter {
            zone: Some(7),
            ..base
        };
        assert_eq!(zone.zone_alone(), Some(7));
        assert_eq!(
            Filter {
                proto: Some(6),
                ..zone
            }
            .zone_alone(),
            None
        );
    }

    #[test]
    fn what_controllers_say_is_of_zone_0_unless_they_say_which() {
        assert_eq!(Filter::from(&CtFlush::default()), Filter::default());
        let zone = Filter::from(&CtFlush::zone(7));
        assert_eq!(zone.zone_alone(), Some(7));
        let tuple = CtTuple {
            src: 0xffff_0000_0001,
            dst: 0xffff_0000_0002,
            src_port: 1000,
            dst_port: 53,
            ..CtTuple::default()
        };
        let mut flush = CtFlush {
            ip_proto: 17,
            zone: Some(7),
            original: tuple,
            ..CtFlush::default()
        };
        let connection = connection();
        let filter = Filter::from(&flush);
        assert_eq!(filter.tuple(), Some(connection.original));
        assert!(filter.fits(&connection));
        flush.original.src_port = 0;
        let partial = Filter::from(&flush);
        assert!(partial.tuple().is_none() && partial.fits(&connection));
        flush.zone = None;
        assert_eq!(Filter::from(&flush).zone, Some(0));
        let echo = CtFlush {
            ip_proto: 1,
            original: CtTuple {
                icmp_id: 3,
                icmp_type: 8,
                ..CtTuple::default()
            },
            ..CtFlush::default()
        };
        assert_eq!(Filter::from(&echo).original, Ends::default());
    }
}
