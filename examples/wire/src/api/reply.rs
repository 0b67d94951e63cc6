//! The envelope of every answer: status, data or error, warnings and infos.

use std::error::Error as StdError;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::json;
use crate::error::chain;

/// Most warnings, and most infos, that one answer carries.
const MAX_NOTES: usize = 10;

/// The kinds of errors that the API tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorKind {
    BadData,
    Canceled,
    Execution,
    Internal,
    Timeout,
    Unavailable,
}

impl ErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Canceled => "canceled",
            Self::Execution => "execution",
            Self::Internal => "internal",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            // What nginx answers a client that has gone.
            Self::Canceled => StatusCode::from_u16(499).expect("three digits make a status"),
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            // Prometheus answers 500 to what it calls unavailable, too.
            Self::Internal | Self::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct ApiError {
    kind: ErrorKind,
    message: String,
}

impl ApiError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// A parameter whose value does not do.
    pub(super) fn parameter(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {problem}"))
    }

    pub(super) fn status(&self) -> StatusCode {
        self.kind.status()
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// An error of the server and not of the request.
    pub(super) fn internal(error: &(dyn StdError + 'static)) -> Self {
        Self::new(ErrorKind::Internal, chain(error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(b"{\"status\":\"error\",\"errorType\":\"");
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.extend_from_slice(b"\",\"error\":");
        json::push_string(&mut out, &self.message);
        out.push(b'}');
        response(self.kind.status(), out)
    }
}

/// An answer with data.
#[derive(Debug, Default)]
pub(super) struct Success {
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

impl Success {
    /// Writes the answer around the data that `push` writes.
    pub(super) fn encode(self, push: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Self::begin();
        push(&mut out);
        self.finish(out)
    }

    /// What stands before the data.
    pub(super) fn begin() -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"{\"status\":\"success\",\"data\":");
        out
    }

    /// Writes what stands behind the data.
    pub(super) fn finish(self, mut out: Vec<u8>) -> Vec<u8> {
        for (name, kind, notes) in
            [("warnings", "warning", self.warnings), ("infos", "info", self.infos)]
        {
            if notes.is_empty() {
                continue;
            }
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            let omitted = notes.len().saturating_sub(MAX_NOTES);
            let more = (omitted > 0).then(|| format!("{omitted} more {kind} annotations omitted"));
            json::push_strings(&mut out, notes.into_iter().take(MAX_NOTES).chain(more));
        }
        out.push(b'}');
        out
    }
}

/// Answers with the data that `push` writes.
pub(super) fn data(push: impl FnOnce(&mut Vec<u8>)) -> Response {
    encoded(Success::default().encode(push))
}

/// Answers with an envelope that is written already.
pub(super) fn encoded(body: Vec<u8>) -> Response {
    response(StatusCode::OK, body)
}

/// Answers with an envelope that is written while it is sent.
pub(super) fn streamed(body: Body) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
