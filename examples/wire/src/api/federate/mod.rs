//! What another Prometheus scrapes of this one: `/federate`, the newest sample of each series that
//! is not over.
//!
//! Selection, order and forms are those of Prometheus 3.14 (`web/federate.go`), which has no
//! OpenMetrics here; a client that asks for nothing else gets it. Native histograms have a form in
//! the protobuf messages only and are left out of the others, those with bounds of their own are
//! there as classic ones.

mod accept;
mod names;
mod protobuf;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};
use ferula_chunkenc::stale::is_stale;
use ferula_index::{Labels, METRIC_NAME, Matcher};
use ferula_promql::storage::{SelectHints, StorageError, TimeRange, Wanted};

use self::accept::{Accept, Format};
use super::labels::MAX_SELECTORS;
use super::params::Params;
use super::reply::{ApiError, ErrorKind};
use super::{ApiState, selector, serve};
use crate::calendar;

/// Label that every sample has: without it the scraper would put its own in.
const INSTANCE: &str = "instance";

/// The newest sample of a series.
struct Newest {
    timestamp: i64,
    value: f64,
    histogram: Option<Arc<FloatHistogram>>,
}

/// What the samples of one name are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Newest {
    fn kind(&self) -> Kind {
        match &self.histogram {
            None => Kind::Untyped,
            Some(h) if h.counter_reset_hint == CounterResetHint::Gauge => Kind::GaugeHistogram,
            Some(_) => Kind::Histogram,
        }
    }
}

/// Writes families of one name and kind, and their samples.
trait Writer {
    fn family(&mut self, name: &str, kind: Kind);
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], sample: &Newest);
    fn finish(self: Box<Self>) -> Vec<u8>;
}

pub(super) async fn federate(
    State(state): State<ApiState>,
    headers: HeaderMap,
    params: Result<Params, ApiError>,
) -> Response {
    let params = match params {
        Ok(params) => params,
        Err(error) => return refused(&error),
    };
    if params.all("match[]").nth(MAX_SELECTORS).is_some() {
        let problem = format!("more than {MAX_SELECTORS} selectors\n");
        return (StatusCode::BAD_REQUEST, problem).into_response();
    }
    let sets = match selector::parse_all(params.all("match[]")) {
        Ok(sets) => sets,
        Err(problem) => return (StatusCode::BAD_REQUEST, format!("{problem}\n")).into_response(),
    };
    let accept = Accept::of(&headers);
    let kept = state.clone();
    let page = serve::run(&state, move || {
        let newest = newest(&kept, &sets)
            .map_err(|error| ApiError::new(ErrorKind::Internal, crate::chain(&*error)))?;
        Ok(write(&kept, newest, accept))
    });
    match page.await {
        Ok(page) => ([(header::CONTENT_TYPE, accept.content_type())], page).into_response(),
        Err(error) => refused(&error),
    }
}

/// An error as plain text, which is what scrapers show.
fn refused(error: &ApiError) -> Response {
    (error.status(), format!("{}\n", error.message())).into_response()
}

/// The newest sample of each series that passes one of the sets, in the order of names.
fn newest(state: &ApiState, sets: &[Vec<Matcher>]) -> Result<Vec<(Labels, Newest)>, StorageError> {
    let now = calendar::now_ms();
    let lookback_ms = state.shared.engine.options().lookback_delta();
    let mut found = BTreeMap::new();
    let Some(range) = TimeRange::new(now.saturating_sub(lookback_ms), now) else {
        return Ok(Vec::new());
    };
    let querier = state.shared.storage.querier(range)?;
    let mut hints = SelectHints::new(range);
    hints.wanted = Wanted::Newest;
    let mut batch = SampleBatch::new();
    for matchers in sets {
        let series = querier.select(matchers, &hints)?;
        for index in 0..series.len() {
            let labels = series.labels(index);
            if found.contains_key(&labels) {
                continue;
            }
            batch.clear();
            series.read(index, &mut batch)?;
            // A storage may give what lies outside of the hinted range.
            let last = batch.timestamps().partition_point(|time| *time <= now).checked_sub(1);
            let Some(last) = last.filter(|last| batch.timestamps()[*last] >= range.mint()) else {
                continue;
            };
            let sample = Newest {
                timestamp: batch.timestamps()[last],
                value: batch.values()[last],
                histogram: batch.histogram(last).cloned(),
            };
            let is_over = match &sample.histogram {
                Some(histogram) => histogram.is_stale(),
                None => is_stale(sample.value),
            };
            if !is_over && !labels.metric_name().is_empty() {
                found.insert(labels, sample);
            }
        }
    }
    let mut found: Vec<(Labels, Newest)> = found.into_iter().collect();
    found.sort_by(|(a, _), (b, _)| a.metric_name().cmp(b.metric_name()));
    Ok(found)
}

fn write(state: &ApiState, found: Vec<(Labels, Newest)>, accept: Accept) -> Vec<u8> {
    let mut external: BTreeMap<&str, &str> =
        state.shared.external_labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    external.entry(INSTANCE).or_insert("");
    let mut writer: Box<dyn Writer> = match accept.format {
        Format::Protobuf => Box::new(protobuf::ProtobufWriter::new(accept.escaping)),
        Format::Text => Box::new(text::TextWriter::new(accept.escaping, false)),
        Format::OpenMetrics => Box::new(text::TextWriter::new(accept.escaping, true)),
    };
    let mut family = None;
    for (labels, sample) in &found {
        let is_native = sample.histogram.as_ref().is_some_and(|h| !h.uses_custom_buckets());
        if is_native && accept.format != Format::Protobuf {
            continue;
        }
        let name = labels.metric_name();
        let this = Some((name, sample.kind()));
        if family != this {
            writer.family(name, sample.kind());
            family = this;
        }
        let own = labels.iter().filter(|(label, _)| *label != METRIC_NAME);
        let own: Vec<(&str, &str)> = own.collect();
        let missing = external.iter().filter(|(label, _)| labels.get(label).is_none());
        let all: Vec<_> = own.into_iter().chain(missing.map(|(n, v)| (*n, *v))).collect();
        writer.sample(name, &all, sample);
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
