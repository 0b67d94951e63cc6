//! What a batch takes beside samples.

use ferula_index::{Labels, SeriesRef};
use ferula_wal::record::exemplars::RefExemplar;

use super::Appender;
use crate::exemplar::{Exemplar, ExemplarError, check_labels};
use crate::head::exemplars::Offer;
use crate::head::is_valid_time;
use crate::head::notes::exemplar_bytes;
use crate::options::{MAX_BATCH_EXEMPLAR_BYTES, MAX_TIME_MS};

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

    /// The series with these labels, as far as somebody has made it.
    fn find(&self, labels: &Labels) -> Option<SeriesRef> {
        self.head.index.get(labels).or_else(|| self.head.unpublished.lock().find(labels))
    }
}
