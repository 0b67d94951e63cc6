//! Prometheus's HTTP API over any storage.
//!
//! Requests, answers and errors are those of Prometheus 3.14 (`web/api/v1`), byte for byte where
//! both have something to say. Queries run on threads of their own, a bounded number at a time; a
//! query whose client hangs up is cancelled. Left out: rules and alerts, which answer
//! as a server without any does; remote read, the search endpoints and deletion.

mod admin;
mod answer;
mod intake;
mod json;
mod labels;
mod notes;
pub mod page;
mod params;
mod query;
mod reply;
mod selector;
mod serve;
mod state;
mod status;
mod targets;
mod tree;
mod write;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

pub use answer::{push_series_json, query_json};
pub(crate) use params::{parse_duration, parse_time, to_ms};
pub(crate) use selector::parse as parse_selector;
pub use state::{
    ApiBuilder, ApiState, BuildInformation, DEFAULT_QUERY_CONCURRENCY, DEFAULT_WRITE_CONCURRENCY,
    MonotonicClock, Readiness,
};

/// Longest form of a request, in bytes.
const MAX_FORM_BYTES: usize = 10 << 20;

/// Makes the router of everything the state can serve.
pub fn router(state: ApiState) -> Router {
    let v1 = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(notes::exemplars).post(notes::exemplars))
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(query::parse).post(query::parse))
        .route("/labels", get(labels::names).post(labels::names))
        .route("/label/{name}/values", get(labels::values))
        .route("/series", get(labels::series).post(labels::series))
        .route("/scrape_pools", get(targets::scrape_pools))
        .route("/targets", get(targets::targets))
        .route("/targets/metadata", get(status::empty_list))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/metadata", get(notes::metadata))
        .route("/rules", get(status::rules))
        .route("/alerts", get(status::alerts))
        .route("/notifications", get(status::empty_list))
        .route("/status/config", get(status::config))
        .route("/status/flags", get(status::flags))
        .route("/status/runtimeinfo", get(status::runtime))
        .route("/status/buildinfo", get(status::build))
        .route("/status/tsdb", get(status::tsdb))
        .route("/status/walreplay", get(status::wal_replay))
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot))
        .route("/admin/tsdb/delete_series", post(admin::delete).put(admin::delete))
        .route("/admin/tsdb/clean_tombstones", post(admin::clean).put(admin::clean))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .route("/write", post(write::receive))
        .method_not_allowed_fallback(serve::method_not_allowed)
        .layer(from_fn(serve::cross_origin))
        .layer(from_fn_with_state(state.clone(), serve::when_ready));
    Router::new()
        .nest("/api/v1", v1)
        .route("/-/healthy", get(serve::healthy))
        .route("/-/ready", get(serve::ready))
        .route("/metrics", get(serve::metrics))
        .fallback(serve::not_found)
        .method_not_allowed_fallback(serve::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), serve::count))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .with_state(state)
}

#[cfg(test)]
mod tests;
