//! Targets that an HTTP server tells, as JSON.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use tokio::time::{MissedTickBehavior, interval};

use super::{Groups, MAX_DOCUMENT_BYTES, RawGroup, Sink};
use crate::Error;
use crate::client::{AuthError, ClientOptions, HttpClient};
use crate::config::{HttpDiscovery, without_password};
use crate::error::chain;

/// Label that tells the address that a target was told by.
const URL: &str = "__meta_url";

/// Why an answer is not taken. What the one before it said stays.
#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error("cannot ask the server")]
    Request(#[source] reqwest::Error),
    #[error("cannot ask the server")]
    Auth(#[from] AuthError),
    #[error("server returned HTTP status {0}")]
    Status(StatusCode),
    #[error("unsupported content type {0:?}")]
    ContentType(String),
    #[error("the answer has more than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,
    #[error("not a list of target groups")]
    Json(#[source] serde_json::Error),
}

/// A server that tells targets.
#[derive(Debug)]
pub(super) struct HttpSource {
    client: HttpClient,
    config: HttpDiscovery,
}

impl HttpSource {
    pub(super) fn new(config: &HttpDiscovery) -> Result<Self, Error> {
        let timeout = Duration::from_millis(config.refresh_ms.unsigned_abs());
        let options = ClientOptions { timeout: Some(timeout), ..ClientOptions::default() };
        let client = HttpClient::new(&config.client, options).map_err(Error::Client)?;
        Ok(Self { client, config: config.clone() })
    }

    /// Asks until the task is ended.
    pub(super) async fn run(self, sink: Sink) {
        let period = Duration::from_millis(self.config.refresh_ms.unsigned_abs());
        let mut ticker = interval(period);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known: Option<Groups> = None;
        loop {
            ticker.tick().await;
            let groups = match self.ask().await {
                Ok(groups) => groups,
                Err(error) => {
                    let hidden = without_password(&self.config.url);
                    let url = hidden.as_ref().unwrap_or(&self.config.url);
                    let error = chain(&error);
                    tracing::warn!(url, error, "targets of a server stay as they were");
                    known.clone().unwrap_or_default()
                }
            };
            if known.as_ref() != Some(&groups) {
                sink(groups.clone());
                known = Some(groups);
            }
        }
    }

    async fn ask(&self) -> Result<Groups, HttpError> {
        let seconds = Duration::from_millis(self.config.refresh_ms.unsigned_abs()).as_secs_f64();
        let request = self
            .client
            .get(&self.config.url)
            .await?
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("Ferula/", env!("CARGO_PKG_VERSION")))
            .header("X-Prometheus-Refresh-Interval-Seconds", seconds.to_string());
        let mut answer = request.send().await.map_err(HttpError::Request)?;
        if answer.status() != StatusCode::OK {
            return Err(HttpError::Status(answer.status()));
        }
        let content_type = answer.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(HttpError::ContentType(content_type.to_owned()));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(HttpError::Request)? {
            if body.len() + piece.len() > MAX_DOCUMENT_BYTES {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        let groups: Vec<RawGroup> = serde_json::from_slice(&body).map_err(HttpError::Json)?;
        Ok(groups.into_iter().map(|group| group.into_group(URL, &self.config.url)).collect())
    }
}
