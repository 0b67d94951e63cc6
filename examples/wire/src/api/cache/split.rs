//! Cutting a range query into parts, and putting their answers together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, METRIC_NAME, MatchOp, Matcher};
use ferula_promql::ast::{BinaryOp, DurationExpr, DurationKind, Expr, ExprKind, Modifiers};
use ferula_promql::storage::Queryable;
use ferula_promql::visit::for_each;
use ferula_promql::{CancelHandle, Engine, Error, MatrixSeries, Part};

use super::{Key, PartAnswer, QueryCache};

/// Length of a part in milliseconds, as far as the bounds of its steps allow.
const PART_MS: i64 = 7_200_000;

/// Fewest and most steps of a part.
const PART_STEPS: (i64, i64) = (60, 2000);

/// Most points of an answer that is put together; a longer one is computed and sent as a whole.
const MAX_POINTS: usize = 4_000_000;

/// Functions whose value depends on what the query spans.
const SPANNING: [&str; 4] = ["start", "end", "range", "info"];

/// Aggregations that choose series, where it may depend on their order which of equals are chosen.
const CHOOSING: [&str; 4] = ["topk", "bottomk", "limitk", "limit_ratio"];

/// Functions that may give series other names.
const RENAMING: [&str; 2] = ["label_replace", "label_join"];

/// A range query as it was asked for.
pub(in crate::api) struct RangeQuery {
    pub(in crate::api) text: String,
    pub(in crate::api) start: i64,
    pub(in crate::api) end: i64,
    pub(in crate::api) step_ms: i64,
    pub(in crate::api) lookback_ms: Option<i64>,
    pub(in crate::api) deadline: Instant,
}

/// An answer that was put together.
pub(in crate::api) struct Assembled {
    pub(in crate::api) series: Vec<MatrixSeries>,
    pub(in crate::api) warnings: Vec<String>,
    pub(in crate::api) infos: Vec<String>,
}

/// Answers from parts, as far as they are kept. `None` if the query is one that cannot be cut, or
/// nothing of it would be kept.
pub(in crate::api) fn evaluate(
    cache: &QueryCache,
    engine: &Engine,
    storage: &Arc<dyn Queryable>,
    query: &RangeQuery,
    cancel: &CancelHandle,
) -> Result<Option<Assembled>, Error> {
    let (settled_before, version) = cache.version();
    let steps = (PART_MS / query.step_ms).clamp(PART_STEPS.0, PART_STEPS.1);
    let grid = Grid { start: query.start, step_ms: query.step_ms, steps };
    let last = (query.end - query.start) / query.step_ms;
    let parts = grid.parts(last);
    let is_kept = |part: &GridPart| part.is_whole && grid.time(part.to) < settled_before;
    if !parts.iter().any(is_kept) || !engine.parse(&query.text).is_ok_and(|e| can_be_cut(&e)) {
        return Ok(None);
    }
    let text: Arc<str> = query.text.as_str().into();
    let mut all = Assembly::default();
    let mut pending: Option<GridPart> = None;
    let run = |part: &GridPart| {
        run_part(engine, storage, query, (grid.time(part.from), grid.time(part.to)), cancel)
    };
    for part in parts {
        if !is_kept(&part) {
            // What is not kept is computed together.
            pending = Some(match pending {
                Some(before) => GridPart { from: before.from, ..part },
                None => part,
            });
            continue;
        }
        if let Some(before) = pending.take() {
            let Some(answer) = run(&before)? else { return Ok(None) };
            all.add(&answer);
        }
        let key = Key {
            text: text.clone(),
            step_ms: query.step_ms,
            phase_ms: query.start.rem_euclid(query.step_ms),
            lookback_ms: query.lookback_ms.unwrap_or(0),
            part: part.number,
        };
        let answer = match cache.get(&key, version) {
            Some(answer) => answer,
            None => {
                let Some(answer) = run(&part)? else { return Ok(None) };
                let answer = Arc::new(answer);
                cache.put(key, version, answer.clone());
                answer
            }
        };
        all.add(&answer);
        if all.n_points > MAX_POINTS {
            return Ok(None);
        }
    }
    if let Some(rest) = pending {
        let Some(answer) = run(&rest)? else { return Ok(None) };
        all.add(&answer);
    }
    Ok(Some(all.finish()))
}

/// Tells whether all series that pass have the same name.
fn is_one_name(matchers: &[Matcher]) -> bool {
    let is_name = |m: &Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal;
    matchers.iter().any(is_name)
}

/// Tells whether all series of an expression have the same name, or none. Functions of windows drop it, and
/// refuse series that are the same then, also those of quite different times.
fn has_one_name(expr: &Expr) -> bool {
    let mut has = true;
    for_each(expr, |expr| {
        has &= match &expr.kind {
            ExprKind::Selector(selector) => is_one_name(&selector.matchers),
            ExprKind::Binary(binary) => binary.op != BinaryOp::Or,
            ExprKind::Call(call) => !RENAMING.contains(&call.function.as_str()),
            ExprKind::Aggregate(aggregate) => aggregate.op.as_str() != "count_values",
            _ => true,
        };
    });
    has
}

