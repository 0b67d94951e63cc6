//! Which pairs of series a binary operation between vectors computes, and what the results are
//! called.
//!
//! One side may have several series per match if it is said so, the "many" side; without a word it
//! is the left one, and has one too.

use std::collections::HashMap;

use ferula_index::{Labels, LabelsBuilder};

use super::Context;
use super::arithmetic::changes_metric;
use super::batch::{Grid, SeriesMeta};
use super::context::is_metadata_label;
use super::matching::{Groups, Signature};
use super::metas::{Metas, MetasBuilder};
use crate::Error;
use crate::ast::{BinaryOp, Side};
use crate::ledger::Charge;
use crate::plan::Binary;

/// A side of a pair: a series, or the value that fills in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Series(usize),
    Fill,
}

/// Two operands that are matched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) many: Operand,
    pub(super) one: Operand,
    pub(super) group: usize,
}

/// How pairs are found and computed.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) op: BinaryOp,
    pub(super) return_bool: bool,
    /// The "many" side is the right one.
    pub(super) swapped: bool,
    pub(super) one_to_one: bool,
    pub(super) fill_many: Option<f64>,
    pub(super) fill_one: Option<f64>,
    pub(super) signature: Signature,
    pub(super) grid: Grid,
    /// Labels taken over from the "one" side.
    include: Vec<String>,
}

/// The output series, each with the pairs that make it up.
pub(super) struct Outputs {
    pub(super) metas: Metas,
    pub(super) pairs: Vec<Vec<Pair>>,
    /// Of the pairs.
    pub(super) charge: Charge,
}

/// Bytes of a pair: in a list that has room for four, and the entry of its labels in a table.
const PAIR_BYTES: usize =
    4 * size_of::<Pair>() + size_of::<Vec<Pair>>() + 3 * size_of::<(Labels, usize)>();

struct OutputsBuilder {
    metas: MetasBuilder,
    pairs: Vec<Vec<Pair>>,
    known: HashMap<Labels, usize>,
}

impl Rule {
    pub(super) fn new(binary: &Binary, grid: Grid) -> Self {
        let matching = &binary.matching;
        let swapped = matching.group.as_ref().is_some_and(|group| group.many == Side::Right);
        Self {
            op: binary.op,
            return_bool: binary.return_bool,
            swapped,
            one_to_one: matching.group.is_none(),
            // With `group_right` the modifiers change sides too: `fill_left` fills in for the
            // "many" side whichever it is, as in Prometheus.
            fill_many: matching.fill_left,
            fill_one: matching.fill_right,
            signature: Signature::new(matching.labels.as_ref()),
            grid,
            include: matching.group.iter().flat_map(|group| group.include.clone()).collect(),
        }
    }

    /// Groups with several series on a side where one is expected.
    pub(super) fn ambiguous(&self, groups: &Groups) -> Vec<usize> {
        let too_many = |group: &usize| {
            let members = &groups.members[*group];
            members.right.len() > 1 || (self.one_to_one && members.left.len() > 1)
        };
        (0..groups.members.len()).filter(too_many).collect()
    }

    /// Number of pairs that [`outputs`](Self::outputs) finds.
    pub(super) fn count_pairs(&self, groups: &Groups) -> usize {
        let filled_one = usize::from(self.fill_one.is_some());
        let filled_many = usize::from(self.fill_many.is_some());
        let of_group = |(many, one): (usize, usize)| {
            many.saturating_mul(one.saturating_add(filled_one))
                .saturating_add(one.saturating_mul(filled_many))
        };
        let sizes = groups.members.iter().map(|group| (group.left.len(), group.right.len()));
        sizes.map(of_group).fold(0, usize::saturating_add)
    }

    /// Finds the output series. In `groups` the left side is the "many" one.
    pub(super) fn outputs(
        &self,
        groups: &Groups,
        many: &[SeriesMeta],
        one: &[SeriesMeta],
        context: &Context,
    ) -> Result<Outputs, Error> {
        let mut charge = context.charge("pairs of series that match");
        charge.add_each(self.count_pairs(groups), PAIR_BYTES)?;
        let mut outputs = OutputsBuilder {
            metas: Metas::builder(context, 0)?,
            pairs: Vec::new(),
            known: HashMap::new(),
        };
        for (index, meta) in many.iter().enumerate() {
            let group = groups.of_left[index];
            let of_many = Operand::Series(index);
            for other in &groups.members[group].right {
                let labels = self.labels(&meta.labels, &one[*other].labels, context)?;
                let pair = Pair { many: of_many, one: Operand::Series(*other), group };
                outputs.add(labels, self.return_bool, pair)?;
            }
            if self.fill_one.is_some() {
                let filled = self.signature.of(&meta.labels)?;
                let labels = self.labels(&meta.labels, &filled, context)?;
                let pair = Pair { many: of_many, one: Operand::Fill, group };
                outputs.add(labels, self.return_bool, pair)?;
            }
        }
        if self.fill_many.is_some() {
            for (index, meta) in one.iter().enumerate() {
                let filled = self.signature.of(&meta.labels)?;
                let labels = self.labels(&filled, &meta.labels, context)?;
                let group = groups.of_right[index];
                let pair = Pair { many: Operand::Fill, one: Operand::Series(index), group };
                outputs.add(labels, self.return_bool, pair)?;
            }
        }
        Ok(Outputs { metas: outputs.metas.build(), pairs: outputs.pairs, charge })
    }

    /// Labels of the result of a pair.
    fn labels(&self, many: &Labels, one: &Labels, context: &Context) -> Result<Labels, Error> {
        let drops_name =
            changes_metric(self.op) || (self.return_bool && !context.features.delayed_name_removal);
        let keep = |name: &str| {
            if drops_name && is_metadata_label(name) {
                return false;
            }
            let named = || self.signature.names().iter().any(|n| n == name);
            !self.one_to_one || named() == self.signature.is_on()
        };
        if self.include.is_empty() {
            return Ok(Labels::from_pairs(many.iter().filter(|(name, _)| keep(name)))?);
        }
        let mut labels = LabelsBuilder::from_labels(many);
        labels.retain(keep);
        for name in &self.include {
            labels.set(name, one.get(name).unwrap_or_default());
        }
        Ok(labels.build()?)
    }
}

impl OutputsBuilder {
    fn add(&mut self, labels: Labels, drop_name: bool, pair: Pair) -> Result<(), Error> {
        if let Some(output) = self.known.get(&labels) {
            self.pairs[*output].push(pair);
            return Ok(());
        }
        self.known.insert(labels.clone(), self.metas.len());
        self.pairs.push(vec![pair]);
        self.metas.push_made(SeriesMeta { labels, drop_name })
    }
}
