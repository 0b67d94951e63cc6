//! Bodies of requests that write: taken in within bounds of memory and time, stored a few at a time.
//!
//! Whoever cannot be served now is asked to come again, with a status that senders do not take for
//! their own mistake: they drop what is answered with a status of 400 to 499.

use std::error::Error;
use std::time::Duration;

use axum::body::{self, Bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ApiState;

/// Memory that bodies may take while they arrive, in KiB; senders wait until there is some. It is
/// taken by the length they announce, so that a slow one does not keep others out.
pub(super) const BODY_BUDGET_KIB: usize = 256 << 10;

/// How long a body may take to arrive, and so how long it may keep others from that memory. Senders
/// give up after the same time unless they are told otherwise.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// When senders that could not be served are to come again, in seconds. What they wait for takes
/// longer, and asking costs little.
pub(super) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// A body that has arrived, and the memory that is kept for it.
pub(super) struct Body {
    bytes: Bytes,
    budget: OwnedSemaphorePermit,
}

/// Reads a body of at most `max_bytes`, or makes the answer that it is not read.
pub(super) async fn take(
    state: &ApiState,
    request: Request,
    max_bytes: usize,
) -> Result<Body, Response> {
    if state.shared.pressure.as_ref().is_some_and(|pressure| pressure.is_high()) {
        return Err(come_again("no memory for more samples now"));
    }
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|len| len.to_str().ok()?.parse().ok());
    let len: usize = announced.unwrap_or(max_bytes);
    if len > max_bytes {
        return Err(too_large());
    }
    let kib = u32::try_from(len.div_ceil(1024)).expect("bodies are far below 4 TiB");
    let budget = state.shared.body_budget.clone().acquire_many_owned(kib).await;
    let budget = budget.expect("the budget is never closed");
    let bytes = within(BODY_TIMEOUT, body::to_bytes(request.into_body(), len)).await?;
    Ok(Body { bytes, budget })
}

/// Reads a small body, of at most `max_bytes`, or makes the answer that it is not read.
pub(super) async fn small(request: Request, max_bytes: usize) -> Result<Bytes, Response> {
    within(BODY_TIMEOUT, body::to_bytes(request.into_body(), max_bytes)).await
}

impl Body {
    /// Runs `work`, which stores the body, on a thread of its own. Takes one of the slots of writers.
    /// The error tells that it panicked.
    pub(super) async fn store<T: Send + 'static>(
        self,
        state: &ApiState,
        work: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, String> {
        let slot = state.shared.write_slots.clone().acquire_owned().await;
        let outcome = spawn_blocking(move || {
            let answer = work(&self.bytes);
            drop((slot, self.budget));
            answer
        });
        outcome.await.map_err(|panic| panic.to_string())
    }
}

/// Waits for a body, but no longer than `longest`.
async fn within(
    longest: Duration,
    body: impl Future<Output = Result<Bytes, axum::Error>>,
) -> Result<Bytes, Response> {
    match timeout(longest, body).await {
        Ok(body) => body.map_err(|error| {
            if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
                return too_large();
            }
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }),
        Err(_) => {
            Err(come_again(&format!("the request did not arrive within {} s", longest.as_secs())))
        }
    }
}

fn too_large() -> Response {
    (StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n").into_response()
}

/// The answer that a request is to be sent again.
fn come_again(text: &str) -> Response {
    let headers = [(header::RETRY_AFTER, RETRY_AFTER)];
    (StatusCode::SERVICE_UNAVAILABLE, headers, format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = within(Duration::from_millis(1), pending()).await;
        let response = body.expect_err("there is none");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
