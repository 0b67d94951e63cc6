//! Which series of the two sides of a binary operator belong together.
//!
//! Every series has a signature, made of the labels that are matched; series of equal signatures
//! form a group. Groups are found once from labels, before any sample is read.

use std::collections::HashMap;

use ferula_index::{Labels, METRIC_NAME};

use super::Context;
use super::batch::SeriesMeta;
use super::metas::CHECK_EVERY;
use crate::Error;
use crate::ast::MatchingLabels;
use crate::ledger::Charge;

/// The labels that are matched.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    labels: MatchingLabels,
}

impl Signature {
    pub(super) fn new(labels: Option<&MatchingLabels>) -> Self {
        Self { labels: labels.cloned().unwrap_or(MatchingLabels::Ignoring(Vec::new())) }
    }

    /// Tells whether a label takes part in the match.
    pub(super) fn covers(&self, name: &str) -> bool {
        match &self.labels {
            MatchingLabels::On(names) => names.iter().any(|n| n == name),
            MatchingLabels::Ignoring(names) => {
                name != METRIC_NAME && !names.iter().any(|n| n == name)
            }
        }
    }

    /// Tells whether only named labels are matched.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.labels, MatchingLabels::On(_))
    }

    /// The names that were written.
    pub(super) fn names(&self) -> &[String] {
        match &self.labels {
            MatchingLabels::On(names) | MatchingLabels::Ignoring(names) => names,
        }
    }

    /// The labels of a series that are matched.
    pub(super) fn of(&self, labels: &Labels) -> Result<Labels, Error> {
        Ok(Labels::from_pairs(labels.iter().filter(|(name, _)| self.covers(name)))?)
    }

    fn write_key(&self, labels: &Labels, key: &mut Vec<u8>) {
        key.clear();
        for (name, value) in labels.iter().filter(|(name, _)| self.covers(name)) {
            for text in [name, value] {
                // This byte occurs in no UTF-8 text.
                key.extend_from_slice(text.as_bytes());
                key.push(0xff);
            }
        }
    }
}

/// The series of both sides by group.
pub(super) struct Groups {
    /// Group of each series of the left side.
    pub(super) of_left: Vec<usize>,
    /// Group of each series of the right side.
    pub(super) of_right: Vec<usize>,
    /// Members per group.
    pub(super) members: Vec<Members>,
    charge: Charge,
}

/// The series of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
}

/// Bytes of a group beside its key: its members, of which there is room for four on each side, and
/// its entry in the table.
const GROUP_BYTES: usize =
    size_of::<Members>() + size_of::<[usize; 8]>() + 2 * size_of::<(Vec<u8>, usize)>();

impl Groups {
    pub(super) fn new(
        signature: &Signature,
        left: &[SeriesMeta],
        right: &[SeriesMeta],
        context: &Context,
    ) -> Result<Self, Error> {
        let mut charge = context.charge("groups of series that match");
        // The group of a series, and the place of a series in it.
        charge.add_each(left.len().saturating_add(right.len()), 3 * size_of::<usize>())?;
        let mut of_left = Vec::with_capacity(left.len());
        let mut of_right = Vec::with_capacity(right.len());
        let mut all: Vec<Members> = Vec::new();
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut key = Vec::new();
        let mut looked_at = 0_usize;
        let mut find = |meta: &SeriesMeta, members: &mut Vec<Members>| {
            looked_at += 1;
            if looked_at.is_multiple_of(CHECK_EVERY) {
                context.limits.check()?;
            }
            signature.write_key(&meta.labels, &mut key);
            if let Some(group) = known.get(key.as_slice()) {
                return Ok(*group);
            }
            charge.add(2 * GROUP_BYTES + key.len())?;
            members.push(Members::default());
            known.insert(key.clone(), members.len() - 1);
            Ok::<_, Error>(members.len() - 1)
        };
        for (index, meta) in left.iter().enumerate() {
            let group = find(meta, &mut all)?;
            of_left.push(group);
            all[group].left.push(index);
        }
        for (index, meta) in right.iter().enumerate() {
            let group = find(meta, &mut all)?;
            of_right.push(group);
            all[group].right.push(index);
        }
        Ok(Self { of_left, of_right, members: all, charge })
    }

    /// The members of each group, and what they take.
    pub(super) fn into_members(self) -> (Vec<Members>, Charge) {
        (self.members, self.charge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(pairs: &[(&str, &str)]) -> SeriesMeta {
        SeriesMeta::new(Labels::from_pairs(pairs.iter().copied()).unwrap())
    }

    #[test]
    fn names_of_metrics_are_not_matched_unless_asked_for() {
        let left = [meta(&[("__name__", "a"), ("x", "1")]), meta(&[("__name__", "a")])];
        let right = [meta(&[("__name__", "b"), ("x", "1")])];
        let context = Context::unbounded();
        let groups = Groups::new(&Signature::new(None), &left, &right, &context).unwrap();
        assert_eq!((groups.of_left, groups.of_right), (vec![0, 1], vec![0]));
        let on = MatchingLabels::On(vec!["__name__".to_owned()]);
        let groups = Groups::new(&Signature::new(Some(&on)), &left, &right, &context).unwrap();
        assert_eq!((groups.of_left, groups.of_right), (vec![0, 0], vec![1]));
    }
}
