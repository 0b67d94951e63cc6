//! Evaluating queries: `query`, `query_range`, `format_query`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use ferula_index::labels::quoted;
use ferula_promql::{CancelHandle, Error, Part, Query, QueryStats};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::cache::{self, Assembled, RangeQuery};
use super::params::{Params, to_ms};
use super::reply::{self, ApiError, ErrorKind, Success};
use super::stream::{self, BodyWriter};
use super::{ApiState, json, selector};
use crate::calendar;
use crate::error::chain;

/// Most points of a series that a range query may ask for, less one.
const MAX_STEPS: i128 = 11_000;

const NANOS_PER_MS: i64 = 1_000_000;

pub(super) async fn instant(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let (query, options) = instant_query(&state, &params)?;
    run(&state, query, options).await
}

pub(super) async fn range(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let (query, options) = range_query(&state, &params)?;
    run(&state, query, options).await
}

/// The query at one time that a request asks for.
pub(super) fn instant_query(
    state: &ApiState,
    params: &Params,
) -> Result<(Query, QueryParams), ApiError> {
    let limit = params.limit()?;
    let time = params.time_or("time", calendar::now_ms())?;
    let options = QueryParams::new(params, limit)?;
    let shared = &state.shared;
    let query = shared.engine.instant(shared.storage.clone(), params.get("query"), time);
    Ok((query.map_err(|e| ApiError::parameter("query", chain(&e)))?, options))
}

/// The query over a range of time that a request asks for.
pub(super) fn range_query(
    state: &ApiState,
    params: &Params,
) -> Result<(Query, QueryParams), ApiError> {
    let limit = params.limit()?;
    let start = params.required_time("start")?;
    let end = params.required_time("end")?;
    if end < start {
        let problem = "end timestamp must not be before start time";
        return Err(ApiError::parameter("end", problem));
    }
    let step = super::params::parse_duration(params.get("step"))
        .map_err(|e| ApiError::parameter("step", e))?;
    let not_positive = || {
        let problem = "zero or negative query resolution step widths are not accepted. Try a \
                       positive integer";
        ApiError::parameter("step", problem)
    };
    if step <= 0 {
        return Err(not_positive());
    }
    if (end - start) / i128::from(step) > MAX_STEPS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
             query resolution (?step=XX)",
        ));
    }
    // What is left of a step below a millisecond.
    let step_ms = step / NANOS_PER_MS;
    if step_ms == 0 {
        return Err(not_positive());
    }
    let (engine, storage) = (&state.shared.engine, state.shared.storage.clone());
    let (start, end) = (to_ms(start), to_ms(end));
    let options =
        QueryParams { range: Some((start, end, step_ms)), ..QueryParams::new(params, limit)? };
    let query = engine.range(storage, params.get("query"), start, end, step_ms);
    Ok((query.map_err(|e| ApiError::parameter("query", chain(&e)))?, options))
}

pub(super) async fn format(params: Params) -> Result<Response, ApiError> {
    let text =
        selector::canonical(params.get("query")).map_err(|e| ApiError::parameter("query", e))?;
    Ok(reply::data(|out| json::push_string(out, &text)))
}

pub(super) async fn parse(params: Params) -> Result<Response, ApiError> {
    let tree =
        selector::syntax_tree(params.get("query")).map_err(|e| ApiError::parameter("query", e))?;
    Ok(reply::data(|out| out.extend_from_slice(tree.as_bytes())))
}

/// Parameters that instant and range queries share.
pub(super) struct QueryParams {
    limit: Option<usize>,
    timeout_ms: Option<u64>,
    lookback_delta_ms: Option<i64>,
    stats: String,
    /// First and last time and the step of a range query, in milliseconds.
    range: Option<(i64, i64, i64)>,
}

impl QueryParams {
    fn new(params: &Params, limit: Option<usize>) -> Result<Self, ApiError> {
        let timeout = params.duration("timeout").map_err(|e| ApiError::parameter("timeout", e))?;
        let lookback = params.duration("lookback_delta").map_err(|e| {
            ApiError::bad_data(format!("error parsing lookback delta duration: {e}"))
        })?;
        if timeout.is_some_and(|nanos| nanos <= 0) {
            // Prometheus finds that there is no time left before it looks at the query.
            return Err(ApiError::parameter("query", "context deadline exceeded"));
        }
        Ok(Self {
            limit,
            timeout_ms: timeout.map(|nanos| u64::try_from(nanos / NANOS_PER_MS).unwrap_or(0)),
            lookback_delta_ms: lookback.map(|nanos| nanos / NANOS_PER_MS),
            stats: params.get("stats").to_owned(),
            range: None,
        })
    }
}

