//! Arithmetic and comparison between vectors.
//!
//! Every output series is known from the labels of both sides before any sample is read, as a list
//! of pairs of input series; reading it reads those pairs. Whether a match is ambiguous depends on
//! which series have values at the same step, so groups with several series on a side where one is
//! expected, and only those, are read and checked when the operator is made.

use std::collections::HashMap;

use super::batch::{Column, Grid, Presence, SeriesMeta};
use super::binary::{apply, is_trim};
use super::histogram_pair::{Operand as Side, Outcome};
use super::matching::{Groups, Members};
use super::pair_rule::{Operand, Pair, Rule};
use super::{BoxOperator, Context, Operator, histogram_pair};
use crate::plan::Binary;
use crate::{AnnotationKind, Error, Span};

/// Arithmetic or comparison between vectors.
pub(super) struct Matched {
    many: BoxOperator,
    one: BoxOperator,
    metas: Vec<SeriesMeta>,
    /// Pairs per output series.
    pairs: Vec<Vec<Pair>>,
    rule: Rule,
    span: Span,
    groups: Groups,
    /// Columns of series of the "one" side that are needed again, and how often.
    kept: HashMap<usize, Kept>,
    /// Steps at which a group needs no filling in, by group and side.
    met: HashMap<(usize, bool), Presence>,
    /// Steps at which the "many" side has any value, once that was asked for.
    any_of_many: Option<Presence>,
    /// Number of all pairs.
    n_pairs: usize,
    many_column: Column,
    one_column: Column,
    context: Context,
}

/// A column of the "one" side that several pairs need.
struct Kept {
    uses: usize,
    column: Option<Column>,
}

impl Matched {
    pub(super) fn new(
        binary: &Binary,
        span: Span,
        left: BoxOperator,
        right: BoxOperator,
        grid: Grid,
        context: &Context,
    ) -> Result<Self, Error> {
        let rule = Rule::new(binary, grid);
        let (many, one) = if rule.swapped { (right, left) } else { (left, right) };
        let groups = Groups::new(&rule.signature, many.series(), one.series());
        let mut matched = Self {
            many,
            one,
            metas: Vec::new(),
            pairs: Vec::new(),
            rule,
            span,
            groups,
            kept: HashMap::new(),
            met: HashMap::new(),
            any_of_many: None,
            n_pairs: 0,
            many_column: Column::new(),
            one_column: Column::new(),
            context: context.clone(),
        };
        // Before any pair is made, for a match that is ambiguous has very many of them.
        for group in matched.rule.ambiguous(&matched.groups) {
            matched.check(group)?;
        }
        matched.pair_up()?;
        Ok(matched)
    }

    /// Finds the output series and their pairs.
    fn pair_up(&mut self) -> Result<(), Error> {
        self.n_pairs = self.rule.count_pairs(&self.groups);
        self.context.limits.hold(self.n_pairs)?;
        let (many, one) = (self.many.series(), self.one.series());
        let outputs = self.rule.outputs(&self.groups, many, one, &self.context)?;
        for pair in outputs.pairs.iter().flatten() {
            if let Operand::Series(index) = pair.one {
                self.kept.entry(index).or_insert(Kept { uses: 0, column: None }).uses += 1;
            }
        }
        self.kept.retain(|_, kept| kept.uses > 1);
        self.metas = outputs.metas;
        self.pairs = outputs.pairs;
        Ok(())
    }

    /// Fails if two series stand where the match allows one only.
    fn check(&mut self, group: usize) -> Result<(), Error> {
        let len = self.rule.grid.len;
        // In a group, the left side is the "many" one.
        let Members { left: many, right: one } = self.groups.members[group].clone();
        let mut one_present = Presence::repeat(false, len);
        let mut types_matter = is_trim(self.rule.op);
        if one.len() > 1 {
            let (with_values, any_histograms) = self.check_one_side(&one, &mut one_present)?;
            self.groups.members[group].right = with_values;
            types_matter |= any_histograms;
        } else if let Some(index) = one.first() {
            self.one.read(*index, &mut self.one_column)?;
            one_present |= &*self.one_column.presence();
            types_matter |= self.one_column.has_histograms();
        }
        if !self.rule.one_to_one || many.len() < 2 {
            return Ok(());
        }
        if self.rule.fill_one.is_some() {
            one_present.fill(true);
        }
        let mut many_present = Presence::repeat(false, len);
        for index in &many {
            self.many.read(*index, &mut self.many_column)?;
            self.many_column.keep(&one_present);
            if types_matter || self.many_column.has_histograms() {
                self.drop_refused(&one)?;
            }
            if self.many_column.presence().iter_ones().any(|step| many_present[step]) {
                return Err(Error::ImplicitManyToOne);
            }
            many_present |= &*self.many_column.presence();
        }
        Ok(())
    }

