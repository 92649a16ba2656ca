//! Which masks share a tuple.
//!
//! If many masks have a tuple each, finding probes many. So masks share a tuple that hashes bits
//! which all of them have; a stack is then all rules that agree in these, and each is compared as a
//! whole. The more masks share, the fewer bits they have in common and the higher the stacks. What
//! is best depends on the rules: some are drawn at random, and of the sets of masks that have some
//! bits in common the largest is taken whose stacks would be low. A rule whose stack is full all
//! the same goes to the next such tuple, or to one for its mask alone.
//!
//! Rules that come later may agree in the same few bits. A tuple with twice the rules that it was
//! made for and stacks that are tall is dissolved: its rules go to tuples for each mask alone, and
//! then masks are merged anew. So a rule moves a few times however many there are.

use std::sync::Arc;

use super::Classifier;
use super::mask::{Layout, TupleMask};

/// A mask that has a tuple for itself.
struct Lone {
    mask: Arc<TupleMask>,
    tuple: u32,
    rules: usize,
}

/// Rules drawn at random, as the words of their keys.
struct Sample {
    /// Each with the place of its mask.
    rules: Vec<(usize, Vec<(u8, u64)>)>,
}

/// Masks that may share a tuple.
struct Choice {
    probe: TupleMask,
    /// Their places.
    masks: Vec<usize>,
    /// Cells in the stack of a rule, on average.
    height: f64,
}

impl Classifier {
    /// Begins to move rules of several masks to one tuple, if there are many with a tuple each and
    /// some can share one.
    pub(super) fn merge(&mut self) {
        let is_idle = |number: &u32| self.tuple(*number).is_some_and(|tuple| tuple.len() == 0);
        let idle: Vec<u32> = self.shared.iter().copied().filter(is_idle).collect();
        idle.into_iter().for_each(|idle| self.drop_tuple(idle));
        if self.dissolve() {
            return;
        }
        let apart = self.tuples.len() - self.vacant.len() - self.shared.len();
        if apart < self.merge_from || self.shared.len() >= SHARED_MAX {
            if apart <= self.tuning.apart {
                self.merge_from = self.tuning.apart + 1;
            }
            return;
        }
        let lone = self.lone();
        let sample = self.draw(&lone);
        match choose(&lone, &sample) {
            Some(choice) => self.share(&lone, &choice),
            // As it is until there are many more.
            None => self.merge_from = apart * 2,
        }
    }

    /// Begins to move rules out of tuples whose stacks have grown tall, to be merged anew by other
    /// bits. Whether there are such.
    fn dissolve(&mut self) -> bool {
        let height_eighths = self.tuning.stack_max as usize * TALL_EIGHTHS;
        let is_tall = |number: &u32| {
            let tuple = self.tuple(*number);
            tuple.is_some_and(|tuple| !tuple.is_closed && tuple.is_tall(height_eighths))
        };
        let tall: Vec<u32> = self.shared.iter().copied().filter(is_tall).collect();
        tall.iter().for_each(|number| self.begin_closing(*number));
        if !tall.is_empty() {
            self.merge_from = self.tuning.apart + 1;
        }
        !tall.is_empty()
    }

    /// Masks with a tuple for themselves, at most so many as are looked at.
    fn lone(&self) -> Vec<Lone> {
        let shapes = self.shapes.iter().filter_map(|(mask, shape)| {
            let tuple = *shape.own.first()?;
            Some(Lone {
                mask: Arc::clone(mask),
                tuple,
                rules: self.tuple(tuple)?.len(),
            })
        });
        let shapes = shapes.filter(|lone| lone.rules > 0);
        let mut lone: Vec<_> = shapes
            .filter(|lone| !lone.mask.words().is_empty())
            .collect();
        lone.sort_by(|a, b| a.mask.cmp(&b.mask));
        let every = lone.len().div_ceil(MASKS_MAX).max(1);
        lone.into_iter().step_by(every).collect()
    }

