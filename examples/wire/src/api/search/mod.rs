//! Finding names by parts of them: `search/metric_names`, `search/label_names` and
//! `search/label_values`.
//!
//! Answers are lines of JSON: one or more with `results`, and one that says how it ended.

mod score;

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ferula_index::METRIC_NAME;
use ferula_index::labels::quoted;
use ferula_promql::storage::Querier;
use ferula_tsdb::Metadata;

use self::score::{Algorithm, Filter};
use super::labels::Lookup;
use super::params::Params;
use super::reply::{ApiError, ErrorKind};
use super::{ApiState, json, notes, serve};
use crate::{calendar, number};

/// Names of the algorithms by which names are searched.
pub(super) const ALGORITHMS: [&str; 2] = [Algorithm::ALL[0].0, Algorithm::ALL[1].0];

/// Names in an answer, and in a line of it, unless the request says otherwise.
const DEFAULT_LIMIT: usize = 100;

/// Most names in an answer.
const MAX_LIMIT: usize = 10_000;

/// Most terms of one search, each of which is compared with every name.
const MAX_TERMS: usize = 32;

const HOUR_MS: i64 = 3_600_000;

pub(super) async fn metric_names(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let search = Search::new(&state, &params, "metric_names")?;
    let described = boolean(&params, "include_metadata", false)?;
    let notes = state.shared.notes.clone().filter(|_| described);
    search
        .run(
            &state,
            "name",
            move |querier, matchers| querier.label_values(METRIC_NAME, matchers),
            move || {
                let Some(notes) = notes else { return Ok(BTreeMap::new()) };
                let all = notes.metadata().map_err(|error| ApiError::internal(&error))?;
                let first =
                    |(name, list): (String, Vec<Metadata>)| Some((name, list.into_iter().next()?));
                Ok(notes::families(all, "").into_iter().filter_map(first).collect())
            },
        )
        .await
}

pub(super) async fn label_names(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let search = Search::new(&state, &params, "label_names")?;
    search.run(&state, "name", |querier, matchers| querier.label_names(matchers), none).await
}

pub(super) async fn label_values(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let search = Search::new(&state, &params, "label_values")?;
    let label = params.get("label").to_owned();
    if label.is_empty() {
        return Err(ApiError::bad_data("missing required parameter \"label\""));
    }
    let values =
        move |querier: &dyn Querier, matchers: &[_]| querier.label_values(&label, matchers);
    search.run(&state, "value", values, none).await
}

/// Names that have no description.
fn none() -> Result<BTreeMap<String, Metadata>, ApiError> {
    Ok(BTreeMap::new())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    Score,
}

/// What is searched, how, and how much of it is answered.
struct Search {
    lookup: Lookup,
    filter: Filter,
    order: Order,
    shows_score: bool,
    limit: usize,
    batch: usize,
}

impl Search {
    fn new(state: &ApiState, params: &Params, endpoint: &str) -> Result<Self, ApiError> {
        if !state.shared.enable_search {
            return Err(ApiError::new(ErrorKind::Unavailable, "search API disabled"));
        }
        let now = calendar::now_ms();
        let start = params.time_or("start", now.saturating_sub(HOUR_MS))?;
        let end = params.time_or("end", now)?;
        if end < start {
            return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
        }
        let lookup = Lookup::of(params, start, end, ApiError::bad_data)?;
        let n_terms = params.all("search[]").count();
        if n_terms > MAX_TERMS {
            return Err(ApiError::bad_data(format!(
                "too many search[] terms: got {n_terms}, maximum is {MAX_TERMS}"
            )));
        }
        let threshold = match params.get("fuzz_threshold") {
            "" => 0,
            text => text.parse().ok().filter(|percent| *percent <= 100).ok_or_else(|| {
                let problem = format!("invalid fuzz_threshold {}: must be 0-100", quoted(text));
                ApiError::bad_data(problem)
            })?,
        };
        let algorithm = match params.get("fuzz_alg") {
            "" => Algorithm::Subsequence,
            text => find(&Algorithm::ALL, text).ok_or_else(|| {
                let known = ALGORITHMS.join(" ");
                let text = quoted(text);
                ApiError::bad_data(format!("unsupported fuzz_alg {text}: must be one of [{known}]"))
            })?,
        };
        let is_case_sensitive = boolean(params, "case_sensitive", true)?;
        let shows_score = boolean(params, "include_score", false)?;
        let order = order(params, n_terms)?;
        let limit = positive(params, "limit")?;
        if let Some(limit) = limit.filter(|limit| *limit > MAX_LIMIT) {
            let text = format!("limit {limit} exceeds the configured maximum ({MAX_LIMIT})");
            return Err(ApiError::bad_data(text));
        }
        let batch = positive(params, "batch_size")?;
        check_order(params, endpoint)?;
        let filter = Filter::new(params.all("search[]"), algorithm, threshold, is_case_sensitive);
        let [limit, batch] = [limit, batch].map(|given| given.unwrap_or(DEFAULT_LIMIT));
        Ok(Self { lookup, filter, order, shows_score, limit, batch })
    }

