//! What the wire needs of a store: batches that are committed whole, deletion, snapshots, and
//! numbers.
//!
//! The database is the one store of the programs, and its types are used as they are. The traits
//! let scraping and remote write be tested against a store that fails when told to.

#[cfg(test)]
pub(crate) mod memory;

use std::path::Path;

use ferula_index::head::Cardinality;
use ferula_index::{Labels, Matcher, SeriesRef};
use ferula_tsdb::{AppendError, Appender, Committed, Db, Error, RefSample, Stats};

/// A place that takes samples. Shared by all writers.
pub trait Store: Send + Sync {
    /// Starts a batch; dropping it uncommitted rolls it back.
    fn batch(&self) -> Box<dyn Batch + '_>;

    /// Writes everything the store holds to the new directory `dir`, as blocks.
    ///
    /// # Errors
    /// Whatever keeps the snapshot from being complete.
    fn snapshot(&self, dir: &Path) -> Result<(), Error>;

    /// Deletes the samples from `mint` to `maxt`, both inclusive, in milliseconds, of the series
    /// that pass all `matchers`.
    ///
    /// # Errors
    /// Whatever keeps the deletion from being complete.
    fn delete(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<(), Error>;

    /// Gives back the room of what is deleted.
    ///
    /// # Errors
    /// Whatever keeps blocks from being rewritten.
    fn clean_tombstones(&self) -> Result<(), Error>;

    /// Tells what the store holds.
    fn stats(&self) -> Stats;

    /// Counts the series by metric, label and label pair, and keeps the `top` largest of each;
    /// `None` if that is not known without looking at every series.
    fn cardinality(&self, top: usize) -> Option<Cardinality> {
        let _ = top;
        None
    }
}

/// Samples that become visible together or not at all.
pub trait Batch {
    /// Appends a sample to the series with these labels, which is made if it is new.
    ///
    /// # Errors
    /// Why this sample is refused; the batch goes on.
    fn append(
        &mut self,
        labels: &Labels,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError>;

    /// Appends a sample to a series known by its ref.
    ///
    /// # Errors
    /// Why this sample is refused; the batch goes on. [`AppendError::UnknownSeries`] asks for
    /// [`append`](Self::append).
    fn append_ref(
        &mut self,
        series: SeriesRef,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError>;

    /// Appends samples to series known by their refs. Those that are refused are added to `refused`:
    /// their places in `samples`, ascending, with the reasons.
    fn append_refs(&mut self, samples: &[RefSample], refused: &mut Vec<(usize, AppendError)>) {
        let append = |&RefSample { series, timestamp, value }: &RefSample| {
            self.append_ref(series, timestamp, value).err()
        };
        let errors = samples.iter().map(append).enumerate();
        refused.extend(errors.filter_map(|(place, error)| Some((place, error?))));
    }

    /// Makes the batch durable and visible.
    ///
    /// # Errors
    /// Whatever keeps it from being durable; nothing of it is acknowledged then.
    fn commit(self: Box<Self>) -> Result<Committed, Error>;
}

impl Store for Db {
    fn batch(&self) -> Box<dyn Batch + '_> {
        Box::new(self.appender())
    }

    fn snapshot(&self, dir: &Path) -> Result<(), Error> {
        Self::snapshot(self, dir).map(|_| ())
    }

    fn delete(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<(), Error> {
        Self::delete(self, matchers, mint, maxt)
    }

    fn clean_tombstones(&self) -> Result<(), Error> {
        Self::clean_tombstones(self).map(|_| ())
    }

    fn stats(&self) -> Stats {
        Self::stats(self)
    }

    fn cardinality(&self, top: usize) -> Option<Cardinality> {
        Some(Self::cardinality(self, top))
    }
}

impl Batch for Appender {
    fn append(
        &mut self,
        labels: &Labels,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        Self::append(self, labels, timestamp, value)
    }

    fn append_ref(
        &mut self,
        series: SeriesRef,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        Self::append_ref(self, series, timestamp, value)
    }

    fn append_refs(&mut self, samples: &[RefSample], refused: &mut Vec<(usize, AppendError)>) {
        Self::append_refs(self, samples, refused);
    }

    fn commit(self: Box<Self>) -> Result<Committed, Error> {
        Self::commit(*self)
    }
}
