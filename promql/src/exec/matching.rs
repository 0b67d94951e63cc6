//! Which series of the two sides of a binary operator belong together.
//!
//! Every series has a signature, made of the labels that are matched; series of equal signatures
//! form a group. Groups are found once from labels, before any sample is read.

use std::collections::HashMap;

use ferula_index::{Labels, METRIC_NAME};

use super::batch::SeriesMeta;
use crate::Error;
use crate::ast::MatchingLabels;

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
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Group of each series of the left side.
    pub(super) of_left: Vec<usize>,
    /// Group of each series of the right side.
    pub(super) of_right: Vec<usize>,
    /// Members per group.
    pub(super) members: Vec<Members>,
}

/// The series of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
}

impl Groups {
    pub(super) fn new(signature: &Signature, left: &[SeriesMeta], right: &[SeriesMeta]) -> Self {
        let mut groups = Self::default();
        let mut known: HashMap<Vec<u8>, usize> = HashMap::with_capacity(left.len());
        let mut key = Vec::new();
        let mut find = |meta: &SeriesMeta, members: &mut Vec<Members>| {
            signature.write_key(&meta.labels, &mut key);
            if let Some(group) = known.get(key.as_slice()) {
                return *group;
            }
            members.push(Members::default());
            known.insert(key.clone(), members.len() - 1);
            members.len() - 1
        };
        for (index, meta) in left.iter().enumerate() {
            let group = find(meta, &mut groups.members);
            groups.of_left.push(group);
            groups.members[group].left.push(index);
        }
        for (index, meta) in right.iter().enumerate() {
            let group = find(meta, &mut groups.members);
            groups.of_right.push(group);
            groups.members[group].right.push(index);
        }
        groups
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
        let groups = Groups::new(&Signature::new(None), &left, &right);
        assert_eq!((groups.of_left, groups.of_right), (vec![0, 1], vec![0]));
        let on = MatchingLabels::On(vec!["__name__".to_owned()]);
        let groups = Groups::new(&Signature::new(Some(&on)), &left, &right);
        assert_eq!((groups.of_left, groups.of_right), (vec![0, 0], vec![1]));
    }
}
