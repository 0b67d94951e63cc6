//! Arithmetic and comparison between vectors.
//!
//! Every output series is known from the labels of both sides before any sample is read, as a list
//! of pairs of input series; reading it reads those pairs. Whether a match is ambiguous depends on
//! which series have values at the same step, so only groups with several series on a side where
//! one is expected are checked, once, before the first read.

use std::collections::HashMap;

use super::batch::{Column, Grid, Presence, SeriesMeta};
use super::binary::apply;
use super::matching::{Groups, Members};
use super::pair_rule::{Operand, Pair, Rule};
use super::{BoxOperator, Context, Operator};
use crate::Error;
use crate::plan::Binary;

/// Arithmetic or comparison between vectors.
pub(super) struct Matched {
    many: BoxOperator,
    one: BoxOperator,
    metas: Vec<SeriesMeta>,
    /// Pairs per output series.
    pairs: Vec<Vec<Pair>>,
    rule: Rule,
    groups: Groups,
    /// Groups that must be checked before the first read.
    unchecked: Vec<usize>,
    /// Columns of series of the "one" side that are needed again, and how often.
    kept: HashMap<usize, Kept>,
    /// Steps at which a group needs no filling in, by group and side.
    met: HashMap<(usize, bool), Presence>,
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
        left: BoxOperator,
        right: BoxOperator,
        grid: Grid,
        context: &Context,
    ) -> Result<Self, Error> {
        let rule = Rule::new(binary, grid);
        let (many, one) = if rule.swapped { (right, left) } else { (left, right) };
        let groups = Groups::new(&rule.signature, many.series(), one.series());
        let outputs = rule.outputs(&groups, many.series(), one.series(), context)?;
        let mut kept: HashMap<usize, Kept> = HashMap::new();
        for pair in outputs.pairs.iter().flatten() {
            if let Operand::Series(index) = pair.one {
                kept.entry(index).or_insert(Kept { uses: 0, column: None }).uses += 1;
            }
        }
        kept.retain(|_, kept| kept.uses > 1);
        let mut matched = Self {
            unchecked: rule.ambiguous(&groups),
            many,
            one,
            metas: outputs.metas,
            pairs: outputs.pairs,
            rule,
            groups,
            kept,
            met: HashMap::new(),
            many_column: Column::new(),
            one_column: Column::new(),
            context: context.clone(),
        };
        if matched.metas.is_empty() {
            // Nobody will read, but an ambiguous side fails the query all the same.
            matched.check_groups()?;
        }
        Ok(matched)
    }

    /// Checks the groups that have not been checked yet.
    fn check_groups(&mut self) -> Result<(), Error> {
        while let Some(group) = self.unchecked.pop() {
            self.check(group)?;
        }
        Ok(())
    }

    /// Fails if two series stand where the match allows one only.
    fn check(&mut self, group: usize) -> Result<(), Error> {
        let len = self.rule.grid.len;
        // In a group, the left side is the "many" one.
        let Members { left: many, right: one } = self.groups.members[group].clone();
        let mut one_present = Presence::repeat(false, len);
        if one.len() > 1 {
            self.check_one_side(&one, &mut one_present)?;
        } else if let Some(index) = one.first() {
            self.one.read(*index, &mut self.one_column)?;
            one_present |= self.one_column.presence();
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
            if self.many_column.iter().any(|(step, _)| many_present[step]) {
                return Err(Error::ImplicitManyToOne);
            }
            many_present |= self.many_column.presence();
        }
        Ok(())
    }

    /// Fails if two series of the "one" side have values at a step at which the other side has any.
    fn check_one_side(&mut self, one: &[usize], present: &mut Presence) -> Result<(), Error> {
        let mut owner = vec![usize::MAX; self.rule.grid.len];
        let mut clashes: Vec<(usize, usize, usize)> = Vec::new();
        for index in one {
            self.one.read(*index, &mut self.one_column)?;
            for (step, _) in self.one_column.iter() {
                if owner[step] == usize::MAX {
                    owner[step] = *index;
                } else {
                    clashes.push((step, *index, owner[step]));
                }
            }
            *present |= self.one_column.presence();
        }
        let Some(_) = clashes.first() else { return Ok(()) };
        let wanted = self.steps_of_many()?;
        let clash = clashes.into_iter().filter(|(step, ..)| wanted[*step]).min();
        let Some((_, first, second)) = clash else { return Ok(()) };
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
        let filled = self.rule.fill_many.is_some() || self.rule.fill_one.is_some();
        let mut steps = Presence::repeat(filled, self.rule.grid.len);
        if !filled {
            for index in 0..self.many.series().len() {
                self.many.read(index, &mut self.many_column)?;
                steps |= self.many_column.presence();
            }
        }
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
                    self.context.limits.hold(self.one_column.len())?;
                    kept.column = Some(self.one_column.clone());
                }
            }
        }
        if kept.uses == 0
            && let Some(column) = kept.column.take()
        {
            self.context.limits.release(column.len());
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
            met |= column.presence();
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

impl Operator for Matched {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.check_groups()?;
        let len = self.rule.grid.len;
        out.reset(len);
        let n_pairs = self.pairs[index].len();
        // Group that was matched at a step, if there is more than one pair to be told apart.
        let mut owner = vec![usize::MAX; if n_pairs > 1 { len } else { 0 }];
        for at in 0..n_pairs {
            let pair = self.pairs[index][at];
            self.read_pair(pair)?;
            let one = &self.one_column;
            let mut failed = None;
            let rule = &self.rule;
            self.many_column.for_each(|step, many| {
                let Some(one) = one.get(step) else { return };
                let (left, right) = if rule.swapped { (one, many) } else { (many, one) };
                let result = apply(rule.op, rule.return_bool, left, right);
                if let Some(owner) = owner.get_mut(step) {
                    if *owner == pair.group && !rule.one_to_one {
                        failed = Some(Error::AmbiguousGrouping);
                    } else if result.is_some() && out.has(step) {
                        failed = Some(Error::DuplicateLabelset);
                    }
                    *owner = pair.group;
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
