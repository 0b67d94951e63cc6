//! Arithmetic and comparison between vectors.
//!
//! Every output series is known from the labels of both sides before any sample is read, as a list
//! of pairs of input series; reading it reads those pairs. Whether a match is ambiguous depends on
//! which series have values at the same step, so groups with several series on a side where one is
//! expected, and only those, are read and checked when the operator is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::batch::{Column, Grid, Presence, SeriesMeta};
use super::binary::{apply, is_trim};
use super::histogram_pair::{Operand as Side, Outcome};
use super::matching::{Groups, Members};
use super::metas::Metas;
use super::pair_rule::{Operand, Pair, Rule};
use super::{BoxOperator, Context, Operator, histogram_pair};
use crate::ledger::Charge;
use crate::limits::Limits;
use crate::plan::Binary;
use crate::{AnnotationKind, Error, Span};

/// Arithmetic or comparison between vectors.
pub(super) struct Matched {
    many: BoxOperator,
    one: BoxOperator,
    metas: Metas,
    /// Pairs per output series.
    pairs: Arc<Vec<Vec<Pair>>>,
    rule: Rule,
    span: Span,
    /// The series of each group.
    members: Arc<Vec<Members>>,
    /// Columns of series of the "one" side that are needed again, and how often.
    kept: Arc<Mutex<HashMap<usize, Kept>>>,
    /// Steps at which a group needs no filling in, by group and side.
    met: HashMap<(usize, bool), Presence>,
    /// Steps at which the "many" side has any value, once that was asked for.
    any_of_many: Option<Presence>,
    many_column: Column,
    one_column: Column,
    /// What lists for each step take.
    scratch: Charge,
    context: Context,
    shared: Option<Arc<Shared>>,
}

/// What readers of the same pairs share.
struct Shared {
    /// Number of all pairs.
    n_pairs: usize,
    _charges: [Charge; 2],
    limits: Arc<Limits>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.limits.release(self.n_pairs);
    }
}

