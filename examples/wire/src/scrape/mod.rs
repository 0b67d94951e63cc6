//! The scraper: one task per target that fetches, parses and appends in one batch a scrape.
//!
//! What is stored, and when, is what Prometheus stores (`scrape/scrape.go`, release 3.14): the
//! samples of a page with the labels of its target, a report of five series per scrape, and stale
//! markers for series that a page has no longer, for all of them when a scrape fails, and for all
//! of them and the report when a target is removed. One thing differs: a page that turns out
//! malformed half way ends all series of the page before, not only those it did not come to.

mod append;
mod cache;
mod cardinality;
mod error;
mod fetch;
mod metadata;
mod metrics;
mod pool;
mod report;
mod run;
mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ferula_index::Labels;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use target::Target;
pub(crate) use target::push_encoded;

use self::metrics::Metrics;
use self::pool::Pool;
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
    /// Which part of all targets is scraped; all of them without it.
    pub shard: Option<Shard>,
}

/// One of several scrapers with the same configuration, each of which has a part of the targets.
///
/// Which one has a target depends on its labels and address. One scraper more takes over an equal part of
/// each one's targets, and no target moves otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Place of this one, counted from 0.
    pub index: u32,
    /// How many there are, above the index.
    pub count: u32,
}

impl Shard {
    /// Whether a target with this hash belongs to this scraper.
    ///
    /// "A Fast, Minimal Memory, Consistent Hash Algorithm", Lamping and Veach 2014.
    fn has(self, mut hash: u64) -> bool {
        let (mut bucket, mut next) = (0_u64, 0_u64);
        while next < u64::from(self.count) {
            bucket = next;
            hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
            let jump = (bucket + 1) as f64 * ((1_u64 << 31) as f64 / ((hash >> 33) + 1) as f64);
            #[expect(clippy::cast_possible_truncation, reason = "it is below 2^63")]
            #[expect(clippy::cast_sign_loss, reason = "it is positive")]
            let whole = jump as u64;
            next = whole;
        }
        bucket == u64::from(self.index)
    }
}

/// A running scraper. Must be made inside a Tokio runtime.
pub struct Scraper {
    shared: Arc<Shared>,
    pools: Vec<Arc<Pool>>,
}

/// What all jobs share.
struct Shared {
    store: Arc<dyn Store>,
    metrics: Metrics,
    options: ScrapeOptions,
    append_slots: Arc<Semaphore>,
    targets: Arc<Targets>,
    /// The tasks of the targets.
    tasks: Mutex<JoinSet<()>>,
}

impl Scraper {
    /// Starts to scrape the targets of `file` into `store`, without options.
    ///
    /// # Errors
    /// [`Error::Client`] if an HTTP client cannot be made.
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
    /// [`Error::Client`] if an HTTP client cannot be made.
    pub fn start_with(
        file: &ScrapeFile,
        store: Arc<dyn Store>,
        registry: &Registry,
        options: ScrapeOptions,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            store,
            metrics: Metrics::new(registry),
            options,
            append_slots: Arc::new(Semaphore::new(APPEND_CONCURRENCY)),
            targets: Arc::default(),
            tasks: Mutex::default(),
        });
        let mut scraper = Self { shared, pools: Vec::new() };
        scraper.reload(file)?;
        Ok(scraper)
    }

    /// Goes on with another configuration. Targets that are in both are scraped when they would have been,
    /// over the connections that there are, and go on with their series; those that are in the old one only
    /// end.
    ///
    /// # Errors
    /// [`Error::Client`] if an HTTP client cannot be made. Nothing has changed then.
    pub fn reload(&mut self, file: &ScrapeFile) -> Result<(), Error> {
        let old = |name: &str| self.pools.iter().find(|pool| pool.name() == name);
        let mut changes = Vec::with_capacity(file.jobs.len());
        for job in &file.jobs {
            let pool = match old(&job.name) {
                Some(pool) => pool.clone(),
                None => Pool::new(&job.name, &self.shared),
            };
            let change = pool.prepare(job)?;
            changes.push((pool, change));
        }
        // Nothing fails from here on.
        let is_gone = |pool: &&Arc<Pool>| !changes.iter().any(|(kept, _)| Arc::ptr_eq(kept, pool));
        self.pools.iter().filter(is_gone).for_each(|pool| pool.remove());
        self.pools = changes.iter().map(|(pool, _)| pool.clone()).collect();
        for (pool, change) in changes {
            pool.apply(change);
        }
        Ok(())
    }

    /// The targets and what became of their last scrapes, for the API.
    pub fn targets(&self) -> Arc<Targets> {
        self.shared.targets.clone()
    }

    /// Ends scraping, and waits until pages that have arrived are stored. Series are not marked stale, so
    /// that a restarted scraper goes on where this one ended.
    pub async fn stop(self) {
        for pool in &self.pools {
            pool.stop();
        }
        self.join().await;
    }

    /// Ends scraping for good: waits two scrape intervals and marks all series stale.
    pub async fn remove_targets(self) {
        for pool in &self.pools {
            pool.remove();
        }
        self.join().await;
    }

    async fn join(&self) {
        let mut tasks = std::mem::take(&mut *self.shared.tasks.lock());
        while tasks.join_next().await.is_some() {}
    }
}

impl fmt::Debug for Scraper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.pools.iter().map(|pool| pool.name()).collect();
        f.debug_struct("Scraper").field("jobs", &names).finish_non_exhaustive()
    }
}

/// All targets, by job.
#[derive(Debug, Default)]
pub struct Targets {
    jobs: Mutex<BTreeMap<String, Arc<JobTargets>>>,
}

/// The targets of a job at one time.
#[derive(Debug, Default)]
pub(crate) struct JobTargets {
    pub(crate) name: String,
    pub(crate) active: Vec<Arc<Target>>,
    /// What was known of those that are not scraped.
    pub(crate) dropped: Vec<Labels>,
}

impl Targets {
    /// Jobs in the order of their names, and their targets.
    pub(crate) fn jobs(&self) -> Vec<Arc<JobTargets>> {
        self.jobs.lock().values().cloned().collect()
    }

    /// Lists a job whose targets are not known yet.
    fn announce(&self, name: &str) {
        let new = || Arc::new(JobTargets { name: name.to_owned(), ..JobTargets::default() });
        self.jobs.lock().entry(name.to_owned()).or_insert_with(new);
    }

    fn set(&self, job: JobTargets) {
        self.jobs.lock().insert(job.name.clone(), Arc::new(job));
    }

    fn remove(&self, name: &str) {
        self.jobs.lock().remove(name);
    }
}

#[cfg(test)]
mod tests;
