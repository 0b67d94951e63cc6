//! Answers as Apache Arrow record batches.

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::arrow::{histogram_type, timestamp_type};
use ferula_index::Labels;

use crate::{Error, Part, Query, Summary};

/// Column of the labels of series: a map of texts.
pub const LABELS_COLUMN: &str = "labels";

/// Column of the times of the samples of each series: a list.
pub const TIMESTAMPS_COLUMN: &str = "timestamps";

/// Column of the values of the samples of each series: a list, null where they are histograms.
pub const VALUES_COLUMN: &str = "values";

/// Column of the native histograms of each series: a list, null where they are floats.
pub const HISTOGRAMS_COLUMN: &str = "histograms";

/// Samples after which a record batch is handed over; it ends with a whole series.
pub const ARROW_BATCH_SAMPLES: usize = 1 << 15;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, is_nullable| Field::new(name, DataType::Utf8, is_nullable);
    let names = MapFieldNames::default();
    let entry = vec![text(&names.key, false), text(&names.value, true)];
    let entries = Field::new(names.entry, DataType::Struct(entry.into()), false);
    let labels = DataType::Map(Arc::new(entries), false);
    let list = |name, items| Field::new(name, DataType::List(items), false);
    Arc::new(Schema::new(vec![
        Field::new(LABELS_COLUMN, labels, false),
        list(TIMESTAMPS_COLUMN, item(timestamp_type(), false)),
        list(VALUES_COLUMN, item(DataType::Float64, true)),
        list(HISTOGRAMS_COLUMN, item(histogram_type(), true)),
    ]))
});

fn item(data_type: DataType, is_nullable: bool) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, is_nullable))
}

/// The schema of all answers: a row is a series.
pub fn result_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

impl Query {
    /// Evaluates the query and hands the answer to `take` in record batches of [`result_schema`], each
    /// as soon as [`ARROW_BATCH_SAMPLES`] are known. A scalar is a series without labels. Once `take`
    /// breaks, nothing more is computed.
    ///
    /// A batch in the making is not counted as memory of the query.
    ///
    /// # Errors
    /// Whatever stopped it; batches may have been handed over before. A string is
    /// [`Error::Unsupported`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use std::ops::ControlFlow;
    /// use ferula_promql::{Engine, EngineOptions};
    /// # use ferula_promql::testlang::{MemoryStorage, TestStorage};
    /// # let storage = MemoryStorage::new().queryable().map_err(|e| e.to_string())?;
    ///
    /// let engine = Engine::new(EngineOptions::default());
    /// let query = engine.range(storage, "vector(2)", 0, 60_000, 30_000)?;
    /// let mut n_series = 0;
    /// query.stream_batches(|batch| {
    ///     n_series += batch.num_rows();
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(n_series, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stream_batches(
        &self,
        mut take: impl FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let mut rows = Rows::default();
        let mut text = false;
        let mut is_enough = false;
        let summary = self.stream(|part| {
            match part {
                Part::Scalar(sample) => rows.add(&Labels::empty(), [sample].into_iter().collect()),
                Part::String { .. } => text = true,
                Part::Vector | Part::Matrix => {}
                Part::Sample(sample) => {
                    let mut samples = SampleBatch::new();
                    match sample.histogram {
                        Some(histogram) => samples.push_histogram(sample.timestamp, histogram),
                        None => samples.push(sample.timestamp, sample.value),
                    }
                    rows.add(&sample.labels, samples);
                }
                Part::Series(series) => rows.add(&series.labels, series.samples),
            }
            if rows.samples.len() < ARROW_BATCH_SAMPLES {
                return ControlFlow::Continue(());
            }
            let taken = take(rows.finish());
            is_enough = taken.is_break();
            taken
        })?;
        if text {
            return Err(self.unsupported("a string as record batches"));
        }
        if !is_enough && !rows.lengths.is_empty() {
            let _ = take(rows.finish());
        }
        Ok(summary)
    }
}

/// The rows of a batch in the making.
#[derive(Default)]
struct Rows {
    labels: Vec<Labels>,
    /// Samples of each series.
    lengths: Vec<usize>,
    samples: SampleBatch,
}

impl Rows {
    fn add(&mut self, labels: &Labels, samples: SampleBatch) {
        self.labels.push(labels.clone());
        self.lengths.push(samples.len());
        if self.samples.is_empty() {
            // The columns of a long series become those of the batch as they are.
            self.samples = samples;
        } else {
            self.samples.extend_from_batch(&samples, 0..samples.len());
        }
    }

