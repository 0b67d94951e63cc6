//! Receiving OTLP metrics.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{ApiState, intake};
use crate::calendar;
use crate::compression::Encoding;
use crate::error::chain;
use crate::otlp::{OtlpError, OtlpFormat, OtlpReceiver, error_answer, success_answer};

/// Codes of gRPC that failures have.
const INVALID_ARGUMENT: u8 = 3;
const NOT_FOUND: u8 = 5;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

pub(super) async fn receive(State(state): State<ApiState>, request: Request) -> Response {
    let Some(receiver) = state.shared.otlp.clone() else {
        let text = "otlp write receiver is not enabled";
        return failure(OtlpFormat::Protobuf, StatusCode::NOT_FOUND, NOT_FOUND, text);
    };
    let (format, encoding) = match check_headers(request.headers()) {
        Ok(headers) => headers,
        Err(problem) => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return failure(OtlpFormat::Protobuf, status, INVALID_ARGUMENT, &problem);
        }
    };
    let body = match intake::take(&state, request, format.max_bytes()).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let stored = body.store(&state, move |body| store(&receiver, format, encoding, body)).await;
    stored.unwrap_or_else(|panic| {
        failure(format, StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, &panic)
    })
}

fn store(
    receiver: &Arc<OtlpReceiver>,
    format: OtlpFormat,
    encoding: Encoding,
    body: &[u8],
) -> Response {
    match receiver.receive(format, encoding, body, calendar::now_ms()) {
        Ok(receipt) if receipt.is_to_be_repeated() => {
            tracing::debug!(%receipt, "no room for more series");
            let text = receipt.to_string();
            let mut response = failure(format, StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, &text);
            response.headers_mut().insert(header::RETRY_AFTER, intake::RETRY_AFTER);
            response
        }
        Ok(receipt) => {
            if receipt.refused_points > 0 {
                tracing::debug!(%receipt, "OTLP data points refused");
            }
            let headers = [(header::CONTENT_TYPE, format.media_type())];
            (headers, success_answer(format, &receipt)).into_response()
        }
        Err(error @ OtlpError::Store(_)) => {
            let error = chain(&error);
            tracing::error!(error, "OTLP request not stored");
            failure(format, StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, &error)
        }
        Err(error) => {
            let status = if error.is_size() {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            failure(format, status, INVALID_ARGUMENT, &chain(&error))
        }
    }
}

fn failure(format: OtlpFormat, status: StatusCode, code: u8, text: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, format.media_type())];
    (status, headers, error_answer(format, code, text)).into_response()
}

/// Tells how the body is encoded, and how it is compressed.
fn check_headers(headers: &HeaderMap) -> Result<(OtlpFormat, Encoding), String> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let format = OtlpFormat::ALL.into_iter().find(|format| format.media_type() == media_type);
    let Some(format) = format else {
        let types = OtlpFormat::ALL.map(OtlpFormat::media_type).join(", ");
        return Err(format!("unsupported content type: {content_type}, supported: [{types}]"));
    };
    let encoding = text(header::CONTENT_ENCODING).unwrap_or_default();
    if encoding.is_empty() {
        return Ok((format, Encoding::Identity));
    }
    let known = Encoding::from_name(&encoding).map(|encoding| (format, encoding));
    known.ok_or_else(|| {
        let names = Encoding::ALL.map(Encoding::name).join(", ");
        format!("unsupported compression: {encoding}, supported: [{names}]")
    })
}
