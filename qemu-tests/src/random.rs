//! Random numbers that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }

    /// An index of something that has so many.
    pub fn index(&mut self, count: usize) -> usize {
        let number = self.below(u64::try_from(count.max(1)).unwrap_or(1));
        usize::try_from(number).unwrap_or(0)
    }
}

/// `SEED`, else another each time; printed.
///
/// # Panics
/// `SEED` is not a number.
#[must_use]
pub fn seed() -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let another = u64::try_from(clock % 1_000_000).unwrap_or(0);
    #[allow(clippy::expect_used, reason = "a mistake of the person who set it")]
    let set = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seed = set.unwrap_or(another);
    eprintln!("SEED={seed}");
    seed
}