    /// Removes from the column of the "many" side what the operator does not take together with
    /// what it meets in one of the series `one`: these two do not count as a match.
    fn drop_refused(&mut self, one: &[usize]) -> Result<(), Error> {
        let mut unmet = self.many_column.presence().into_owned();
        let mut refused = Presence::repeat(false, unmet.len());
        for index in one {
            self.one.read(*index, &mut self.one_column)?;
            for step in self.many_column.presence().iter_ones() {
                let sides = (operand(&self.many_column, step), operand(&self.one_column, step));
                let (Some(many), Some(one)) = sides else { continue };
                unmet.set(step, false);
                refused.set(step, self.combine(many, one, |_| {}) == Outcome::Refused);
            }
        }
        if let Some(fill) = self.rule.fill_one {
            for step in unmet.iter_ones() {
                let Some(many) = operand(&self.many_column, step) else { continue };
                let outcome = self.combine(many, Side::Float(fill), |_| {});
                refused.set(step, outcome == Outcome::Refused);
            }
        }
        self.many_column.keep(&!refused);
        Ok(())
    }

    /// Applies the operator to a pair. What comes up besides is handed to `note`.
    fn combine(&self, many: Side<'_>, one: Side<'_>, note: impl FnMut(AnnotationKind)) -> Outcome {
        let rule = &self.rule;
        let (left, right) = if rule.swapped { (one, many) } else { (many, one) };
        match (left, right) {
            (Side::Float(left), Side::Float(right)) if !is_trim(rule.op) => {
                apply(rule.op, rule.return_bool, left, right).map_or(Outcome::False, Outcome::Float)
            }
            _ => histogram_pair::apply(rule.op, left, right, note),
        }
    }

    /// Fails if two series of the "one" side have values at a step at which the other side has any.
    /// Adds their steps to `present` and yields those that have values at all, and whether any of
    /// these is a histogram.
    fn check_one_side(
        &mut self,
        one: &[usize],
        present: &mut Presence,
    ) -> Result<(Vec<usize>, bool), Error> {
        let mut with_values = Vec::new();
        let mut any_histograms = false;
        let mut owner = vec![usize::MAX; self.rule.grid.len];
        // The first two series that clash, per step.
        let mut clashes: Vec<Option<(usize, usize)>> = vec![None; self.rule.grid.len];
        for index in one {
            self.one.read(*index, &mut self.one_column)?;
            for step in self.one_column.presence().iter_ones() {
                if owner[step] == usize::MAX {
                    owner[step] = *index;
                } else {
                    clashes[step].get_or_insert((*index, owner[step]));
                }
            }
            *present |= &*self.one_column.presence();
            any_histograms |= self.one_column.has_histograms();
            if !self.one_column.is_empty() {
                with_values.push(*index);
            }
        }
        if clashes.iter().all(Option::is_none) {
            return Ok((with_values, any_histograms));
        }
        let wanted = self.steps_of_many()?;
        let clash = clashes.into_iter().enumerate().find(|(step, c)| c.is_some() && wanted[*step]);
        let Some((_, Some((first, second)))) = clash else {
            return Ok((with_values, any_histograms));
        };
        let labels = |index: usize| self.one.series()[index].labels.clone();
        let (first, second) = (first.min(second), first.max(second));
        Err(Error::DuplicateMatch {
            group: self.rule.signature.of(&labels(first))?,
            side: if self.rule.swapped { "left" } else { "right" },
            first: labels(first),
            second: labels(second),
        })
    }

    /// Steps at which any series of the "many" side has a value, or might be filled in.
    fn steps_of_many(&mut self) -> Result<Presence, Error> {
        if let Some(steps) = &self.any_of_many {
            return Ok(steps.clone());
        }
        let filled = self.rule.fill_many.is_some() || self.rule.fill_one.is_some();
        let mut steps = Presence::repeat(filled, self.rule.grid.len);
        if !filled {
            for index in 0..self.many.series().len() {
                self.many.read(index, &mut self.many_column)?;
                steps |= &*self.many_column.presence();
            }
        }
        self.any_of_many = Some(steps.clone());
        Ok(steps)
    }

    fn read_one(&mut self, index: usize) -> Result<(), Error> {
        let Some(kept) = self.kept.get_mut(&index) else {
            return self.one.read(index, &mut self.one_column);
        };
        kept.uses = kept.uses.saturating_sub(1);
        match &kept.column {
            Some(column) => self.one_column.clone_from(column),
            None => {
                self.one.read(index, &mut self.one_column)?;
                if kept.uses > 0 {
                    self.context.limits.hold(self.one_column.held())?;
                    kept.column = Some(self.one_column.clone());
                }
            }
        }
        if kept.uses == 0
            && let Some(column) = kept.column.take()
        {
            self.context.limits.release(column.held());
        }
        Ok(())
    }

