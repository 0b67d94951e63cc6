//! `count_values`: how often each value occurs. Its output series depend on the values, so the
//! input is read when the operator is made.

use std::collections::HashMap;

use ferula_index::{Labels, LabelsBuilder};

use super::table::GroupLabels;
use crate::Error;
use crate::exec::batch::{Column, Grid, SeriesMeta};
use crate::exec::{BoxOperator, Context, Metas, MetasBuilder, Operator, read_all};
use crate::ledger::Charge;
use crate::text::PlainFloat;

/// Makes the operator of `count_values`.
pub(super) fn build(
    mut input: BoxOperator,
    labels: GroupLabels<'_>,
    label: &str,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let mut charge = context.charge("labels of series");
    charge.add_each(input.series().len(), size_of::<SeriesMeta>())?;
    let series = input.series().to_vec();
    let mut counted = Counting {
        metas: Metas::builder(context, 0)?,
        columns: Vec::new(),
        known: HashMap::new(),
        charge,
        context: context.clone(),
    };
    read_all(&mut *input, context, |index, column| {
        // Values repeat from step to step, so that the last one is worth remembering.
        let mut last: Option<(u64, usize)> = None;
        for (step, value) in column.iter() {
            let output = match last {
                Some((bits, output)) if bits == value.to_bits() => output,
                _ => {
                    let text = PlainFloat(value).to_string();
                    let group = group_of(&series[index].labels, labels, label, &text)?;
                    let output = counted.find(group, grid)?;
                    last = Some((value.to_bits(), output));
                    output
                }
            };
            counted.count(output, step);
        }
        for (step, histogram) in column.histograms() {
            let text = histogram.to_string();
            let group = group_of(&series[index].labels, labels, label, &text)?;
            let output = counted.find(group, grid)?;
            counted.count(output, step);
        }
        Ok(())
    })?;
    let Counting { metas, columns, .. } = counted;
    Ok(Box::new(CountValues { metas: metas.build(), columns, context: context.clone() }))
}

/// Labels of the group that counts `value` of a series.
fn group_of(
    series: &Labels,
    labels: GroupLabels<'_>,
    label: &str,
    value: &str,
) -> Result<Labels, Error> {
    let mut group = LabelsBuilder::from_labels(&labels.of(series)?);
    if labels.keeps(label) {
        group.set(label, value);
    }
    Ok(group.build()?)
}

/// The output while the input is read.
struct Counting {
    metas: MetasBuilder,
    columns: Vec<Column>,
    known: HashMap<Labels, usize>,
    /// Of the table.
    charge: Charge,
    context: Context,
}

impl Counting {
    /// Finds or makes the output series of a group.
    fn find(&mut self, group: Labels, grid: Grid) -> Result<usize, Error> {
        if let Some(output) = self.known.get(&group) {
            return Ok(*output);
        }
        self.charge.add(4 * size_of::<(Labels, usize)>() + 2 * size_of::<Column>())?;
        self.known.insert(group.clone(), self.metas.len());
        self.add(group, grid)
    }

    fn count(&mut self, output: usize, step: usize) {
        let column = &mut self.columns[output];
        column.set(step, column.get(step).unwrap_or(0.0) + 1.0);
    }

    fn add(&mut self, labels: Labels, grid: Grid) -> Result<usize, Error> {
        self.context.limits.hold(grid.len)?;
        let mut column = self.context.column();
        column.reset(grid.len)?;
        self.metas.push_made(SeriesMeta::new(labels))?;
        self.columns.push(column);
        Ok(self.columns.len() - 1)
    }
}

struct CountValues {
    metas: Metas,
    columns: Vec<Column>,
    context: Context,
}

impl Operator for CountValues {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        out.copy_from(&self.columns[index])
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

impl Drop for CountValues {
    fn drop(&mut self) {
        self.context.limits.release(self.columns.iter().map(Column::len).sum());
    }
}
