//! Fetching a page, within its limits of time and size.

use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, StatusCode};

use super::error::ScrapeError;
use super::target::Target;
use crate::duration;

/// Formats that are understood, the most wanted first.
const ACCEPTED: &str = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                        text/plain;version=0.0.4;q=0.4,*/*;q=0.3";

/// The clients of all targets.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    client: Client,
    /// For jobs that do not want compression.
    plain_client: Client,
}

impl Fetcher {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let client = |gzip| Client::builder().no_proxy().gzip(gzip).build();
        Ok(Self { client: client(true)?, plain_client: client(false)? })
    }

    /// Fetches the page of a target.
    pub(super) async fn fetch(&self, target: &Target) -> Result<Vec<u8>, ScrapeError> {
        let (_, timeout_ms) = target.interval_and_timeout();
        let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
        let page = tokio::time::timeout(timeout, self.page(target, timeout)).await;
        page.unwrap_or_else(|_| Err(ScrapeError::Timeout { timeout: duration::format(timeout_ms) }))
    }

    async fn page(&self, target: &Target, timeout: Duration) -> Result<Vec<u8>, ScrapeError> {
        let mut request = if target.job.enable_compression {
            self.client.get(target.url())
        } else {
            self.plain_client.get(target.url()).header(ACCEPT_ENCODING, "identity")
        };
        request = request
            .header(ACCEPT, ACCEPTED)
            .header(USER_AGENT, concat!("Ferula/", env!("CARGO_PKG_VERSION")))
            .header("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string());
        let mut response = request.send().await.map_err(ScrapeError::Fetch)?;
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status { status: response.status() });
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("text/plain") && !target.job.fallback_to_text {
            return Err(ScrapeError::ContentType { found: content_type.to_owned() });
        }
        // What is counted is what compression made smaller, piece by piece.
        let limit = target.job.body_size_limit;
        let mut page = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(ScrapeError::Fetch)? {
            if page.len() + piece.len() > limit {
                return Err(ScrapeError::BodySize { limit });
            }
            page.extend_from_slice(&piece);
        }
        Ok(page)
    }
}
