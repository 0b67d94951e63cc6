//! Named data sets for the benchmarks, the same in every run.
//!
//! Numbers are only compared within one data set: what a codec makes of a constant says nothing
//! about what it makes of a gauge. Each set is one kind of series as scraped, 15 seconds apart.

pub mod fleet;
pub mod pods;
pub mod process;
pub mod recording;

use ferula_chunkenc::Sample;
use ferula_chunkenc::stale::STALE_NAN;

/// A series with its labels in order, names and values.
#[derive(Clone, Debug)]
pub struct Series {
    /// Names and values, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Samples in time order.
    pub samples: Vec<Sample>,
}

/// First timestamp of every series.
pub const START_MS: i64 = 1_700_000_000_000;

/// Time between scrapes.
pub const STEP_MS: i64 = 15_000;

/// A kind of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dataset {
    /// A counter that grows by the same number between scrapes to the millisecond.
    SteadyCounter,
    /// A measured value with two decimals, scraped up to 10 ms off the beat.
    JitteredGauge,
    /// A counter that grows by small random numbers.
    Integers,
    /// One value, always.
    Constant,
    /// Values that share sign and exponent and nothing else: the worst case of most codecs.
    RandomMantissa,
    /// A gauge of small integers that goes stale now and then and comes back later.
    StaleGaps,
}

impl Dataset {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SteadyCounter,
        Self::JitteredGauge,
        Self::Integers,
        Self::Constant,
        Self::RandomMantissa,
        Self::StaleGaps,
    ];

    /// Name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SteadyCounter => "steady_counter",
            Self::JitteredGauge => "jittered_gauge",
            Self::Integers => "integers",
            Self::Constant => "constant",
            Self::RandomMantissa => "random_mantissa",
            Self::StaleGaps => "stale_gaps",
        }
    }

    /// The first `n` samples of the series with the number `series`; other numbers give other
    /// series of the same kind.
    pub fn samples(self, series: u64, n: usize) -> Vec<Sample> {
        let mut random = Random::new(series.wrapping_mul(31).wrapping_add(self as u64));
        let mut timestamp = START_MS;
        let mut value = random.below(1000) as f64;
        (0..n)
            .map(|_| {
                timestamp += STEP_MS;
                let mut at = timestamp;
                let mut shown = value;
                match self {
                    Self::Constant => {}
                    Self::SteadyCounter => value += 7.0,
                    Self::Integers => value += random.below(500) as f64,
                    Self::JitteredGauge => {
                        at += i64::try_from(random.below(21)).unwrap_or_default() - 10;
                        value = (value * 100.0 + random.below(401) as f64 - 200.0).round() / 100.0;
                    }
                    Self::RandomMantissa => {
                        shown = f64::from_bits(1.0_f64.to_bits() | random.next() >> 12);
                    }
                    Self::StaleGaps => {
                        value = random.below(50) as f64;
                        if random.below(20) == 0 {
                            shown = STALE_NAN;
                            timestamp += STEP_MS * 20;
                        }
                    }
                }
                Sample::new(at, shown)
            })
            .collect()
    }
}

/// A small generator of random numbers (SplitMix64), so that data sets stay what they are whatever
/// becomes of other crates.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; close enough to uniform for small limits.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
