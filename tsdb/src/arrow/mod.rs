//! Scans as Apache Arrow record batches, for whoever works on samples in columns.
//!
//! A row is a sample. Rows are in the order of series and, within one, of time. Every label name of the
//! selection is a column of dictionary-encoded text, null where a series has no such label; all batches
//! of a scan share its dictionaries. Times and values are decoded into the buffers that the arrays
//! take over.

mod columns;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::arrow::{histogram_type, timestamp_type};
use ferula_index::Labels;

use self::columns::{LabelColumns, Run};
use crate::error::Error;
use crate::querier::SeriesSet;

/// Column of the times of samples.
pub const TIMESTAMP_COLUMN: &str = "timestamp";

/// Column of the values of samples.
pub const VALUE_COLUMN: &str = "value";

/// Column of native histograms.
pub const HISTOGRAM_COLUMN: &str = "histogram";

/// What stands before a label name that is that of another column, as often as it takes.
pub const COLUMN_CONFLICT_PREFIX: &str = "exported_";

/// Rows that a record batch has at most, unless it is said otherwise.
pub const DEFAULT_BATCH_ROWS: usize = 65_536;

/// How samples become record batches.
#[derive(Clone, Copy, Debug)]
pub struct ArrowOptions {
    /// Rows that a record batch has at most; at least one.
    pub batch_rows: usize,
    /// Whether there is a column for native histograms. Without it, one ends the scan with
    /// [`Error::UnexpectedHistogram`].
    pub histograms: bool,
}

impl Default for ArrowOptions {
    fn default() -> Self {
        Self { batch_rows: DEFAULT_BATCH_ROWS, histograms: false }
    }
}

impl SeriesSet {
    /// The samples of all series as record batches.
    ///
    /// # Errors
    /// If the values of one label take more than 2 GiB.
    ///
    /// # Examples
    /// ```
    /// # use arrow_array::cast::AsArray;
    /// # use arrow_array::types::Float64Type;
    /// # use ferula_index::Labels;
    /// # use ferula_tsdb::{ArrowOptions, Db, Options};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path(), Options::default())?;
    /// let mut batch = db.appender();
    /// batch.append(&Labels::from_pairs([("__name__", "up"), ("job", "api")])?, 1_000, 1.0)?;
    /// batch.commit()?;
    ///
    /// let found = db.querier(0, 2_000)?.select(&[])?;
    /// for rows in found.into_record_batches(ArrowOptions::default())? {
    ///     let rows = rows?;
    ///     assert_eq!(rows["value"].as_primitive::<Float64Type>().values()[..], [1.0]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_record_batches(self, options: ArrowOptions) -> Result<RecordBatches, ArrowError> {
        RecordBatches::new(vec![self], options)
    }
}

/// The samples of some series as record batches, decoded when they are asked for.
///
/// Besides what a [`SeriesSet`] keeps, it takes the memory of the dictionaries, and of the samples of a
/// batch and the series that it ends with.
#[derive(Debug)]
pub struct RecordBatches {
    sets: Vec<SeriesSet>,
    /// Where the series are, if they are of several sets.
    order: Option<Vec<(usize, usize)>>,
    options: ArrowOptions,
    schema: SchemaRef,
    labels: LabelColumns,
    /// The next series.
    next: usize,
    /// Rows that one batch could not take.
    rest: Option<RecordBatch>,
    has_failed: bool,
}