    /// Rules of these masks, in proportion to their numbers but some of each.
    fn draw(&self, lone: &[Lone]) -> Sample {
        let all: usize = lone.iter().map(|lone| lone.rules).sum();
        let mut rules = Vec::new();
        for (place, lone) in lone.iter().enumerate() {
            let Some(tuple) = self.tuple(lone.tuple) else {
                continue;
            };
            let wanted = (lone.rules * SAMPLE).div_ceil(all.max(1));
            let step = (tuple.face.cells.last() as usize / wanted.max(1)).max(1);
            let cells = (1..=tuple.face.cells.last()).step_by(step);
            for cell in cells.filter_map(|number| tuple.face.cells.get(number)) {
                if cell.is_linked() && cell.is_living() {
                    let words = tuple.face.words(cell);
                    let words = words.map(|(index, value, _)| (index as u8, value));
                    rules.push((place, words.collect()));
                }
            }
        }
        Sample { rules }
    }

    fn share(&mut self, lone: &[Lone], choice: &Choice) {
        let all = self
            .shapes
            .keys()
            .filter(|mask| choice.probe.is_part_of(mask));
        let present = all.fold(0, |all, mask| all | mask.present());
        let layout = Arc::new(Layout::new(present, &choice.probe));
        let probe = Arc::new(choice.probe.clone());
        let Some(number) = self.add_tuple(&probe, Some(layout), 0) else {
            return;
        };
        let rules = choice.masks.iter().map(|place| lone[*place].rules);
        self.set_founded(number, rules.sum());
        self.shared.push(number);
        let mut from = Vec::new();
        for (mask, shape) in &mut self.shapes {
            if probe.is_part_of(mask) {
                shape.shared.push(number);
                from.extend(shape.own.first());
            }
        }
        debug_assert!(
            choice
                .masks
                .iter()
                .all(|place| from.contains(&lone[*place].tuple))
        );
        from.into_iter().for_each(|from| self.begin_moving(from));
    }
}

/// The largest set of masks whose rules would be in low stacks, if there is one.
fn choose(lone: &[Lone], sample: &Sample) -> Option<Choice> {
    let mut choice = choice_of(lone, sample, (0..lone.len()).collect())?;
    while choice.height > HEIGHT_MAX {
        let narrower = narrower(lone, &choice);
        let choices = narrower
            .into_iter()
            .filter_map(|masks| choice_of(lone, sample, masks));
        choice = choices.max_by(|a, b| a.value().total_cmp(&b.value()))?;
    }
    (choice.masks.len() > 1).then_some(choice)
}

/// Sets of fewer masks that have more bits in common.
fn narrower(lone: &[Lone], choice: &Choice) -> Vec<Vec<usize>> {
    let mut wider: Vec<(u8, u64)> = Vec::new();
    for place in &choice.masks {
        for &(index, bits) in lone[*place].mask.words() {
            let is_more = bits & !choice.probe.word(index) != 0;
            if is_more && wider.len() < CANDIDATES_MAX && !wider.contains(&(index, bits)) {
                wider.push((index, bits));
            }
        }
    }
    let masks_with = |&(index, bits): &(u8, u64)| -> Vec<usize> {
        let has = |place: &usize| bits & !lone[*place].mask.word(index) == 0;
        choice.masks.iter().copied().filter(has).collect()
    };
    let sets = wider.iter().map(masks_with);
    sets.filter(|masks| masks.len() > 1).collect()
}

