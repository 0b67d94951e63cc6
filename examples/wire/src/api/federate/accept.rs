//! Which form a client asks for.

use axum::http::{HeaderMap, header};

use super::names::Escaping;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    OpenMetrics,
    Protobuf,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) format: Format,
    pub(super) escaping: Escaping,
}

impl Accept {
    /// The first form that is known, by the weights of the client; text for those who do not say.
    ///
    /// OpenMetrics comes last whatever its weight is, as Prometheus does not offer it here.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut clauses: Vec<Clause<'_>> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(Clause::new)
            .collect();
        clauses.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let (mut escaping, mut other) = (Escaping::Underscores, None);
        for clause in &clauses {
            escaping = clause.param("escaping").and_then(Escaping::find).unwrap_or(escaping);
            let version = clause.param("version").unwrap_or_default();
            let format = match clause.media_type {
                "application/vnd.google.protobuf"
                    if clause.param("proto") == Some("io.prometheus.client.MetricFamily")
                        && clause.param("encoding") == Some("delimited") =>
                {
                    Some(Format::Protobuf)
                }
                "text/plain" if matches!(version, "" | "0.0.4") => Some(Format::Text),
                "application/openmetrics-text" if matches!(version, "" | "1.0.0" | "0.0.1") => {
                    other = Some(Format::OpenMetrics);
                    None
                }
                _ => None,
            };
            if let Some(format) = format {
                return Self { format, escaping };
            }
        }
        // A client that takes anything is given text.
        let takes_any = clauses.iter().any(|clause| clause.media_type == "*/*");
        let format = other.filter(|_| !takes_any).unwrap_or(Format::Text);
        Self { format, escaping }
    }

    pub(super) fn content_type(self) -> String {
        let format = match self.format {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        };
        format!("{format}; escaping={}", self.escaping.as_str())
    }
}

/// One of the media types of the header.
struct Clause<'a> {
    media_type: &'a str,
    params: &'a str,
    weight: f64,
}

impl<'a> Clause<'a> {
    fn new(text: &'a str) -> Self {
        let (media_type, params) = text.split_once(';').unwrap_or((text, ""));
        let clause = Self { media_type: media_type.trim(), params, weight: 1.0 };
        let weight = clause.param("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
        Self { weight, ..clause }
    }

    fn param(&self, name: &str) -> Option<&'a str> {
        let params = self.params.split(';').filter_map(|param| param.split_once('='));
        let mut values = params.filter(|(key, _)| key.trim() == name).map(|(_, value)| value);
        values.next().map(|value| value.trim().trim_matches('"'))
    }
}
