//! Chance that can be repeated: a small generator of numbers, and streams of them that belong to a name.
//!
//! A stream depends on the seed and on what it is for, never on what was drawn elsewhere. So a plan can lose a container
//! or a hook, and everything else in it happens as before: that is what makes shrinking work.

use std::time::Duration;

/// A stream of numbers (splitmix64: one word of state, every seed is good).
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The stream of a seed that belongs to `name` and `number`.
    pub fn of(seed: u64, name: &str, number: u64) -> Self {
        let mut stream = Self::new(seed);
        for byte in name.bytes() {
            stream.state = mixed(stream.state ^ u64::from(byte)).wrapping_add(GOLDEN);
        }
        stream.state = mixed(stream.state ^ number);
        stream
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mixed(self.state)
    }

    /// A number below `limit`; 0 if `limit` is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `percent` of 100 cases.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices[index].clone()
    }

    /// A duration from `low` to `high` milliseconds.
    pub const fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
