//! Carries out the commands of a script over a storage.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ferula_chunkenc::{Sample, SampleBatch};
use ferula_index::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::TestStorage;
use super::classic::ClassicHistograms;
use super::compare::{self, Mismatch, compare, compare_annotations};
use super::parse::{CommandKind, Eval, EvalTime, Expected, Load, ScriptError, Steps, parse_script};
use super::series::{SeriesLine, SeriesValue};
use crate::ast::{At, Expr, ExprKind, VectorSelector};
use crate::parser::{ParseOptions, parse_with};
use crate::storage::{Queryable, StorageError};
use crate::visit::for_each;
use crate::{Engine, Error, MatrixSeries, Value, VectorSample};

/// What became of one evaluation.
#[derive(Debug)]
pub struct Outcome {
    /// Its line in the script, from 1.
    pub line: usize,
    /// The query.
    pub query: String,
    /// Why it did not pass.
    pub result: Result<(), Failure>,
}

/// Why an evaluation did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The command cannot be understood.
    #[error("script: {0}")]
    Script(ScriptError),
    /// Samples that it may need were not loaded.
    #[error("the load on line {line} failed: {reason}")]
    Load {
        /// Line of the load, from 1.
        line: usize,
        /// What went wrong.
        reason: String,
    },
    /// It needs something of a series that cannot be stored yet.
    #[error("needs {what} of {series}")]
    NotStored {
        /// What was left out.
        what: &'static str,
        /// Which series had it.
        series: Labels,
    },
    /// The storage cannot be read.
    #[error("storage: {0}")]
    Storage(StorageError),
    /// The query failed and should not have.
    #[error("{query}: {reason}")]
    Query {
        /// The text that was run.
        query: String,
        /// The error, and what it came from.
        reason: String,
    },
    /// The query failed with another error than expected.
    #[error("{query}: expected error {expected}, got {found}")]
    WrongError {
        /// The text that was run.
        query: String,
        /// The test that the error should have passed.
        expected: String,
        /// The error.
        found: String,
    },
    /// The query should have failed.
    #[error("{query}: expected an error, got none")]
    NoError {
        /// The text that was run.
        query: String,
    },
    /// The result is not the expected one.
    #[error("{query} at {time:?}: {mismatch}")]
    Mismatch {
        /// The text that was run.
        query: String,
        /// When.
        time: EvalTime,
        /// How it differs.
        mismatch: Box<Mismatch>,
    },
    /// The engine panicked.
    #[error("panic: {0}")]
    Panic(String),
}

/// Runs a script. The storage is cleared first.
pub fn run_script(text: &str, engine: &Engine, storage: &mut dyn TestStorage) -> Vec<Outcome> {
    let mut runner = Runner { engine, storage, not_stored: Vec::new(), failed_load: None };
    runner.clear(0);
    let mut outcomes = Vec::new();
    for command in parse_script(text) {
        let line = command.line;
        match command.kind {
            CommandKind::Clear => runner.clear(line),
            CommandKind::Load(load) => runner.load(&load, line),
            CommandKind::Broken(error) => runner.failed_load = Some((line, error.to_string())),
            CommandKind::Eval(eval) => {
                let result = runner.eval(&eval);
                outcomes.push(Outcome { line, query: eval.query, result });
            }
            CommandKind::BrokenEval(query, error) => {
                outcomes.push(Outcome { line, query, result: Err(Failure::Script(error)) });
            }
        }
    }
    outcomes
}

struct Runner<'a> {
    engine: &'a Engine,
    storage: &'a mut dyn TestStorage,
    /// Series of which something could not be stored, and what.
    not_stored: Vec<(Labels, &'static str)>,
    /// Line and error of a load that failed since the storage was last cleared.
    failed_load: Option<(usize, String)>,
}

