//! Answering remote read.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};
use ferula_promql::storage::{SelectHints, StorageError, TimeRange};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::stream::{self, BodyWriter};
use super::{ApiState, intake};
use crate::compression::{Encoding, decompress};
use crate::error::chain;
use crate::protobuf::write::push_bytes;
use crate::read::{
    MAX_ANSWER_BYTES, MAX_READ_REQUEST_BYTES, ReadQuery, ReadRequest, ResponseType, SeriesRoom,
    SeriesTooLong, push_frames, push_series,
};

const SAMPLES: &str = "application/x-protobuf";
const CHUNKS: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Why a request is not answered.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, format!("{}\n", self.1)).into_response()
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        let status = if error.is::<SeriesTooLong>() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self(status, chain(&*error))
    }
}

fn bad(reason: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason.into())
}

pub(super) async fn read(State(state): State<ApiState>, request: Request) -> Response {
    let headers = request.headers().clone();
    match intake::small(request, MAX_READ_REQUEST_BYTES).await {
        Ok(body) => answer(&state, headers, body).await.unwrap_or_else(Refusal::into_response),
        Err(response) => response,
    }
}

async fn answer(state: &ApiState, headers: HeaderMap, body: Bytes) -> Result<Response, Refusal> {
    let longest = Duration::from_millis(state.shared.engine.options().timeout());
    let deadline = Instant::now() + longest;
    let slots = state.shared.query_slots.clone();
    let slot = timeout_at(deadline.into(), slots.acquire_owned()).await;
    let slot = slot.map_err(|_| late())?;
    // Regular expressions take their time.
    let request = spawn_blocking(move || decode(&headers, &body)).await;
    let request = request.map_err(|panic| internal(&panic))??;
    let Some(response_type) = request.response_type else {
        return Err(bad("server does not support any of the requested response types"));
    };
    let (writer, mut pieces) = stream::body(deadline);
    let state = state.clone();
    let outcome = spawn_blocking(move || {
        let answer = match response_type {
            ResponseType::Samples => samples(&state, request.queries, deadline),
            ResponseType::StreamedChunks => chunks(&state, request.queries, writer, deadline),
        };
        drop(slot);
        answer
    });
    if response_type == ResponseType::Samples {
        let body = outcome.await.map_err(|panic| internal(&panic))??;
        let headers = [(header::CONTENT_TYPE, SAMPLES), (header::CONTENT_ENCODING, "snappy")];
        return Ok((headers, body).into_response());
    }
    let body = match pieces.first().await {
        Some(first) => pieces.into_body(first, ()),
        None => Body::from(outcome.await.map_err(|panic| internal(&panic))??),
    };
    Ok(([(header::CONTENT_TYPE, CHUNKS)], body).into_response())
}

fn internal(panic: &dyn ToString) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string())
}

fn late() -> Refusal {
    Refusal(StatusCode::SERVICE_UNAVAILABLE, "there was no time to answer".to_owned())
}

/// The request in a body, which is compressed with snappy unless its headers say otherwise.
fn decode(headers: &HeaderMap, body: &[u8]) -> Result<ReadRequest, Refusal> {
    let encoding = match headers.get(header::CONTENT_ENCODING) {
        Some(name) => {
            let name = String::from_utf8_lossy(name.as_bytes());
            Encoding::from_name(&name)
                .ok_or_else(|| bad(format!("unsupported compression: {name}")))?
        }
        None => Encoding::Snappy,
    };
    let mut message = Vec::new();
    let size = decompress(encoding, body, MAX_READ_REQUEST_BYTES, &mut message);
    let size = size.map_err(|error| bad(chain(&error)))?;
    ReadRequest::read(&message[..size]).map_err(|error| bad(chain(&error)))
}

/// Hands over the series that a query asks for, in order, with their samples.
fn each_series(
    state: &ApiState,
    query: ReadQuery,
    deadline: Instant,
    mut take: impl FnMut(&Labels, &SampleBatch) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let matchers = query.matchers.map_err(bad)?;
    let Some(range) = query.range else { return Ok(()) };
    let set = select(state, &matchers, range)?;
    let mut batch = SampleBatch::new();
    for index in 0..set.len() {
        if Instant::now() > deadline {
            return Err(late());
        }
        batch.clear();
        set.read_within(index, &mut batch, &mut SeriesRoom)?;
        let outside = batch.timestamps().partition_point(|time| *time < range.mint());
        batch.remove(0..outside);
        batch.truncate(batch.timestamps().partition_point(|time| *time <= range.maxt()));
        if !batch.is_empty() {
            take(&set.labels(index), &batch)?;
        }
    }
    Ok(())
}

fn select(
    state: &ApiState,
    matchers: &[Matcher],
    range: TimeRange,
) -> Result<Box<dyn ferula_promql::storage::SeriesSet>, StorageError> {
    let querier = state.shared.storage.querier(range)?;
    querier.select(matchers, &SelectHints::new(range))
}

/// A `ReadResponse`: 1 results, each of them a list of series.
fn samples(state: &ApiState, queries: Vec<ReadQuery>, deadline: Instant) -> Result<Bytes, Refusal> {
    let mut response = Vec::new();
    for query in queries {
        let mut result = Vec::new();
        each_series(state, query, deadline, |labels, batch| {
            push_series(&mut result, labels, batch);
            if response.len() + result.len() > MAX_ANSWER_BYTES {
                return Err(bad(format!(
                    "answer of more than {MAX_ANSWER_BYTES} bytes, ask for a stream"
                )));
            }
            Ok(())
        })?;
        push_bytes(&mut response, 1, &result);
    }
    let compressed = snap::raw::Encoder::new().compress_vec(&response);
    compressed.map(Bytes::from).map_err(|error| internal(&error))
}

/// Frames of all queries. What was not sent by its end is returned.
fn chunks(
    state: &ApiState,
    queries: Vec<ReadQuery>,
    mut body: BodyWriter,
    deadline: Instant,
) -> Result<Bytes, Refusal> {
    for (number, query) in queries.into_iter().enumerate() {
        each_series(state, query, deadline, |labels, batch| {
            push_frames(&mut body.out, number, labels, batch).map_err(|error| internal(&error))?;
            body.flush().map_err(|_| internal(&"the client did not read the answer"))
        })?;
    }
    Ok(body.finish().unwrap_or_default().into())
}
