//! What the pages of all targets say of their metrics: kinds and help texts.
//!
//! Targets of one job say the same, so one table for all keeps each text once.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::exposition::MetricType;

/// Metrics beyond this many are not noted.
const MAX_METRICS: usize = 100_000;

/// Different descriptions of one metric beyond this many are not noted.
const MAX_DESCRIPTIONS: usize = 10;

/// What a page says of a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Family<'a> {
    pub(super) metric: &'a str,
    pub(super) kind: MetricType,
    /// The help text, its escapes not resolved.
    pub(super) help: &'a str,
}

/// A description of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) kind: MetricType,
    pub(crate) help: String,
}

/// Descriptions by metric.
#[derive(Debug, Default)]
pub(crate) struct MetadataTable {
    metrics: Mutex<BTreeMap<String, Vec<Description>>>,
}

impl MetadataTable {
    /// Notes what a page says, if it is new.
    pub(super) fn note(&self, family: &Family<'_>) {
        if family.metric.is_empty() {
            return;
        }
        let help = unescape(family.help);
        let mut metrics = self.metrics.lock();
        let is_known =
            |description: &Description| description.kind == family.kind && description.help == help;
        match metrics.get_mut(family.metric) {
            Some(known) => {
                if known.len() < MAX_DESCRIPTIONS && !known.iter().any(is_known) {
                    known.push(Description { kind: family.kind, help });
                }
            }
            None => {
                if metrics.len() < MAX_METRICS {
                    let first = vec![Description { kind: family.kind, help }];
                    metrics.insert(family.metric.to_owned(), first);
                }
            }
        }
    }

    /// Calls `visit` with the metrics in the order of their names, or with `metric` only.
    pub(crate) fn for_each(
        &self,
        metric: Option<&str>,
        mut visit: impl FnMut(&str, &[Description]),
    ) {
        let metrics = self.metrics.lock();
        match metric {
            Some(metric) => {
                if let Some(descriptions) = metrics.get(metric) {
                    visit(metric, descriptions);
                }
            }
            None => metrics.iter().for_each(|(metric, found)| visit(metric, found)),
        }
    }
}

/// Resolves the escapes of a help text.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.as_str().chars().next() } else { None };
        match escaped {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_kept_once_each() {
        let table = MetadataTable::default();
        let up = Family { metric: "up", kind: MetricType::Gauge, help: r"two\nlines \\ \x" };
        table.note(&up);
        table.note(&up);
        table.note(&Family { kind: MetricType::Counter, ..up });
        table.note(&Family { metric: "a", ..Family::default() });
        table.note(&Family::default());
        let mut found = Vec::new();
        table.for_each(None, |metric, descriptions| {
            found.push((metric.to_owned(), descriptions.to_vec()));
        });
        let description = |kind, help: &str| Description { kind, help: help.to_owned() };
        let help = "two\nlines \\ \\x";
        assert_eq!(
            found,
            [
                ("a".to_owned(), vec![description(MetricType::Untyped, "")]),
                (
                    "up".to_owned(),
                    vec![
                        description(MetricType::Gauge, help),
                        description(MetricType::Counter, help)
                    ]
                ),
            ]
        );
    }
}
