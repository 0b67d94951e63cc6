//! What was committed, and what may be found of it.
//!
//! Every sample has a value of its own, so that whatever is found tells which batch it is of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ferula_chunkenc::Sample;
use ferula_index::Labels;

/// Every series that is found, with its samples.
pub(crate) type Content = Vec<(Labels, Vec<Sample>)>;

/// Fails a schedule with a text.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use ensure;

/// A sample that the workload made; its value is `serial`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) series: u16,
    pub(crate) timestamp: i64,
    pub(crate) serial: u32,
}

/// What is known of a batch whose commit was called.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) samples: Vec<Written>,
    /// Whether the commit returned without an error. If not, the batch may be found or not.
    pub(crate) is_acknowledged: bool,
    /// Whether it must be found even after the power was cut.
    pub(crate) is_durable: bool,
    /// Whether `samples` may hold some that the commit would have refused.
    pub(crate) is_vague: bool,
}

/// What the machine went through between what was acknowledged and what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Nothing: the database is open.
    None,
    /// Another process has opened the directory.
    Process,
    /// The power was cut.
    Power,
}

/// All batches whose commit was called, in order, but for those that are known to be gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) batches: Vec<Batch>,
    /// Samples of a deletion that failed: they may be found or not, one by one.
    doubtful: BTreeMap<u32, Written>,
    /// Series and times of samples that were deleted. A batch that was opened before the cut knows
    /// them yet.
    deleted: BTreeSet<(u16, i64)>,
}

impl Model {
    /// Time of the newest sample of each series, of any batch.
    pub(crate) fn newest(&self) -> BTreeMap<u16, i64> {
        let mut newest = BTreeMap::new();
        for sample in self.samples() {
            let time = newest.entry(sample.series).or_insert(sample.timestamp);
            *time = sample.timestamp.max(*time);
        }
        newest
    }