/// Tells whether the value at a step depends on nothing but samples of that time and earlier ones.
fn can_be_cut(expr: &Expr) -> bool {
    let is_literal = |duration: &DurationExpr| match &duration.kind {
        DurationKind::Literal(number) => number.value >= 0.0,
        _ => false,
    };
    let looks_back = |modifiers: &Modifiers| {
        modifiers.at.is_none() && modifiers.offset.as_ref().is_none_or(is_literal)
    };
    let mut can = true;
    for_each(expr, |expr| {
        can &= match &expr.kind {
            ExprKind::Selector(selector) => {
                selector.boundary.is_none() && looks_back(&selector.modifiers)
            }
            ExprKind::Matrix(matrix) => {
                matrix.selector.boundary.is_none()
                    && looks_back(&matrix.selector.modifiers)
                    && is_literal(&matrix.range)
                    && is_one_name(&matrix.selector.matchers)
            }
            ExprKind::Subquery(subquery) => {
                has_one_name(&subquery.expr)
                    && looks_back(&subquery.modifiers)
                    && is_literal(&subquery.range)
                    && subquery.step.as_ref().is_none_or(is_literal)
            }
            ExprKind::Call(call) => !SPANNING.contains(&call.function.as_str()),
            ExprKind::Aggregate(aggregate) => !CHOOSING.contains(&aggregate.op.as_str()),
            _ => true,
        };
    });
    can
}

/// The steps of a query, numbered from its start.
struct Grid {
    start: i64,
    step_ms: i64,
    /// Steps of a part.
    steps: i64,
}

/// The steps of a query that one part has.
struct GridPart {
    number: i64,
    from: i64,
    to: i64,
    is_whole: bool,
}

impl Grid {
    fn time(&self, step: i64) -> i64 {
        self.start + step * self.step_ms
    }

    /// The parts that the steps up to `last` belong to, in order.
    fn parts(&self, last: i64) -> Vec<GridPart> {
        // Steps are numbered from time zero on, so that all queries have the same parts.
        let first = self.start.div_euclid(self.step_ms);
        let (low, high) = (first.div_euclid(self.steps), (first + last).div_euclid(self.steps));
        (low..=high)
            .map(|number| {
                let begin = number * self.steps - first;
                let end = begin + self.steps - 1;
                let (from, to) = (begin.max(0), end.min(last));
                GridPart { number, from, to, is_whole: (from, to) == (begin, end) }
            })
            .collect()
    }
}

/// Answers a part; `None` if it has too many points.
fn run_part(
    engine: &Engine,
    storage: &Arc<dyn Queryable>,
    query: &RangeQuery,
    (start, end): (i64, i64),
    cancel: &CancelHandle,
) -> Result<Option<PartAnswer>, Error> {
    let left = query.deadline.saturating_duration_since(Instant::now()).as_millis();
    let mut part = engine
        .range(storage.clone(), &query.text, start, end, query.step_ms)?
        .with_timeout_ms(u64::try_from(left).unwrap_or(u64::MAX))
        .with_cancel_handle(cancel.clone());
    if let Some(lookback_ms) = query.lookback_ms {
        part = part.with_lookback_delta_ms(lookback_ms);
    }
    let (mut series, mut n_points) = (Vec::new(), 0);
    let summary = part.stream(|answer| {
        if let Part::Series(one) = answer {
            n_points += one.samples.len();
            series.push(one);
        }
        if n_points > MAX_POINTS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if n_points > MAX_POINTS {
        return Ok(None);
    }
    let warnings = summary.annotations.warnings(&query.text);
    let infos = summary.annotations.infos(&query.text);
    Ok(Some(PartAnswer { series, warnings, infos }))
}

/// Answers to parts that become one.
#[derive(Default)]
struct Assembly {
    series: BTreeMap<Labels, SampleBatch>,
    warnings: BTreeSet<String>,
    infos: BTreeSet<String>,
    n_points: usize,
}

impl Assembly {
    fn add(&mut self, part: &PartAnswer) {
        self.n_points += part.n_points();
        for MatrixSeries { labels, samples, .. } in &part.series {
            let all = match self.series.get_mut(labels) {
                Some(all) => all,
                None => self.series.entry(labels.clone()).or_default(),
            };
            all.extend_from_batch(samples, 0..samples.len());
        }
        self.warnings.extend(part.warnings.iter().cloned());
        self.infos.extend(part.infos.iter().cloned());
    }

    fn finish(self) -> Assembled {
        let series = self.series.into_iter();
        Assembled {
            series: series.map(|(labels, samples)| MatrixSeries { labels, samples }).collect(),
            warnings: self.warnings.into_iter().collect(),
            infos: self.infos.into_iter().collect(),
        }
    }
}
