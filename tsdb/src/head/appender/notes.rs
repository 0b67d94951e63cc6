//! What a batch takes beside samples.

use std::sync::Arc;

use ferula_index::{Labels, METRIC_NAME, Matcher, SeriesRef};
use ferula_wal::record::exemplars::RefExemplar;

use super::Appender;
use crate::exemplar::{Exemplar, ExemplarError, check_labels};
use crate::head::exemplars::Offer;
use crate::head::is_valid_time;
use crate::head::metadata::{Described, Description};
use crate::head::notes::{exemplar_bytes, metadata_bytes};
use crate::metadata::{Metadata, MetadataError};
use crate::options::{
    MAX_BATCH_EXEMPLAR_BYTES, MAX_BATCH_METADATA_BYTES, MAX_METADATA_BYTES, MAX_TIME_MS,
};

impl Appender {
    /// Adds an exemplar of the series with these `labels`, which must have samples, if only in this
    /// batch. One that repeats the newest exemplar of its series is accepted and not kept twice.
    ///
    /// ```
    /// use ferula_index::{Labels, Matcher};
    /// use ferula_tsdb::{Db, Exemplar, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path(), Options::default())?;
    /// let labels = Labels::from_pairs([("__name__", "request_seconds_bucket"), ("le", "0.5")])?;
    /// let mut appender = db.appender();
    /// appender.append(&labels, 1_000, 7.0)?;
    /// let trace = Labels::from_pairs([("trace_id", "4bf92f3577b34da6")])?;
    /// appender.append_exemplar(&labels, Exemplar::new(990, 0.21, trace.clone()))?;
    /// appender.commit()?;
    ///
    /// let found = db.exemplars(&[[Matcher::equal("le", "0.5")]], 0, 1_000)?;
    /// assert_eq!(found[0].exemplars[0].labels, trace);
    /// # db.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Why this exemplar is refused; the batch goes on without it.
    pub fn append_exemplar(
        &mut self,
        labels: &Labels,
        exemplar: Exemplar,
    ) -> Result<(), ExemplarError> {
        match self.find(labels) {
            Some(series) => self.append_exemplar_ref(series, exemplar),
            None => Err(ExemplarError::NoSeries { labels: labels.clone() }),
        }
    }

    /// Adds an exemplar of the series `series`.
    ///
    /// # Errors
    /// Why this exemplar is refused; the batch goes on without it.
    /// [`ExemplarError::UnknownSeries`] if the series is gone: append by labels again.
    pub fn append_exemplar_ref(
        &mut self,
        series: SeriesRef,
        exemplar: Exemplar,
    ) -> Result<(), ExemplarError> {
        let timestamp = exemplar.timestamp;
        if !is_valid_time(timestamp) {
            return Err(ExemplarError::TimeOutOfRange { timestamp, limit: MAX_TIME_MS });
        }
        check_labels(&exemplar.labels)?;
        let is_new = self.head.exemplars.check(series, &exemplar)? == Offer::New;
        if !self.head.stripes.has(series) {
            return Err(ExemplarError::UnknownSeries { series });
        }
        if !is_new {
            return Ok(());
        }
        let notes = &mut self.batch.notes;
        let limit = MAX_BATCH_EXEMPLAR_BYTES;
        let bytes = notes.exemplar_bytes + exemplar_bytes(&exemplar);
        if bytes > limit {
            return Err(ExemplarError::BatchTooLarge { limit });
        }
        let Exemplar { timestamp, value, labels } = exemplar;
        notes.exemplars.push(RefExemplar { series, timestamp, value, labels });
        notes.exemplar_bytes = bytes;
        Ok(())
    }

