//! The columns of a record batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::builder::NullBufferBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, ListArray, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields};
use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, METRIC_NAME};

use super::{COLUMN_CONFLICT_PREFIX, HISTOGRAM_COLUMN, TIMESTAMP_COLUMN, VALUE_COLUMN};

/// Rows of one series.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) labels: Labels,
    /// Where the next series begins.
    pub(super) end: usize,
}

/// The labels of a scan, a column for each name.
#[derive(Debug)]
pub(super) struct LabelColumns(Vec<LabelColumn>);

#[derive(Debug)]
struct LabelColumn {
    /// Of the label.
    label: String,
    /// Of the column.
    name: String,
    /// Number of each value.
    numbers: HashMap<String, i32>,
    /// Values by their numbers.
    values: ArrayRef,
}

impl LabelColumns {
    /// Collects the names and values of all label sets.
    pub(super) fn new(all: impl Iterator<Item = Labels>) -> Result<Self, ArrowError> {
        let mut found: BTreeMap<String, (HashMap<String, i32>, Vec<String>)> = BTreeMap::new();
        for labels in all {
            for (name, value) in &labels {
                if !found.contains_key(name) {
                    found.insert(name.to_owned(), Default::default());
                }
                let (numbers, values) = found.get_mut(name).expect("it is there now");
                if !numbers.contains_key(value) {
                    let number = i32::try_from(values.len()).map_err(|_| too_large(name))?;
                    numbers.insert(value.to_owned(), number);
                    values.push(value.to_owned());
                }
            }
        }
        let mut columns: Vec<LabelColumn> = Vec::with_capacity(found.len());
        let names: Vec<String> = found.keys().cloned().collect();
        for (label, (numbers, values)) in found {
            let bytes: usize = values.iter().map(String::len).sum();
            if i32::try_from(bytes).is_err() {
                return Err(too_large(&label));
            }
            let mut name = label.clone();
            let is_taken = |name: &String| {
                [TIMESTAMP_COLUMN, VALUE_COLUMN, HISTOGRAM_COLUMN].contains(&name.as_str())
                    || (*name != label && names.contains(name))
            };
            while is_taken(&name) {
                name.insert_str(0, COLUMN_CONFLICT_PREFIX);
            }
            let values = Arc::new(StringArray::from_iter_values(values));
            columns.push(LabelColumn { label, name, numbers, values });
        }
        // The name of the metric comes first.
        columns.sort_by_key(|column| column.label != METRIC_NAME);
        Ok(Self(columns))
    }

    /// What the schema says of them.
    pub(super) fn fields(&self) -> Vec<Field> {
        let text = || Box::new(DataType::Utf8);
        let of_labels = || DataType::Dictionary(Box::new(DataType::Int32), text());
        self.0.iter().map(|column| Field::new(&column.name, of_labels(), true)).collect()
    }

    /// The columns of some rows.
    pub(super) fn columns(&self, runs: &[Run]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.0.iter().map(|column| column.array(runs)).collect()
    }
}

impl LabelColumn {
    fn array(&self, runs: &[Run]) -> Result<ArrayRef, ArrowError> {
        let n_rows = runs.last().map_or(0, |run| run.end);
        let mut keys = Vec::with_capacity(n_rows);
        let mut nulls = NullBufferBuilder::new(n_rows);
        for run in runs {
            let n = run.end - keys.len();
            let number = run.labels.get(&self.label).map(|value| self.numbers[value]);
            keys.resize(run.end, number.unwrap_or(0));
            match number {
                Some(_) => nulls.append_n_non_nulls(n),
                None => nulls.append_n_nulls(n),
            }
        }
        let keys = Int32Array::try_new(keys.into(), nulls.finish())?;
        let array = DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(&self.values))?;
        Ok(Arc::new(array))
    }
}

fn too_large(label: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("the values of the label {label} take over 2 GiB"))
}

/// Times, which stay where they are.
pub(super) fn timestamps(timestamps: Vec<i64>) -> ArrayRef {
    let array = TimestampMillisecondArray::new(ScalarBuffer::from(timestamps), None);
    Arc::new(array.with_timezone("UTC"))
}

/// Values, which stay where they are.
pub(super) fn values(values: Vec<f64>, is_float: Option<NullBuffer>) -> ArrayRef {
    Arc::new(Float64Array::new(ScalarBuffer::from(values), is_float))
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

/// A structure of count, sum, and a list of buckets from the lowest one on.
pub(super) fn histogram_type() -> DataType {
    DataType::Struct(histogram_fields())
}

/// The native histograms; null for floats.
pub(super) fn histograms(samples: &SampleBatch) -> StructArray {
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