fn choice_of(lone: &[Lone], sample: &Sample, masks: Vec<usize>) -> Option<Choice> {
    let first = TupleMask::clone(&lone[*masks.first()?].mask);
    let others = masks.iter().skip(1);
    let probe = others.fold(first, |all, place| all.intersection(&lone[*place].mask));
    let drawn = sample.rules.iter();
    let mut keys: Vec<Vec<u64>> = drawn
        .filter(|(place, _)| masks.binary_search(place).is_ok())
        .map(|(_, words)| {
            let value = |index: u8| words.iter().find(|word| word.0 == index);
            let values = probe
                .words()
                .iter()
                .map(|(index, bits)| (value(*index), bits));
            values
                .map(|(word, bits)| word.map_or(0, |word| word.1 & bits))
                .collect()
        })
        .collect();
    keys.sort_unstable();
    let equal: usize = keys
        .chunk_by(|a, b| a == b)
        .map(|run| run.len() * (run.len() - 1))
        .sum();
    let pairs = (keys.len() * keys.len().saturating_sub(1)).max(1);
    let rules: usize = masks.iter().map(|place| lone[*place].rules).sum();
    let height = 1.0 + equal as f64 / pairs as f64 * rules.saturating_sub(1) as f64;
    Some(Choice {
        probe,
        masks,
        height,
    })
}

impl Choice {
    /// How good it is: masks that share, if the stacks are low.
    fn value(&self) -> f64 {
        self.masks.len() as f64 / (self.height / HEIGHT_MAX).max(1.0)
    }
}

/// A tuple is dissolved if its stacks are taller on average than so many eighths of what they may
/// be: six cells, twice what it was made for.
const TALL_EIGHTHS: usize = 3;
/// Cells in a stack, on average, that are as good as a probe saved.
const HEIGHT_MAX: f64 = 3.0;
/// Tuples that masks share, at most: what they leave over is probed apart.
const SHARED_MAX: usize = 16;
/// Rules that are drawn to judge by.
const SAMPLE: usize = 256;
/// Masks that are looked at, evenly spread over all.
const MASKS_MAX: usize = 256;
/// Sets of masks that are compared at a time.
const CANDIDATES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Stream;
    use crate::{Field, Match};

    /// Rules of 64 masks that all match a short prefix of two addresses, and one of 100 ports.
    fn rule(n: u32) -> Match {
        let mut stream = Stream(n.into());
        let (from, to) = (8 + n % 8 * 3, 8 + n / 8 % 8 * 3);
        let net = |base: u32, random: u64, length: u32| {
            let mask = u32::MAX << (32 - length);
            let address = base | random as u32 >> 8;
            (u128::from(address & mask), u128::from(mask))
        };
        let mut matching = Match::default();
        let (value, mask) = net(10 << 24, stream.next(), from);
        matching.set(Field::Ipv4Src, value, mask);
        let (value, mask) = net(20 << 24, stream.next(), to);
        matching.set(Field::Ipv4Dst, value, mask);
        matching.set(Field::UdpDst, (n % 100).into(), 0xffff);
        matching
    }

    #[test]
    fn bits_that_told_few_rules_apart_are_given_up_when_there_are_many() {
        const COUNT: u32 = 6_400;
        let mut classifier = Classifier::new(7, 1);
        let mut epoch = 1;
        let mut moved = Vec::new();
        for n in 0..COUNT {
            let priority = (n / 64) as u16;
            classifier
                .insert(&rule(n), priority, &[n.into()], epoch)
                .expect("room");
            if n % 50 == 0 {
                epoch += 1;
                classifier.maintain((epoch - 1, epoch), 4096, &mut moved);
            }
        }
        for _ in 0..200 {
            epoch += 1;
            classifier.maintain((epoch - 1, epoch), 4096, &mut moved);
        }
        let tables: Vec<_> = classifier.hash_tables().collect();
        assert!(tables.len() <= 16, "{tables:?}");
        // As merged for the first rules it would be five tables of a hundred full stacks.
        let mut large = tables.iter().filter(|it| it.rules > 1000);
        assert!(large.all(|it| it.hashed_bits > 32), "{tables:?}");
        assert_eq!(
            tables.iter().map(|it| it.rules).sum::<usize>(),
            COUNT as usize
        );
        for n in 0..COUNT {
            let id = classifier
                .get(&rule(n), (n / 64) as u16)
                .expect("it is there");
            assert_eq!(classifier.rule(id).map(|it| it.word(0)), Some(n.into()));
        }
    }
}
