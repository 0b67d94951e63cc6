//! What is done to the database, drawn from a seed.

use ferula_tsdb::{BlockFormat, Compression, Options, SyncPolicy};
use ferula_wal::fs::{Fault, Survival};

/// Batches that may be open at the same time.
pub(crate) const N_APPENDERS: usize = 3;

/// Numbers that stand for kinds of operations, as many for each as it is to be frequent.
pub(crate) const N_KINDS: u64 = 100;

/// Those below this do no harm.
const N_HARMLESS_KINDS: u64 = 84;

/// One step of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    /// A batch of one sample each of `n` series, committed.
    Scrape { first: u16, n: u16, advance: i64 },
    /// Samples of one series into an open batch; time goes on by `advance`, or back.
    Append { appender: usize, series: u16, advance: i64, n: u16 },
    /// Commits an open batch.
    Commit { appender: usize },
    /// Drops an open batch.
    Rollback { appender: usize },
    /// Commits the newest sample of a series once more.
    Repeat { series: u16 },
    /// From now on other series are meant.
    Churn { by: u16 },
    /// Cuts what is due.
    Maintain,
    /// Cuts everything.
    CompactHead,
    /// Makes blocks of blocks.
    Compact,
    /// Deletes samples of some series.
    Delete { series: u16, n: u16, back: i64 },
    /// Rewrites blocks without what is deleted.
    CleanTombstones,
    /// Copies the database and opens the copy.
    Snapshot,
    /// Opens a view that is to stay as it is.
    Hold,
    /// Compares what that view shows now with what it showed at first.
    ReadHeld,
    /// Compares what is visible with what was acknowledged.
    Check,
    /// Closes the database and opens it again.
    Reopen,
    /// Kills the process and opens the database again on the same machine.
    Kill,
    /// Cuts the power and opens the database again.
    Crash { survival: Survival },
    /// Lets the operation of the file system after `after` others fail.
    Arm { after: u64, fault: Fault },
    /// Lets a read fail.
    FailRead { after: u64 },
    /// The disk is full, or has room again.
    Full { is_full: bool },
}

/// A seeded workload.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) ops: Vec<Op>,
}

/// What holds for a schedule as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) is_always: bool,
    pub(crate) is_compressed: bool,
    pub(crate) block_range_ms: i64,
    pub(crate) chunk_segment_bytes: u64,
    /// Formats of blocks, between which openings change.
    pub(crate) formats: [BlockFormat; 2],
    /// Bytes of a label of every fifth series, to make the log change segments.
    pub(crate) padding: usize,
    /// Exemplars that are kept.
    pub(crate) max_exemplars: usize,
}

impl Config {
    pub(crate) fn options(&self) -> Options {
        let sync = if self.is_always { SyncPolicy::Always } else { SyncPolicy::Never };
        let compression = if self.is_compressed { Compression::Zstd } else { Compression::None };
        Options::builder()
            .sync(sync)
            .block_range_ms(self.block_range_ms)
            .chunk_segment_bytes(self.chunk_segment_bytes)
            .wal_segment_bytes(32 << 10)
            .wal_compression(compression)
            .max_exemplars(self.max_exemplars)
            .maintenance_interval(None)
            .build()
            .expect("valid options")
    }
}

/// Random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn small(&mut self, limit: u16) -> u16 {
        u16::try_from(self.below(u64::from(limit))).expect("below the limit")
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn survival(&mut self) -> Survival {
        let seed = self.below(1 << 32);
        match self.below(8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            2 | 3 => Survival::Prefix(seed),
            4 => Survival::Suffix(seed),
            _ => Survival::Scattered(seed),
        }
    }
}

impl Schedule {
    /// The schedule of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (ferula, prometheus) = (BlockFormat::Ferula, BlockFormat::Prometheus);
        let formats = [[ferula; 2], [ferula, prometheus], [prometheus, ferula], [prometheus; 2]];
        let config = Config {
            is_always: !random.one_in(4),
            is_compressed: random.one_in(4),
            block_range_ms: [1000, 2000, 10_000][usize::from(random.small(3))],
            chunk_segment_bytes: [64, 300, 1 << 20][usize::from(random.small(3))],
            padding: [0, 0, 300, 4000][usize::from(random.small(4))],
            // Not drawn, so that the schedules of seeds stay what they were.
            formats: formats[usize::try_from(seed % 4).expect("small")],
            max_exemplars: [3, 10, 100][usize::try_from(seed % 3).expect("small")],
        };
        let n_ops = 8 + random.below(40);
        let has_faults = !random.one_in(8);
        let ops = (0..n_ops).map(|_| op(&mut random, &config, has_faults)).collect();
        Self { seed, config, ops }
    }

    /// A schedule without faults, to be stopped at each of its operations.
    pub(crate) fn without_faults(seed: u64) -> Self {
        let mut schedule = Self::new(seed);
        let mut random = Random(seed);
        schedule.ops = (0..30).map(|_| op(&mut random, &schedule.config, false)).collect();
        schedule
    }
}

fn op(random: &mut Random, config: &Config, has_faults: bool) -> Op {
    let kind = random.below(if has_faults { N_KINDS } else { N_HARMLESS_KINDS });
    op_of_kind(kind, random, config)
}

/// Draws the parameters of an operation; the kind is a number below [`N_KINDS`].
pub(crate) fn op_of_kind(kind: u64, random: &mut Random, config: &Config) -> Op {
    let range = config.block_range_ms;
    let far = |random: &mut Random| match random.below(12) {
        0..9 => random.below(range.unsigned_abs() / 4 + 1).cast_signed(),
        9 => random.below(range.unsigned_abs() * 3).cast_signed(),
        _ => -random.below(range.unsigned_abs() / 2).cast_signed(),
    };
    match kind {
        0..30 => {
            let n = 1 + if random.one_in(10) { random.small(300) } else { random.small(8) };
            Op::Scrape { first: random.small(6), n, advance: far(random).max(1) }
        }
        30..44 => Op::Append {
            appender: usize::from(random.small(3)),
            series: random.small(10),
            advance: far(random),
            n: 1 + if random.one_in(6) { random.small(250) } else { random.small(4) },
        },
        44..54 => Op::Commit { appender: usize::from(random.small(3)) },
        54..56 => Op::Rollback { appender: usize::from(random.small(3)) },
        56..59 => Op::Repeat { series: random.small(10) },
        59..62 => Op::Churn { by: 1 + random.small(5) },
        62..68 => Op::Maintain,
        68..70 => Op::CompactHead,
        70 => Op::Compact,
        71 => Op::Delete {
            series: random.small(10),
            n: 1 + random.small(6),
            back: random.below(range.unsigned_abs() * 8).cast_signed(),
        },
        72 => Op::CleanTombstones,
        73 => Op::Snapshot,
        74 => Op::Check,
        75 => Op::Hold,
        76 => Op::ReadHeld,
        77..79 => Op::Reopen,
        79..81 => Op::Kill,
        81..84 => Op::Crash { survival: random.survival() },
        84..95 => {
            let fault = match random.below(8) {
                // Without syncs nobody was told that what is lost so would be kept.
                1 if config.is_always => Fault::Lost,
                0 | 1 => Fault::Io,
                2 | 3 => Fault::NoSpace,
                _ => Fault::Stop,
            };
            let after = if random.one_in(2) { random.below(6) } else { random.below(80) };
            Op::Arm { after, fault }
        }
        95 => Op::FailRead { after: random.below(20) },
        96..98 => Op::Full { is_full: true },
        _ => Op::Full { is_full: false },
    }
}
