//! What a query is going to do, or has done, part by part: `query_analyze`. Prometheus has nothing like it.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use ferula_promql::{PlanPart, Query};
use tokio::task::spawn_blocking;

use super::params::{Params, parse_bool};
use super::query::{self, CancelOnDrop};
use super::reply::{self, ApiError, Success};
use super::{ApiState, json};
use crate::number;

/// Answers with the parts of a query's plan. The query is run unless `run` says otherwise.
pub(super) async fn analyze(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let is_run = match params.get("run") {
        "" => true,
        text => parse_bool(text).ok_or_else(|| ApiError::parameter("run", "must be boolean"))?,
    };
    let (query, options) = if params.get("step").is_empty() {
        query::instant_query(&state, &params)?
    } else {
        query::range_query(&state, &params)?
    };
    let (query, slot, _) = query::in_turn(&state, query, &options).await?;
    let _cancel = CancelOnDrop(query.cancel_handle());
    let outcome = spawn_blocking(move || {
        let answer = if is_run { analysis(&query) } else { explanation(&query) };
        drop(slot);
        answer
    });
    outcome.await.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}

fn analysis(query: &Query) -> Result<Response, ApiError> {
    let start = Instant::now();
    let analysis = query.analyze().map_err(|error| query::failure(&error))?;
    let stats = &analysis.summary.stats;
    let numbers = [
        ("samplesRead", stats.samples_read),
        ("peakSamples", stats.peak_samples),
        ("memoryBytes", stats.peak_memory_bytes),
        ("timeMs", u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)),
    ];
    Ok(answer(query.text(), &analysis.parts, &numbers))
}

fn explanation(query: &Query) -> Result<Response, ApiError> {
    let explanation = query.explain().map_err(|error| query::failure(&error))?;
    let numbers =
        [("steps", explanation.n_steps as u64), ("memoryBytes", explanation.memory_bytes)];
    Ok(answer(query.text(), &explanation.parts, &numbers))
}

fn answer(text: &str, parts: &[PlanPart], numbers: &[(&str, u64)]) -> Response {
    let encoded = Success::default().encode(|out| {
        out.extend_from_slice(b"{\"parts\":");
        json::push_list(out, parts, |out, part| push_part(out, text, part));
        push_numbers(out, numbers);
        out.push(b'}');
    });
    reply::encoded(encoded)
}

fn push_part(out: &mut Vec<u8>, text: &str, part: &PlanPart) {
    let shown = text.get(part.span.start..part.span.end).unwrap_or_default();
    out.extend_from_slice(b"{\"kind\":");
    json::push_string(out, part.kind);
    out.extend_from_slice(b",\"text\":");
    json::push_string(out, shown);
    push_numbers(
        out,
        &[
            ("depth", part.depth as u64),
            ("series", part.n_series),
            ("values", part.n_values),
            ("samples", part.n_samples),
            ("timeMs", part.time_ms),
        ],
    );
    out.push(b'}');
}

fn push_numbers(out: &mut Vec<u8>, numbers: &[(&str, u64)]) {
    for (name, value) in numbers {
        out.push(b',');
        json::push_string(out, name);
        out.push(b':');
        number::push_unsigned(out, *value);
    }
}
