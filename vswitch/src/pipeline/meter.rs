//! Meters: token buckets shared by all workers (OpenFlow 1.3.5 §5.7).
//!
//! What: each band has a rate. A packet above it is dropped, or its DSCP is remarked; of several
//! bands whose rate a packet exceeds, that of the highest rate counts.
//!
//! How: a bucket is one number, the time when it would be full again if nothing more came: the
//! generic cell rate algorithm (ITU-T I.371). A packet moves that time on by what it costs at the
//! band's rate. While that time is no more than the burst ahead of now, the bucket is not empty. A
//! packet that finds something in it passes whole, however long: a super-frame of 64 KiB must
//! not starve behind a burst smaller than itself. What passes too much is missing to those after.
//!
//! Packets of a batch that go through one meter are decided about together: what each finds in the
//! bucket is what it would have found alone, but the bucket and the counters are changed once.
//!
//! Why not two numbers, tokens and time: they would have to change together, under a lock. Here
//! one compare-and-swap is all that workers contend for.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openflow::{Band, MeterFlags, MeterId, MeterMod};

use super::limits::BANDS_MAX;
use crate::action::Counters;

/// A meter.
#[derive(Debug)]
pub struct Meter {
    /// Which.
    pub id: MeterId,
    /// Units and what is kept.
    pub flags: MeterFlags,
    /// The bands.
    pub bands: Box<[MeterBand]>,
    /// When it was added.
    pub created_ms: u64,
    /// Packets and bytes it got.
    pub counters: Arc<Counters>,
}

/// The same meter, whatever it is set up to.
impl PartialEq for Meter {
    fn eq(&self, other: &Meter) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Meter {}

impl Hash for Meter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

/// A band of a meter.
#[derive(Debug)]
pub struct MeterBand {
    /// What happens above which rate.
    pub band: Band,
    /// Packets and bytes above the rate.
    pub counters: Counters,
    bucket: Bucket,
}

/// Lengths of packets by their place in a batch.
pub type Lengths = [u32; Places::BITS as usize];

/// A bit for each packet of a batch, the first the lowest.
pub type Places = u64;

/// What a meter says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on as it is.
    Pass,
    /// Is dropped.
    Drop,
    /// Goes on with its drop precedence raised by so much (RFC 2597 §6): of the DSCPs AFx1 to
    /// AFx3; others stay.
    Remark(u8),
}

impl Meter {
    /// A meter as it is set up; one that takes the place of `old` goes on with its counters.
    pub(super) fn new(setup: &MeterMod, old: Option<&Meter>, now_ms: u64) -> Meter {
        let bands = setup.bands.iter().map(|band| MeterBand {
            band: *band,
            counters: Counters::default(),
            bucket: Bucket::new(band, setup.flags),
        });
        Meter {
            id: setup.meter,
            flags: setup.flags,
            bands: bands.collect(),
            created_ms: old.map_or(now_ms, |old| old.created_ms),
            counters: old.map(|old| old.counters.clone()).unwrap_or_default(),
        }
    }

    /// Decides about one packet of `bytes` at `now_ns`, and counts it.
    pub fn admit(&self, now_ns: u64, bytes: u32) -> Verdict {
        let now_ms = now_ns / 1_000_000;
        self.counters.add(1, bytes.into(), now_ms);
        let mut exceeded: Option<&MeterBand> = None;
        for band in &self.bands {
            if !band.bucket.take(now_ns, bytes)
                && exceeded.is_none_or(|other| rate(&other.band) < rate(&band.band))
            {
                exceeded = Some(band);
            }
        }
        let Some(band) = exceeded else {
            return Verdict::Pass;
        };
        band.counters.add(1, bytes.into(), now_ms);
        match band.band {
            Band::Drop { .. } => Verdict::Drop,
            Band::DscpRemark { precedence, .. } => Verdict::Remark(precedence),
        }
    }

    /// Whether there is a band that remarks.
    pub fn remarks(&self) -> bool {
        let remarks = |it: &MeterBand| matches!(it.band, Band::DscpRemark { .. });
        self.bands.iter().any(remarks)
    }

