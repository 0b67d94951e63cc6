//! Fetching a page, within its limits of time and size.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};

use super::error::ScrapeError;
use super::target::Target;
use crate::client::{ClientError, ClientOptions, HttpClient};
use crate::config::Job;
use crate::duration;
use crate::exposition::{Format, Protocol, accept, format_of};

/// A page as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// What it says, decompressed.
    pub(super) body: Vec<u8>,
    /// How that is to be read.
    pub(super) format: Format,
}

/// The client of a job's targets; clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    client: HttpClient,
    /// Whether formats that tell since when series have been counting are preferred.
    has_starts: bool,
}

impl Fetcher {
    pub(super) fn new(job: &Job, has_starts: bool) -> Result<Self, ClientError> {
        let options = ClientOptions { gzip: job.enable_compression, ..ClientOptions::default() };
        Ok(Self { client: HttpClient::new(&job.client, options)?, has_starts })
    }

    /// Whether the client of a job is one for its new configuration, too.
    pub(super) fn suits(&self, old: &Job, new: &Job) -> bool {
        (old.enable_compression, &old.client) == (new.enable_compression, &new.client)
    }

    /// Whether two have the same client.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.client.is_same(&other.client)
    }

    /// The formats that a target is asked for.
    fn accept(&self, target: &Target) -> String {
        let job = &target.job;
        match self.has_starts && !job.has_own_protocols {
            true => accept(&Protocol::PROTOBUF_FIRST, job.escaping),
            false => accept(&job.protocols, job.escaping),
        }
    }

    /// Fetches the page of a target.
    pub(super) async fn fetch(&self, target: &Target) -> Result<Page, ScrapeError> {
        target.check_limit()?;
        let (_, timeout_ms) = target.interval_and_timeout();
        let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
        let page = tokio::time::timeout(timeout, self.page(target, timeout)).await;
        page.unwrap_or_else(|_| Err(ScrapeError::Timeout { timeout: duration::format(timeout_ms) }))
    }

    async fn page(&self, target: &Target, timeout: Duration) -> Result<Page, ScrapeError> {
        let mut request = self.client.get(target.url()).await?;
        if !target.job.enable_compression {
            request = request.header(ACCEPT_ENCODING, "identity");
        }
        request = request
            .header(ACCEPT, self.accept(target))
            .header(USER_AGENT, concat!("Ferula/", env!("CARGO_PKG_VERSION")))
            .header("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string());
        let mut response = request.send().await.map_err(ScrapeError::Fetch)?;
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status { status: response.status() });
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Some(format) = format_of(content_type, target.job.fallback_protocol) else {
            return Err(ScrapeError::ContentType { found: content_type.to_owned() });
        };
        // What is counted is what compression made smaller, piece by piece.
        let limit = target.job.limits.body_bytes;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(ScrapeError::Fetch)? {
            if body.len() + piece.len() > limit {
                return Err(ScrapeError::BodySize { limit });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Page { body, format })
    }
}
