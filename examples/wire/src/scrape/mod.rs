//! The scraper: one task per target that fetches, parses and appends in one batch a scrape.
//!
//! What is stored, and when, is what Prometheus stores (`scrape/scrape.go`, release 3.14): the
//! samples of a page with the labels of its target, a report of five series per scrape, and stale
//! markers for series that a page has no longer, for all of them when a scrape fails, and for all
//! of them and the report when a target is removed. One thing differs: a page that turns out
//! malformed half way ends all series of the page before, not only those it did not come to.

mod append;
mod cache;
mod error;
mod fetch;
mod metadata;
mod metrics;
mod report;
mod run;
mod target;

use std::fmt;
use std::sync::Arc;

use ferula_index::Labels;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use target::Target;

use self::fetch::Fetcher;
use self::metrics::Metrics;
use self::run::{Ending, Runner};
use crate::Error;
use crate::config::ScrapeFile;
use crate::store::Store;
use crate::telemetry::Registry;

/// Pages that are stored at the same time; more wait.
const APPEND_CONCURRENCY: usize = 16;

/// How a scraper works, beside what its file says.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ScrapeOptions {
    /// Whether it is stored since when series have been counting, as far as pages tell; such lines of
    /// OpenMetrics are series of their own otherwise. Formats that tell are preferred then.
    pub start_timestamps: bool,
}

/// A running scraper. Must be made inside a Tokio runtime.
pub struct Scraper {
    targets: Arc<Targets>,
    ending: watch::Sender<Ending>,
    tasks: JoinSet<()>,
}

impl Scraper {
    /// Starts to scrape the targets of `file` into `store`, without options.
    ///
    /// # Errors
    /// [`Error::Client`] if the HTTP client cannot be made.
    pub fn start(
        file: &ScrapeFile,
        store: Arc<dyn Store>,
        registry: &Registry,
    ) -> Result<Self, Error> {
        Self::start_with(file, store, registry, ScrapeOptions::default())
    }

    /// Starts to scrape the targets of `file` into `store`.
    ///
    /// # Errors
    /// [`Error::Client`] if the HTTP client cannot be made.
    pub fn start_with(
        file: &ScrapeFile,
        store: Arc<dyn Store>,
        registry: &Registry,
        options: ScrapeOptions,
    ) -> Result<Self, Error> {
        let fetcher = Fetcher::new(options.start_timestamps).map_err(Error::Client)?;
        let metrics = Metrics::new(registry);
        let (sender, receiver) = watch::channel(Ending::Running);
        let append_slots = Arc::new(Semaphore::new(APPEND_CONCURRENCY));
        let mut targets = Targets { pools: Vec::new() };
        let mut tasks = JoinSet::new();
        for job in &file.jobs {
            let (active, dropped) = Target::all_of(job);
            let active: Vec<_> = active.into_iter().map(Arc::new).collect();
            let is_over = job.limits.targets.is_some_and(|limit| active.len() > limit);
            for target in &active {
                target.set_over_limit(is_over.then_some(active.len()));
                let runner = Runner {
                    target: target.clone(),
                    store: store.clone(),
                    fetcher: fetcher.clone(),
                    metrics: metrics.clone(),
                    has_starts: options.start_timestamps,
                    append_slots: append_slots.clone(),
                    ending: receiver.clone(),
                };
                tasks.spawn(runner.run());
            }
            targets.pools.push(Pool { name: job.name.clone(), active, dropped });
        }
        targets.pools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { targets: Arc::new(targets), ending: sender, tasks })
    }

    /// The targets and what became of their last scrapes, for the API.
    pub fn targets(&self) -> Arc<Targets> {
        self.targets.clone()
    }

    /// Ends scraping, and waits until pages that have arrived are stored. Series are not marked stale, so
    /// that a restarted scraper goes on where this one ended.
    pub async fn stop(self) {
        self.end(Ending::Shutdown).await;
    }

    /// Ends scraping for good: waits two scrape intervals and marks all series stale.
    pub async fn remove_targets(self) {
        self.end(Ending::Removed).await;
    }

    async fn end(mut self, ending: Ending) {
        self.ending.send_replace(ending);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl fmt::Debug for Scraper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraper").field("n_targets", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// All targets, by job.
#[derive(Debug)]
pub struct Targets {
    pools: Vec<Pool>,
}

/// The targets of a job.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) active: Vec<Arc<Target>>,
    /// What was known of those that are not scraped.
    pub(crate) dropped: Vec<Labels>,
}

impl Targets {
    /// Jobs in the order of their names, and their targets.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> + Clone {
        self.pools.iter()
    }
}

#[cfg(test)]
mod tests;