    /// Decides about packets of a batch in order, as [`Meter::admit`] does about one after the
    /// other, and counts them. `chosen` are those of the places. Returns the bits
    /// of those that exceed a rate: they are dropped if the meter remarks none.
    pub fn admit_together(&self, now_ns: u64, lengths: &Lengths, chosen: Places) -> Places {
        if chosen == 0 {
            return 0;
        }
        let now_ms = now_ns / 1_000_000;
        count(&self.counters, lengths, chosen, now_ms);
        let mut exceeding = [0; BANDS_MAX];
        for (band, exceeding) in self.bands.iter().zip(&mut exceeding) {
            *exceeding = band.bucket.take_together(now_ns, lengths, chosen);
        }
        let all = exceeding.iter().fold(0, |all, one| all | one);
        if all != 0 {
            self.count_exceeding(&exceeding, lengths, now_ms);
        }
        all
    }

    /// Counts each packet in that of the bands that it exceeds which has the highest rate, the
    /// first of several.
    #[cold]
    fn count_exceeding(&self, exceeding: &[Places; BANDS_MAX], lengths: &Lengths, now_ms: u64) {
        for (place, (band, ours)) in self.bands.iter().zip(exceeding).enumerate() {
            let others = self.bands.iter().zip(exceeding).enumerate();
            let better = others.filter(|(other_place, (other, _))| {
                let (other, ours) = (rate(&other.band), rate(&band.band));
                other > ours || other == ours && *other_place < place
            });
            let taken = better.fold(0, |all, (_, (_, bits))| all | bits);
            count(&band.counters, lengths, ours & !taken, now_ms);
        }
    }
}

/// Counts packets of a batch.
fn count(counters: &Counters, lengths: &Lengths, chosen: Places, now_ms: u64) {
    if chosen != 0 {
        let packets = chosen.count_ones();
        let bytes = match chosen.trailing_ones() == packets {
            // As a rule all: several are added at once.
            true => lengths
                .iter()
                .take(packets as usize)
                .map(|it| u64::from(*it))
                .sum(),
            false => of(lengths, chosen).map(|(_, bytes)| u64::from(bytes)).sum(),
        };
        counters.add(packets.into(), bytes, now_ms);
    }
}

/// Place and length of each chosen packet.
#[inline(always)]
fn of(lengths: &Lengths, chosen: Places) -> impl Iterator<Item = (usize, u32)> {
    let mut left = chosen;
    std::iter::from_fn(move || {
        let place = left.trailing_zeros() as usize;
        left &= left.wrapping_sub(1);
        Some((place, *lengths.get(place)?))
    })
}

fn rate(band: &Band) -> u32 {
    match *band {
        Band::Drop { rate, .. } | Band::DscpRemark { rate, .. } => rate,
    }
}

/// A token bucket. Times are in ticks of a 64th of a nanosecond: at 100 Gb/s a small packet costs
/// 5 ns, and 2^64 ticks are nine years.
#[derive(Debug)]
struct Bucket {
    /// When it is full again.
    full_at: AtomicU64,
    /// Ticks from empty to full.
    burst: u64,
    /// What packets cost.
    cost: Cost,
}

/// What a packet costs.
#[derive(Clone, Copy, Debug)]
enum Cost {
    /// So many ticks a packet.
    Packet(u64),
    /// So many ticks a byte, in units of 2^-[`FRACTION_BITS`]: a product tells what it takes in far
    /// less time than a quotient.
    Byte(u64),
}

impl Bucket {
    fn new(band: &Band, flags: MeterFlags) -> Bucket {
        let (rate, burst) = match *band {
            Band::Drop { rate, burst } | Band::DscpRemark { rate, burst, .. } => (rate, burst),
        };
        let rate = rate.max(1);
        let second = 1_000_000_000 * TICKS_PER_NS;
        let burst = match flags.burst && burst > 0 {
            true => u128::from(burst) * u128::from(second) / u128::from(rate),
            false => u128::from(second / BURSTS_PER_SECOND),
        };
        Bucket {
            full_at: AtomicU64::new(0),
            burst: burst.try_into().unwrap_or(u64::MAX),
            cost: match flags.packets {
                true => Cost::Packet(second / u64::from(rate)),
                false => {
                    let byte = u128::from(8 * second / 1000) << FRACTION_BITS;
                    Cost::Byte((byte / u128::from(rate)) as u64)
                }
            },
        }
    }

