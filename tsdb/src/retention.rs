//! What is kept, and for how long: by time, by size, and by series.
//!
//! Which blocks go as a whole is a pure function of their descriptions and sizes, with the rules of
//! Prometheus (`tsdb/db.go`, 3.14): ages are measured from the end of the newest block, not by the
//! clock, so that a store which gets nothing new loses nothing; by size, the newest blocks that fit
//! stay, and one at least. Rules for some series delete those from blocks that are old enough for them; their room
//! comes back when compaction rewrites the block.

use ferula_index::Matcher;
use ulid::Ulid;

use crate::block::BlockMeta;
use crate::error::Error;
use crate::options::MAX_TIME_MS;

/// What is kept, and for how long. What sets no limit keeps everything, which is the default.
///
/// ```
/// use ferula_index::Matcher;
/// use ferula_tsdb::{Options, Retention};
///
/// const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// let retention = Retention::default()
///     .time_ms(30 * DAY_MS)
///     .rule(&[Matcher::equal("job", "audit")], Some(730 * DAY_MS));
/// let options = Options::builder().retention(retention).build()?;
/// assert_eq!(options.retention.rules.len(), 1);
/// # Ok::<(), ferula_tsdb::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Retention {
    /// How long samples are kept for which no rule holds, in milliseconds. A block goes when it ends
    /// this long or longer before the newest one.
    pub time_ms: Option<i64>,
    /// Size in bytes that blocks, log and files of the head may have together. The oldest blocks go
    /// until they fit.
    pub size_bytes: Option<u64>,
    /// The same in percent of the file system that the data directory is on; it prevails over
    /// `size_bytes` where the size of the file system is known.
    pub disk_percent: Option<u8>,
    /// How long the samples of some series are kept. The first rule that matches a series holds.
    pub rules: Vec<RetentionRule>,
}

/// How long the samples of some series are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetentionRule {
    /// The series that pass all of these.
    pub matchers: Vec<Matcher>,
    /// How long their samples are kept, in milliseconds; `None` keeps them.
    pub time_ms: Option<i64>,
}

impl Retention {
    /// Sets how long samples are kept for which no rule holds, in milliseconds.
    pub fn time_ms(mut self, time_ms: i64) -> Self {
        self.time_ms = Some(time_ms);
        self
    }

    /// Sets the size in bytes that blocks, log and files of the head may have together.
    pub fn size_bytes(mut self, size_bytes: u64) -> Self {
        self.size_bytes = Some(size_bytes);
        self
    }

    /// Sets that size in percent of the file system that the data directory is on.
    pub fn disk_percent(mut self, disk_percent: u8) -> Self {
        self.disk_percent = Some(disk_percent);
        self
    }

    /// Adds how long the samples of the series that pass all `matchers` are kept, in milliseconds;
    /// `None` keeps them. It holds for series that no rule before it matches.
    pub fn rule(mut self, matchers: &[Matcher], time_ms: Option<i64>) -> Self {
        self.rules.push(RetentionRule { matchers: matchers.to_vec(), time_ms });
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let within = |option, value: u64, max| {
            let is_valid = (1..=max).contains(&value);
            if is_valid { Ok(()) } else { Err(Error::InvalidOption { option, value, min: 1, max }) }
        };
        let times = self.times().map(|time| time.map(|time| u64::try_from(time).unwrap_or(0)));
        for time_ms in times.flatten() {
            within("retention.time_ms", time_ms, MAX_TIME_MS.cast_unsigned())?;
        }
        within("retention.size_bytes", self.size_bytes.unwrap_or(1), u64::MAX)?;
        within("retention.disk_percent", self.disk_percent.unwrap_or(1).into(), 100)
    }

    /// The time of each rule and that of all other series.
    fn times(&self) -> impl Iterator<Item = Option<i64>> {
        self.rules.iter().map(|rule| rule.time_ms).chain([self.time_ms])
    }

    /// After which time no sample is kept, whatever its series.
    pub(crate) fn longest_ms(&self) -> Option<i64> {
        self.times().collect::<Option<Vec<i64>>>()?.into_iter().max()
    }

    /// Tells for each rule, and for all other series, whether their samples go from a block that
    /// ends `age_ms` before the newest one.
    pub(crate) fn expired(&self, age_ms: i64) -> Vec<bool> {
        self.times().map(|time| time.is_some_and(|time| age_ms >= time)).collect()
    }
}

/// How long before the end of the newest of `metas` each of them ends, in milliseconds.
pub(crate) fn ages<'a>(metas: &[&'a BlockMeta]) -> Vec<(&'a BlockMeta, i64)> {
    let newest = metas.iter().map(|meta| meta.maxt).max().unwrap_or(0);
    metas.iter().map(|meta| (*meta, newest.saturating_sub(meta.maxt))).collect()
}

/// The blocks that end `time_ms` or longer before the newest one.
pub(crate) fn beyond_time(metas: &[&BlockMeta], time_ms: i64) -> Vec<Ulid> {
    // The newest block has no age and stays, whatever the limit.
    let is_beyond = |(_, age): &(&BlockMeta, i64)| *age > 0 && *age >= time_ms;
    ages(metas).into_iter().filter(is_beyond).map(|(meta, _)| meta.ulid).collect()
}

/// The oldest blocks, given with their sizes, without which what is left has no more than
/// `limit_bytes` together with the `other_bytes`. The newest one stays whatever its size: it tells
/// which samples of the log are not wanted any more.
pub(crate) fn beyond_size(
    blocks: &[(&BlockMeta, u64)],
    other_bytes: u64,
    limit_bytes: u64,
) -> Vec<Ulid> {
    let mut newest_first = blocks.to_vec();
    newest_first.sort_by_key(|(meta, _)| std::cmp::Reverse((meta.maxt, meta.ulid)));
    let mut total = other_bytes;
    let fits = |(_, size_bytes): &&(&BlockMeta, u64)| {
        total = total.saturating_add(*size_bytes);
        total <= limit_bytes
    };
    let n_kept = newest_first.iter().take_while(fits).count();
    newest_first[n_kept.max(1).min(newest_first.len())..]
        .iter()
        .map(|(meta, _)| meta.ulid)
        .collect()
}