/// A column of the "one" side that several pairs need.
struct Kept {
    uses: usize,
    column: Option<Arc<Column>>,
    /// Number of samples that the column counts as.
    held: usize,
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
        let mut groups = Groups::new(&rule.signature, many.series(), one.series(), context)?;
        let mut scratch = context.charge("steps of pairs");
        // The owner of a step, and the series that clash at it.
        scratch.add_each(grid.len, size_of::<usize>() + size_of::<Option<(usize, usize)>>())?;
        let mut matched = Self {
            many,
            one,
            metas: Metas::few(context, Vec::new()),
            pairs: Arc::default(),
            rule,
            span,
            members: Arc::default(),
            kept: Arc::default(),
            met: HashMap::new(),
            any_of_many: None,
            many_column: context.column(),
            one_column: context.column(),
            scratch,
            context: context.clone(),
            shared: None,
        };
        // Before any pair is made, for a match that is ambiguous has very many of them.
        for group in matched.rule.ambiguous(&groups) {
            matched.check(&mut groups.members[group])?;
        }
        matched.pair_up(groups)?;
        Ok(matched)
    }

    /// Finds the output series and their pairs.
    fn pair_up(&mut self, groups: Groups) -> Result<(), Error> {
        let limits = Arc::clone(&self.context.limits);
        let n_pairs = self.rule.count_pairs(&groups);
        limits.hold(n_pairs)?;
        let (many, one) = (self.many.series(), self.one.series());
        let outputs = self.rule.outputs(&groups, many, one, &self.context)?;
        let mut kept: HashMap<usize, Kept> = HashMap::new();
        for pair in outputs.pairs.iter().flatten() {
            if let Operand::Series(index) = pair.one {
                let unread = Kept { uses: 0, column: None, held: 0 };
                kept.entry(index).or_insert(unread).uses += 1;
            }
        }
        kept.retain(|_, kept| kept.uses > 1);
        self.kept = Arc::new(Mutex::new(kept));
        let (members, of_groups) = groups.into_members();
        self.members = Arc::new(members);
        self.metas = outputs.metas;
        self.pairs = Arc::new(outputs.pairs);
        self.shared =
            Some(Arc::new(Shared { n_pairs, _charges: [outputs.charge, of_groups], limits }));
        Ok(())
    }

    /// Fails if two series stand where the match allows one only.
    fn check(&mut self, members: &mut Members) -> Result<(), Error> {
        let len = self.rule.grid.len;
        // In a group, the left side is the "many" one.
        let Members { left: many, right: one } = members.clone();
        let mut one_present = Presence::repeat(false, len);
        let mut types_matter = is_trim(self.rule.op);
        if one.len() > 1 {
            let (with_values, any_histograms) = self.check_one_side(&one, &mut one_present)?;
            members.right = with_values;
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
        let shared = Arc::clone(&self.kept);
        let known = {
            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(kept) = kept.get_mut(&index) else {
                drop(kept);
                return self.one.read(index, &mut self.one_column);
            };
            kept.uses = kept.uses.saturating_sub(1);
            if kept.uses == 0 {
                self.context.limits.release(std::mem::take(&mut kept.held));
                kept.column.take()
            } else {
                kept.column.clone()
            }
        };
        if let Some(column) = known {
            return self.one_column.copy_from(&column);
        }
        // Read outside of the lock: another thread may read it too, which does no harm.
        self.one.read(index, &mut self.one_column)?;
        let mut copy = self.context.column();
        copy.copy_from(&self.one_column)?;
        let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.get_mut(&index)
            && kept.uses > 0
            && kept.column.is_none()
        {
            let held = copy.held();
            kept.held = held;
            kept.column = Some(Arc::new(copy));
            self.context.limits.hold(held)?;
        }
        Ok(())
    }

    /// Steps at which some series of the group has a value, on the "many" side or the other.
    fn steps_met(&mut self, group: usize, of_many: bool) -> Result<Presence, Error> {
        if let Some(met) = self.met.get(&(group, of_many)) {
            return Ok(met.clone());
        }
        self.scratch
            .add(self.rule.grid.len.div_ceil(8) + 2 * size_of::<((usize, bool), Presence)>())?;
        let mut met = Presence::repeat(false, self.rule.grid.len);
        let members = Arc::clone(&self.members);
        let members = &members[group];
        let mut column = self.context.column();
        for index in if of_many { &members.left } else { &members.right } {
            let side = if of_many { &mut self.many } else { &mut self.one };
            side.read(*index, &mut column)?;
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
            fill(&mut self.many_column, len, self.rule.fill_many, met)?;
        }
        if pair.one == Operand::Fill {
            let met = self.steps_met(pair.group, false)?;
            fill(&mut self.one_column, len, self.rule.fill_one, met)?;
        }
        Ok(())
    }
}

/// Makes `column` the value that fills in, at all steps but those that are `met`.
fn fill(column: &mut Column, len: usize, value: Option<f64>, met: Presence) -> Result<(), Error> {
    column.fill(len, |_| value.unwrap_or(f64::NAN))?;
    column.keep(&!met);
    Ok(())
}

impl Operator for Matched {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let len = self.rule.grid.len;
        out.reset(len)?;
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

    fn fork(&self) -> Option<BoxOperator> {
        let mut scratch = self.scratch.fresh();
        scratch.add_each(self.rule.grid.len, size_of::<usize>()).ok()?;
        Some(Box::new(Self {
            many: self.many.fork()?,
            one: self.one.fork()?,
            metas: self.metas.clone(),
            pairs: Arc::clone(&self.pairs),
            rule: self.rule.clone(),
            span: self.span,
            members: Arc::clone(&self.members),
            kept: Arc::clone(&self.kept),
            met: HashMap::new(),
            any_of_many: None,
            many_column: self.context.column(),
            one_column: self.context.column(),
            scratch,
            context: self.context.clone(),
            shared: self.shared.clone(),
        }))
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
                Outcome::Histogram(histogram) => {
                    out.set_histogram(step, histogram);
                    self.context.limits.check()?;
                }
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