    /// Takes a packet's worth out of the bucket; `false` if there is nothing in it.
    fn take(&self, now_ns: u64, bytes: u32) -> bool {
        let now = now_ns.saturating_mul(TICKS_PER_NS);
        let cost = self.cost.of(bytes);
        let update = |full_at: u64| {
            let start = full_at.max(now);
            (start - now < self.burst).then(|| start.saturating_add(cost))
        };
        let done = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        done.is_ok()
    }

    /// Takes the worth of one packet after the other out of the bucket; the bits of those that find
    /// nothing in it.
    fn take_together(&self, now_ns: u64, lengths: &Lengths, chosen: Places) -> Places {
        let now = now_ns.saturating_mul(TICKS_PER_NS);
        let last = (Places::MAX << (Places::BITS - 1)).checked_shr(chosen.leading_zeros());
        let last = last.unwrap_or_default();
        let before_last = self.cost.of_all(lengths, chosen & !last);
        let all = before_last.saturating_add(self.cost.of_all(lengths, last));
        let mut refused = 0;
        let update = |full_at: u64| {
            let start = full_at.max(now);
            refused = 0;
            // If the last finds something, all do.
            if start.saturating_add(before_last) - now < self.burst {
                return Some(start.saturating_add(all));
            }
            let end;
            (end, refused) = self.spend(start, now, of(lengths, chosen));
            Some(end)
        };
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        refused
    }

    /// When a bucket that is full again at `start` will be after these packets, and the bits of
    /// those that find nothing in it.
    #[cold]
    fn spend(
        &self,
        start: u64,
        now: u64,
        packets: impl Iterator<Item = (usize, u32)>,
    ) -> (u64, Places) {
        let (mut end, mut refused) = (start, 0);
        for (place, bytes) in packets {
            if end - now < self.burst {
                end = end.saturating_add(self.cost.of(bytes));
            } else {
                refused |= 1 << place;
            }
        }
        (end, refused)
    }
}

impl Cost {
    /// Of a packet.
    fn of(self, bytes: u32) -> u64 {
        match self {
            Cost::Packet(ticks) => ticks,
            Cost::Byte(ticks) => {
                let ticks = u128::from(ticks) * u128::from(bytes);
                (ticks >> FRACTION_BITS) as u64
            }
        }
    }

    /// Of chosen packets of a batch, one by one.
    fn of_all(self, lengths: &Lengths, chosen: Places) -> u64 {
        match self {
            Cost::Packet(ticks) => ticks.saturating_mul(chosen.count_ones().into()),
            Cost::Byte(_) => {
                let costs = of(lengths, chosen).map(|(_, bytes)| self.of(bytes));
                costs.fold(0, u64::saturating_add)
            }
        }
    }
}

const TICKS_PER_NS: u64 = 64;

/// At the lowest rate a byte takes 2^29 ticks, at the highest an eighth of one.
const FRACTION_BITS: u32 = 32;

/// A band that gives no burst has a tenth of a second of its rate: enough for TCP to keep its
/// window over a data centre, short enough that nobody sees a rate other than the one set.
const BURSTS_PER_SECOND: u64 = 10;

#[cfg(test)]
mod tests {
    use openflow::MeterModCommand;

    use super::*;

    use proptest::prelude::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn band() -> impl Strategy<Value = Band> {
        (1..2000_u32, 0..20_u32).prop_map(|(rate, burst)| Band::Drop { rate, burst })
    }