impl Runner<'_> {
    fn clear(&mut self, line: usize) {
        self.not_stored.clear();
        self.failed_load = self.storage.clear().err().map(|error| (line, chain(&*error)));
    }

    fn load(&mut self, load: &Load, line: usize) {
        let mut classic = ClassicHistograms::default();
        for series in &load.series {
            let labels = &series.line.labels;
            let stores_starts = self.storage.stores_start_timestamps();
            if !series.start_offsets.is_empty() && !stores_starts {
                self.not_stored.push((labels.clone(), "start timestamps"));
            }
            let mut offsets = series.start_offsets.iter();
            let mut samples = SampleBatch::new();
            for (timestamp, value) in timed(&series.line, load.step_ms) {
                let offset = offsets.next().copied().flatten().filter(|_| stores_starts);
                match value {
                    SeriesValue::Omitted => continue,
                    SeriesValue::Float(value) => samples.push(timestamp, *value),
                    SeriesValue::Histogram { histogram, .. } => {
                        samples.push_histogram(timestamp, Arc::clone(histogram));
                    }
                }
                if let Some(offset) = offset {
                    samples.set_last_start_timestamp(timestamp.saturating_add(offset));
                }
            }
            self.append(labels, &samples, line);
            if load.with_nhcb {
                classic.take(labels, floats(&samples));
            }
        }
        for (labels, histograms) in classic.into_native() {
            match histograms {
                Ok(samples) => self.append(&labels, &samples, line),
                Err(error) => self.failed_load = Some((line, format!("{labels}: {error}"))),
            }
        }
        if let Err(error) = self.storage.commit() {
            self.failed_load = Some((line, chain(&*error)));
        }
    }

    /// Appends samples of one series; the histograms among them only if they can be stored.
    fn append(&mut self, labels: &Labels, samples: &SampleBatch, line: usize) {
        let result = if samples.has_histograms() && !self.storage.stores_histograms() {
            self.not_stored.push((labels.clone(), "native histograms"));
            let floats: SampleBatch = floats(samples).collect();
            if floats.is_empty() { Ok(()) } else { self.storage.append(labels, &floats) }
        } else if samples.is_empty() {
            Ok(())
        } else {
            self.storage.append(labels, samples)
        };
        if let Err(error) = result {
            self.failed_load = Some((line, format!("{labels}: {}", chain(&*error))));
        }
    }

    fn eval(&mut self, eval: &Eval) -> Result<(), Failure> {
        if let Some((line, reason)) = &self.failed_load {
            return Err(Failure::Load { line: *line, reason: reason.clone() });
        }
        let expr = parse_with(&eval.query, &ParseOptions::ALL);
        if let Ok(expr) = &expr {
            self.all_stored(expr)?;
        }
        let storage = self.storage.queryable().map_err(Failure::Storage)?;
        let evaluation = Evaluation { engine: self.engine, storage, eval };
        let run = || match eval.time {
            EvalTime::Range(_) => evaluation.once(&eval.query, eval.time).map(|_| ()),
            EvalTime::Instant(at) => {
                evaluation.instant(&eval.query, at)?;
                let (query, times) = match expr {
                    Ok(expr) => pinned(expr, at),
                    Err(_) => Default::default(),
                };
                times.iter().try_for_each(|at| evaluation.instant(&query, *at))
            }
        };
        // A panic is the engine's mistake; it must not hide what the other evaluations do.
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|panic| Err(Failure::Panic(panic_text(&*panic))))
    }

    /// Checks that everything is stored of the series that a query selects.
    fn all_stored(&self, expr: &Expr) -> Result<(), Failure> {
        let mut result = Ok(());
        let mut check = |matchers: &[Matcher]| {
            let selected = self.not_stored.iter().find(|(labels, _)| {
                matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
            });
            if let Some((labels, what)) = selected {
                result = Err(Failure::NotStored { what, series: labels.clone() });
            }
        };
        for_each(expr, |expr| match &expr.kind {
            ExprKind::Selector(selector) => check(&selector.matchers),
            ExprKind::Matrix(matrix) => check(&matrix.selector.matchers),
            // Reads info series without naming them.
            ExprKind::Call(call) if call.function == "info" => {
                if let Ok(info) = Matcher::new(MatchOp::Regex, METRIC_NAME, ".*_info") {
                    check(&[info]);
                }
            }
            _ => {}
        });
        result
    }
}

/// The values of a series with their times.
fn timed(line: &SeriesLine, step_ms: i64) -> impl Iterator<Item = (i64, &SeriesValue)> {
    (0_i64..).zip(&line.values).map(move |(i, value)| (step_ms.saturating_mul(i), value))
}

/// The samples that are floats.
fn floats(samples: &SampleBatch) -> impl Iterator<Item = Sample> {
    let is_float = |(i, _): &(usize, Sample)| samples.histogram(*i).is_none();
    samples.iter().enumerate().filter(is_float).map(|(_, sample)| sample)
}

/// One evaluation of a script, tried in several ways.
struct Evaluation<'a> {
    engine: &'a Engine,
    storage: Arc<dyn Queryable>,
    eval: &'a Eval,
}