    /// Has the series with these `labels`, which must have samples, if only in this batch, say this
    /// of its metric. Nothing is logged if it says so already.
    ///
    /// ```
    /// use ferula_index::Labels;
    /// use ferula_tsdb::{Db, Metadata, MetricType, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path(), Options::default())?;
    /// let labels = Labels::from_pairs([("__name__", "requests_total"), ("code", "200")])?;
    /// let requests = Metadata::new(MetricType::Counter, "", "Requests that were answered.");
    /// let mut appender = db.appender();
    /// appender.append(&labels, 1_000, 1.0)?;
    /// appender.update_metadata(&labels, &requests)?;
    /// appender.commit()?;
    ///
    /// assert_eq!(db.metadata(Some("requests_total"))?[0].metadata, [requests.clone()]);
    /// assert_eq!(db.metadata_of(&labels)?, Some(requests));
    /// # db.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Why it is refused; the batch goes on without it.
    pub fn update_metadata(
        &mut self,
        labels: &Labels,
        metadata: &Metadata,
    ) -> Result<(), MetadataError> {
        match self.find(labels) {
            Some(series) => self.note_metadata(series, labels.metric_name(), metadata).map(drop),
            None => Err(MetadataError::NoSeries { labels: labels.clone() }),
        }
    }

    /// Has the series `series` say this of its metric.
    ///
    /// # Errors
    /// Why it is refused; the batch goes on without it. [`MetadataError::UnknownSeries`] if the
    /// series is gone: update by labels.
    pub fn update_metadata_ref(
        &mut self,
        series: SeriesRef,
        metadata: &Metadata,
    ) -> Result<(), MetadataError> {
        if self.says(series, metadata) {
            return Ok(());
        }
        let unpublished = || self.head.unpublished.lock().labels(series).cloned();
        let labels = self.head.index.labels(series).or_else(unpublished);
        let labels = labels.ok_or(MetadataError::UnknownSeries { series })?;
        self.note_metadata(series, labels.metric_name(), metadata).map(drop)
    }

    /// Has all series of the metric `metric` that committed batches have appended to say this of it.
    /// Returns how many do not yet, before this batch.
    ///
    /// # Errors
    /// Why it is refused. After [`MetadataError::BatchTooLarge`] some of them are in the batch:
    /// commit it, and go on with another.
    pub fn update_metadata_of_metric(
        &mut self,
        metric: &str,
        metadata: &Metadata,
    ) -> Result<usize, MetadataError> {
        let mut n_updated = 0;
        let selected = self.head.index.select(&[Matcher::equal(METRIC_NAME, metric)]);
        for series in selected.iter() {
            n_updated += usize::from(self.note_metadata(series, metric, metadata)?);
        }
        Ok(n_updated)
    }

    /// Tells whether a series says this already, and nothing else by this batch.
    fn says(&self, series: SeriesRef, metadata: &Metadata) -> bool {
        self.head.metadata.is_current(series, metadata)
            && !self.batch.notes.described.contains(&series)
    }

    /// Tells whether the series says something else so far.
    fn note_metadata(
        &mut self,
        series: SeriesRef,
        metric: &str,
        metadata: &Metadata,
    ) -> Result<bool, MetadataError> {
        let (found, limit) = (metadata.size_bytes(), MAX_METADATA_BYTES);
        if found > limit {
            return Err(MetadataError::TooLong { found, limit });
        }
        if self.says(series, metadata) {
            return Ok(false);
        }
        let notes = &mut self.batch.notes;
        let limit = MAX_BATCH_METADATA_BYTES;
        let bytes = notes.metadata_bytes + metadata_bytes(metadata);
        if bytes > limit {
            return Err(MetadataError::BatchTooLarge { limit });
        }
        // Series of one metric come one after the other.
        let last = notes.metadata.last().map(|(_, described)| described);
        let is_same = |last: &&Arc<Described>| last.metric == metric && last.metadata == *metadata;
        let described = match last.filter(is_same) {
            Some(last) => Arc::clone(last),
            None => self.head.metadata.share(Description::new(metric, metadata)),
        };
        notes.described.insert(series);
        notes.metadata.push((series, described));
        notes.metadata_bytes = bytes;
        Ok(true)
    }

    /// The series with these labels, as far as somebody has made it.
    fn find(&self, labels: &Labels) -> Option<SeriesRef> {
        self.head.index.get(labels).or_else(|| self.head.unpublished.lock().find(labels))
    }
}
