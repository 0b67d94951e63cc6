//! The server's own metrics as JSON: `status/self_metrics`.
//!
//! The form is that of Prometheus's protobuf messages in JSON, where 64-bit numbers are strings.

use axum::extract::State;
use axum::response::Response;
use ferula_index::matcher::CaptureRegex;

use super::params::Params;
use super::reply::{self, ApiError};
use super::{ApiState, json};
use crate::exposition::MetricType;
use crate::number;
use crate::telemetry::{FamilyReading, Reading};

pub(super) async fn self_metrics(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let wanted = match params.get("metric_name_pattern") {
        "" => None,
        pattern => Some(CaptureRegex::new(pattern).map_err(|error| {
            let problem = crate::error::chain(&error);
            ApiError::bad_data(format!("invalid metric_name_pattern: {problem}"))
        })?),
    };
    let mut families = state.shared.registry.read_all();
    families.retain(|family| wanted.as_ref().is_none_or(|wanted| wanted.is_match(family.name)));
    Ok(reply::data(|out| json::push_list(out, families, |out, family| push_family(out, &family))))
}

fn push_family(out: &mut Vec<u8>, family: &FamilyReading) {
    let (kind, field): (&str, &[u8]) = match family.kind {
        MetricType::Counter => ("COUNTER", b"counter"),
        MetricType::Gauge => ("GAUGE", b"gauge"),
        MetricType::Histogram => ("HISTOGRAM", b"histogram"),
        MetricType::Summary => ("SUMMARY", b"summary"),
        _ => ("UNTYPED", b"untyped"),
    };
    for (before, text) in
        [(&b"{\"name\":"[..], family.name), (b",\"help\":", family.help), (b",\"type\":", kind)]
    {
        out.extend_from_slice(before);
        json::push_string(out, text);
    }
    out.extend_from_slice(b",\"metric\":");
    json::push_list(out, &family.series, |out, (labels, reading)| {
        out.push(b'{');
        if !labels.is_empty() {
            out.extend_from_slice(b"\"label\":");
            json::push_list(out, labels, |out, (name, value)| {
                out.extend_from_slice(b"{\"name\":");
                json::push_string(out, name);
                out.extend_from_slice(b",\"value\":");
                json::push_string(out, value);
                out.push(b'}');
            });
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(field);
        out.extend_from_slice(b"\":");
        push_reading(out, reading);
        out.push(b'}');
    });
    out.push(b'}');
}

fn push_reading(out: &mut Vec<u8>, reading: &Reading) {
    match reading {
        Reading::Value(value) => {
            out.extend_from_slice(b"{\"value\":");
            push_float(out, *value);
        }
        Reading::Histogram { bounds, counts, sum } => {
            let count = counts.last().copied().unwrap_or_default();
            out.extend_from_slice(
                format!("{{\"sampleCount\":\"{count}\",\"sampleSum\":").as_bytes(),
            );
            push_float(out, *sum);
            out.extend_from_slice(b",\"bucket\":");
            json::push_list(out, bounds.iter().zip(counts), |out, (bound, count)| {
                let start = format!("{{\"cumulativeCount\":\"{count}\",\"upperBound\":");
                out.extend_from_slice(start.as_bytes());
                push_float(out, *bound);
                out.push(b'}');
            });
        }
    }
    out.push(b'}');
}

/// A number; those that JSON has none for are strings.
fn push_float(out: &mut Vec<u8>, value: f64) {
    match value {
        value if value.is_finite() => number::push_json(out, value),
        value if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
        value if value > 0.0 => out.extend_from_slice(b"\"Infinity\""),
        _ => out.extend_from_slice(b"\"-Infinity\""),
    }
}
