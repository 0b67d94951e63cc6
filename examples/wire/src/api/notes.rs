//! What is told of series beside their samples: `query_exemplars` and `metadata`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ferula_tsdb::{Metadata, MetricMetadata, MetricType, SeriesExemplars};
use tokio::task::spawn_blocking;

use super::params::{self, Params};
use super::reply::{self, ApiError};
use super::{ApiState, json, selector};

/// Answers with the exemplars of all series that a query selects.
pub(super) async fn exemplars(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let start = params.time_or("start", params::MIN_TIME)?;
    let end = params.time_or("end", params::MAX_TIME)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let sets = selector::selectors(params.get("query")).map_err(ApiError::bad_data)?;
    if sets.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Some(notes) = state.shared.notes.clone() else {
        return Ok(reply::data(|out| out.extend_from_slice(b"[]")));
    };
    let slot = state.shared.query_slots.clone().acquire_owned().await;
    let found = spawn_blocking(move || {
        let found = notes.exemplars(&sets, start, end);
        drop(slot);
        found.map(|found| {
            reply::data(|out| json::push_list(out, found, |out, series| push(out, &series)))
        })
    });
    let found = found.await.map_err(|panic| ApiError::internal(&panic))?;
    found.map_err(|error| ApiError::internal(&error))
}

fn push(out: &mut Vec<u8>, series: &SeriesExemplars) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    json::push_labels(out, &series.labels);
    out.extend_from_slice(b",\"exemplars\":");
    json::push_list(out, &series.exemplars, |out, exemplar| {
        out.extend_from_slice(b"{\"labels\":");
        json::push_labels(out, &exemplar.labels);
        out.extend_from_slice(b",\"value\":");
        json::push_quoted(out, exemplar.value);
        out.extend_from_slice(b",\"timestamp\":");
        json::push_timestamp(out, exemplar.timestamp);
        out.push(b'}');
    });
    out.push(b'}');
}

/// Answers with what metrics say of themselves, as far as they have series in the head.
///
/// Series of histograms and summaries are put together under the name that a page of metrics
/// describes them by, as Prometheus tells them.
pub(super) async fn metadata(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let number = |name: &str| match params.get(name) {
        "" => Ok(-1),
        text => {
            text.parse::<i64>().map_err(|_| ApiError::bad_data(format!("{name} must be a number")))
        }
    };
    let limit = usize::try_from(number("limit")?).unwrap_or(usize::MAX);
    let per_metric = usize::try_from(number("limit_per_metric")?).unwrap_or(0);
    let per_metric = if per_metric == 0 { usize::MAX } else { per_metric };
    let metric = params.get("metric").to_owned();
    let Some(notes) = state.shared.notes.clone() else {
        return Ok(reply::data(|out| out.extend_from_slice(b"{}")));
    };
    let slot = state.shared.query_slots.clone().acquire_owned().await;
    let answer = spawn_blocking(move || {
        let families = families(notes.metadata()?, &metric);
        drop(slot);
        Ok(reply::data(|out| {
            out.push(b'{');
            for (i, (family, descriptions)) in families.iter().take(limit).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                json::push_string(out, family);
                out.push(b':');
                json::push_list(out, descriptions.iter().take(per_metric), push_description);
            }
            out.push(b'}');
        }))
    });
    let answer = answer.await.map_err(|panic| ApiError::internal(&panic))?;
    answer.map_err(|error: ferula_tsdb::Error| ApiError::internal(&error))
}

/// Descriptions by the name that pages describe metrics by: all, or those of one name. Each is there
/// once.
pub(super) fn families(all: Vec<MetricMetadata>, wanted: &str) -> BTreeMap<String, Vec<Metadata>> {
    let mut families: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
    for MetricMetadata { metric, metadata, .. } in all {
        for metadata in metadata {
            let family = family(&metric, metadata.metric_type);
            if wanted.is_empty() || wanted == family {
                families.entry(family.to_owned()).or_default().push(metadata);
            }
        }
    }
    for descriptions in families.values_mut() {
        descriptions.sort_unstable();
        descriptions.dedup();
    }
    families
}

/// The name that pages describe a metric by.
fn family(metric: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram => &["_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| metric.strip_suffix(suffix)).unwrap_or(metric)
}

fn push_description(out: &mut Vec<u8>, description: &Metadata) {
    out.extend_from_slice(b"{\"type\":");
    json::push_string(out, type_name(description.metric_type));
    out.extend_from_slice(b",\"unit\":");
    json::push_string(out, &description.unit);
    out.extend_from_slice(b",\"help\":");
    json::push_string(out, &description.help);
    out.push(b'}');
}

pub(super) fn type_name(metric_type: MetricType) -> &'static str {
    match metric_type {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::GaugeHistogram => "gaugehistogram",
        MetricType::Summary => "summary",
        MetricType::Info => "info",
        MetricType::StateSet => "stateset",
        _ => "unknown",
    }
}