    /// Makes the batch, and begins another one.
    fn finish(&mut self) -> RecordBatch {
        let Self { labels, lengths, samples } = std::mem::take(self);
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for labels in &labels {
            for (name, value) in labels {
                maps.keys().append_value(name);
                maps.values().append_value(value);
            }
            maps.append(true).expect("there are as many keys as values");
        }
        let arrays = samples.into_arrays(true);
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        let list = |array: ArrayRef, is_nullable: bool| -> ArrayRef {
            let item = item(array.data_type().clone(), is_nullable);
            Arc::new(ListArray::new(item, offsets.clone(), array, None))
        };
        let histograms = arrays.histograms.expect("they were asked for");
        let columns = vec![
            Arc::new(maps.finish()) as ArrayRef,
            list(Arc::new(arrays.timestamps), false),
            list(Arc::new(arrays.values), true),
            list(Arc::new(histograms), true),
        ];
        RecordBatch::try_new(result_schema(), columns).expect("they are the columns of the schema")
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, TimestampMillisecondType};
    use ferula_chunkenc::histogram::FloatHistogram;

    use super::*;
    use crate::testlang::{MemoryStorage, TestStorage};
    use crate::{Engine, EngineOptions};

    /// `m` has as many series as are asked for, each of as many floats; the first one has a histogram, too.
    fn query(n_series: usize, n_samples: i64, text: &str, is_range: bool) -> Query {
        let mut storage = MemoryStorage::new();
        for n in 0..n_series {
            let labels = Labels::from_pairs([("__name__", "m"), ("n", &format!("{n:04}"))]);
            let mut samples = SampleBatch::new();
            (0..n_samples).for_each(|i| samples.push(i * 1000, n as f64));
            if n == 0 {
                let histogram = FloatHistogram { count: 2.0, ..FloatHistogram::default() };
                samples.push_histogram(n_samples * 1000, Arc::new(histogram));
            }
            storage.append(&labels.unwrap(), &samples).unwrap();
        }
        let storage = storage.queryable().unwrap();
        let engine = Engine::new(EngineOptions::default());
        match is_range {
            true => engine.range(storage, text, 0, n_samples * 1000, 1000).unwrap(),
            false => engine.instant(storage, text, n_samples * 1000).unwrap(),
        }
    }

    fn batches(query: &Query) -> Vec<RecordBatch> {
        let mut all = Vec::new();
        let summary = query.stream_batches(|batch| {
            all.push(batch);
            ControlFlow::Continue(())
        });
        summary.unwrap();
        all
    }

    fn values(batch: &RecordBatch, row: usize) -> Vec<Option<f64>> {
        let list = batch[VALUES_COLUMN].as_list::<i32>().value(row);
        list.as_primitive::<Float64Type>().iter().collect()
    }

    #[test]
    fn rows_are_series() {
        let all = batches(&query(2, 3, "m", true));
        let [batch] = &all[..] else { panic!("{} batches", all.len()) };
        assert_eq!((batch.num_rows(), batch.schema()), (2, result_schema()));
        assert_eq!(values(batch, 0), [Some(0.0), Some(0.0), Some(0.0), None]);
        assert_eq!(values(batch, 1), [Some(1.0); 4]);
        let times = batch[TIMESTAMPS_COLUMN].as_list::<i32>().value(1);
        let times = times.as_primitive::<TimestampMillisecondType>();
        assert_eq!(times.values()[..], [0, 1000, 2000, 3000]);
        let histograms = batch[HISTOGRAMS_COLUMN].as_list::<i32>().value(0);
        let histograms = histograms.as_struct();
        assert_eq!((histograms.null_count(), histograms.is_valid(3)), (3, true));
        assert_eq!(histograms["count"].as_primitive::<Float64Type>().value(3), 2.0);
        let labels = batch[LABELS_COLUMN].as_map().value(1);
        let texts = |at: usize| -> Vec<Option<String>> {
            let column = labels.column(at).as_string::<i32>();
            column.iter().map(|text| text.map(str::to_owned)).collect()
        };
        assert_eq!(texts(0), [Some("__name__".to_owned()), Some("n".to_owned())]);
        assert_eq!(texts(1), [Some("m".to_owned()), Some("0001".to_owned())]);
    }

    #[test]
    fn long_answers_come_in_batches_of_whole_series() {
        let n_samples = i64::try_from(ARROW_BATCH_SAMPLES / 4 + 100).unwrap();
        let query = query(11, n_samples, "m * 2", true);
        let all = batches(&query);
        let rows: Vec<usize> = all.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [4, 4, 3]);
        assert_eq!(values(&all[2], 2)[5], Some(20.0));
        let mut n = 0;
        let summary = query.stream_batches(|_| {
            n += 1;
            ControlFlow::Break(())
        });
        summary.unwrap();
        assert_eq!(n, 1);
    }

    #[test]
    fn instant_answers_are_series_of_one_sample() {
        let all = batches(&query(3, 3, "m", false));
        assert_eq!(all[0].num_rows(), 3);
        assert_eq!(values(&all[0], 0), [None]);
        assert_eq!(values(&all[0], 2), [Some(2.0)]);
        let scalar = batches(&query(0, 3, "1 + 2", false));
        assert_eq!(values(&scalar[0], 0), [Some(3.0)]);
        assert_eq!(batches(&query(0, 3, "m", false)).len(), 0);
        let error = query(0, 3, "\"text\"", false).stream_batches(|_| ControlFlow::Continue(()));
        assert!(matches!(error, Err(Error::Unsupported { .. })), "{error:?}");
    }
}
