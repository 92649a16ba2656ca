//! What addresses and ports a new connection is translated to.
//!
//! A connection is translated by giving it a reply tuple that is not the reverse of its original
//! one. The choice is Open vSwitch's: the address by a hash over the range; the port that the
//! packet has if it may be kept, else one after the other, and after many others elsewhere. What a
//! candidate is worth says the index, which has each tuple once: so no two connections ever have
//! the same replies. Where all ports of an address are taken the next addresses are tried, too.

use crate::hash::{Stream, fold};

use super::limits::{ADDRESS_TRIES_MAX, PORT_TRIES_MAX, PORT_TRIES_MIN};
use super::packet::Embedded;
use super::tuple::Tuple;

/// How a new connection is to be translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Nat {
    /// Its source.
    pub source: Option<Range>,
    /// Its destination.
    pub destination: Option<Range>,
    /// All connections of a source get the same address, also after a restart.
    pub is_persistent: bool,
    /// Ports of a range are taken at random rather than by hash.
    pub is_random: bool,
}

/// Addresses and ports to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Range {
    /// First and last address, as tuples have them; the packet's own if nothing is said.
    pub addresses: Option<([u64; 2], [u64; 2])>,
    /// First and last port; if nothing is said, the packet's own if it is free.
    pub ports: Option<(u16, u16)>,
}

/// What a packet is to be changed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Addresses and ports as they have to be.
    pub to: Tuple,
    /// Source address and port change.
    pub source: bool,
    /// Destination address and port change.
    pub destination: bool,
    /// The packet is an ICMP error. Its own addresses become those of `to`, as far as `source` and
    /// `destination` say. The headers it embeds, which are of a packet the other way, become the
    /// reverse of `to`: their destination if `source` says so, and their source if `destination`
    /// does, with ports.
    pub embedded: Option<Embedded>,
}

/// Whether a candidate is free, or that it is no use to go on.
pub(super) enum Trial<E> {
    Free,
    Taken,
    Stop(E),
}

impl Nat {
    /// Whether anything is translated.
    pub(super) fn is_some(&self) -> bool {
        self.source.is_some() || self.destination.is_some()
    }

