//! More of what is scraped: what targets say of their metrics, how a pool is configured, and what
//! its rules make of labels, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axum::extract::State;
use axum::response::Response;
use ferula_index::labels::quoted;
use ferula_index::{Labels, METRIC_NAME, Matcher};
use ferula_promql::storage::{StorageError, TimeRange};
use ferula_tsdb::{Metadata, MetricMetadata};

use super::params::Params;
use super::reply::{self, ApiError, Success};
use super::{ApiState, json, notes, selector, serve};
use crate::config::ScrapeFile;
use crate::relabel::{self, Rule};

/// Most bytes of labels that rules are tried on.
const MAX_LABELS_BYTES: usize = 1 << 20;

/// Answers with what active targets say of their metrics.
///
/// The store knows this by metric; a target has the metrics that series with its labels have.
pub(super) async fn metadata(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let limit = match params.get("limit") {
        "" => -1,
        text => text.parse::<i64>().map_err(|_| ApiError::bad_data("limit must be a number"))?,
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let matchers = match params.get("match_target") {
        "" => Vec::new(),
        text => selector::parse(text).map_err(|e| ApiError::parameter("match_target", e))?,
    };
    let metric = params.get("metric").to_owned();
    let targets: Vec<Labels> = state
        .shared
        .targets
        .iter()
        .flat_map(|targets| targets.jobs())
        .flat_map(|job| job.active.iter().map(|t| t.labels().clone()).collect::<Vec<_>>())
        .filter(|labels| passes(labels, &matchers))
        .collect();
    serve::blocking(&state.clone(), move || {
        let all = match &state.shared.notes {
            Some(notes) if !targets.is_empty() => {
                notes.metadata().map_err(|error| ApiError::internal(&error))?
            }
            _ => Vec::new(),
        };
        let mut found = Vec::new();
        for labels in targets {
            // As many targets as it takes are listed whole.
            if found.len() >= limit {
                break;
            }
            let own = of_target(&state, &all, &labels).map_err(|e| ApiError::internal(&*e))?;
            let own = own.into_iter().filter(|(name, _)| metric.is_empty() || *name == metric);
            found.extend(own.map(|(name, metadata)| (labels.clone(), name, metadata)));
        }
        let shows_name = metric.is_empty();
        Ok(Success::default().encode(|out| {
            json::push_list(out, found, |out, (labels, name, metadata)| {
                out.extend_from_slice(b"{\"target\":");
                json::push_labels(out, &labels);
                let kind = notes::type_name(metadata.metric_type);
                let fields = [("type", kind), ("help", &metadata.help), ("unit", &metadata.unit)];
                let name = shows_name.then_some(("metric", name.as_str()));
                for (field, text) in name.into_iter().chain(fields) {
                    out.push(b',');
                    json::push_string(out, field);
                    out.push(b':');
                    json::push_string(out, text);
                }
                out.push(b'}');
            });
        }))
    })
    .await
}

fn passes(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
}

/// What is said of the metrics that a target with these labels has, by name.
fn of_target(
    state: &ApiState,
    all: &[MetricMetadata],
    labels: &Labels,
) -> Result<Vec<(String, Metadata)>, StorageError> {
    let matchers: Vec<Matcher> = labels.iter().map(|(n, v)| Matcher::equal(n, v)).collect();
    let querier = state.shared.storage.querier(TimeRange::ALL)?;
    let names: BTreeSet<String> =
        querier.label_values(METRIC_NAME, &matchers)?.into_iter().collect();
    let own = all.iter().filter(|of| names.contains(&*of.metric)).cloned().collect();
    let families = notes::families(own, "").into_iter();
    Ok(families.filter_map(|(name, list)| Some((name, list.into_iter().next()?))).collect())
}

/// Answers with the configuration of a pool, as it stands in the file.
pub(super) async fn pool_config(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let pool = required(&params, "scrapePool")?;
    let file: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&state.config_text()).unwrap_or_default();
    let jobs = file.get("scrape_configs").and_then(|jobs| jobs.as_sequence());
    let is_named = |job: &&serde_yaml_ng::Value| {
        job.get("job_name").and_then(|name| name.as_str()) == Some(pool)
    };
    let job = jobs.and_then(|jobs| jobs.iter().find(is_named)).ok_or_else(|| unknown(pool))?;
    let text = serde_yaml_ng::to_string(job).map_err(|error| ApiError::internal(&error))?;
    Ok(reply::data(|out| {
        out.extend_from_slice(b"{\"yaml\":");
        json::push_string(out, &text);
        out.push(b'}');
    }))
}

/// Answers with what the rules of a pool make of labels, rule by rule.
pub(super) async fn relabel_steps(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let pool = required(&params, "scrapePool")?;
    let text = required(&params, "labels")?;
    let problem =
        |e: &dyn std::fmt::Display| ApiError::bad_data(format!("error parsing labels: {e}"));
    if text.len() > MAX_LABELS_BYTES {
        return Err(problem(&format!("more than {MAX_LABELS_BYTES} bytes")));
    }
    let pairs: BTreeMap<String, String> = serde_json::from_str(text).map_err(|e| problem(&e))?;
    let mut labels = Labels::from_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()))
        .map_err(|e| problem(&e))?;
    let file = ScrapeFile::parse(&state.config_text(), Path::new("the configuration"));
    let jobs = file.map(|file| file.jobs).unwrap_or_default();
    let job = jobs.iter().find(|job| job.name == pool).ok_or_else(|| unknown(pool))?;
    let mut steps: Vec<(&Rule, Labels, bool)> = Vec::new();
    let mut is_kept = true;
    for rule in &job.relabel {
        if is_kept {
            let made = relabel::process(&labels, std::slice::from_ref(rule));
            let made = made.map_err(|error| ApiError::bad_data(crate::chain(&error)))?;
            is_kept = made.is_some();
            labels = made.unwrap_or_else(Labels::empty);
        }
        steps.push((rule, labels.clone(), is_kept));
    }
    Ok(reply::data(|out| {
        out.extend_from_slice(b"{\"steps\":");
        json::push_list(out, steps, |out, (rule, labels, is_kept)| {
            out.extend_from_slice(b"{\"rule\":");
            out.extend_from_slice(selector::html_safe(&rule.to_json()).as_bytes());
            out.extend_from_slice(b",\"output\":");
            json::push_labels(out, &labels);
            out.extend_from_slice(if is_kept { b",\"keep\":true}" } else { b",\"keep\":false}" });
        });
        out.push(b'}');
    }))
}

fn required<'a>(params: &'a Params, name: &str) -> Result<&'a str, ApiError> {
    match params.get(name) {
        "" => Err(ApiError::bad_data(format!("no {name} parameter provided"))),
        text => Ok(text),
    }
}

fn unknown(pool: &str) -> ApiError {
    let pool = quoted(pool);
    ApiError::bad_data(format!("error retrieving scrape config: scrape pool {pool} not found"))
}
