//! Receiving remote write.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferula_index::labels::quoted;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ApiState;
use crate::calendar;
use crate::error::chain;
use crate::remote::{MAX_REQUEST_BYTES, Receipt, ReceiveError, Receiver, Version};

/// Longest compressed body, in bytes; snappy makes what cannot be compressed a little longer.
pub(super) const MAX_BODY_BYTES: usize = MAX_REQUEST_BYTES + MAX_REQUEST_BYTES / 6 + 32;

const MEDIA_TYPE: &str = "application/x-protobuf";

/// How much of a request of 2.0 was stored; senders resend or report what is missing.
const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

/// Memory that bodies may take while they arrive, in KiB; senders wait until there is some. It is
/// taken by the length they announce, so that a slow one does not keep others out.
pub(super) const BODY_BUDGET_KIB: usize = 256 << 10;

/// How long a body may take to arrive, and so how long it may keep others from that memory. Senders
/// give up after the same time unless they are told otherwise.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn receive(State(state): State<ApiState>, request: Request) -> Response {
    let Some(receiver) = state.shared.receiver.clone() else {
        let text = "remote write receiver is not enabled\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let version = match check_headers(request.headers()) {
        Ok(version) => version,
        Err(problem) => {
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{problem}\n")).into_response();
        }
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|len| len.to_str().ok()?.parse().ok());
    let len: usize = announced.unwrap_or(MAX_BODY_BYTES);
    if len > MAX_BODY_BYTES {
        return (StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n").into_response();
    }
    let kib = u32::try_from(len.div_ceil(1024)).expect("bodies are far below 4 TiB");
    let budget = state.shared.body_budget.clone().acquire_many_owned(kib).await;
    let body = match within(BODY_TIMEOUT, to_bytes(request.into_body(), len)).await {
        Ok(body) => body,
        Err((status, text)) => return (status, format!("{text}\n")).into_response(),
    };
    let slot = state.shared.write_slots.clone().acquire_owned().await;
    let outcome = spawn_blocking(move || {
        let answer = store(&receiver, version, &body);
        drop((slot, budget));
        answer
    });
    let Answer { status, text, receipt } = match outcome.await {
        Ok(answer) => answer,
        Err(panic) => Answer::failure(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()),
    };
    let mut response = match text {
        Some(text) => (status, format!("{text}\n")).into_response(),
        None => status.into_response(),
    };
    if version == Version::V2 {
        let Receipt { appended, histograms, exemplars, .. } = receipt;
        let written = WRITTEN.into_iter().zip([appended, histograms, exemplars]);
        response.headers_mut().extend(written.map(|(name, count)| (name, count.into())));
    }
    response
}

/// What a sender is told.
struct Answer {
    status: StatusCode,
    text: Option<String>,
    receipt: Receipt,
}

impl Answer {
    /// That nothing was stored.
    fn failure(status: StatusCode, text: String) -> Self {
        Self { status, text: Some(text), receipt: Receipt::default() }
    }
}

/// Waits for a body, but no longer than `longest`.
async fn within(
    longest: Duration,
    body: impl Future<Output = Result<Bytes, axum::Error>>,
) -> Result<Bytes, (StatusCode, String)> {
    match timeout(longest, body).await {
        Ok(body) => body.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => {
            // Senders drop what is answered with a status of 400 to 499, and send this again.
            let text = format!("the request did not arrive within {} s", longest.as_secs());
            Err((StatusCode::SERVICE_UNAVAILABLE, text))
        }
    }
}

fn store(receiver: &Arc<Receiver>, version: Version, body: &[u8]) -> Answer {
    match receiver.receive(version, body, calendar::now_ms()) {
        Ok(receipt) if receipt.is_success(version) => {
            Answer { status: StatusCode::NO_CONTENT, text: None, receipt }
        }
        Ok(receipt) => {
            tracing::debug!(%receipt, "remote write samples refused");
            Answer { status: StatusCode::BAD_REQUEST, text: Some(receipt.to_string()), receipt }
        }
        Err(error @ ReceiveError::Store(_)) => {
            let error = chain(&error);
            tracing::error!(error, "remote write request not stored");
            Answer::failure(StatusCode::INTERNAL_SERVER_ERROR, error)
        }
        Err(error) => Answer::failure(StatusCode::BAD_REQUEST, chain(&error)),
    }
}

/// Tells which message the body must be. Headers that are missing are taken as those of 1.0, for old
/// senders' sake.
fn check_headers(headers: &HeaderMap) -> Result<Version, String> {
    let mut version = Version::V1;
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(content_type) = text(header::CONTENT_TYPE) {
        let mut parts = content_type.split(';').map(str::trim);
        if parts.next() != Some(MEDIA_TYPE) {
            return Err(format!(
                "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
            ));
        }
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                format!(
                    "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters \
                     to be key-values, got {part} in {content_type} content-type"
                )
            })?;
            if name == "proto" {
                let all = [Version::V1, Version::V2];
                version = all.into_iter().find(|version| version.message() == value).ok_or_else(
                    || {
                        let [first, second] = all.map(Version::message);
                        format!(
                            "{value} protobuf message is not accepted by this server; only accepts \
                             {first}, {second}"
                        )
                    },
                )?;
                break;
            }
        }
    }
    match text(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "snappy" => Err(format!(
            "{} encoding (compression) is not accepted by this server; only \"snappy\" is \
             acceptable",
            quoted(&encoding)
        )),
        _ => Ok(version),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = within(Duration::from_millis(1), pending()).await;
        assert_eq!(body.map_err(|(status, _)| status), Err(StatusCode::SERVICE_UNAVAILABLE));
    }
}
