//! Set operators: `and`, `or`, `unless`.
//!
//! What counts of the other side is only at which steps a group has a value. For `or` those steps
//! are noted while the left series are read, so that reading in order reads each series once.

use super::batch::{Column, Grid, Presence, SeriesMeta};
use super::matching::{Groups, Signature};
use super::metas::Metas;
use super::{BoxOperator, Context, Operator, build, merge_named};
use crate::Error;
use crate::ast::BinaryOp;
use crate::ledger::Charge;
use crate::plan::Binary;

/// Makes the operator of a set operation.
pub(super) fn build_set(
    binary: &Binary,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let left = build(&binary.left, grid, context)?;
    let right = build(&binary.right, grid, context)?;
    let signature = Signature::new(binary.matching.labels.as_ref());
    let groups = Groups::new(&signature, left.series(), right.series(), context)?;
    let mut charge = context.charge("steps at which groups have values");
    let n_groups = groups.members.len();
    charge.add_each(n_groups, size_of::<Option<Presence>>() + grid.len.div_ceil(8) + 16)?;
    if binary.op == BinaryOp::Or {
        let (left_series, right_series) = (left.series(), right.series());
        let mut metas = Metas::builder(context, left_series.len() + right_series.len())?;
        for meta in left_series.iter().chain(right_series) {
            metas.push_shared(meta.clone())?;
        }
        charge.add(left_series.len())?;
        let union = Union {
            present: vec![empty(grid); n_groups],
            seen: vec![false; left_series.len()],
            left,
            right,
            metas: metas.build(),
            groups,
            scratch: Some(context.column()),
            _charge: charge,
        };
        return merge_named(Box::new(union), context);
    }
    Ok(Box::new(Filter {
        present: vec![None; n_groups],
        keep: binary.op == BinaryOp::And,
        left,
        right,
        groups,
        grid,
        scratch: context.column(),
        _charge: charge,
    }))
}

fn empty(grid: Grid) -> Presence {
    Presence::repeat(false, grid.len)
}

/// `and` and `unless`: the left side where the right side has, or has not, a value.
struct Filter {
    left: BoxOperator,
    right: BoxOperator,
    groups: Groups,
    /// Steps at which the right side of a group has a value, once known.
    present: Vec<Option<Presence>>,
    keep: bool,
    grid: Grid,
    scratch: Column,
    _charge: Charge,
}

impl Filter {
    /// Finds out at which steps the right side of a group has a value.
    fn look(&mut self, group: usize) -> Result<(), Error> {
        if self.present[group].is_some() {
            return Ok(());
        }
        let mut present = empty(self.grid);
        for index in &self.groups.members[group].right {
            self.right.read(*index, &mut self.scratch)?;
            present |= &*self.scratch.presence();
        }
        self.present[group] = Some(present);
        Ok(())
    }
}

impl Operator for Filter {
    fn series(&self) -> &[SeriesMeta] {
        self.left.series()
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let group = self.groups.of_left[index];
        self.look(group)?;
        self.left.read(index, out)?;
        if let Some(present) = &self.present[group] {
            if self.keep {
                out.keep(present);
            } else {
                out.keep(&!present.clone());
            }
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

/// `or`: the left side, and the right side where the left one has no value.
struct Union {
    left: BoxOperator,
    right: BoxOperator,
    metas: Metas,
    groups: Groups,
    /// Steps at which the left series of a group that were seen have a value.
    present: Vec<Presence>,
    /// Left series that were read.
    seen: Vec<bool>,
    /// Always there but while it is read into.
    scratch: Option<Column>,
    _charge: Charge,
}

impl Union {
    fn note(&mut self, index: usize, column: &Column) {
        if !std::mem::replace(&mut self.seen[index], true) {
            self.present[self.groups.of_left[index]] |= &*column.presence();
        }
    }
}

impl Operator for Union {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let Some(right) = index.checked_sub(self.seen.len()) else {
            self.left.read(index, out)?;
            self.note(index, out);
            return Ok(());
        };
        let group = self.groups.of_right[right];
        for at in 0..self.groups.members[group].left.len() {
            let left = self.groups.members[group].left[at];
            if !self.seen[left]
                && let Some(mut column) = self.scratch.take()
            {
                self.left.read(left, &mut column)?;
                self.note(left, &column);
                self.scratch = Some(column);
            }
        }
        self.right.read(right, out)?;
        out.keep(&!self.present[group].clone());
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}
