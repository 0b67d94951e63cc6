//! What the server is and holds: the endpoints below `status`, and those that have nothing to tell.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferula_index::METRIC_NAME;
use ferula_index::head::{Cardinality as IndexCardinality, Count};
use ferula_promql::storage::{Querier, SelectHints, StorageError, TimeRange};

use super::params::Params;
use super::reply::{self, ApiError, Success};
use super::{ApiState, json, selector, serve};
use crate::calendar::format_rfc3339;
use crate::number;

/// Most entries of a list of `status/tsdb`.
const MAX_TSDB_LIMIT: usize = 10_000;

/// Writes `{"name":value,…}`; the values are JSON already.
fn push_object(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
    out.push(b'{');
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::push_string(out, name);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
}

/// A string as JSON.
fn text(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len() + 2);
    json::push_string(&mut out, value);
    String::from_utf8(out).expect("escaping keeps UTF-8")
}

fn object(fields: &[(&str, &str)]) -> Response {
    reply::data(|out| push_object(out, fields))
}

pub(super) async fn build(State(state): State<ApiState>) -> Response {
    reply::data(|out| push_build(out, &state))
}

/// Tells the same without an envelope.
pub(super) async fn version(State(state): State<ApiState>) -> Response {
    let mut out = Vec::new();
    push_build(&mut out, &state);
    out.push(b'\n');
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], out).into_response()
}

fn push_build(out: &mut Vec<u8>, state: &ApiState) {
    let build = &state.shared.build;
    let fields = [
        ("version", text(&build.version)),
        ("revision", text(&build.revision)),
        ("branch", text(&build.branch)),
        ("buildUser", text(&build.build_user)),
        ("buildDate", text(&build.build_date)),
        // There is none, but clients read the field.
        ("goVersion", text("")),
    ];
    push_object(out, &fields.each_ref().map(|(name, value)| (*name, value.as_str())));
}

/// Answers with the metas of the blocks that serve.
pub(super) async fn blocks(State(state): State<ApiState>) -> Result<Response, ApiError> {
    serve::blocking(&state.clone(), move || {
        let stats = state.shared.stats.as_ref().map(|stats| stats()).unwrap_or_default();
        let blocks = serde_json::to_string(&stats.blocks).map_err(|e| ApiError::internal(&e))?;
        Ok(Success::default().encode(|out| {
            out.extend_from_slice(b"{\"blocks\":");
            out.extend_from_slice(selector::html_safe(&blocks).as_bytes());
            out.push(b'}');
        }))
    })
    .await
}

pub(super) async fn runtime(State(state): State<ApiState>) -> Response {
    let directory = std::env::current_dir().unwrap_or_default();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let start = text(&format_rfc3339(state.shared.start_time));
    let config = state.shared.config.as_ref().map(|config| config.outcome());
    let (is_good, config_time) = config.unwrap_or((true, state.shared.start_time));
    object(&[
        ("startTime", &start),
        ("CWD", &text(&directory.to_string_lossy())),
        ("hostname", &text(hostname.trim_end())),
        ("serverTime", &text(&format_rfc3339(SystemTime::now()))),
        ("reloadConfigSuccess", if is_good { "true" } else { "false" }),
        ("lastConfigTime", &text(&format_rfc3339(config_time))),
        ("corruptionCount", "0"),
        ("goroutineCount", "0"),
        ("GOMAXPROCS", &threads),
        ("GOMEMLIMIT", &i64::MAX.to_string()),
        ("GOGC", "\"\""),
        ("GODEBUG", "\"\""),
        ("storageRetention", &text(&state.shared.retention)),
    ])
}

pub(super) async fn config(State(state): State<ApiState>) -> Response {
    object(&[("yaml", &text(&state.config_text()))])
}

pub(super) async fn flags(State(state): State<ApiState>) -> Response {
    let mut flags: Vec<_> = state.shared.flags.iter().map(|(n, v)| (n.as_str(), text(v))).collect();
    flags.sort();
    let flags: Vec<_> = flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    object(&flags)
}

pub(super) async fn wal_replay() -> Response {
    object(&[("min", "0"), ("max", "0"), ("current", "0")])
}

pub(super) async fn rules() -> Response {
    object(&[("groups", "[]")])
}

pub(super) async fn alerts() -> Response {
    object(&[("alerts", "[]")])
}

pub(super) async fn alertmanagers() -> Response {
    object(&[("activeAlertmanagers", "[]"), ("droppedAlertmanagers", "[]")])
}

/// Answers that there will be no notifications; a page that asks for them does not ask again then.
pub(super) async fn no_notifications() -> StatusCode {
    StatusCode::NO_CONTENT
}

pub(super) async fn empty_list() -> Response {
    reply::data(|out| out.extend_from_slice(b"[]"))
}

