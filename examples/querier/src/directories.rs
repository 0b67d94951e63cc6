//! The directories that are read, and read again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ferula_promql::storage::Queryable;
use ferula_tsdb::{Db, ReadOnlyDb, Stats};
use ferula_wire::api::Settled;
use ferula_wire::cli::{self, Failure};
use ferula_wire::store::Notes;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

/// Directories that other programs may be writing; cheap to clone.
#[derive(Clone)]
pub(crate) struct Directories {
    all: Arc<[Directory]>,
    /// How often it was seen that somebody deleted something.
    deletions: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Directory {
    path: PathBuf,
    db: Arc<ReadOnlyDb>,
}

impl Directories {
    /// Opens all of them.
    pub(crate) async fn open(paths: Vec<PathBuf>) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for path in paths {
            info!(data = %path.display(), "opening a store to be read");
            let opening = path.clone();
            let db = spawn_blocking(|| Db::open_read_only(opening)).await??;
            cli::log_open_report(&db.open_report());
            all.push(Directory { path, db: Arc::new(db) });
        }
        Ok(Self { all: all.into(), deletions: Arc::default() })
    }

    /// The only one, if there is only one.
    pub(crate) fn only(&self) -> Option<Arc<ReadOnlyDb>> {
        if let [only] = &*self.all { Some(only.db.clone()) } else { None }
    }

    pub(crate) fn storages(&self) -> Vec<Arc<dyn Queryable>> {
        self.all.iter().map(|directory| directory.db.clone() as Arc<dyn Queryable>).collect()
    }

    pub(crate) fn notes(&self) -> Vec<Arc<dyn Notes>> {
        self.all.iter().map(|directory| directory.db.clone() as Arc<dyn Notes>).collect()
    }

    /// What all of them hold; series that several have count as often.
    pub(crate) fn stats(&self) -> Stats {
        let mut all = self.all.iter().map(|directory| directory.db.stats());
        let mut sum = all.next().unwrap_or_default();
        for stats in all {
            sum.n_series += stats.n_series;
            sum.n_chunks += stats.n_chunks;
            sum.n_exemplars += stats.n_exemplars;
            sum.head_mint = [sum.head_mint, stats.head_mint].into_iter().flatten().min();
            sum.head_maxt = sum.head_maxt.max(stats.head_maxt);
            sum.head_from = sum.head_from.min(stats.head_from);
            sum.blocks.extend(stats.blocks);
            sum.quarantined.extend(stats.quarantined);
            sum.wal_bytes += stats.wal_bytes;
            sum.wbl_bytes += stats.wbl_bytes;
            sum.block_bytes += stats.block_bytes;
        }
        sum.blocks.sort_by_key(|block| (block.mint, block.ulid));
        sum
    }

    /// What does not change any more, as far as it was read.
    pub(crate) fn settled(&self) -> Settled {
        let Settled { before, version } = Settled::of(&self.stats());
        let mut hasher = DefaultHasher::new();
        (version, self.deletions.load(Ordering::Acquire)).hash(&mut hasher);
        for Directory { db, .. } in &*self.all {
            // What came late and is in no block yet: there is only ever more of it.
            db.open_report().out_of_order_samples.hash(&mut hasher);
        }
        Settled { before, version: hasher.finish() }
    }

    /// The files of deletions as they are now: when each was written and how long it is.
    fn tombstones(&self) -> Vec<(SystemTime, u64)> {
        let mut all = Vec::new();
        for Directory { path, db } in &*self.all {
            for block in db.stats().blocks {
                let file = path.join(block.ulid.to_string()).join("tombstones");
                let known = std::fs::metadata(file);
                all.extend(known.and_then(|file| Ok((file.modified()?, file.len()))));
            }
        }
        all
    }

    /// Reads them again and again. What cannot be read leaves the last view in place.
    pub(crate) async fn reload(self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut before = self.tombstones();
        loop {
            ticks.tick().await;
            // Looked at before they are read: what is written meanwhile shows next time.
            let now = self.tombstones();
            let is_changed = now != before;
            before = now;
            for Directory { path, db } in &*self.all {
                let reading = db.clone();
                match spawn_blocking(move || reading.reload()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        let error = ferula_wire::chain(&error);
                        error!(data = %path.display(), error, "cannot read what was written");
                    }
                    // The runtime is shutting down.
                    Err(_) => return,
                }
            }
            if is_changed {
                self.deletions.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}
