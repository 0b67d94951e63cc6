//! Writing down what a head holds, and making one of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use ferula_chunkenc::Chunk;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::fs::Fs;

use super::{
    Origin, Snapshot, SnapshotChunk, SnapshotFile, SnapshotOpen, SnapshotReader, SnapshotSeries,
};
use crate::error::{Error, SnapshotFault};
use crate::head::Head;
use crate::head::metadata::Said;
use crate::head::series::{ChunkInFile, OpenChunk, PageState, page_number};

/// Threads that make series at most.
const MAX_THREADS: usize = 8;

impl Head {
    /// Writes down what the head holds into the data directory `dir`. Nothing is appended any more,
    /// and all that `origin` names is durable. False if full chunks are in memory that could not be
    /// written to files: then there is no snapshot.
    pub(crate) fn save(&self, fs: &dyn Fs, dir: &Path, origin: Origin) -> Result<bool, Error> {
        let mut aliases: Vec<(SeriesRef, SeriesRef)> =
            self.aliases.lock().iter().map(|(alias, series)| (*alias, *series)).collect();
        aliases.sort_unstable();
        let tombstones = self.tombstones();
        let deleted = tombstones.series().flat_map(|series| {
            let of_series = tombstones.of(series).iter();
            of_series.map(move |(mint, maxt)| (series, *mint, *maxt))
        });
        let snapshot = Snapshot {
            origin,
            next_ref: self.next_ref.load(Ordering::Acquire),
            has_opaque_records: self.has_opaque_records,
            aliases,
            deleted: deleted.collect(),
        };
        let mut file = SnapshotFile::create(fs, dir, &snapshot)?;
        let mut numbers = Vec::new();
        self.stripes.for_each_page(|page| numbers.push(page.number()));
        numbers.sort_unstable();
        for number in numbers {
            let Some(page) = self.stripes.page(number) else { continue };
            if !self.save_page(&page.lock(), &mut file)? {
                return Ok(false);
            }
        }
        self.exemplars.for_each(|labels, logged| file.add_exemplar(labels, logged))?;
        self.metadata.for_each(|said| match said {
            Said::Description(described) => file.add_description(described),
            Said::By(series, number) => file.add_described(series, number),
        })?;
        file.finish()?;
        Ok(true)
    }

    fn save_page(&self, page: &PageState, file: &mut SnapshotFile<'_>) -> Result<bool, Error> {
        let series: Vec<SeriesRef> =
            page.views().filter(|view| view.is_published()).map(|view| view.series_ref()).collect();
        let labels = self.index.labels_of(&series);
        for (&series, labels) in series.iter().zip(&labels) {
            let (Some(view), Some(labels)) = (page.view(series), labels) else { continue };
            let Some(full) = view.chunks_in_files() else { return Ok(false) };
            let full = full.into_iter().map(|ChunkInFile { mint, maxt, at }| SnapshotChunk {
                mint,
                maxt,
                at,
            });
            let open = view.open_chunk();
            let open = open.as_ref().map(|OpenChunk { mint, cut_span, chunk }| SnapshotOpen {
                encoding: chunk.encoding,
                mint: *mint,
                cut_span_ms: u64::from(*cut_span),
                data: &chunk.data,
            });
            file.add(series, labels, full, open)?;
        }
        Ok(true)
    }

    /// Makes this head, which is empty and nobody uses yet, be the one that was written down. After
    /// an error it is not to be used at all.
    pub(crate) fn restore(&mut self, reader: &SnapshotReader) -> Result<(), Error> {
        let snapshot = reader.snapshot();
        *self.next_ref.get_mut() = snapshot.next_ref;
        *self.aliases.get_mut() = snapshot.aliases.iter().copied().collect();
        self.has_opaque_records = snapshot.has_opaque_records;
        let tombstones = Arc::make_mut(self.tombstones.get_mut());
        for &(series, mint, maxt) in &snapshot.deleted {
            tombstones.add(series, mint, maxt);
        }
        reader.read_exemplars(|labels, logged| self.exemplars.restore(labels, logged))?;
        reader.read_metadata(|series, description| self.metadata.restore(series, description))?;
        let found = self.restore_series(reader)?;
        let expected = reader.n_series();
        if found != expected {
            let what = "series";
            return Err(reader.fault(SnapshotFault::Count { what, found, expected }));
        }
        Ok(())
    }

