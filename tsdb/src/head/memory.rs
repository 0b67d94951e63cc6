//! What the head takes, counted as it changes: no series is looked at to tell.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Head;
use super::series::Page;
use crate::stats::MemoryUsage;

/// What one page takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageUsage {
    pub(crate) n_series: usize,
    pub(crate) n_chunks: usize,
    pub(crate) series_bytes: usize,
    pub(crate) open_used_bytes: usize,
    pub(crate) open_bytes: usize,
    pub(crate) list_bytes: usize,
    pub(crate) kept_bytes: usize,
}

/// What all pages take together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    n_pages: AtomicU64,
    n_series: AtomicU64,
    n_chunks: AtomicU64,
    series_bytes: AtomicU64,
    open_used_bytes: AtomicU64,
    open_bytes: AtomicU64,
    list_bytes: AtomicU64,
    kept_bytes: AtomicU64,
}

impl Counters {
    /// Notes that there is another page.
    pub(crate) fn add_page(&self) {
        self.n_pages.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a page that took `usage` is gone.
    pub(crate) fn remove_page(&self, usage: &PageUsage) {
        self.n_pages.fetch_sub(1, Ordering::Relaxed);
        self.change(usage, &PageUsage::default());
    }

    /// Notes what a page takes after a change, and took before.
    #[inline]
    pub(crate) fn change(&self, before: &PageUsage, after: &PageUsage) {
        let change = |counter: &AtomicU64, before: usize, after: usize| {
            if before != after {
                // Differences wrap around, and so does their sum.
                counter.fetch_add((after as u64).wrapping_sub(before as u64), Ordering::Relaxed);
            }
        };
        change(&self.n_series, before.n_series, after.n_series);
        change(&self.n_chunks, before.n_chunks, after.n_chunks);
        change(&self.series_bytes, before.series_bytes, after.series_bytes);
        change(&self.open_used_bytes, before.open_used_bytes, after.open_used_bytes);
        change(&self.open_bytes, before.open_bytes, after.open_bytes);
        change(&self.list_bytes, before.list_bytes, after.list_bytes);
        change(&self.kept_bytes, before.kept_bytes, after.kept_bytes);
    }

    /// Number of series.
    pub(crate) fn n_series(&self) -> u64 {
        self.n_series.load(Ordering::Relaxed)
    }

    /// Number of chunks.
    pub(crate) fn n_chunks(&self) -> u64 {
        self.n_chunks.load(Ordering::Relaxed)
    }

    /// What the pages take by part.
    fn usage(&self) -> MemoryUsage {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let open_chunk_bytes = load(&self.open_used_bytes);
        MemoryUsage {
            series_bytes: load(&self.n_pages) * size_of::<Page>() as u64 + load(&self.series_bytes),
            open_chunk_bytes,
            // Another thread may be between the one counter and the other.
            spare_chunk_bytes: load(&self.open_bytes).saturating_sub(open_chunk_bytes),
            chunk_list_bytes: load(&self.list_bytes),
            full_chunk_bytes: load(&self.kept_bytes),
            ..MemoryUsage::default()
        }
    }
}

impl Head {
    /// What the head takes by part.
    pub(crate) fn memory(&self) -> MemoryUsage {
        let mut usage = self.stripes.counters().usage();
        usage.series_bytes += self.stripes.size_bytes();
        usage.index = self.index.memory();
        usage.unpublished_bytes = self.unpublished.lock().size_bytes() as u64;
        usage.metadata_bytes = self.metadata.size_bytes() as u64;
        usage.exemplar_bytes = self.exemplars.size_bytes() as u64;
        usage.batch_bytes = self.spare.size_bytes() as u64;
        let files = self.files().map(|files| files.size().buffer_bytes);
        usage.chunk_file_bytes = files.unwrap_or_default() as u64;
        usage
    }
}