    /// Answers with the names that `find` finds and the filter lets pass.
    async fn run(
        self,
        state: &ApiState,
        field: &'static str,
        find: impl Fn(
            &dyn Querier,
            &[ferula_index::Matcher],
        ) -> Result<Vec<String>, ferula_promql::storage::StorageError>
        + Send
        + 'static,
        describe: impl FnOnce() -> Result<BTreeMap<String, Metadata>, ApiError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let kept = state.clone();
        let body = serve::run(state, move || {
            let names = self.lookup.union(&kept, ErrorKind::Execution, find)?;
            let scored = names.into_iter();
            let mut found: Vec<(String, f64)> = scored
                .filter_map(|name| self.filter.score(&name).map(|score| (name, score)))
                .collect();
            match self.order {
                Order::Ascending => {}
                Order::Descending => found.reverse(),
                // What is equally good stays in the order of names.
                Order::Score => found.sort_by(|a, b| b.1.total_cmp(&a.1)),
            }
            let has_more = found.len() > self.limit;
            found.truncate(self.limit);
            let described = if found.is_empty() { BTreeMap::new() } else { describe()? };
            Ok(self.lines(&found, &described, field, has_more))
        })
        .await?;
        let headers = [(header::CONTENT_TYPE, "application/x-ndjson; charset=utf-8")];
        Ok((headers, body).into_response())
    }

    fn lines(
        &self,
        found: &[(String, f64)],
        described: &BTreeMap<String, Metadata>,
        field: &str,
        has_more: bool,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let line = |out: &mut Vec<u8>, batch: &[(String, f64)]| {
            out.extend_from_slice(b"{\"results\":");
            json::push_list(out, batch, |out, (name, score)| {
                out.extend_from_slice(b"{\"");
                out.extend_from_slice(field.as_bytes());
                out.extend_from_slice(b"\":");
                json::push_string(out, name);
                if self.shows_score {
                    out.extend_from_slice(b",\"score\":");
                    number::push_json(out, *score);
                }
                if let Some(metadata) = described.get(name) {
                    push_description(out, metadata);
                }
                out.push(b'}');
            });
            out.extend_from_slice(b"}\n");
        };
        if found.is_empty() {
            line(&mut out, &[]);
        }
        found.chunks(self.batch).for_each(|batch| line(&mut out, batch));
        let end = format!("{{\"status\":\"success\",\"has_more\":{has_more}}}\n");
        out.extend_from_slice(end.as_bytes());
        out
    }
}

/// Writes the fields of a description that are there.
fn push_description(out: &mut Vec<u8>, metadata: &Metadata) {
    let kind = notes::type_name(metadata.metric_type);
    for (name, text) in [("type", kind), ("help", &metadata.help), ("unit", &metadata.unit)] {
        if !text.is_empty() {
            out.push(b',');
            json::push_string(out, name);
            out.push(b':');
            json::push_string(out, text);
        }
    }
}

fn find<T: Copy>(known: &[(&str, T)], text: &str) -> Option<T> {
    known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
}

fn order(params: &Params, n_terms: usize) -> Result<Order, ApiError> {
    let (by, direction) = (params.get("sort_by"), params.get("sort_dir"));
    if !direction.is_empty() && by.is_empty() {
        return Err(ApiError::bad_data("sort_dir is only valid when sort_by is set"));
    }
    if !direction.is_empty() && by == "score" {
        return Err(ApiError::bad_data("sort_dir is not supported for sort_by=score"));
    }
    if !matches!(direction, "" | "asc" | "dsc") {
        let direction = quoted(direction);
        let problem = format!("invalid sort_dir {direction}: must be \"asc\" or \"dsc\"");
        return Err(ApiError::bad_data(problem));
    }
    if by == "score" && n_terms == 0 {
        return Err(ApiError::bad_data("sort_by=score requires search[] to be set"));
    }
    Ok(match (by, direction) {
        ("score", _) => Order::Score,
        ("alpha", "dsc") => Order::Descending,
        _ => Order::Ascending,
    })
}

/// Prometheus looks at this after everything else.
fn check_order(params: &Params, endpoint: &str) -> Result<(), ApiError> {
    let by = params.get("sort_by");
    if matches!(by, "" | "alpha" | "score") {
        return Ok(());
    }
    let by = quoted(by);
    let problem = format!("invalid sort_by {by} for {endpoint}: must be \"alpha\" or \"score\"");
    Err(ApiError::bad_data(problem))
}

fn positive(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    let text = params.get(name);
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().ok().filter(|count| *count > 0).map(Some).ok_or_else(|| {
        ApiError::bad_data(format!("invalid {name} {}: must be a positive integer", quoted(text)))
    })
}

fn boolean(params: &Params, name: &str, default: bool) -> Result<bool, ApiError> {
    match params.get(name) {
        "" => Ok(default),
        text => super::params::parse_bool(text).ok_or_else(|| {
            ApiError::bad_data(format!("invalid {name} {}: must be boolean", quoted(text)))
        }),
    }
}