pub(super) async fn tsdb(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = match params.get("limit") {
        "" => 10,
        text => match text.parse() {
            Ok(limit) if limit > MAX_TSDB_LIMIT => {
                let text = format!("limit must not exceed {MAX_TSDB_LIMIT}");
                return Err(ApiError::bad_data(text));
            }
            Ok(limit) if limit > 0 => limit,
            _ => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    serve::blocking(&state.clone(), move || {
        let stats = state.shared.stats.as_ref().map(|stats| stats()).unwrap_or_default();
        let (mint, maxt) = (stats.head_mint, stats.head_maxt);
        let range = TimeRange::new(mint.unwrap_or(0), maxt.unwrap_or(0)).unwrap_or(TimeRange::ALL);
        let of_store = state.shared.store.as_ref().and_then(|store| store.cardinality(limit));
        let cardinality = match of_store {
            Some(known) => known.into(),
            None => state
                .shared
                .storage
                .querier(range)
                .and_then(|querier| Cardinality::count(&*querier, range))
                .map_err(|e| ApiError::internal(&*e))?,
        };
        Ok(Success::default().encode(|out| {
            let head = [
                ("numSeries", stats.n_series.to_string()),
                ("numLabelPairs", cardinality.n_label_pairs.to_string()),
                ("chunkCount", stats.n_chunks.to_string()),
                // What Prometheus says of an empty head.
                ("minTime", mint.unwrap_or(i64::MAX).to_string()),
                ("maxTime", maxt.unwrap_or(i64::MIN).to_string()),
            ];
            out.extend_from_slice(b"{\"headStats\":");
            push_object(out, &head.each_ref().map(|(name, value)| (*name, value.as_str())));
            for (name, counts) in [
                ("seriesCountByMetricName", cardinality.series_by_metric),
                ("labelValueCountByLabelName", cardinality.values_by_label),
                ("memoryInBytesByLabelName", cardinality.bytes_by_label),
                ("seriesCountByLabelValuePair", cardinality.series_by_pair),
            ] {
                out.push(b',');
                json::push_string(out, name);
                out.push(b':');
                push_largest(out, counts, limit);
            }
            out.push(b'}');
        }))
    })
    .await
}

/// How many series and label values there are, by name.
#[derive(Default)]
struct Cardinality {
    n_label_pairs: u64,
    series_by_metric: Vec<(String, u64)>,
    series_by_pair: Vec<(String, u64)>,
    values_by_label: Vec<(String, u64)>,
    /// Bytes of name and values, once per series that has them.
    bytes_by_label: Vec<(String, u64)>,
}

impl Cardinality {
    fn count(querier: &dyn Querier, range: TimeRange) -> Result<Self, StorageError> {
        let mut by_label: HashMap<String, HashMap<String, u64>> = HashMap::new();
        let set = querier.select(&[], &SelectHints::new(range))?;
        for index in 0..set.len() {
            for (name, value) in &set.labels(index) {
                // Most names and values were seen before, and need no copy then.
                if let Some(n) = by_label.get_mut(name).and_then(|values| values.get_mut(value)) {
                    *n += 1;
                } else {
                    by_label.entry(name.to_owned()).or_default().insert(value.to_owned(), 1);
                }
            }
        }
        let mut counted = Self::default();
        for (name, values) in by_label {
            // As Prometheus counts them, with a length for each text.
            let sized = |text: &str| text.len() as u64 + if text.len() < 255 { 1 } else { 4 };
            let bytes = values.iter().map(|(value, n)| (sized(&name) + sized(value)) * n).sum();
            counted.values_by_label.push((name.clone(), values.len() as u64));
            counted.bytes_by_label.push((name.clone(), bytes));
            counted.n_label_pairs += values.len() as u64;
            let pairs = values.iter().map(|(value, n)| (format!("{name}={value}"), *n));
            counted.series_by_pair.extend(pairs);
            if name == METRIC_NAME {
                counted.series_by_metric.extend(values);
            }
        }
        Ok(counted)
    }
}

impl From<IndexCardinality> for Cardinality {
    fn from(known: IndexCardinality) -> Self {
        let counts =
            |list: Vec<Count>| list.into_iter().map(|Count { name, count, .. }| (name, count));
        Self {
            n_label_pairs: known.n_label_pairs,
            series_by_metric: counts(known.series_by_metric).collect(),
            series_by_pair: counts(known.series_by_pair).collect(),
            values_by_label: counts(known.values_by_label).collect(),
            bytes_by_label: counts(known.value_bytes_by_label).collect(),
        }
    }
}

fn push_largest(out: &mut Vec<u8>, mut counts: Vec<(String, u64)>, limit: usize) {
    counts.sort_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    counts.truncate(limit);
    json::push_list(out, counts, |out, (name, count)| {
        out.extend_from_slice(b"{\"name\":");
        json::push_string(out, &name);
        out.extend_from_slice(b",\"value\":");
        number::push_unsigned(out, count);
        out.push(b'}');
    });
}
