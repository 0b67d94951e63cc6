//! OTLP metrics over HTTP, as OpenTelemetry's SDKs and collectors send them.
//!
//! What becomes of a metric is what Prometheus 3.14 makes of it (`otlptranslator`,
//! `prometheusremotewrite`), with its options and their defaults: names of metrics and labels are
//! translated ([`Translation`]), the service of the resource becomes `job` and `instance`, its other
//! attributes `target_info`, histograms become classic ones or native ones with custom buckets,
//! exponential histograms native ones. What differs: a point that is refused is told to the sender
//! and the others are stored, where Prometheus stores nothing of a request with such a point.
//!
//! A request is walked once and appended as it is read, in one batch, so that its memory follows that
//! of one point and not that of the request.

mod answer;
mod exemplar;
mod histogram;
mod json;
mod name;
mod options;
mod point;
mod receipt;
mod receiver;
mod resource;
mod value;
mod writer;

pub use answer::{error_answer, success_answer};
pub use json::{JsonError, MAX_JSON_BYTES};
pub use options::{Deltas, OtlpOptions, PromotedAttributes, Translation};
pub use point::{MAX_EXEMPLARS, MAX_QUANTILES};
pub use receipt::OtlpReceipt;
pub use receiver::{MAX_REQUEST_LABEL_BYTES, OtlpError, OtlpFormat, OtlpReceiver};
pub use resource::MAX_TARGET_SAMPLES;
pub use value::MAX_VALUE_DEPTH;
