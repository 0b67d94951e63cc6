//! Samples as Apache Arrow arrays.

use std::sync::Arc;

use arrow_array::builder::NullBufferBuilder;
use arrow_array::{ArrayRef, Float64Array, ListArray, StructArray, TimestampMillisecondArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, TimeUnit};

use crate::SampleBatch;

/// The samples of a batch as arrays of one length.
#[derive(Clone, Debug)]
pub struct SampleArrays {
    /// Their times, of [`timestamp_type`].
    pub timestamps: TimestampMillisecondArray,
    /// Their values, null for histograms.
    pub values: Float64Array,
    /// Native histograms, of [`histogram_type`], null for floats; `None` if they were not asked for.
    pub histograms: Option<StructArray>,
}

/// The type of times: milliseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// The type of native histograms: a structure of count, sum, and a list of buckets from the lowest one
/// on, each with its lower and upper bound and its count.
pub fn histogram_type() -> DataType {
    DataType::Struct(histogram_fields())
}

fn histogram_fields() -> Fields {
    let bucket = Field::new("item", DataType::Struct(bucket_fields()), false);
    Fields::from(vec![
        Field::new("count", DataType::Float64, false),
        Field::new("sum", DataType::Float64, false),
        Field::new("buckets", DataType::List(Arc::new(bucket)), false),
    ])
}

fn bucket_fields() -> Fields {
    let field = |name| Field::new(name, DataType::Float64, false);
    Fields::from(["lower", "upper", "count"].map(field).to_vec())
}

impl SampleBatch {
    /// Makes arrays of the columns. Times and values stay where they are in memory; start timestamps are
    /// not told.
    pub fn into_arrays(self, with_histograms: bool) -> SampleArrays {
        let is_float = self.has_histograms().then(|| {
            let is_float = |at| self.histogram(at).is_none();
            NullBuffer::from_iter((0..self.len()).map(is_float))
        });
        let histograms = with_histograms.then(|| histograms(&self));
        let (timestamps, values) = self.into_columns();
        let timestamps = TimestampMillisecondArray::new(ScalarBuffer::from(timestamps), None);
        SampleArrays {
            timestamps: timestamps.with_timezone("UTC"),
            values: Float64Array::new(
                ScalarBuffer::from(values),
                is_float.filter(|nulls| nulls.null_count() > 0),
            ),
            histograms,
        }
    }
}

/// The native histograms; null for floats.
fn histograms(samples: &SampleBatch) -> StructArray {
    let n = samples.len();
    let (mut counts, mut sums) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut buckets: [Vec<f64>; 3] = Default::default();
    let mut lengths = Vec::with_capacity(n);
    let mut nulls = NullBufferBuilder::new(n);
    for at in 0..n {
        let start = buckets[0].len();
        let histogram = samples.histogram(at);
        counts.push(histogram.map_or(0.0, |histogram| histogram.count));
        sums.push(histogram.map_or(0.0, |histogram| histogram.sum));
        nulls.append(histogram.is_some());
        for bucket in histogram.iter().flat_map(|histogram| histogram.all_buckets()) {
            let parts = [bucket.lower, bucket.upper, bucket.count];
            buckets.iter_mut().zip(parts).for_each(|(column, part)| column.push(part));
        }
        lengths.push(buckets[0].len() - start);
    }
    let floats = |column: Vec<f64>| Arc::new(Float64Array::from(column)) as ArrayRef;
    let buckets = StructArray::new(bucket_fields(), buckets.map(floats).to_vec(), None);
    let item = Arc::new(Field::new("item", DataType::Struct(bucket_fields()), false));
    let lists = ListArray::new(item, OffsetBuffer::from_lengths(lengths), Arc::new(buckets), None);
    let columns = vec![floats(counts), floats(sums), Arc::new(lists) as ArrayRef];
    StructArray::new(histogram_fields(), columns, nulls.finish())
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;

    #[test]
    fn times_and_values_are_not_copied() {
        let batch: SampleBatch =
            (0..100_i32).map(|i| crate::Sample::new(i.into(), i.into())).collect();
        let (times, values) = (batch.timestamps().as_ptr(), batch.values().as_ptr());
        let arrays = batch.into_arrays(false);
        assert_eq!(arrays.timestamps.values().as_ptr(), times);
        assert_eq!(arrays.values.values().as_ptr(), values);
        assert_eq!((arrays.values.null_count(), arrays.histograms.is_none()), (0, true));
        assert_eq!(arrays.timestamps.data_type(), &timestamp_type());
    }
}