/// Cancels the query when the handler is dropped, which is what a client's hanging up comes to.
pub(super) struct CancelOnDrop(pub(super) CancelHandle);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Waits until it is the query's turn, and takes the time that took from what it has.
pub(super) async fn in_turn(
    state: &ApiState,
    mut query: Query,
    params: &QueryParams,
) -> Result<(Query, OwnedSemaphorePermit, Turn), ApiError> {
    let start = Instant::now();
    let longest = state.shared.engine.options().timeout();
    let timeout_ms = params.timeout_ms.map_or(longest, |timeout| timeout.min(longest));
    if let Some(lookback) = params.lookback_delta_ms {
        query = query.with_lookback_delta_ms(lookback);
    }
    let deadline = start + Duration::from_millis(timeout_ms);
    let slot = timeout_at(deadline.into(), state.shared.query_slots.clone().acquire_owned())
        .await
        .map_err(|_| ApiError::new(ErrorKind::Timeout, "query timed out in query queue"))?
        .expect("the slots are never closed");
    let queued = start.elapsed();
    let left = deadline.saturating_duration_since(Instant::now());
    query = query.with_timeout_ms(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    Ok((query, slot, Turn { deadline, queued }))
}

/// When a query has to be done, and how long it waited for its turn.
pub(super) struct Turn {
    deadline: Instant,
    queued: Duration,
}

/// Evaluates a query on a thread of its own and encodes the answer there.
async fn run(state: &ApiState, query: Query, params: QueryParams) -> Result<Response, ApiError> {
    let (query, slot, Turn { deadline, queued }) = in_turn(state, query, &params).await?;
    let cancel = CancelOnDrop(query.cancel_handle());
    let (writer, mut pieces) = stream::body(deadline);
    let slow_query_ms = state.shared.slow_query_ms;
    let kept = state.clone();
    let outcome = spawn_blocking(move || {
        let start = Instant::now();
        let answer = match from_cache(&kept, &query, &params, deadline) {
            Ok(Some(assembled)) => encode(&query, &params, assembled, writer),
            Ok(None) => evaluate(&query, &params, queued, writer),
            Err(error) => Err(failure(&error)),
        };
        drop(slot);
        let error = answer.as_ref().err();
        if let Some(error) = error {
            tracing::debug!(query = query.text(), error = error.message(), "query failed");
        }
        log_if_slow(&query, start.elapsed(), queued, slow_query_ms, error);
        answer
    });
    if let Some(first) = pieces.first().await {
        // The query goes on, and ends with the body.
        return Ok(reply::streamed(pieces.into_body(first, cancel)));
    }
    match outcome.await {
        Ok(body) => body.map(reply::encoded),
        Err(panic) => Err(ApiError::internal(&panic)),
    }
}

/// Logs what took too long.
fn log_if_slow(
    query: &Query,
    evaluated: Duration,
    queued: Duration,
    least_ms: Option<u64>,
    error: Option<&ApiError>,
) {
    if least_ms.is_none_or(|least| evaluated < Duration::from_millis(least)) {
        return;
    }
    let error = error.map_or("", ApiError::message);
    let (seconds, queued) = (evaluated.as_secs_f64(), queued.as_secs_f64());
    tracing::warn!(query = query.text(), seconds, queued, error, "slow query");
}

/// Puts an answer together from what is kept of earlier ones, if this is a query for that.
fn from_cache(
    state: &ApiState,
    query: &Query,
    params: &QueryParams,
    deadline: Instant,
) -> Result<Option<Assembled>, Error> {
    // Statistics are of queries that are computed.
    let (Some(cache), Some((start, end, step_ms)), true) =
        (&state.shared.cache, params.range, params.stats.is_empty())
    else {
        return Ok(None);
    };
    let (text, lookback_ms) = (query.text().to_owned(), params.lookback_delta_ms);
    let range = RangeQuery { text, start, end, step_ms, lookback_ms, deadline };
    let (engine, storage) = (&state.shared.engine, &state.shared.storage);
    cache::evaluate(cache, engine, storage, &range, &query.cancel_handle())
}

/// Writes an answer that was put together.
fn encode(
    query: &Query,
    params: &QueryParams,
    assembled: Assembled,
    mut body: BodyWriter,
) -> Result<Vec<u8>, ApiError> {
    let Assembled { series, warnings, infos } = assembled;
    let mut success = Success { warnings, infos };
    body.out = Success::begin();
    body.out.push(b'{');
    let mut writer = json::AnswerWriter::new(params.limit);
    writer.push(&mut body.out, &Part::Matrix);
    for one in series {
        writer.push(&mut body.out, &Part::Series(one));
        if body.flush().is_err() || query.cancel_handle().is_cancelled() {
            return Err(ApiError::new(ErrorKind::Canceled, "the client did not read the answer"));
        }
    }
    let mut out = std::mem::take(&mut body.out);
    if writer.finish(&mut out) {
        success.warnings.push("results truncated due to limit".to_owned());
    }
    out.push(b'}');
    body.out = success.finish(out);
    Ok(body.finish().unwrap_or_default())
}

/// Writes the answer of a query. What was not sent by its end is returned.
fn evaluate(
    query: &Query,
    params: &QueryParams,
    queued: Duration,
    mut body: BodyWriter,
) -> Result<Vec<u8>, ApiError> {
    let start = Instant::now();
    body.out = Success::begin();
    body.out.push(b'{');
    let mut writer = json::AnswerWriter::new(params.limit);
    let mut is_gone = false;
    let summary = query.stream(|part| {
        writer.push(&mut body.out, &part);
        is_gone = body.flush().is_err();
        if is_gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if is_gone {
        return Err(ApiError::new(ErrorKind::Canceled, "the client did not read the answer"));
    }
    let summary = summary.map_err(|error| failure(&error))?;
    let mut success = Success {
        warnings: summary.annotations.warnings(query.text()),
        infos: summary.annotations.infos(query.text()),
    };
    let mut out = std::mem::take(&mut body.out);
    if writer.finish(&mut out) {
        success.warnings.push("results truncated due to limit".to_owned());
    }
    if !matches!(params.stats.as_str(), "" | "true" | "all") {
        success.warnings.push(format!(
            "value {} for parameter \"stats\" is deprecated and will be rejected in the next \
             major release, use \"true\" or \"all\"",
            quoted(&params.stats)
        ));
    }
    if !params.stats.is_empty() {
        push_stats(&mut out, &summary.stats, start.elapsed(), queued);
    }
    out.push(b'}');
    body.out = success.finish(out);
    Ok(body.finish().unwrap_or_default())
}

/// What a query that ended with this error is answered with.
pub(super) fn failure(error: &Error) -> ApiError {
    let kind = match error {
        Error::Cancelled => ErrorKind::Canceled,
        Error::Timeout => ErrorKind::Timeout,
        Error::Storage(_) => ErrorKind::Internal,
        _ => ErrorKind::Execution,
    };
    ApiError::new(kind, chain(error))
}

/// Writes the field `stats`. Preparation and sorting are part of the evaluation here.
fn push_stats(out: &mut Vec<u8>, stats: &QueryStats, evaluated: Duration, queued: Duration) {
    let seconds = |out: &mut Vec<u8>, duration: Duration| {
        crate::number::push_json(out, duration.as_secs_f64());
    };
    out.extend_from_slice(b",\"stats\":{\"timings\":{\"evalTotalTime\":");
    seconds(out, evaluated);
    out.extend_from_slice(b",\"resultSortTime\":0,\"queryPreparationTime\":0,\"innerEvalTime\":");
    seconds(out, evaluated);
    out.extend_from_slice(b",\"execQueueTime\":");
    seconds(out, queued);
    out.extend_from_slice(b",\"execTotalTime\":");
    seconds(out, queued + evaluated);
    out.extend_from_slice(b"},\"samples\":{\"totalQueryableSamples\":");
    crate::number::push_unsigned(out, stats.samples_read);
    out.extend_from_slice(b",\"samplesRead\":");
    crate::number::push_unsigned(out, stats.samples_read);
    out.extend_from_slice(b",\"peakSamples\":");
    crate::number::push_unsigned(out, stats.peak_samples);
    out.extend_from_slice(b"}}");
}
