//! `info`: series enriched by the labels of info series, whose values mean nothing.
//!
//! An info series belongs to the base series that have the same `instance` and `job`. At each step
//! the one with the newest sample counts, per info metric. Which labels a base series gets may
//! therefore change from step to step, so it becomes one output series per choice of info series.
//! Info series are looked at as of the time that the first selector of the base looks at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ferula_chunkenc::{SampleBatch, stale};
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use super::batch::{Column, Grid, SeriesMeta};
use super::metas::{CHECK_EVERY, Metas};
use super::reader::Reader;
use super::{BoxOperator, Context, Operator, Overlap, build as build_operator, merge_same, scan};
use crate::Error;
use crate::ledger::Charge;
use crate::plan::{Node, NodeKind, Selector, reference_shift};
use crate::storage::Wanted as WantedSamples;

/// Labels by which info series are found.
const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];

/// Makes the operator of `info`.
pub(super) fn build(args: &[Node], grid: Grid, context: &Context) -> Result<BoxOperator, Error> {
    let [base_node, rest @ ..] = args else { return Err(Error::InfoSelector) };
    let base = build_operator(base_node, grid, context)?;
    let wanted = match rest.first().map(|node| unwrapped(&node.kind)) {
        None => Wanted::new(&[])?,
        Some(NodeKind::Selector(selector)) => Wanted::new(&selector.matchers)?,
        Some(_) => return Err(Error::InfoSelector),
    };
    let table = InfoTable::new(base.series(), &wanted, base_node, grid, context)?;
    let mut outputs = Vec::new();
    let mut metas = Metas::builder(context, 0)?;
    let mut charge = context.charge("choices of info series");
    for (index, meta) in base.series().iter().enumerate() {
        for choice in table.choices(meta, &wanted, grid, context)? {
            let labels = match &choice {
                None => Ok(Some(meta.labels.clone())),
                Some(infos) => table.enriched(&meta.labels, infos, &wanted),
            };
            let (labels, conflict) = match labels {
                Ok(Some(labels)) => (labels, None),
                Ok(None) => continue,
                Err(Enrich::Conflict(name)) => (meta.labels.clone(), Some(name)),
                Err(Enrich::Failed(error)) => return Err(error),
            };
            metas.push_made(SeriesMeta { labels, drop_name: meta.drop_name })?;
            let n_infos = choice.as_ref().map_or(0, Vec::len);
            charge.add(2 * size_of::<Output>() + n_infos * size_of::<Option<usize>>())?;
            outputs.push(Output { base: index, choice, conflict });
        }
    }
    let shared = Arc::new(Shared { outputs, table, _charge: charge });
    let operator = Enriched { base, metas: metas.build(), shared };
    merge_same(Box::new(operator), Overlap::AtSameStep, context)
}

fn unwrapped(kind: &NodeKind) -> &NodeKind {
    match kind {
        NodeKind::Invariant(inner) => unwrapped(&inner.kind),
        kind => kind,
    }
}

/// What the second argument says.
struct Wanted {
    /// Tests of the name of info metrics.
    names: Vec<Matcher>,
    /// Tests of the labels to take; all labels if there are none.
    data: Vec<Matcher>,
}

impl Wanted {
    fn new(matchers: &[Matcher]) -> Result<Self, Error> {
        let (mut names, data): (Vec<Matcher>, Vec<Matcher>) =
            matchers.iter().cloned().partition(|matcher| matcher.name() == METRIC_NAME);
        let is_positive = |m: &Matcher| matches!(m.op(), MatchOp::Equal | MatchOp::Regex);
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, "target_info"));
        } else if !names.iter().any(is_positive) {
            names.insert(0, Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info")?);
        }
        Ok(Self { names, data })
    }

    /// Tells whether a series is itself an info series, and left as it is.
    fn is_info(&self, labels: &Labels) -> bool {
        self.names.iter().all(|matcher| matcher.matches(labels.metric_name()))
    }

    fn takes(&self, name: &str) -> bool {
        self.data.is_empty() || self.data.iter().any(|matcher| matcher.name() == name)
    }

    /// Tells whether series without any info series are kept.
    fn keeps_unmatched(&self) -> bool {
        self.data.iter().all(Matcher::matches_empty)
    }
}

/// Info series of one metric that belong to the same base series.
struct Competitors {
    /// Info series with the newest sample at each step.
    newest: Vec<Option<usize>>,
}

