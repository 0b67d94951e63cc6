//! What a query is going to do, and what it has done, part by part.

use std::fmt;

use crate::exec::profile::Profile;
use crate::functions::{InstantFunction, RangeFunction};
use crate::plan::{Node, NodeKind, RangeSource};
use crate::{Span, Summary};

/// Characters of the query that are shown of a part.
const MAX_SHOWN_CHARS: usize = 60;

/// A part of the plan of a query, with what is expected of it or what it did. Parts of it come behind
/// it, one level deeper.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PlanPart {
    /// How deep it stands in the plan; the whole is at 0.
    pub depth: usize,
    /// What kind of part it is, for instance `aggregation`.
    pub kind: &'static str,
    /// Its place in the text of the query.
    pub span: Span,
    /// Series that it has.
    pub n_series: u64,
    /// Values of all its series that were read; 0 before the query is run.
    pub n_values: u64,
    /// Samples that it reads from the storage itself; before the query is run, how many that are likely
    /// to be, judged by a few series.
    pub n_samples: u64,
    /// Milliseconds that were spent on it and its parts, by the clock of the engine, on all threads
    /// together; 0 without a clock. A reading of the clock is a whole number, so that few short reads
    /// tell little.
    pub time_ms: u64,
}

/// How a query would be evaluated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The parts of the plan, each before its own.
    pub parts: Vec<PlanPart>,
    /// Steps at which the whole is evaluated.
    pub n_steps: usize,
    /// Memory that the query is likely to hold at most, in bytes: what labels and tables take, which was
    /// counted, and the values of the answer and of groups, if all steps have one.
    pub memory_bytes: u64,
    pub(crate) text: String,
}

/// How a query was evaluated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Analysis {
    /// The parts of the plan, each before its own.
    pub parts: Vec<PlanPart>,
    /// What is known of the answer.
    pub summary: Summary,
    pub(crate) text: String,
}

/// The parts of `plan`, with what the profile noted.
pub(crate) fn parts(plan: &Node, profile: &Profile) -> Vec<PlanPart> {
    let mut found = Vec::new();
    collect(plan, 0, profile, &mut found);
    found
}

fn collect(node: &Node, depth: usize, profile: &Profile, found: &mut Vec<PlanPart>) {
    let counts = profile.counts(node);
    found.push(PlanPart {
        depth,
        kind: kind(node),
        span: node.span,
        n_series: counts.n_series,
        n_values: counts.n_values,
        n_samples: counts.n_samples,
        time_ms: counts.time_ms,
    });
    let mut inner = |node: &Node| collect(node, depth + 1, profile, found);
    match &node.kind {
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Selector(_) => {}
        NodeKind::Range(source) => collect_source(source, &mut inner),
        NodeKind::RangeCall(call) => {
            collect_source(&call.source, &mut inner);
            call.params.iter().for_each(inner);
        }
        NodeKind::Call(call) => call.args.iter().for_each(inner),
        NodeKind::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| inner(param));
            inner(&aggregate.input);
        }
        NodeKind::Binary(binary) => {
            inner(&binary.left);
            inner(&binary.right);
        }
        NodeKind::Negate(node) | NodeKind::Invariant(node) => inner(node),
    }
}

fn collect_source(source: &RangeSource, inner: &mut impl FnMut(&Node)) {
    if let RangeSource::Subquery(subquery) = source {
        inner(&subquery.node);
    }
}

fn kind(node: &Node) -> &'static str {
    match &node.kind {
        NodeKind::Number(_) => "number",
        NodeKind::String(_) => "string",
        NodeKind::Selector(_) => "selector",
        NodeKind::Range(_) => "range",
        NodeKind::Call(call) if matches!(call.function, InstantFunction::Host(_)) => {
            "host function"
        }
        NodeKind::RangeCall(call) if matches!(call.function, RangeFunction::Host(_)) => {
            "host range function"
        }
        NodeKind::Call(_) => "function",
        NodeKind::RangeCall(_) => "range function",
        NodeKind::Aggregate(_) => "aggregation",
        NodeKind::Binary(_) => "operator",
        NodeKind::Negate(_) => "negation",
        NodeKind::Invariant(_) => "once",
    }
}

impl PlanPart {
    /// The text of the part, shortened.
    fn shown(&self, text: &str) -> String {
        let text = text.get(self.span.start..self.span.end).unwrap_or_default();
        let mut shown = String::new();
        for word in text.split_whitespace() {
            if !shown.is_empty() {
                shown.push(' ');
            }
            shown.push_str(word);
        }
        if let Some((end, _)) = shown.char_indices().nth(MAX_SHOWN_CHARS) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
        let (indent, kind) = (2 * self.depth, self.kind);
        write!(f, "{:indent$}{kind}  {}  series={}", "", self.shown(text), self.n_series)
    }
}

impl fmt::Display for Explanation {
    /// Writes one line for each part, indented by its depth, and one for the whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            part.write_head(f, &self.text)?;
            if part.n_samples > 0 {
                write!(f, " samples≈{}", part.n_samples)?;
            }
            writeln!(f)?;
        }
        let Self { n_steps, memory_bytes, .. } = self;
        write!(f, "steps={n_steps} memory≈{memory_bytes} bytes")
    }
}

impl fmt::Display for Analysis {
    /// Writes one line for each part, indented by its depth, and one for the whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            part.write_head(f, &self.text)?;
            write!(f, " values={}", part.n_values)?;
            if part.n_samples > 0 {
                write!(f, " samples={}", part.n_samples)?;
            }
            writeln!(f, " time={} ms", part.time_ms)?;
        }
        let stats = &self.summary.stats;
        write!(
            f,
            "series={} samples={} memory={} bytes",
            stats.n_series, stats.samples_read, stats.peak_memory_bytes
        )
    }
}
