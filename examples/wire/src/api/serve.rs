//! Around the handlers: health, readiness, cross-origin requests, and counting.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use tokio::task::spawn_blocking;

use super::ApiState;
use super::reply::{self, ApiError};
use crate::exposition::write::CONTENT_TYPE;

/// Upper bounds of the request durations counted, in seconds.
const DURATION_BOUNDS: &[f64] = &[0.001, 0.01, 0.1, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];

pub(super) async fn healthy(State(state): State<ApiState>) -> String {
    format!("{} is Healthy.\n", state.shared.app_name)
}

pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    if state.shared.readiness.is_ready() {
        format!("{} is Ready.\n", state.shared.app_name).into_response()
    } else {
        unavailable()
    }
}

pub(super) async fn metrics(State(state): State<ApiState>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], state.shared.registry.page()).into_response()
}

pub(super) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

pub(super) async fn method_not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").into_response()
}

fn unavailable() -> Response {
    let headers = [("X-Prometheus-Stopping", "false")];
    (StatusCode::SERVICE_UNAVAILABLE, headers, "Service Unavailable").into_response()
}

/// Keeps requests away until the store can serve them.
pub(super) async fn when_ready(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    if state.shared.readiness.is_ready() { next.run(request).await } else { unavailable() }
}

/// Allows pages of other origins to read the answers, and answers their `OPTIONS` requests.
pub(super) async fn cross_origin(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let allowed = match &state.shared.cors_origin {
        None => Some(HeaderValue::from_static("*")),
        Some(allowed) => origin.to_str().is_ok_and(|text| allowed.is_match(text)).then_some(origin),
    };
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    response
}

/// Ends the server, if the program lets it be ended.
pub(super) async fn quit(State(state): State<ApiState>) -> Response {
    let Some(quit) = &state.shared.quit else {
        return (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response();
    };
    if quit.ask() {
        "Requesting termination... Goodbye!".into_response()
    } else {
        "Termination already in progress.".into_response()
    }
}

pub(super) async fn quit_by_get() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed").into_response()
}

/// Counts requests by route and status, and how long they took.
pub(super) async fn count(
    State(state): State<ApiState>,
    route: Option<MatchedPath>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let start = Instant::now();
    let response = next.run(request).await;
    let handler = route.as_ref().map_or("unknown", MatchedPath::as_str);
    let code = response.status();
    let labels = [("code", code.as_str()), ("handler", handler)];
    let help = "HTTP requests by route and status.";
    state.shared.registry.counter("ferula_http_requests_total", help, &labels).inc();
    let help = "How long HTTP requests took, by route.";
    let name = "ferula_http_request_duration_seconds";
    let histogram = state.shared.registry.histogram(name, help, DURATION_BOUNDS, &labels[1..]);
    histogram.observe(start.elapsed().as_secs_f64());
    response
}

/// Runs `work`, which reads the storage, on a thread of its own and answers with what it encodes.
///
/// Takes one of the slots of queries, so that any mix of requests is bounded.
pub(super) async fn blocking(
    state: &ApiState,
    work: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    run(state, work).await.map(reply::encoded)
}

/// The same for `work` that has nothing to tell when it is done.
pub(super) async fn blocking_silent(
    state: &ApiState,
    work: impl FnOnce() -> Result<(), ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    run(state, work).await.map(|()| StatusCode::NO_CONTENT.into_response())
}

/// Runs `work`, which reads the storage, on a thread of its own once one of the slots of queries is free.
pub(super) async fn run<T: Send + 'static>(
    state: &ApiState,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let slot = state.shared.query_slots.clone().acquire_owned().await;
    let outcome = spawn_blocking(move || {
        let done = work();
        drop(slot);
        done
    });
    outcome.await.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}