impl RecordBatches {
    /// The samples of the series in all `sets`, each label set once: where it is in several, that of the first
    /// counts.
    ///
    /// # Errors
    /// If the values of one label take more than 2 GiB.
    pub fn new(sets: Vec<SeriesSet>, options: ArrowOptions) -> Result<Self, ArrowError> {
        let order = (sets.len() != 1).then(|| merged(&sets));
        let labels = LabelColumns::new(sets.iter().flat_map(labels_of))?;
        let mut fields = labels.fields();
        fields.push(Field::new(TIMESTAMP_COLUMN, timestamp_type(), false));
        // The value of a histogram is none.
        fields.push(Field::new(VALUE_COLUMN, DataType::Float64, options.histograms));
        if options.histograms {
            fields.push(Field::new(HISTOGRAM_COLUMN, histogram_type(), true));
        }
        let schema = Arc::new(Schema::new(fields));
        let options = ArrowOptions { batch_rows: options.batch_rows.max(1), ..options };
        Ok(Self { sets, order, options, schema, labels, next: 0, rest: None, has_failed: false })
    }

    /// How many series were read of how many, for showing progress.
    pub fn progress(&self) -> (usize, usize) {
        (self.next, self.len())
    }

    fn len(&self) -> usize {
        self.order.as_ref().map_or_else(|| self.sets[0].len(), Vec::len)
    }

    /// Reads series until there are enough rows for a batch.
    fn read(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let mut samples = SampleBatch::new();
        let mut runs = Vec::new();
        while self.next < self.len() && samples.len() < self.options.batch_rows {
            let (set, index) = self.order.as_ref().map_or((0, self.next), |order| order[self.next]);
            let start = samples.len();
            self.sets[set].read(index, &mut samples).map_err(external)?;
            self.next += 1;
            if samples.len() > start {
                runs.push(Run { labels: self.sets[set].labels(index), end: samples.len() });
            }
        }
        if runs.is_empty() {
            return Ok(None);
        }
        let mut columns = self.labels.columns(&runs)?;
        if samples.has_histograms() && !self.options.histograms {
            return Err(external(unexpected(&samples, &runs)));
        }
        let arrays = samples.into_arrays(self.options.histograms);
        columns.push(Arc::new(arrays.timestamps));
        columns.push(Arc::new(arrays.values));
        columns.extend(arrays.histograms.map(|column| Arc::new(column) as ArrayRef));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map(Some)
    }

    /// The next batch.
    fn advance(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let found = match self.rest.take() {
            Some(rest) => Some(rest),
            None => self.read()?,
        };
        let Some(found) = found else { return Ok(None) };
        let n_rows = self.options.batch_rows;
        if found.num_rows() > n_rows {
            self.rest = Some(found.slice(n_rows, found.num_rows() - n_rows));
            return Ok(Some(found.slice(0, n_rows)));
        }
        Ok(Some(found))
    }
}

impl Iterator for RecordBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let next = self.advance();
        self.has_failed = next.is_err();
        next.transpose()
    }
}

impl RecordBatchReader for RecordBatches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

fn external(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// The error about the first histogram.
fn unexpected(samples: &SampleBatch, runs: &[Run]) -> Error {
    let at = (0..samples.len()).find(|&at| samples.histogram(at).is_some()).unwrap_or_default();
    let run = runs.iter().find(|run| at < run.end);
    Error::UnexpectedHistogram {
        labels: run.map_or_else(Labels::empty, |run| run.labels.clone()),
        timestamp: samples.timestamps()[at],
    }
}

/// The labels of a set, some at a time.
fn labels_of(set: &SeriesSet) -> impl Iterator<Item = Labels> + '_ {
    const SERIES: usize = 1024;
    let starts = (0..set.len()).step_by(SERIES);
    starts.flat_map(|start| set.labels_in(start..(start + SERIES).min(set.len()), None))
}

/// Where the series of all sets are, in label order, each once.
fn merged(sets: &[SeriesSet]) -> Vec<(usize, usize)> {
    let of_set = |(set, series)| labels_of(series).enumerate().map(move |(i, l)| (l, set, i));
    let mut all: Vec<(Labels, usize, usize)> = sets.iter().enumerate().flat_map(of_set).collect();
    all.sort();
    all.dedup_by(|later, earlier| later.0 == earlier.0);
    all.into_iter().map(|(_, set, index)| (set, index)).collect()
}

#[cfg(test)]
mod tests;
