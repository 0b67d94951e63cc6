//! What Go programs tell of themselves below `/debug/pprof`, as far as it has a meaning here.
//!
//! `promtool debug` collects these. The profiles are in pprof's format: memory and threads hold one
//! sample of the whole process, the others none.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::message::{push_bytes, push_number};

/// The head of an execution trace that has no events.
const EMPTY_TRACE: &[u8] = b"go 1.22 trace\0\0\0";

pub(super) async fn profile(Path(name): Path<String>) -> Response {
    let (kind, unit, value) = match name.as_str() {
        "trace" => return binary(EMPTY_TRACE.to_vec()),
        "heap" | "allocs" => ("inuse_space", "bytes", of_status("VmRSS:").map(|kib| kib * 1024)),
        "goroutine" | "threadcreate" => (&*name, "count", of_status("Threads:")),
        "block" | "mutex" => ("delay", "nanoseconds", None),
        "profile" => ("cpu", "nanoseconds", None),
        _ => return (StatusCode::NOT_FOUND, "Unknown profile\n").into_response(),
    };
    binary(encode(kind, unit, value))
}

fn binary(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

/// What the kernel says of this process: the number behind `name`.
fn of_status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// A profile with one type of values, and one sample of the process if there is a value.
fn encode(kind: &str, unit: &str, value: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut kind_of_value = Vec::new();
    push_number(&mut kind_of_value, 1, 1);
    push_number(&mut kind_of_value, 2, 2);
    push_bytes(&mut out, 1, &kind_of_value);
    if let Some(value) = value {
        let (mut sample, mut line) = (Vec::new(), Vec::new());
        push_number(&mut sample, 1, 1);
        push_number(&mut sample, 2, value);
        push_bytes(&mut out, 2, &sample);
        push_number(&mut line, 1, 1);
        let (mut location, mut function) = (Vec::new(), Vec::new());
        push_number(&mut location, 1, 1);
        push_bytes(&mut location, 4, &line);
        push_bytes(&mut out, 4, &location);
        push_number(&mut function, 1, 1);
        push_number(&mut function, 2, 3);
        push_bytes(&mut out, 5, &function);
    }
    // Texts are referred to by their places.
    ["", kind, unit, "process"].iter().for_each(|text| push_bytes(&mut out, 6, text.as_bytes()));
    out
}
