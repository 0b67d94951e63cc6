//! Groups: which series of the input belong to which series of the output.
//!
//! Found once from labels. Afterwards a series is a number and a group is a number, and nothing is
//! hashed again.

use std::collections::HashMap;

use ferula_index::{Labels, METRIC_NAME};

use crate::Error;
use crate::ast::AggregateGrouping;
use crate::exec::batch::SeriesMeta;
use crate::exec::{CHECK_EVERY, Context, Metas, is_metadata_label};
use crate::ledger::Charge;

/// The groups of an aggregation.
pub(super) struct Groups {
    /// Group of each input series.
    pub(super) of_series: Vec<u32>,
    /// What is known of each group's series.
    pub(super) metas: Metas,
    _charge: Charge,
}

/// Bytes of a group beside its labels and key.
const GROUP_BYTES: usize = 4 * size_of::<(Vec<u8>, u32)>();

/// The labels that groups are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupLabels<'a> {
    grouping: Option<&'a AggregateGrouping>,
}

impl<'a> GroupLabels<'a> {
    pub(super) fn new(grouping: Option<&'a AggregateGrouping>) -> Self {
        Self { grouping }
    }

    /// Tells whether a label is among them.
    pub(super) fn covers(self, name: &str) -> bool {
        match self.grouping {
            None => false,
            Some(AggregateGrouping::By(names)) => names.iter().any(|n| n == name),
            Some(AggregateGrouping::Without(names)) => {
                name != METRIC_NAME && !names.iter().any(|n| n == name)
            }
        }
    }

    /// Their names, if these are known without the series.
    pub(super) fn names(self) -> Option<Vec<&'a str>> {
        match self.grouping {
            None => Some(Vec::new()),
            Some(AggregateGrouping::By(names)) => Some(names.iter().map(String::as_str).collect()),
            Some(AggregateGrouping::Without(_)) => None,
        }
    }

    /// The name behind which no label is covered, if there is one.
    fn last_name(self) -> Option<&'a str> {
        match self.grouping {
            None => Some(""),
            Some(AggregateGrouping::By(names)) => {
                Some(names.iter().map(String::as_str).max().unwrap_or_default())
            }
            Some(AggregateGrouping::Without(_)) => None,
        }
    }

    /// Tells whether none of them describes the metric rather than the series.
    pub(super) fn are_nameless(self) -> bool {
        match self.grouping {
            None => true,
            Some(AggregateGrouping::By(names)) => !names.iter().any(|n| is_metadata_label(n)),
            Some(AggregateGrouping::Without(_)) => false,
        }
    }

    /// Tells whether a label that is added to the groups survives: unless it is removed by name.
    pub(super) fn keeps(self, name: &str) -> bool {
        !matches!(self.grouping, Some(AggregateGrouping::Without(_))) || self.covers(name)
    }

    /// Appends what tells the group of a series from others. No label behind `last` is covered.
    fn write_key(self, labels: &Labels, last: Option<&str>, key: &mut Vec<u8>) {
        // Labels are sorted by name, so the search ends behind the last one of interest.
        let early = labels.iter().take_while(|(name, _)| last.is_none_or(|l| *name <= l));
        for (name, value) in early.filter(|(name, _)| self.covers(name)) {
            for text in [name, value] {
                // This byte occurs in no UTF-8 text.
                key.extend_from_slice(text.as_bytes());
                key.push(0xff);
            }
        }
    }

    /// The labels of the group of a series.
    pub(super) fn of(self, labels: &Labels) -> Result<Labels, Error> {
        Ok(Labels::from_pairs(labels.iter().filter(|(name, _)| self.covers(name)))?)
    }
}

impl Groups {
    pub(super) fn new(
        labels: GroupLabels<'_>,
        series: &[SeriesMeta],
        context: &Context,
    ) -> Result<Self, Error> {
        let mut charge = context.charge("groups of series");
        charge.add_each(series.len(), size_of::<u32>())?;
        let mut of_series: Vec<u32> = Vec::with_capacity(series.len());
        let mut metas = Metas::builder(context, 0)?;
        let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut key = Vec::new();
        let last = labels.last_name();
        let mut before: Option<&SeriesMeta> = None;
        for meta in series {
            if of_series.len().is_multiple_of(CHECK_EVERY) {
                context.limits.check()?;
            }
            let same = before.replace(meta).filter(|before| before.labels == meta.labels);
            let group = match (same, of_series.last()) {
                (Some(_), Some(&group)) => group,
                _ => {
                    key.clear();
                    labels.write_key(&meta.labels, last, &mut key);
                    match known.get(key.as_slice()) {
                        Some(group) => *group,
                        None => {
                            let group = u32::try_from(metas.len()).unwrap_or(u32::MAX);
                            charge.add(GROUP_BYTES + key.len())?;
                            known.insert(key.clone(), group);
                            metas.push_made(SeriesMeta::new(labels.of(&meta.labels)?))?;
                            group
                        }
                    }
                }
            };
            metas.change(group as usize, |of_group| of_group.drop_name |= meta.drop_name);
            of_series.push(group);
        }
        Ok(Self { of_series, metas: metas.build(), _charge: charge })
    }

    /// The group of an input series.
    #[inline]
    pub(super) fn of(&self, series: usize) -> usize {
        self.of_series[series] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_of_the_named_labels() {
        let meta = |pairs: &[(&str, &str)]| {
            SeriesMeta::new(Labels::from_pairs(pairs.iter().copied()).unwrap())
        };
        let series = [
            meta(&[("__name__", "a"), ("x", "1"), ("y", "1")]),
            meta(&[("__name__", "b"), ("x", "1"), ("y", "2")]),
            meta(&[("__name__", "b"), ("x", "2")]),
        ];
        let of = |grouping: Option<AggregateGrouping>| {
            let labels = GroupLabels::new(grouping.as_ref());
            Groups::new(labels, &series, &Context::unbounded()).unwrap()
        };
        assert_eq!(of(None).of_series, [0, 0, 0]);
        let by = of(Some(AggregateGrouping::By(vec!["x".to_owned()])));
        assert_eq!(by.of_series, [0, 0, 1]);
        assert_eq!(by.metas[1].labels.to_string(), r#"{x="2"}"#);
        let without = of(Some(AggregateGrouping::Without(vec!["y".to_owned()])));
        assert_eq!(without.of_series, [0, 0, 1]);
    }
}