    /// Offers what a connection can be translated to, one after the other, until one is free.
    /// `secret` is that of the hash. Returns whether one was.
    pub(super) fn search<E>(
        &self,
        original: &Tuple,
        secret: u64,
        random: &mut Stream,
        mut offer: impl FnMut(&Tuple) -> Trial<E>,
    ) -> Result<bool, E> {
        let hash = self.hash(original, if self.is_persistent { 0 } else { secret });
        let start = match self.is_random {
            true => random.next(),
            false => self.hash(original, secret) >> 16,
        };
        for attempt in 0..ADDRESS_TRIES_MAX.min(self.addresses()) {
            let mut to = *original;
            let hash = hash.wrapping_add(attempt);
            to.src = self
                .source
                .map_or(to.src, |range| range.address(hash, to.src));
            let destination = self.destination;
            to.dst = destination.map_or(to.dst, |range| range.address(hash, to.dst));
            if self.search_ports(to, start, random, &mut offer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn search_ports<E>(
        &self,
        mut to: Tuple,
        start: u64,
        random: &mut Stream,
        offer: &mut impl FnMut(&Tuple) -> Trial<E>,
    ) -> Result<bool, E> {
        if !to.has_port() {
            return is_free(offer(&to));
        }
        if let Some((first, last)) = self.destination.and_then(|range| range.ports)
            && !to.is_icmp()
        {
            let own = Ports::offset(first, last, start);
            for port in Ports::new(own, first, last, random) {
                to.dst_port = port;
                if is_free(offer(&to))? {
                    return Ok(true);
                }
            }
            to.dst_port = own;
        }
        let ports = match self.source.and_then(|range| range.ports) {
            Some((first, last)) => {
                Ports::new(Ports::offset(first, last, start), first, last, random)
            }
            None => Ports::like(to.src_port, random),
        };
        for port in ports {
            to.src_port = port;
            if is_free(offer(&to))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many addresses there are to try.
    fn addresses(&self) -> u64 {
        let lens =
            [self.source, self.destination].map(|range| range.map_or(1, |range| range.len()));
        lens[0].max(lens[1]).try_into().unwrap_or(u64::MAX)
    }

    fn hash(&self, original: &Tuple, secret: u64) -> u64 {
        let mut words = *original.words();
        if self.is_persistent {
            // What tells connections of a source apart does not count.
            words[2..].fill(0);
            words[4] = u64::from(original.zone);
        }
        let first = [self.source, self.destination].map(|range| {
            let range = range.and_then(|range| range.addresses);
            range.map_or(0, |(first, last)| first[1] ^ last[1].rotate_left(32))
        });
        let start = Stream(secret).next();
        let words = words.into_iter().chain(first);
        words.fold(start, |sum, word| fold(sum ^ word, FACTOR))
    }
}

fn is_free<E>(trial: Trial<E>) -> Result<bool, E> {
    match trial {
        Trial::Free => Ok(true),
        Trial::Taken => Ok(false),
        Trial::Stop(error) => Err(error),
    }
}

impl Range {
    fn bounds(&self) -> Option<(u128, u128)> {
        let (first, last) = self.addresses?;
        let (first, last) = (wide(first), wide(last));
        Some((first.min(last), first.max(last)))
    }

    /// How many addresses it has, as far as they are told apart.
    fn len(&self) -> u128 {
        self.bounds()
            .map_or(1, |(first, last)| (last - first).saturating_add(1))
    }

    /// The address for a hash; `own` where nothing is said.
    fn address(&self, hash: u64, own: [u64; 2]) -> [u64; 2] {
        let Some((first, _)) = self.bounds() else {
            return own;
        };
        let address = first + u128::from(hash) % self.len();
        [(address >> 64) as u64, address as u64]
    }
}

/// Ports to try: one, then those after it in a range, around its end; then, half as many each
/// time, from other places.
struct Ports {
    first: u16,
    len: u32,
    /// The next, and whether it is in the range.
    at: u16,
    left: u32,
    round: u32,
    random: Stream,
}

impl Ports {
    fn new(at: u16, first: u16, last: u16, random: &mut Stream) -> Ports {
        let (first, last) = (first.min(last), first.max(last));
        let len = u32::from(last - first) + 1;
        let is_inside = (first..=last).contains(&at);
        let round = len.min(PORT_TRIES_MAX);
        Ports {
            first,
            len,
            at,
            left: round + u32::from(!is_inside),
            round,
            random: Stream(random.next()),
        }
    }

    /// A port and then those of its kind: privileged ports stay privileged.
    fn like(port: u16, random: &mut Stream) -> Ports {
        let (first, last) = match port {
            0..512 => (1, 511),
            512..1024 => (600, 1023),
            _ => (1024, 65_535),
        };
        Ports::new(port, first, last, random)
    }

    /// The port of a range for a hash.
    fn offset(first: u16, last: u16, hash: u64) -> u16 {
        let (first, last) = (first.min(last), first.max(last));
        first + (hash % (u64::from(last - first) + 1)) as u16
    }
}

impl Iterator for Ports {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.left == 0 {
            self.round /= 2;
            if self.round < PORT_TRIES_MIN || self.len <= PORT_TRIES_MAX {
                return None;
            }
            self.left = self.round;
            self.at = self.first + (self.random.next() % u64::from(self.len)) as u16;
        }
        self.left -= 1;
        let port = self.at;
        let step = u32::from(port)
            .wrapping_sub(self.first.into())
            .wrapping_add(1);
        self.at = match step < self.len {
            true => self.first + step as u16,
            false => self.first,
        };
        Some(port)
    }
}

fn wide(address: [u64; 2]) -> u128 {
    u128::from(address[0]) << 64 | u128::from(address[1])
}

/// Odd, with bits all over: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::tuple::mapped;
    use crate::ip_proto;
    use std::collections::HashSet;

    fn original(src_port: u16) -> Tuple {
        Tuple {
            src: mapped(0x0a00_0001),
            dst: mapped(0x0808_0808),
            src_port,
            dst_port: 53,
            zone: 1,
            proto: ip_proto::UDP,
            version: 4,
        }
    }

    fn candidates(nat: &Nat, original: &Tuple, secret: u64) -> Vec<Tuple> {
        let mut all = Vec::new();
        let offer = |to: &Tuple| {
            all.push(*to);
            Trial::<()>::Taken
        };
        let found = nat.search(original, secret, &mut Stream(3), offer);
        assert_eq!(found, Ok(false));
        all
    }

    fn to(first: u32, last: u32, ports: Option<(u16, u16)>) -> Option<Range> {
        Some(Range {
            addresses: Some((mapped(first), mapped(last))),
            ports,
        })
    }

    #[test]
    fn the_own_port_comes_first_and_others_are_like_it() {
        let nat = Nat {
            source: to(7, 7, None),
            ..Nat::default()
        };
        for (own, range) in [
            (80, 1..=511),
            (700, 600..=1023),
            (5000, 1024..=65_535),
            (550, 600..=1023),
        ] {
            let all = candidates(&nat, &original(own), 1);
            assert_eq!(all[0].src_port, own);
            assert!(
                all[1..].iter().all(|to| range.contains(&to.src_port)),
                "{own}"
            );
            assert!(
                all.iter()
                    .all(|to| to.src == mapped(7) && to.dst_port == 53)
            );
            assert!(all.len() > 100 && all.len() < 300, "{own}: {}", all.len());
        }
    }

    #[test]
    fn small_ranges_are_tried_whole_and_no_more() {
        let nat = Nat {
            source: to(10, 12, Some((100, 109))),
            ..Nat::default()
        };
        let all = candidates(&nat, &original(5000), 9);
        let different: HashSet<Tuple> = all.iter().copied().collect();
        assert_eq!((all.len(), different.len()), (30, 30));
        assert!(all.iter().all(|to| (100..=109).contains(&to.src_port)));
        let addresses: HashSet<_> = all.iter().map(|to| to.src).collect();
        assert_eq!(addresses, [10, 11, 12].map(mapped).into());
    }

    #[test]
    fn destinations_come_before_sources() {
        let nat = Nat {
            destination: to(9, 9, Some((8000, 8003))),
            ..Nat::default()
        };
        let all = candidates(&nat, &original(5000), 9);
        let (ports, rest) = all.split_at(4);
        let ports: HashSet<u16> = ports.iter().map(|to| to.dst_port).collect();
        assert_eq!(ports, (8000..=8003).collect());
        assert_eq!(rest[0], all[0], "its own port first");
        assert!(rest.iter().all(|to| to.dst_port == rest[0].dst_port));
        assert!(
            all.iter()
                .all(|to| to.src == original(0).src && to.dst == mapped(9))
        );
    }

    #[test]
    fn hash_persistent_and_random() {
        let mut nat = Nat {
            source: to(0, 0xffff, Some((1, 60_000))),
            ..Nat::default()
        };
        let first = |nat: &Nat, port, secret| candidates(nat, &original(port), secret)[0];
        assert_eq!(first(&nat, 1, 1), first(&nat, 1, 1));
        assert_ne!(first(&nat, 1, 1), first(&nat, 1, 2));
        assert_ne!(first(&nat, 1, 1).src, first(&nat, 2, 1).src);
        nat.is_persistent = true;
        assert_eq!(first(&nat, 1, 1).src, first(&nat, 2, 2).src);
        assert_ne!(first(&nat, 1, 1).src_port, first(&nat, 1, 2).src_port);
        nat.is_random = true;
        let mut random = Stream(8);
        let mut ports = HashSet::new();
        for _ in 0..100 {
            let offer = |to: &Tuple| {
                ports.insert(to.src_port);
                Trial::<()>::Free
            };
            assert_eq!(nat.search(&original(1), 1, &mut random, offer), Ok(true));
        }
        assert!(ports.len() > 90);
    }

    /// Each of 16 gets about a hundred of 1600: its count is within five deviations.
    #[test]
    fn hash_and_chance_favour_nobody() {
        let is_even = |counts: &[u32; 16]| counts.iter().all(|count| (52..=148).contains(count));
        let mut nat = Nat {
            source: to(16, 31, Some((1024, 1039))),
            ..Nat::default()
        };
        let (mut addresses, mut ports) = ([0; 16], [0; 16]);
        for client in 0..1600 {
            let mut original = original(5000 + client as u16);
            original.src = mapped(client);
            let first = candidates(&nat, &original, 1)[0];
            addresses[first.src[1] as usize & 15] += 1;
            ports[usize::from(first.src_port - 1024)] += 1;
        }
        assert!(
            is_even(&addresses) && is_even(&ports),
            "{addresses:?} {ports:?}"
        );
        nat.is_random = true;
        let (mut random, mut ports) = (Stream(8), [0; 16]);
        for _ in 0..1600 {
            let offer = |to: &Tuple| {
                ports[usize::from(to.src_port - 1024)] += 1;
                Trial::<()>::Free
            };
            assert_eq!(nat.search(&original(1), 1, &mut random, offer), Ok(true));
        }
        assert!(is_even(&ports), "{ports:?}");
    }

    #[test]
    fn ranges_of_the_whole_address_space_and_reversed_ones() {
        let all = Range {
            addresses: Some(([0; 2], [u64::MAX; 2])),
            ports: Some((9, 3)),
        };
        assert_eq!(all.len(), u128::MAX);
        assert_eq!(all.address(5, [1, 1]), [0, 5]);
        let mut random = Stream(1);
        let ports: Vec<u16> = Ports::new(9, 9, 3, &mut random).collect();
        assert_eq!(ports, [9, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Ports::offset(9, 3, 6), 9);
    }
}
