//! Chance: everything that is random in a run comes from one generator, seeded by the run's seed.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};
use std::ops::Range;

/// The generator of one run.
#[derive(Debug)]
pub(crate) struct Chance(StdRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Returns any number: a seed for a part that has its own generator.
    pub(crate) fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        self.0.random_range(range)
    }

    /// Returns true with this probability, in thousandths.
    pub(crate) fn permille(&mut self, permille: u32) -> bool {
        permille > 0 && self.0.random_range(0..1000) < permille
    }

    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.permille(percent * 10)
    }

    /// Returns one of these.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(&mut self.0).expect("something to choose from")
    }

    /// Returns one of these, if there are any.
    pub(crate) fn any_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        choices.choose(&mut self.0).copied()
    }

    /// Returns one of these, with probability proportional to its weight.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(T, u32)]) -> T {
        let total: u32 = choices.iter().map(|(_, weight)| weight).sum();
        let mut at = self.0.random_range(0..total);
        for (choice, weight) in choices {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return *choice,
            }
        }
        unreachable!("the weights add up to {total}")
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.0);
    }

    /// Returns an exponentially distributed waiting time with this mean, as between independent arrivals.
    pub(crate) fn exponential(&mut self, mean: u64) -> u64 {
        let uniform: f64 = self.0.random();
        (-(1.0 - uniform).ln() * mean as f64) as u64
    }
}
