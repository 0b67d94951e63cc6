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
use ferula_tsdb::{
    AppendError, Appender, Committed, Db, Error, Exemplar, ExemplarError, Metadata, MetadataError,
    MetricMetadata, NativeHistogram, ReadOnlyDb, RefSample, SeriesExemplars, Stats,
};

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

    /// Appends a sample that has been counting since `start` to the series with these labels.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn append_with_start(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError>;

    /// Appends a sample that has been counting since `start` to a series known by its ref.
    ///
    /// # Errors
    /// As [`append_ref`](Self::append_ref).
    fn append_ref_with_start(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError>;

    /// Appends a native histogram, counting since `start` or zero, to the series with these labels.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn append_histogram(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError>;

    /// Appends a native histogram, counting since `start` or zero, to a series known by its ref.
    ///
    /// # Errors
    /// As [`append_ref`](Self::append_ref).
    fn append_histogram_ref(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        histogram: NativeHistogram,
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

    /// Adds an exemplar of the series with these labels, which must be there.
    ///
    /// # Errors
    /// Why this exemplar is refused; the batch goes on.
    fn append_exemplar(&mut self, labels: &Labels, exemplar: Exemplar)
    -> Result<(), ExemplarError>;

    /// Adds an exemplar of a series known by its ref.
    ///
    /// # Errors
    /// Why this exemplar is refused; the batch goes on.
    fn append_exemplar_ref(
        &mut self,
        series: SeriesRef,
        exemplar: Exemplar,
    ) -> Result<(), ExemplarError>;

    /// Has a series say this of its metric from now on.
    ///
    /// # Errors
    /// Why this is refused; the batch goes on.
    fn update_metadata(
        &mut self,
        series: SeriesRef,
        metadata: &Metadata,
    ) -> Result<(), MetadataError>;

    /// Has all series of a metric say this of it from now on. Tells how many did not before.
    ///
    /// # Errors
    /// Why this is refused; the batch goes on, with some of them.
    fn update_metadata_of_metric(
        &mut self,
        metric: &str,
        metadata: &Metadata,
    ) -> Result<usize, MetadataError>;

    /// Makes the batch durable and visible.
    ///
    /// # Errors
    /// Whatever keeps it from being durable; nothing of it is acknowledged then.
    fn commit(self: Box<Self>) -> Result<Committed, Error>;
}

/// What a place says of its series beside their samples. Shared by all readers.
pub trait Notes: Send + Sync {
    /// The exemplars from `mint` to `maxt`, both inclusive, in milliseconds, of the series that pass
    /// all matchers of one of the `sets`, in the order of labels and times.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<SeriesExemplars>, Error>;

    /// What the series say of their metrics, in the order of these.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn metadata(&self) -> Result<Vec<MetricMetadata>, Error>;
}

impl Notes for Db {
    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<SeriesExemplars>, Error> {
        Self::exemplars(self, sets, mint, maxt)
    }

    fn metadata(&self) -> Result<Vec<MetricMetadata>, Error> {
        Self::metadata(self, None)
    }
}

impl Notes for ReadOnlyDb {
    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<SeriesExemplars>, Error> {
        Self::exemplars(self, sets, mint, maxt)
    }

    fn metadata(&self) -> Result<Vec<MetricMetadata>, Error> {
        Self::metadata(self, None)
    }
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

    fn append_with_start(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        Self::append_with_start(self, labels, start, timestamp, value)
    }

    fn append_ref_with_start(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        Self::append_ref_with_start(self, series, start, timestamp, value)
    }

    fn append_histogram(
        &mut self,
        labels: &Labels,
        start: i64,
        timestamp: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        Self::append_histogram_with_start(self, labels, start, timestamp, histogram)
    }

    fn append_histogram_ref(
        &mut self,
        series: SeriesRef,
        start: i64,
        timestamp: i64,
        histogram: NativeHistogram,
    ) -> Result<(), AppendError> {
        Self::append_histogram_ref_with_start(self, series, start, timestamp, histogram)
    }

    fn append_refs(&mut self, samples: &[RefSample], refused: &mut Vec<(usize, AppendError)>) {
        Self::append_refs(self, samples, refused);
    }

    fn append_exemplar(
        &mut self,
        labels: &Labels,
        exemplar: Exemplar,
    ) -> Result<(), ExemplarError> {
        Self::append_exemplar(self, labels, exemplar)
    }

    fn append_exemplar_ref(
        &mut self,
        series: SeriesRef,
        exemplar: Exemplar,
    ) -> Result<(), ExemplarError> {
        Self::append_exemplar_ref(self, series, exemplar)
    }

    fn update_metadata(
        &mut self,
        series: SeriesRef,
        metadata: &Metadata,
    ) -> Result<(), MetadataError> {
        Self::update_metadata_ref(self, series, metadata)
    }

    fn update_metadata_of_metric(
        &mut self,
        metric: &str,
        metadata: &Metadata,
    ) -> Result<usize, MetadataError> {
        Self::update_metadata_of_metric(self, metric, metadata)
    }

    fn commit(self: Box<Self>) -> Result<Committed, Error> {
        Self::commit(*self)
    }
}