    fn lengths() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0..3000_u32, Places::BITS as usize)
    }

    proptest! {
        #[test]
        fn packets_together_meet_what_they_meet_one_by_one(
            (packets, burst) in any::<(bool, bool)>(),
            bands in prop::collection::vec(band(), 0..=BANDS_MAX),
            batches in prop::collection::vec(
                (0..20_000_000_u64, any::<Places>(), lengths()),
                1..20,
            ),
        ) {
            let [together, apart] = [(); 2].map(|()| meter(packets, burst, bands.clone()));
            let mut now_ns = 0;
            for (pause_ns, chosen, lengths) in batches {
                now_ns += pause_ns;
                let lengths: Lengths = lengths.try_into().expect("so many");
                let refused = of(&lengths, chosen).filter(|(_, bytes)| {
                    apart.admit(now_ns, *bytes) != Verdict::Pass
                });
                let refused = refused.fold(0, |all, (place, _)| all | 1 << place);
                prop_assert_eq!(together.admit_together(now_ns, &lengths, chosen), refused);
                prop_assert_eq!(together.counters.read(), apart.counters.read());
                for (ours, theirs) in together.bands.iter().zip(&apart.bands) {
                    prop_assert_eq!(ours.counters.read(), theirs.counters.read());
                    let full_at = |band: &MeterBand| band.bucket.full_at.load(Ordering::Relaxed);
                    prop_assert_eq!(full_at(ours), full_at(theirs));
                }
            }
        }
    }

    fn meter(packets: bool, burst: bool, bands: Vec<Band>) -> Meter {
        let setup = MeterMod {
            command: MeterModCommand::Add,
            flags: MeterFlags {
                packets,
                burst,
                stats: true,
            },
            meter: MeterId(1),
            bands,
        };
        Meter::new(&setup, None, 0)
    }

    /// Offers packets at a rate for ten seconds: the shares that passed, were remarked, dropped.
    fn offer(meter: &Meter, per_second: u64, bytes: u32) -> (u64, u64, u64) {
        let (mut passed, mut remarked, mut dropped) = (0, 0, 0);
        for n in 0..10 * per_second {
            match meter.admit(n * SECOND_NS / per_second, bytes) {
                Verdict::Pass => passed += 1,
                Verdict::Remark(_) => remarked += 1,
                Verdict::Drop => dropped += 1,
            }
        }
        (passed, remarked, dropped)
    }

    #[test]
    fn packets_pass_at_the_rate() {
        let meter = meter(
            true,
            true,
            vec![Band::Drop {
                rate: 100,
                burst: 10,
            }],
        );
        let (passed, _, dropped) = offer(&meter, 1000, 64);
        assert!((1000..=1011).contains(&passed), "{passed}");
        assert_eq!(passed + dropped, 10_000);
        assert_eq!(meter.bands[0].counters.read().0, dropped);
        assert_eq!(meter.counters.read().0, 10_000);
    }

    #[test]
    fn bytes_pass_at_the_rate() {
        let meter = meter(
            false,
            false,
            vec![Band::Drop {
                rate: 1000,
                burst: 0,
            }],
        );
        let (passed, ..) = offer(&meter, 1000, 1250);
        assert!((1000..=1011).contains(&passed), "{passed}");
    }

    #[test]
    fn a_long_packet_passes_a_short_burst_and_is_made_up_for() {
        let meter = meter(false, true, vec![Band::Drop { rate: 8, burst: 1 }]);
        assert_eq!(meter.admit(0, 10_000), Verdict::Pass);
        assert_eq!(meter.admit(5 * SECOND_NS, 100), Verdict::Drop);
        assert_eq!(meter.admit(10 * SECOND_NS, 100), Verdict::Pass);
    }

    #[test]
    fn the_longest_burst_is_no_limit() {
        let meter = meter(
            true,
            true,
            vec![Band::Drop {
                rate: 1,
                burst: u32::MAX,
            }],
        );
        let (passed, ..) = offer(&meter, 1000, 64);
        assert_eq!(passed, 10_000);
    }

    #[test]
    fn of_two_bands_the_higher_rate_counts() {
        let remark = Band::DscpRemark {
            rate: 100,
            burst: 1,
            precedence: 1,
        };
        let meter = meter(
            true,
            true,
            vec![
                Band::Drop {
                    rate: 500,
                    burst: 1,
                },
                remark,
            ],
        );
        let (passed, remarked, dropped) = offer(&meter, 1000, 64);
        assert!((1000..=1002).contains(&passed), "{passed}");
        assert!((3990..=4010).contains(&remarked), "{remarked}");
        assert_eq!(passed + remarked + dropped, 10_000);
    }
}