    /// Steps at which some series of the group has a value, on the "many" side or the other.
    fn steps_met(&mut self, group: usize, of_many: bool) -> Result<Presence, Error> {
        if let Some(met) = self.met.get(&(group, of_many)) {
            return Ok(met.clone());
        }
        let mut met = Presence::repeat(false, self.rule.grid.len);
        let members = self.groups.members[group].clone();
        let mut column = Column::new();
        for index in if of_many { members.left } else { members.right } {
            let side = if of_many { &mut self.many } else { &mut self.one };
            side.read(index, &mut column)?;
            met |= &*column.presence();
        }
        self.met.insert((group, of_many), met.clone());
        Ok(met)
    }

    /// Reads both columns of a pair, with what fills in for a side that has no value.
    fn read_pair(&mut self, pair: Pair) -> Result<(), Error> {
        if let Operand::Series(index) = pair.many {
            self.many.read(index, &mut self.many_column)?;
        }
        if let Operand::Series(index) = pair.one {
            self.read_one(index)?;
        }
        let len = self.rule.grid.len;
        if pair.many == Operand::Fill {
            let met = self.steps_met(pair.group, true)?;
            fill(&mut self.many_column, len, self.rule.fill_many, met);
        }
        if pair.one == Operand::Fill {
            let met = self.steps_met(pair.group, false)?;
            fill(&mut self.one_column, len, self.rule.fill_one, met);
        }
        Ok(())
    }
}

/// Makes `column` the value that fills in, at all steps but those that are `met`.
fn fill(column: &mut Column, len: usize, value: Option<f64>, met: Presence) {
    *column = Column::full(vec![value.unwrap_or(f64::NAN); len]);
    column.keep(&!met);
}

impl Drop for Matched {
    fn drop(&mut self) {
        self.context.limits.release(self.n_pairs);
    }
}

impl Operator for Matched {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let len = self.rule.grid.len;
        out.reset(len);
        let n_pairs = self.pairs[index].len();
        // Group that was matched at a step, if there is more than one pair to be told apart.
        let mut owner = vec![usize::MAX; if n_pairs > 1 { len } else { 0 }];
        for at in 0..n_pairs {
            let pair = self.pairs[index][at];
            self.read_pair(pair)?;
            let (many, one) = (&self.many_column, &self.one_column);
            if many.has_histograms() || one.has_histograms() || is_trim(self.rule.op) {
                self.combine_any(pair, &mut owner, out)?;
                continue;
            }
            let mut failed = None;
            let rule = &self.rule;
            many.for_each(|step, many| {
                let Some(one) = one.get(step) else { return };
                let (left, right) = if rule.swapped { (one, many) } else { (many, one) };
                let result = apply(rule.op, rule.return_bool, left, right);
                if let Some(owner) = owner.get_mut(step) {
                    let clash = result.is_some() && out.has(step);
                    failed = own(owner, pair, rule, clash).err().or(failed.take());
                }
                if let Some(value) = result {
                    out.set(step, value);
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Notes that a group was matched at a step, and fails if the result is ambiguous.
fn own(owner: &mut usize, pair: Pair, rule: &Rule, clash: bool) -> Result<(), Error> {
    if *owner == pair.group && !rule.one_to_one {
        return Err(Error::AmbiguousGrouping);
    }
    *owner = pair.group;
    if clash { Err(Error::DuplicateLabelset) } else { Ok(()) }
}

impl Matched {
    /// Combines both columns of a pair, either of which may hold histograms.
    fn combine_any(&self, pair: Pair, owner: &mut [usize], out: &mut Column) -> Result<(), Error> {
        let rule = &self.rule;
        for step in self.many_column.presence().iter_ones() {
            let sides = (operand(&self.many_column, step), operand(&self.one_column, step));
            let (Some(many), Some(one)) = sides else { continue };
            let note = |kind| self.context.annotate(kind, self.span);
            let outcome = self.combine(many, one, note);
            let outcome = match outcome {
                Outcome::Refused => continue,
                Outcome::False if rule.return_bool => Outcome::Float(0.0),
                Outcome::Histogram(_) if rule.return_bool => Outcome::Float(1.0),
                outcome => outcome,
            };
            if let Some(owner) = owner.get_mut(step) {
                own(owner, pair, rule, outcome != Outcome::False && out.has(step))?;
            }
            match outcome {
                Outcome::Float(value) => out.set(step, value),
                Outcome::Histogram(histogram) => out.set_histogram(step, histogram),
                Outcome::Refused | Outcome::False => {}
            }
        }
        Ok(())
    }
}

/// The value of a column at a step.
fn operand(column: &Column, step: usize) -> Option<Side<'_>> {
    match column.histogram(step) {
        Some(histogram) => Some(Side::Histogram(histogram)),
        None => column.get(step).map(Side::Float),
    }
}