    /// The samples of all batches.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Written> {
        self.batches.iter().flat_map(|batch| &batch.samples).chain(self.doubtful.values())
    }

    /// Tells whether there was a sample of a series at a time, and was deleted.
    pub(crate) fn was_deleted(&self, series: u16, timestamp: i64) -> bool {
        self.deleted.contains(&(series, timestamp))
    }

    /// The newest acknowledged sample of a series.
    pub(crate) fn newest_of(&self, series: u16) -> Option<Written> {
        let acknowledged = self.batches.iter().filter(|batch| batch.is_acknowledged);
        let samples = acknowledged.flat_map(|batch| &batch.samples);
        let samples = samples.chain(self.doubtful.values());
        samples.filter(|sample| sample.series == series).max_by_key(|s| s.timestamp).copied()
    }

    /// Everything acknowledged so far survives from now on.
    pub(crate) fn make_durable(&mut self) {
        for batch in self.batches.iter_mut().filter(|batch| batch.is_acknowledged) {
            batch.is_durable = true;
        }
    }

    /// Leaves out what a failed deletion may have deleted.
    pub(crate) fn without_doubtful(&self, mut content: Content) -> Content {
        let is_doubtful =
            |sample: &Sample| self.doubtful.keys().any(|serial| f64::from(*serial) == sample.value);
        for (_, samples) in &mut content {
            samples.retain(|sample| !is_doubtful(sample));
        }
        content.retain(|(_, samples)| !samples.is_empty());
        content
    }

    /// Takes note of a deletion: what `is_deleted` names is gone, unless the deletion `has_failed`.
    pub(crate) fn delete(&mut self, is_deleted: impl Fn(&Written) -> bool, has_failed: bool) {
        for batch in &mut self.batches {
            let deleted = batch.samples.iter().filter(|sample| is_deleted(sample));
            self.deleted.extend(deleted.map(|sample| (sample.series, sample.timestamp)));
            if has_failed {
                let doubtful = batch.samples.iter().filter(|sample| is_deleted(sample));
                self.doubtful.extend(doubtful.map(|sample| (sample.serial, *sample)));
            }
            batch.samples.retain(|sample| !is_deleted(sample));
        }
        if !has_failed {
            self.doubtful.retain(|_, sample| !is_deleted(sample));
        }
    }

    /// Checks what is found, and takes it for what there is from now on.
    pub(crate) fn check(
        &mut self,
        found: &Content,
        gap: Gap,
        labels_of: impl Fn(u16) -> Labels,
    ) -> Result<(), String> {
        let found_in = self.assign(found, &labels_of)?;
        let mut lost = None;
        for (number, (batch, found)) in self.batches.iter_mut().zip(&found_in).enumerate() {
            let (n_found, n) = (found.len(), batch.samples.len());
            ensure!(
                n_found == 0 || n_found == n || (batch.is_vague && !batch.is_acknowledged),
                "half of batch {number} is visible: {n_found} of {n}, without {:?}, {batch:?}",
                batch
                    .samples
                    .iter()
                    .filter(|sample| !found.contains(&sample.serial))
                    .collect::<Vec<_>>()
            );
            let is_there = n_found > 0 || n == 0;
            match gap {
                Gap::None => {
                    ensure!(
                        is_there || !batch.is_acknowledged,
                        "batch {number} is not visible though it was acknowledged: {batch:?}"
                    );
                    // One that failed is visible once the log goes on, and then for good.
                    if n_found > 0 && !batch.is_acknowledged {
                        batch.samples.retain(|sample| found.contains(&sample.serial));
                        batch.is_acknowledged = true;
                    }
                }
                Gap::Process => ensure!(
                    is_there || !batch.is_acknowledged,
                    "batch {number} is lost though the machine went on: {batch:?}"
                ),
                Gap::Power => {
                    ensure!(
                        is_there || !batch.is_durable,
                        "batch {number} is lost though it was durable: {batch:?}"
                    );
                    if batch.is_acknowledged && n > 0 {
                        // Without syncs the end of the log may be lost, and nothing but its end.
                        ensure!(
                            lost.is_none() || !is_there,
                            "batch {number} is there, {lost:?} before it is not"
                        );
                        lost = lost.or((!is_there).then_some(number));
                    }
                }
            }
            if gap != Gap::None && batch.is_vague && !batch.is_acknowledged {
                batch.samples.retain(|sample| found.contains(&sample.serial));
            }
        }
        if gap != Gap::None {
            let mut is_there = found_in.iter().map(|found| !found.is_empty());
            self.batches.retain(|_| is_there.next() == Some(true));
            for batch in &mut self.batches {
                batch.is_acknowledged = true;
                batch.is_vague = false;
                // What was found after a power cut was on the disk.
                batch.is_durable |= gap == Gap::Power;
            }
        }
        Ok(())
    }

    /// Sorts what is found by batch; fails if something was invented.
    fn assign(
        &self,
        found: &Content,
        labels_of: &impl Fn(u16) -> Labels,
    ) -> Result<Vec<Vec<u32>>, String> {
        let mut known = HashMap::new();
        for (number, batch) in self.batches.iter().enumerate() {
            known.extend(batch.samples.iter().map(|sample| (sample.serial, (number, *sample))));
        }
        let doubtful = self.batches.len();
        known.extend(self.doubtful.values().map(|sample| (sample.serial, (doubtful, *sample))));
        let mut found_in = vec![Vec::new(); self.batches.len() + 1];
        let mut series_seen = HashMap::new();
        for (labels, samples) in found {
            ensure!(!samples.is_empty(), "{labels} has no samples");
            ensure!(
                samples.is_sorted_by(|a, b| a.timestamp < b.timestamp),
                "{labels} is not in order: {samples:?}"
            );
            let name = labels.get("series").unwrap_or_default();
            for sample in samples {
                #[expect(clippy::cast_possible_truncation, reason = "compared below")]
                #[expect(clippy::cast_sign_loss, reason = "compared below")]
                let serial = sample.value as u32;
                let Some((number, written)) = known.remove(&serial) else {
                    return Err(format!(
                        "series {name} has {sample:?}, which is invented or twice"
                    ));
                };
                ensure!(
                    sample.timestamp == written.timestamp && sample.value == f64::from(serial),
                    "series {name} has {sample:?}, written was {written:?}"
                );
                let expected =
                    series_seen.entry(written.series).or_insert_with(|| labels_of(written.series));
                ensure!(
                    expected == labels,
                    "series {name} has {sample:?}, written was {written:?}"
                );
                found_in[number].push(serial);
            }
        }
        Ok(found_in)
    }
}
