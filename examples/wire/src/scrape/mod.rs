//! The scraper: one task per target that fetches, parses and appends in one batch a scrape.

use std::sync::Arc;

use crate::Error;
use crate::config::ScrapeFile;
use crate::store::Store;
use crate::telemetry::Registry;

/// A running scraper. Must be made inside a Tokio runtime.
#[derive(Debug)]
pub struct Scraper {
    targets: Arc<Targets>,
}

impl Scraper {
    /// Starts to scrape the targets of `file` into `store`.
    ///
    /// # Errors
    /// What keeps the HTTP client from being made.
    pub fn start(
        _file: &ScrapeFile,
        _store: Arc<dyn Store>,
        _registry: &Registry,
    ) -> Result<Self, Error> {
        Ok(Self { targets: Arc::new(Targets {}) })
    }

    /// The targets and what became of their last scrapes, for the API.
    pub fn targets(&self) -> Arc<Targets> {
        self.targets.clone()
    }

    /// Ends scraping and waits for scrapes under way. Series are not marked stale, so that a
    /// restarted scraper goes on where this one ended.
    pub async fn stop(self) {}
}

/// All targets and the state of each.
#[derive(Debug)]
pub struct Targets {}
