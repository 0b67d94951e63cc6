//! What a page says of its metrics, on its way into the store.
//!
//! As in Prometheus, a series is told what its metric says when it is new, or when that has changed
//! since the last scrape. Whether it has shows by a hash for each metric of the page: the texts
//! themselves are in the store only, once for all targets.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use ferula_index::SeriesRef;
use ferula_tsdb::{Metadata, MetadataError};

use crate::exposition::MetricType;
use crate::store::Batch;

/// What the last page said, and what this one does.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    state: RandomState,
    /// A hash for each metric that has samples, in the order of the page.
    last: Vec<Option<u64>>,
    now: Vec<Option<u64>>,
}

/// What a page says of a metric, whose samples follow.
#[derive(Debug, Default)]
pub(super) struct Family<'a> {
    metric: &'a str,
    kind: MetricType,
    unit: &'a str,
    /// The help text, and how it is escaped.
    help: &'a str,
    escapes: Escapes,
    /// What is known once there was a sample.
    begun: Option<Begun>,
}

/// What a backslash in a help text may stand before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Escapes {
    /// Nothing: the text is as it is meant.
    #[default]
    None,
    /// Another one, and `n` for a line feed.
    Text,
    /// These, and a quote.
    OpenMetrics,
}

#[derive(Debug)]
struct Begun {
    is_changed: bool,
    place: usize,
    /// Made when a series is told.
    metadata: Option<Metadata>,
}

impl<'a> Family<'a> {
    /// Takes up a help text.
    pub(super) fn help(&mut self, metric: &'a str, help: &'a str, escapes: Escapes) {
        let family = self.turn_to(metric);
        (family.help, family.escapes) = (help, escapes);
    }

    /// Takes up a unit.
    pub(super) fn unit(&mut self, metric: &'a str, unit: &'a str) {
        self.turn_to(metric).unit = unit;
    }

    /// Takes up a kind.
    pub(super) fn kind(&mut self, metric: &'a str, kind: MetricType) {
        self.turn_to(metric).kind = kind;
    }

    fn turn_to(&mut self, metric: &'a str) -> &mut Self {
        if self.metric != metric {
            *self = Self { metric, ..Self::default() };
        }
        self.begun = None;
        self
    }
}

impl Descriptions {
    /// Tells whether a series that this page has a sample of is to be told what its metric says.
    pub(super) fn is_due(&mut self, family: &mut Family<'_>, is_new: bool) -> bool {
        if family.metric.is_empty() {
            return false;
        }
        let Family { metric, kind, unit, help, begun, .. } = family;
        let begun = begun.get_or_insert_with(|| {
            let place = self.now.len();
            let hash = Some(self.state.hash_one((metric, kind, unit, help)));
            self.now.push(hash);
            let is_changed = self.last.get(place) != Some(&hash);
            Begun { is_changed, place, metadata: None }
        });
        is_new || begun.is_changed
    }

    /// Tells a series called `name` what its metric says, if the page says so.
    pub(super) fn tell(
        &mut self,
        batch: &mut dyn Batch,
        family: &mut Family<'_>,
        name: &str,
        series: SeriesRef,
    ) {
        let Family { metric, kind, unit, help, escapes, begun } = family;
        let Some(begun) = begun else { return };
        if !is_of_family(name, metric, *kind) {
            return;
        }
        let make = || Metadata::new(kind.stored(), *unit, unescape(help, *escapes));
        let metadata = begun.metadata.get_or_insert_with(make);
        // No sample is given up for a text. What did not fit the batch is told next time.
        if let Err(MetadataError::BatchTooLarge { .. }) = batch.update_metadata(series, metadata) {
            self.now[begun.place] = None;
        }
    }

    /// Ends a page that was stored.
    pub(super) fn end_good(&mut self) {
        std::mem::swap(&mut self.last, &mut self.now);
        self.now.clear();
    }

    /// Ends a page that was not: the next one tells what it says anew.
    pub(super) fn end_failed(&mut self) {
        self.last.clear();
        self.now.clear();
    }
}

/// Tells whether the metric of a series is one of those that a page describes by the name `family`.
fn is_of_family(name: &str, family: &str, kind: MetricType) -> bool {
    let suffixes: &[&str] = match kind {
        MetricType::Counter => &["", "_total"],
        MetricType::Histogram => &["", "_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["", "_bucket", "_count", "_sum", "_gcount", "_gsum"],
        MetricType::Info => &["", "_info"],
        MetricType::Summary => &["", "_count", "_sum"],
        MetricType::Gauge | MetricType::StateSet | MetricType::Untyped => &[""],
    };
    name.strip_prefix(family).is_some_and(|suffix| suffixes.contains(&suffix))
}

/// Resolves the escapes of a help text.
fn unescape(text: &str, escapes: Escapes) -> String {
    if escapes == Escapes::None {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.as_str().chars().next() } else { None };
        match escaped {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if escapes == Escapes::OpenMetrics => out.push('"'),
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
    fn escapes_are_resolved() {
        let text = r#"two\nlines \\ \x \""#;
        assert_eq!(unescape(text, Escapes::Text), "two\nlines \\ \\x \\\"");
        assert_eq!(unescape(text, Escapes::OpenMetrics), "two\nlines \\ \\x \"");
        assert_eq!(unescape(text, Escapes::None), text);
    }

    #[test]
    fn names_belong_to_their_family() {
        for (name, family, kind, expected) in [
            ("a", "a", MetricType::Gauge, true),
            ("a_total", "a", MetricType::Gauge, false),
            ("a_total", "a", MetricType::Counter, true),
            ("a_bucket", "a", MetricType::Histogram, true),
            ("a_sum", "a", MetricType::Summary, true),
            ("a_bucket", "a", MetricType::Summary, false),
            ("ab", "a", MetricType::Histogram, false),
            ("b", "a", MetricType::Untyped, false),
        ] {
            assert_eq!(is_of_family(name, family, kind), expected, "{name} of {family}");
        }
    }
}