/// All info series.
struct InfoTable {
    labels: Vec<Labels>,
    /// By identifying labels, then by name of the metric.
    groups: HashMap<Labels, BTreeMap<String, Competitors>>,
    charge: Charge,
}

/// Bytes of an info series beside its labels, as if each were a group of its own.
const INFO_BYTES: usize = 1024;

/// Why labels could not be added.
enum Enrich {
    Conflict(String),
    Failed(Error),
}

impl From<ferula_index::Error> for Enrich {
    fn from(error: ferula_index::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// The info series chosen at a step, in order of their metrics.
type Infos = Vec<Option<usize>>;

impl InfoTable {
    fn new(
        base: &[SeriesMeta],
        wanted: &Wanted,
        base_node: &Node,
        grid: Grid,
        context: &Context,
    ) -> Result<Self, Error> {
        let charge = context.charge("info series");
        let mut table = Self { labels: Vec::new(), groups: HashMap::new(), charge };
        let Some(matchers) = matchers_for(base, wanted)? else { return Ok(table) };
        let shift = reference_shift(base_node).unwrap_or_default();
        let used_by = "info";
        let selector = Selector { matchers, shift, boundary: None, used_by, stats_only: false };
        let set = scan::select(&selector, None, WantedSamples::All, None, grid, context)?;
        context.limits.check_size(set.len().saturating_mul(grid.len))?;
        let of_each =
            grid.len.saturating_mul(size_of::<Option<i64>>() + size_of::<Option<usize>>());
        table.charge.add_each(set.len(), of_each.saturating_add(INFO_BYTES))?;
        let mut reader = Reader::new(Arc::clone(&set), false, 0, context);
        let mut batch = SampleBatch::new();
        // Times of the newest samples, by info series and step.
        let mut times: Vec<Vec<Option<i64>>> = Vec::with_capacity(set.len());
        for index in 0..set.len() {
            reader.read(index, &mut batch)?;
            times.push(newest_times(&batch, &selector, grid, context.lookback_ms)?);
            let labels = set.labels(index);
            table.charge.add(2 * labels.size_bytes())?;
            table.labels.push(labels);
        }
        table.compete(&times, grid)?;
        Ok(table)
    }

    /// Finds the info series with the newest sample of each group and step.
    fn compete(&mut self, times: &[Vec<Option<i64>>], grid: Grid) -> Result<(), Error> {
        for (index, labels) in self.labels.iter().enumerate() {
            let group = self.groups.entry(identity(labels)?).or_default();
            let competitors = group
                .entry(labels.metric_name().to_owned())
                .or_insert_with(|| Competitors { newest: vec![None; grid.len] });
            for (step, newest) in competitors.newest.iter_mut().enumerate() {
                let Some(time) = times[index][step] else { continue };
                match newest.and_then(|other| Some((other, times[other][step]?))) {
                    Some((other, other_time)) if other_time == time => {
                        return Err(Error::DuplicateInfo {
                            existing: self.labels[other].clone(),
                            new: labels.clone(),
                            timestamp: time,
                        });
                    }
                    Some((_, other_time)) if other_time > time => {}
                    _ => *newest = Some(index),
                }
            }
        }
        Ok(())
    }

    /// The choices of info series that occur for a base series; `None` if it is left as it is.
    fn choices(
        &self,
        meta: &SeriesMeta,
        wanted: &Wanted,
        grid: Grid,
        context: &Context,
    ) -> Result<Vec<Option<Infos>>, Error> {
        if wanted.is_info(&meta.labels) {
            return Ok(vec![None]);
        }
        let mut charge = context.charge("choices of info series");
        let mut choices: Vec<Option<Infos>> = Vec::new();
        let mut last: Option<Infos> = None;
        for step in 0..grid.len {
            let infos = self.at(&meta.labels, step);
            if last.as_ref() != Some(&infos) {
                last = Some(infos.clone());
                let choice = Some(infos);
                if !choices.contains(&choice) {
                    charge.add(256)?;
                    choices.push(choice);
                }
            }
            if step.is_multiple_of(CHECK_EVERY) {
                context.limits.check()?;
            }
        }
        Ok(choices)
    }

    /// The info series of a base series at a step.
    fn at(&self, base: &Labels, step: usize) -> Infos {
        let group = identity(base).ok().and_then(|identity| self.groups.get(&identity));
        group.into_iter().flatten().map(|(_, competitors)| competitors.newest[step]).collect()
    }

    /// The labels of a base series with those of its info series; `None` if it is to be left out.
    fn enriched(
        &self,
        base: &Labels,
        infos: &[Option<usize>],
        wanted: &Wanted,
    ) -> Result<Option<Labels>, Enrich> {
        if infos.iter().all(Option::is_none) {
            return Ok(wanted.keeps_unmatched().then(|| base.clone()));
        }
        let mut added = LabelsBuilder::new();
        for info in infos.iter().flatten() {
            for (name, value) in &self.labels[*info] {
                if name == METRIC_NAME || !wanted.takes(name) {
                    continue;
                }
                if added.get(name).is_some_and(|other| other != value) {
                    return Err(Enrich::Conflict(name.to_owned()));
                }
                if base.get(name).is_none() {
                    added.set(name, value);
                }
            }
        }
        let mut labels = LabelsBuilder::from_labels(base);
        for (name, value) in &added.build()? {
            labels.set(name, value);
        }
        Ok(Some(labels.build()?))
    }
}

/// The labels that tell which base series an info series belongs to.
fn identity(labels: &Labels) -> Result<Labels, Error> {
    let identifying = labels.iter().filter(|(name, _)| IDENTIFYING_LABELS.contains(name));
    Ok(Labels::from_pairs(identifying)?)
}

/// A regular expression that matches a text and nothing else.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// The matchers that find info series of any base series; `None` if there can be none.
fn matchers_for(base: &[SeriesMeta], wanted: &Wanted) -> Result<Option<Vec<Matcher>>, Error> {
    let mut matchers = Vec::new();
    for name in IDENTIFYING_LABELS {
        let mut values: Vec<&str> = base
            .iter()
            .filter(|meta| !wanted.is_info(&meta.labels))
            .filter_map(|meta| meta.labels.get(name))
            .collect();
        values.sort_unstable();
        values.dedup();
        if !values.is_empty() {
            let patterns: Vec<String> = values.into_iter().map(quote).collect();
            matchers.push(Matcher::new(MatchOp::Regex, name, &patterns.join("|"))?);
        }
    }
    if matchers.is_empty() {
        return Ok(None);
    }
    matchers.extend(wanted.data.iter().cloned());
    matchers.extend(wanted.names.iter().cloned());
    Ok(Some(matchers))
}

/// Times of the newest samples at each step, which must be floats.
fn newest_times(
    batch: &SampleBatch,
    selector: &Selector,
    grid: Grid,
    lookback_ms: i64,
) -> Result<Vec<Option<i64>>, Error> {
    let (times, values) = (batch.timestamps(), batch.values());
    grid.times()
        .map(|step| {
            let at = selector.shift.apply(step);
            let Some(last) = times.partition_point(|time| *time <= at).checked_sub(1) else {
                return Ok(None);
            };
            let fresh = times[last] > at.saturating_sub(lookback_ms);
            if fresh && batch.histogram(last).is_some() {
                return Err(Error::InfoHistogram);
            }
            Ok((fresh && !stale::is_stale(values[last])).then(|| times[last]))
        })
        .collect()
}

/// A base series at the steps at which it has certain info series.
struct Output {
    base: usize,
    /// `None` for all steps.
    choice: Option<Infos>,
    /// A label on which the info series do not agree.
    conflict: Option<String>,
}

struct Enriched {
    base: BoxOperator,
    metas: Metas,
    shared: Arc<Shared>,
}

/// What readers of the same series share.
struct Shared {
    outputs: Vec<Output>,
    table: InfoTable,
    _charge: Charge,
}

impl Operator for Enriched {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let Output { base, choice, conflict } = &self.shared.outputs[index];
        self.base.read(*base, out)?;
        if let Some(choice) = choice {
            let labels = &self.base.series()[*base].labels;
            out.retain(|step| self.shared.table.at(labels, step) == *choice);
        }
        match conflict {
            Some(label) if !out.is_empty() => Err(Error::InfoConflict { label: label.clone() }),
            _ => Ok(()),
        }
    }

    fn fork(&self) -> Option<BoxOperator> {
        let (metas, shared) = (self.metas.clone(), Arc::clone(&self.shared));
        Some(Box::new(Self { base: self.base.fork()?, metas, shared }))
    }
}
