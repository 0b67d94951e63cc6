//! Receiving remote write.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferula_index::labels::quoted;

use super::{ApiState, intake};
use crate::calendar;
use crate::compression::Encoding;
use crate::error::chain;
use crate::remote::{MAX_REQUEST_BYTES, Receipt, ReceiveError, Receiver, Version};

/// Longest compressed body, in bytes; snappy makes what cannot be compressed a little longer.
const MAX_BODY_BYTES: usize = MAX_REQUEST_BYTES + MAX_REQUEST_BYTES / 6 + 32;

const MEDIA_TYPE: &str = "application/x-protobuf";

/// How much of a request of 2.0 was stored; senders resend or report what is missing.
const WRITTEN: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

pub(super) async fn receive(State(state): State<ApiState>, request: Request) -> Response {
    let Some(receiver) = state.shared.receiver.clone() else {
        let text = "remote write receiver is not enabled\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let (version, encoding) = match check_headers(request.headers()) {
        Ok(headers) => headers,
        Err(problem) => {
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{problem}\n")).into_response();
        }
    };
    let body = match intake::take(&state, request, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let stored = body.store(&state, move |body| store(&receiver, version, encoding, body)).await;
    let Answer { status, text, receipt } =
        stored.unwrap_or_else(|panic| Answer::failure(StatusCode::INTERNAL_SERVER_ERROR, panic));
    let is_to_be_repeated = status == StatusCode::SERVICE_UNAVAILABLE;
    let mut response = match text {
        Some(text) => (status, format!("{text}\n")).into_response(),
        None => status.into_response(),
    };
    if is_to_be_repeated {
        response.headers_mut().insert(header::RETRY_AFTER, intake::RETRY_AFTER);
    }
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

fn store(receiver: &Receiver, version: Version, encoding: Encoding, body: &[u8]) -> Answer {
    match receiver.receive_encoded(version, encoding, body, calendar::now_ms()) {
        Ok(receipt) if receipt.is_success(version) => {
            Answer { status: StatusCode::NO_CONTENT, text: None, receipt }
        }
        Ok(receipt) if receipt.is_to_be_repeated() => {
            tracing::debug!(%receipt, "no room for more series");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Answer { status, text: Some(receipt.to_string()), receipt }
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
        Err(ReceiveError::Decompress(error)) if error.is_size() => {
            Answer::failure(StatusCode::PAYLOAD_TOO_LARGE, chain(&error))
        }
        Err(error) => Answer::failure(StatusCode::BAD_REQUEST, chain(&error)),
    }
}

/// Tells which message the body must be, and how it is compressed. Headers that are missing are taken as those of 1.0, for old
/// senders' sake.
fn check_headers(headers: &HeaderMap) -> Result<(Version, Encoding), String> {
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
    let Some(name) = text(header::CONTENT_ENCODING) else { return Ok((version, Encoding::Snappy)) };
    match Encoding::from_name(&name) {
        Some(encoding) if encoding != Encoding::Identity => Ok((version, encoding)),
        _ => Err(format!(
            "{} encoding (compression) is not accepted by this server; only \"snappy\", \"zstd\" and \
             \"gzip\" are acceptable",
            quoted(&name)
        )),
    }
}
