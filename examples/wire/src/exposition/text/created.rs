//! Since when the series of an OpenMetrics text have been counting: their `_created` lines.

use std::collections::HashMap;

use super::super::MetricType;
use super::float::whole_ms;
use super::{Entry, TextParser};

/// What is known of the metric family that is read.
#[derive(Clone, Debug, Default)]
pub(super) struct CreatedTimes {
    /// Whether the lines of the family were looked at.
    is_read: bool,
    /// Milliseconds by label set, written as [`key`] does. Mostly there are none.
    times: HashMap<Vec<u8>, i64>,
}

impl CreatedTimes {
    /// Forgets the family before.
    pub(super) fn clear(&mut self) {
        self.is_read = false;
        self.times.clear();
    }
}

/// Whether series of this kind count from some time on.
fn has_start(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
}

impl TextParser<'_> {
    /// Whether the sample read last tells when the series of its family began to count.
    pub(super) fn is_created_line(&self) -> bool {
        let name = &self.scan.page[self.name.clone()];
        has_start(self.kind)
            && name.strip_suffix(b"_created").is_some_and(|name| name == self.family.as_bytes())
    }

    /// Since when the series of the sample read last has been counting, in milliseconds; zero if the page
    /// does not tell. Lines further down are looked at for it, once for a family.
    pub fn created(&mut self) -> i64 {
        if !has_start(self.kind) || self.family.is_empty() {
            return 0;
        }
        if !self.created.is_read {
            self.created.is_read = true;
            // The clone tells the lines that this parser passes over.
            let mut ahead = Self { tells_created: false, ..self.clone() };
            while let Ok(Some(Entry::Sample(sample))) = ahead.next_entry() {
                if ahead.is_created_line()
                    && let Some(ms) = whole_ms(sample.value)
                {
                    self.created.times.insert(key(&ahead), ms);
                }
            }
        }
        match self.created.times.is_empty() {
            true => 0,
            false => self.created.times.get(&key(self)).copied().unwrap_or(0),
        }
    }
}

/// The labels of a sample without bucket and quantile, in the order of the page.
fn key(parser: &TextParser<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    for (name, value) in &parser.pairs {
        let name = &parser.scan.page[name.clone()];
        let is_part = match parser.kind {
            MetricType::Histogram => name == b"le",
            MetricType::Summary => name == b"quantile",
            _ => false,
        };
        if !is_part {
            for text in [name, &parser.scan.page[value.clone()]] {
                key.extend_from_slice(text);
                key.push(0xff);
            }
        }
    }
    key
}