    /// Makes the series: this thread puts them into the index, in the order of their refs, which its
    /// postings are small and fast in; others give them their chunks. Returns how many there were.
    fn restore_series(&self, reader: &SnapshotReader) -> Result<u64, Error> {
        let n_threads = thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1));
        let next_frame = AtomicUsize::new(0);
        let restore_chunks = || {
            let mut n_series = 0;
            loop {
                let frame = next_frame.fetch_add(1, Ordering::Relaxed);
                if frame >= reader.n_frames() {
                    return Ok(n_series);
                }
                let mut restore = |series: SnapshotSeries<'_>| self.restore_chunks(reader, &series);
                n_series += reader.read_frame(frame, &mut restore)?;
            }
        };
        thread::scope(|scope| {
            let threads = 0..n_threads.clamp(1, MAX_THREADS);
            let threads: Vec<_> = threads.map(|_| scope.spawn(restore_chunks)).collect();
            let indexed: Result<u64, Error> =
                (0..reader.n_frames()).map(|frame| self.restore_labels(reader, frame)).sum();
            // Whoever is done with the labels helps with the chunks.
            let filled = [restore_chunks()]
                .into_iter()
                .chain(threads.into_iter().map(|thread| thread.join().expect("it does not panic")));
            let filled: Result<u64, Error> = filled.sum();
            Ok(indexed?.min(filled?))
        })
    }

    /// Puts the series of a frame into the index. Returns how many there were.
    fn restore_labels(&self, reader: &SnapshotReader, frame: usize) -> Result<u64, Error> {
        let mut named = Vec::new();
        let n_series = reader.read_frame(frame, &mut |found| {
            let series = found.series;
            let labels = Labels::from_pairs(found.pairs.iter().map(|pair| reader.pair(*pair)));
            let labels = labels.map_err(|source| Error::HeadIndex { series, source })?;
            named.push((series, labels));
            Ok(())
        })?;
        let Some((first, _)) = named.first() else { return Ok(n_series) };
        let known = self.index.insert_all(&named).map_err(Error::index_all(*first))?;
        match known.first() {
            Some((series, _)) => Err(reader.fault(SnapshotFault::Order { series: *series })),
            None => Ok(n_series),
        }
    }

    fn restore_chunks(
        &self,
        reader: &SnapshotReader,
        found: &SnapshotSeries<'_>,
    ) -> Result<(), Error> {
        let series = found.series;
        let malformed = |source| Error::HeadChunk { series, source };
        self.stripes.insert(series);
        let page = self.stripes.page(page_number(series)).expect("it was just made");
        let (mut mint, mut maxt) = (i64::MAX, i64::MIN);
        page.change(|page| {
            let Some(mut made) = page.series_mut(series) else { return Ok(()) };
            made.publish();
            for &SnapshotChunk { mint: from, maxt: to, at } in found.full {
                if !made.load_chunk(ChunkInFile { mint: from, maxt: to, at }) {
                    return Err(reader.fault(SnapshotFault::Order { series }));
                }
                (mint, maxt) = (mint.min(from), maxt.max(to));
            }
            if let Some(open) = found.open {
                let data = Bytes::copy_from_slice(open.data);
                let chunk = Chunk { encoding: open.encoding, data };
                let cut_span = u32::try_from(open.cut_span_ms).unwrap_or(u32::MAX);
                let open = OpenChunk { mint: open.mint, cut_span, chunk };
                made.restore_open(&open).map_err(malformed)?;
                mint = mint.min(open.mint);
                maxt = made.newest().map_or(maxt, |newest| maxt.max(newest.timestamp()));
            }
            Ok(())
        })?;
        let valid_from = self.times.valid_from.load(Ordering::Relaxed);
        self.times.mint.fetch_min(mint.max(valid_from), Ordering::Relaxed);
        self.times.maxt.fetch_max(maxt, Ordering::Relaxed);
        Ok(())
    }
}
