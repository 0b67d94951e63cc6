//! What a scraper asks targets for, and which format an answer is in.
//!
//! Names, order and weights are Prometheus's (`config/config.go` and `scrape/scrape.go`, release 3.14).

use std::fmt::Write;

use serde::Deserialize;

/// A format and its version, by the name that a configuration file has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Protocol {
    /// Messages in protobuf, the only format with native histograms.
    #[serde(rename = "PrometheusProto")]
    Protobuf,
    /// Prometheus's text, version 0.0.4.
    #[serde(rename = "PrometheusText0.0.4")]
    Text0,
    /// Prometheus's text, version 1.0.0: names in UTF-8.
    #[serde(rename = "PrometheusText1.0.0")]
    Text1,
    /// OpenMetrics as a draft.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetrics0,
    /// OpenMetrics.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetrics1,
}

impl Protocol {
    /// What is asked for unless a file says otherwise, the most wanted first.
    pub const DEFAULT: [Self; 4] =
        [Self::OpenMetrics1, Self::OpenMetrics0, Self::Text1, Self::Text0];

    /// What is asked for where native histograms or start timestamps are wanted.
    pub const PROTOBUF_FIRST: [Self; 5] =
        [Self::Protobuf, Self::OpenMetrics1, Self::OpenMetrics0, Self::Text1, Self::Text0];

    /// The format of its pages.
    pub fn format(self) -> Format {
        match self {
            Self::Protobuf => Format::Protobuf,
            Self::Text0 | Self::Text1 => Format::Text,
            Self::OpenMetrics0 | Self::OpenMetrics1 => Format::OpenMetrics,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=delimited"
            }
            Self::Text0 => "text/plain;version=0.0.4",
            Self::Text1 => "text/plain;version=1.0.0",
            Self::OpenMetrics0 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetrics1 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// Whether targets are told how names are to be escaped.
    fn has_escaping(self) -> bool {
        matches!(self, Self::Text1 | Self::OpenMetrics1)
    }
}

/// How a page is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text.
    Text,
    /// OpenMetrics.
    OpenMetrics,
    /// Messages in protobuf.
    Protobuf,
}

/// How targets are to write names that are not made of letters, digits and underscores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Escaping {
    /// As they are, in quotes.
    #[default]
    AllowUtf8,
    /// With underscores instead.
    Underscores,
    /// With dots as `_dot_` and all else as underscores.
    Dots,
    /// So that they can be restored, behind `U__`.
    Values,
}

impl Escaping {
    fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

/// The value of the header `Accept` that asks for `protocols`, the most wanted first.
pub fn accept(protocols: &[Protocol], escaping: Escaping) -> String {
    let mut header = String::new();
    let mut weight = Protocol::PROTOBUF_FIRST.len() + 1;
    for protocol in protocols {
        header.push_str(protocol.media_type());
        if protocol.has_escaping() {
            header.push_str(";escaping=");
            header.push_str(escaping.as_str());
        }
        // Writing to a string cannot fail.
        let _ = write!(header, ";q=0.{weight},");
        weight -= 1;
    }
    let _ = write!(header, "*/*;q=0.{weight}");
    header
}

/// The format of a page with this content type, or `fallback` if it tells none that is known.
pub fn format_of(content_type: &str, fallback: Option<Protocol>) -> Option<Format> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "text/plain" => Some(Format::Text),
        "application/openmetrics-text" => Some(Format::OpenMetrics),
        "application/vnd.google.protobuf" => Some(Format::Protobuf),
        _ => fallback.map(Protocol::format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_prometheus() {
        assert_eq!(
            accept(&Protocol::PROTOBUF_FIRST, Escaping::AllowUtf8),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
             encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
        assert_eq!(
            accept(&[Protocol::Text1], Escaping::Underscores),
            "text/plain;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5"
        );
    }

    #[test]
    fn unknown_content_types_fall_back() {
        for (content_type, fallback, format) in [
            ("text/plain; version=0.0.4", None, Some(Format::Text)),
            ("TEXT/PLAIN", None, Some(Format::Text)),
            ("application/openmetrics-text;version=1.0.0", None, Some(Format::OpenMetrics)),
            ("application/vnd.google.protobuf", Some(Protocol::Text0), Some(Format::Protobuf)),
            ("text/html", None, None),
            ("", None, None),
            ("", Some(Protocol::OpenMetrics1), Some(Format::OpenMetrics)),
            ("text/html", Some(Protocol::Text0), Some(Format::Text)),
        ] {
            assert_eq!(format_of(content_type, fallback), format, "{content_type:?}");
        }
    }
}
