//! Prometheus's HTTP API over any storage.
//!
//! Requests, answers and errors are those of Prometheus 3.14 (`web/api/v1`), byte for byte where
//! both have something to say; `docs/http-api.md` lists what differs. Queries run on threads of
//! their own, a bounded number at a time; a query whose client hangs up is cancelled. Left out:
//! rules and alerts, which answer as a server without any does.

mod admin;
mod analyze;
mod answer;
mod cache;
mod discovery;
mod features;
mod federate;
mod intake;
mod json;
mod labels;
mod message;
mod notes;
mod openapi;
mod otlp;
pub mod page;
mod params;
mod pprof;
mod query;
mod read;
mod reload;
mod reply;
mod search;
mod selector;
mod self_metrics;
mod serve;
mod state;
mod status;
mod stream;
mod targets;
mod tree;
mod write;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

pub use answer::{push_series_json, query_json};
pub use cache::Settled;
pub(crate) use params::{parse_duration, parse_time, to_ms};
pub use reload::{LiveConfig, Reloads};
pub(crate) use selector::parse as parse_selector;
pub use state::{
    ApiBuilder, ApiState, BuildInformation, DEFAULT_QUERY_CONCURRENCY, DEFAULT_WRITE_CONCURRENCY,
    MonotonicClock, Quit, Readiness,
};

/// Longest form of a request, in bytes.
const MAX_FORM_BYTES: usize = 10 << 20;

/// Makes the router of everything the state can serve.
pub fn router(state: ApiState) -> Router {
    let v1 = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_analyze", get(analyze::analyze).post(analyze::analyze))
        .route("/query_exemplars", get(notes::exemplars).post(notes::exemplars))
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(query::parse).post(query::parse))
        .route("/labels", get(labels::names).post(labels::names))
        .route("/label/{name}/values", get(labels::values))
        .route("/series", get(labels::series).post(labels::series))
        .route("/scrape_pools", get(targets::scrape_pools))
        .route("/targets", get(targets::targets))
        .route("/scrape_pools/config", get(discovery::pool_config))
        .route("/targets/metadata", get(discovery::metadata))
        .route("/targets/relabel_steps", get(discovery::relabel_steps))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/metadata", get(notes::metadata))
        .route("/rules", get(status::rules))
        .route("/alerts", get(status::alerts))
        .route("/features", get(features::features))
        .route("/notifications", get(status::empty_list))
        .route("/notifications/live", get(status::no_notifications))
        .route("/openapi.yaml", get(openapi::document))
        .route("/search/metric_names", get(search::metric_names).post(search::metric_names))
        .route("/search/label_names", get(search::label_names).post(search::label_names))
        .route("/search/label_values", get(search::label_values).post(search::label_values))
        .route("/status/config", get(status::config))
        .route("/status/flags", get(status::flags))
        .route("/status/runtimeinfo", get(status::runtime))
        .route("/status/buildinfo", get(status::build))
        .route("/status/self_metrics", get(self_metrics::self_metrics))
        .route("/status/tsdb", get(status::tsdb))
        .route("/status/tsdb/blocks", get(status::blocks))
        .route("/status/walreplay", get(status::wal_replay))
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
        .route("/admin/tsdb/delete_series", post(admin::delete).put(admin::delete))
        .route("/admin/tsdb/clean_tombstones", post(admin::clean).put(admin::clean))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .route("/read", post(read::read))
        .route("/write", post(write::receive))
        .route("/otlp/v1/metrics", post(otlp::receive))
        .method_not_allowed_fallback(serve::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), serve::cross_origin))
        .layer(from_fn_with_state(state.clone(), serve::when_ready));
    Router::new()
        .nest("/api/v1", v1)
        .route("/-/healthy", get(serve::healthy))
        .route("/-/ready", get(serve::ready))
        .route("/-/reload", get(serve::quit_by_get).post(reload::reload).put(reload::reload))
        .route("/-/quit", get(serve::quit_by_get).post(serve::quit).put(serve::quit))
        .route("/debug/pprof/{name}", get(pprof::profile))
        .route("/federate", get(federate::federate))
        .route("/metrics", get(serve::metrics))
        .route("/version", get(status::version))
        .fallback(serve::not_found)
        .method_not_allowed_fallback(serve::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), serve::count))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(state)
}

#[cfg(test)]
mod tests;
