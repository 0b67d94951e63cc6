//! What was read of a block lately: pages with the columns decoded last, and columns of times.
//!
//! A page holds the chunks of neighbouring series, which are read one after the other, maybe by
//! several threads. Each takes the page out while it reads from it and puts it back.

use std::collections::HashMap;
use std::sync::Arc;

use ferula_chunkenc::columnar::{Page, PageMemory};
use parking_lot::Mutex;

use super::super::segments::Place;

/// Bytes of pages and of decoded columns that a block keeps at most, about.
const MAX_PAGES_BYTES: usize = 4 << 20;

/// Bytes of times that a block keeps at most, about.
const MAX_TIMES_BYTES: usize = 4 << 20;

/// A page and what was decoded of it last.
#[derive(Debug)]
pub(super) struct OpenPage {
    place: Place,
    pub(super) page: Page<'static>,
    pub(super) memory: PageMemory,
}

impl OpenPage {
    pub(super) fn new(place: Place, page: Page<'static>) -> Self {
        Self { place, page, memory: PageMemory::new() }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    fn size_bytes(&self) -> usize {
        self.page.size_bytes() + self.memory.size_bytes()
    }
}

/// What was read lately.
#[derive(Debug, Default)]
pub(super) struct Cache {
    pages: Mutex<Pages>,
    times: Mutex<Times>,
}

/// Those used last stand last.
#[derive(Debug, Default)]
struct Pages {
    pages: Vec<(OpenPage, usize)>,
    size_bytes: usize,
}

#[derive(Debug, Default)]
struct Times {
    columns: HashMap<(u32, u32), Arc<[i64]>>,
    size_bytes: usize,
}

impl Cache {
    /// Takes out a page, if it is there.
    pub(super) fn take(&self, place: Place) -> Option<OpenPage> {
        let mut pages = self.pages.lock();
        let at = pages.pages.iter().rposition(|(page, _)| page.place == place)?;
        let (page, size_bytes) = pages.pages.remove(at);
        pages.size_bytes -= size_bytes;
        Some(page)
    }

    /// Puts a page back.
    pub(super) fn put(&self, page: OpenPage) {
        let size_bytes = page.size_bytes();
        let mut pages = self.pages.lock();
        pages.size_bytes += size_bytes;
        pages.pages.push((page, size_bytes));
        let mut excess = pages.size_bytes.saturating_sub(MAX_PAGES_BYTES);
        let n_old = pages
            .pages
            .iter()
            .take_while(|(_, size_bytes)| {
                let is_needed = excess > 0;
                excess = excess.saturating_sub(*size_bytes);
                is_needed
            })
            .count();
        if n_old > 0 {
            let freed: usize = pages.pages.drain(..n_old).map(|(_, size_bytes)| size_bytes).sum();
            pages.size_bytes -= freed;
        }
    }

    /// The column of times of a segment, which `read` reads if it is not there.
    pub(super) fn times<E>(
        &self,
        segment: u32,
        column: u32,
        read: impl FnOnce() -> Result<Vec<i64>, E>,
    ) -> Result<Arc<[i64]>, E> {
        if let Some(times) = self.times.lock().columns.get(&(segment, column)) {
            return Ok(Arc::clone(times));
        }
        let column_times: Arc<[i64]> = read()?.into();
        let mut times = self.times.lock();
        if times.size_bytes > MAX_TIMES_BYTES {
            *times = Times::default();
        }
        times.size_bytes += size_of_val(&*column_times);
        times.columns.insert((segment, column), Arc::clone(&column_times));
        Ok(column_times)
    }
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::columnar::{PageWriter, TimeTableWriter};

    use super::*;

    #[test]
    fn pages_that_were_not_used_lately_go() {
        let mut bytes = Vec::new();
        let mut writer = PageWriter::new();
        let times: Vec<i64> = (0..8192).collect();
        let times = TimeTableWriter::new().add(&times).unwrap();
        let values: Vec<f64> =
            (0_u32..8192).map(|i| f64::from(i.wrapping_mul(0x9e37_79b9))).collect();
        writer.push(times, &values, None).unwrap();
        writer.finish(&mut bytes);
        let page = Page::parse(&bytes).unwrap().into_owned();
        let n_kept = u32::try_from(MAX_PAGES_BYTES / page.size_bytes()).unwrap();
        let place = |offset| Place { segment: 0, offset };
        let cache = Cache::default();
        for offset in 0..2 * n_kept {
            cache.put(OpenPage::new(place(offset), page.clone()));
            if let Some(first) = cache.take(place(0)) {
                cache.put(first);
            }
        }
        let held = cache.pages.lock().size_bytes;
        assert!(held <= MAX_PAGES_BYTES && held > MAX_PAGES_BYTES / 2);
        assert!(cache.take(place(0)).is_some() && cache.take(place(0)).is_none());
        assert!(cache.take(place(1)).is_none());
        assert!(cache.take(place(2 * n_kept - 1)).is_some());
    }
}
