//! The label columns of record batches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::builder::NullBufferBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow_schema::{ArrowError, DataType, Field};
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