impl Evaluation<'_> {
    /// Runs `query` and compares its result; `None` if it failed as expected.
    fn once(&self, query: &str, time: EvalTime) -> Result<Option<Value>, Failure> {
        let result = match self.run(query, time) {
            Ok(result) => result,
            Err(error) => {
                return match &self.eval.fail {
                    None => Err(Failure::Query { query: query.to_owned(), reason: chain(&error) }),
                    Some(test) if test.passes(&error.to_string()) => Ok(None),
                    Some(test) => Err(Failure::WrongError {
                        query: query.to_owned(),
                        expected: format!("{test:?}"),
                        found: error.to_string(),
                    }),
                };
            }
        };
        if self.eval.fail.is_some() {
            return Err(Failure::NoError { query: query.to_owned() });
        }
        compare_annotations(self.eval, &result.annotations, query)
            .and_then(|()| compare(self.eval, &result.value))
            .map_err(|mismatch| mismatched(query, time, mismatch))?;
        Ok(Some(result.value))
    }

    fn run(&self, query: &str, time: EvalTime) -> Result<crate::QueryResult, Error> {
        let storage = Arc::clone(&self.storage);
        match time {
            EvalTime::Instant(at) => self.engine.instant(storage, query, at)?.run(),
            EvalTime::Range(Steps { start, end, step }) => {
                self.engine.range(storage, query, start, end, step)?.run()
            }
        }
    }

    /// Runs an instant query, and as a range query around its time.
    fn instant(&self, query: &str, at: i64) -> Result<(), Failure> {
        const MINUTE_MS: i64 = 60_000;
        let Some(value) = self.once(query, EvalTime::Instant(at))? else { return Ok(()) };
        let has_other_shape =
            self.eval.window.is_some() || matches!(self.eval.expected, Expected::String(_));
        if has_other_shape || depends_on_range(query) {
            return Ok(());
        }
        let steps = Steps { start: at - MINUTE_MS, end: at + MINUTE_MS, step: MINUTE_MS };
        let time = EvalTime::Range(steps);
        let result = self.run(query, time).map_err(|error| Failure::Query {
            query: format!("{query} as a range query"),
            reason: chain(&error),
        })?;
        if self.eval.is_ordered {
            // Range queries are sorted by labels whatever the query says.
            return Ok(());
        }
        let fail = |mismatch| mismatched(query, time, mismatch);
        let Value::Matrix(matrix) = result.value else {
            let found = format!("{:?}", result.value);
            return Err(fail(Mismatch::Type { expected: "a matrix", found }));
        };
        compare::is_sorted(&matrix).map_err(fail)?;
        let samples = matrix.iter().filter_map(|MatrixSeries { labels, samples }| {
            let index = samples.timestamps().iter().position(|timestamp| *timestamp == at)?;
            Some(VectorSample {
                labels: labels.clone(),
                timestamp: at,
                value: samples.values()[index],
                histogram: samples.histogram(index).cloned(),
            })
        });
        let middle = Value::Vector(samples.collect());
        let middle = match (value, middle) {
            (Value::Scalar(_), Value::Vector(vector)) => match vector.first() {
                Some(sample) => Value::Scalar(Sample::new(at, sample.value)),
                None => Value::Vector(vector),
            },
            (_, middle) => middle,
        };
        compare(self.eval, &middle).map_err(fail)
    }
}

fn mismatched(query: &str, time: EvalTime, mismatch: Mismatch) -> Failure {
    Failure::Mismatch { query: query.to_owned(), time, mismatch: Box::new(mismatch) }
}

/// Tells whether a query asks for the bounds or the step of its range.
fn depends_on_range(query: &str) -> bool {
    ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call))
}

/// The query with every selector pinned to `at`, and other times at which it must have the same
/// result; no times if it may have another one.
fn pinned(mut expr: Expr, at: i64) -> (String, Vec<i64>) {
    if !pin(&mut expr, at) {
        return (String::new(), Vec::new());
    }
    let times = match at {
        0 => vec![-1000, 0, 1000],
        _ => vec![-10 * at, 0, at / 5, at, 10 * at],
    };
    (expr.to_string(), times)
}

/// Pins all selectors outside of subqueries, and subqueries, that are not pinned yet. Tells whether
/// the result then stays the same at any time.
fn pin(expr: &mut Expr, at: i64) -> bool {
    let pin_selector = |selector: &mut VectorSelector| pin_at(&mut selector.modifiers.at, at);
    match &mut expr.kind {
        ExprKind::Selector(selector) => pin_selector(selector),
        ExprKind::Matrix(matrix) => pin_selector(&mut matrix.selector),
        ExprKind::Subquery(subquery) => {
            pin_at(&mut subquery.modifiers.at, at);
            return true;
        }
        ExprKind::Call(call) if follows_time(&call.function) => return false,
        _ => {}
    }
    expr.children_mut().into_iter().all(|child| pin(child, at))
}

fn pin_at(modifier: &mut Option<At>, at: i64) {
    if !matches!(modifier, Some(At::Timestamp(_))) {
        *modifier = Some(At::Timestamp(at));
    }
}

/// Functions whose result may change with the time of evaluation though their arguments do not.
fn follows_time(function: &str) -> bool {
    matches!(
        function,
        "days_in_month"
            | "day_of_month"
            | "day_of_week"
            | "day_of_year"
            | "end"
            | "hour"
            | "minute"
            | "month"
            | "year"
            | "predict_linear"
            | "range"
            | "start"
            | "step"
            | "time"
            | "timestamp"
    )
}

/// The text of an error and of all that it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
