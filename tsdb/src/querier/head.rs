//! Reading the head: which series there are to see, and in which range.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use ferula_chunkenc::{Sample, SampleBatch, stale};
use ferula_index::postings::Postings;
use ferula_index::{Labels, Matcher, Pace, SeriesRef};

use super::{Draw, MakeRoom, make_room, unless_stopped};
use crate::block::EncodedChunk;
use crate::error::Error;
use crate::head::{
    DeletedOutOfOrder, Era, Head, PageCursor, ReadGuard, SeenChunks, Series, SeriesView, Sought,
};
use crate::recode::Recoder;
use crate::tombstones::{Interval, Tombstones, covers, touches};

/// Bytes that a series takes while it is selected: twice in a list, once by its ref, and what sorting
/// needs.
const SELECTED_BYTES: usize = 2 * size_of::<Series>() + size_of::<SeriesRef>() + 32;

/// For how many series labels are made at once.
const LABELS_BATCH: usize = 1024;

/// What is selected, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request<'a> {
    /// Bounds of the samples, both inclusive.
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    /// Only the newest sample of each series is looked at.
    pub(crate) newest_only: bool,
    /// Staleness markers are passed over when the newest is looked for.
    pub(crate) skips_stale: bool,
    /// Series need not be in label order.
    pub(crate) any_order: bool,
    /// Names of the labels that are looked at besides those that describe the metric, if not all are.
    pub(crate) needed: Option<&'a [String]>,
}

/// The newest sample of each series, if it is known; empty if nobody asked.
pub(crate) type Newest = Vec<Option<Sample>>;

/// A view of the head over a range of time.
#[derive(Clone, Debug)]
pub(crate) struct HeadReader {
    head: Arc<Head>,
    guard: Arc<ReadGuard>,
    tombstones: Arc<Tombstones>,
    /// What is deleted of samples out of order.
    deleted: Arc<DeletedOutOfOrder>,
}

impl HeadReader {
    /// Begins to read what is visible now. Samples before `from` are left to the blocks, and so are
    /// those out of order that came before `era`.
    pub(crate) fn new(head: Arc<Head>, from: i64, era: Era) -> Self {
        let guard = Arc::new(head.begin_read(from, era));
        let (tombstones, deleted) = (head.tombstones(), head.deleted_out_of_order());
        Self { head, guard, tombstones, deleted }
    }

    /// What this reader may see.
    pub(crate) fn guard(&self) -> &Arc<ReadGuard> {
        &self.guard
    }

    /// The series with samples in order from `mint` to `maxt`, in label order.
    pub(crate) fn select_in_order(&self, mint: i64, maxt: i64) -> Result<Vec<Series>, Error> {
        let request = Request { mint, maxt, ..Request::default() };
        let from = mint.max(self.guard.from());
        let is_wanted = |series: SeriesView<'_>| self.has_in_order(series, from, maxt);
        Ok(self.select_those(&[], request, is_wanted, &|_| Ok(()))?.0)
    }

    /// The series with samples out of order that came before the era `until` and lie between `mint`
    /// and `maxt`, in label order.
    pub(crate) fn select_late(
        &self,
        mint: i64,
        maxt: i64,
        until: Era,
    ) -> Result<Vec<Series>, Error> {
        let request = Request { mint, maxt, ..Request::default() };
        let late = self.sought(mint, maxt, until);
        let is_wanted =
            |series: SeriesView<'_>| late.is_some_and(|late| self.has_late(series, &late));
        Ok(self.select_those(&[], request, is_wanted, &|_| Ok(()))?.0)
    }

    fn has_in_order(&self, series: SeriesView<'_>, mint: i64, maxt: i64) -> bool {
        series.has_samples(mint, maxt, self.guard.seen()) && !self.is_deleted(series, mint, maxt)
    }

    fn has_late(&self, series: SeriesView<'_>, late: &Sought) -> bool {
        series.has_out_of_order_samples(late, |era| self.deleted.of(series.series_ref(), era))
    }

    /// The series that pass all `matchers` and have samples in the range, and the newest sample of each
    /// as far as it is sought and known without decoding a chunk. Memory is asked for with `draw`
    /// before it is taken.
    pub(crate) fn select_with(
        &self,
        matchers: &[Matcher],
        request: Request<'_>,
        draw: &Draw<'_>,
    ) -> Result<(Vec<Series>, Newest), Error> {
        let Request { mint, maxt, .. } = request;
        let late = self.sought(mint, maxt, Era(u64::MAX));
        let mint = mint.max(self.guard.from());
        let is_wanted = |series: SeriesView<'_>| {
            self.has_in_order(series, mint, maxt)
                || late.is_some_and(|late| self.has_late(series, &late))
        };
        self.select_those(matchers, request, is_wanted, draw)
    }

    fn select_those(
        &self,
        matchers: &[Matcher],
        request: Request<'_>,
        is_wanted: impl Fn(SeriesView<'_>) -> bool,
        draw: &Draw<'_>,
    ) -> Result<(Vec<Series>, Newest), Error> {
        let Request { mint, maxt, newest_only, skips_stale, any_order, .. } = request;
        if !self.overlaps(mint, maxt) {
            return Ok((Vec::new(), Newest::default()));
        }
        let mint = mint.max(self.guard.from());
        let goes_on = || draw(0).is_ok();
        let pace = &Pace::new(&goes_on);
        let selected = unless_stopped(self.head.index().select_paced(matchers, pace), draw)?;
        let seen = self.guard.seen();
        // Whether there are samples, and the newest of them if that is known.
        let look = |series: SeriesView<'_>| {
            let newest = series.newest_float(mint, maxt, seen).filter(|_| newest_only);
            let is_sought = |newest: &Sample| !skips_stale || !stale::is_stale(newest.value);
            let is_kept = || self.tombstones.of(series.series_ref()).is_empty();
            // One that came late may be newer.
            let is_newest = || !series.has_out_of_order();
            let newest = || newest.filter(is_sought).filter(|_| is_kept() && is_newest());
            is_wanted(series).then(newest)
        };
        let mut pages = PageCursor::default();
        let mut series: Vec<Series> = Vec::new();
        let mut newest: Newest = Vec::new();
        let of_newest = if newest_only { 2 * size_of::<Option<Sample>>() } else { 0 };
        let entry_bytes = SELECTED_BYTES + of_newest;
        for found in &selected {
            make_room(&mut series, entry_bytes, draw)?;
            let Some(found) = self.head.series(found, &mut pages) else { continue };
            if let Some(found_newest) = found.view(look).flatten() {
                series.push(found);
                if newest_only {
                    newest.push(found_newest);
                }
            }
        }
        if any_order {
            return Ok((series, newest));
        }
        let order = self.head.index().order_paced(&refs_of(&series), pace);
        let order = unless_stopped(order, draw)?;
        let places = || order.iter().map(|at| *at as usize);
        let newest = match newest_only {
            false => Newest::default(),
            true => places().map(|at| newest[at]).collect(),
        };
        Ok((places().map(|at| series[at].clone()).collect(), newest))
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, series: &Series) -> Labels {
        // Series with samples that a reader may see stay; those that lost theirs by deletion have
        // nothing to read either.
        self.head.index().labels(series.series_ref()).unwrap_or_default()
    }

    /// The labels of each of `series`.
    pub(crate) fn labels_of(&self, series: &[Series]) -> impl Iterator<Item = Labels> {
        self.head.index().labels_of(&refs_of(series)).into_iter().map(Option::unwrap_or_default)
    }

    /// Each of `series` with its labels, which are made on the way, some at a time.
    pub(crate) fn with_labels<'a>(
        &'a self,
        series: &'a [Series],
    ) -> impl Iterator<Item = (Labels, &'a Series)> {
        let batches = series.chunks(LABELS_BATCH);
        batches.flat_map(|batch| self.labels_of(batch).zip(batch))
    }

    /// Of each of `series` the labels that have one of `names`.
    pub(crate) fn labels_among(&self, series: &[Series], names: &[&str]) -> Vec<Labels> {
        let labels = self.head.index().labels_among(&refs_of(series), names);
        labels.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// All label names and values of `series`, sorted.
    pub(crate) fn symbols_of(&self, series: &[Series]) -> Vec<String> {
        let refs = refs_of(series).into_iter().collect();
        self.head.index().symbols_of(&refs)
    }

    /// The chunks of a series from `mint` to `maxt`, both inclusive, as a block stores them.
    pub(crate) fn chunks(
        &self,
        series: &Series,
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<EncodedChunk>, Error> {
        let chunks = series.view(|series| series.chunks(mint, maxt, self.guard.seen()));
        let into_chunks = |chunks: SeenChunks| chunks.into_chunks(self.head.files());
        let chunks = chunks.flatten().map_or(Ok(Vec::new()), into_chunks)?;
        let deleted = self.tombstones.of(series.series_ref());
        if deleted.is_empty() {
            return Ok(chunks);
        }
        let without = without_deleted(chunks, deleted);
        without.map_err(|source| Error::HeadChunk { series: series.series_ref(), source })
    }

    /// What a reader looks for among samples out of order; `None` if there are none.
    fn sought(&self, mint: i64, maxt: i64, until: Era) -> Option<Sought> {
        let (seen, from) = (self.guard.seen(), self.guard.era());
        let sought = Sought { mint, maxt, seen, from, until };
        Some(sought).filter(|_| self.head.has_out_of_order())
    }

    /// The samples out of order of a series that came before the era `until`, as chunks of a block.
    pub(crate) fn late_chunks(
        &self,
        series: &Series,
        mint: i64,
        maxt: i64,
        until: Era,
    ) -> Result<Vec<EncodedChunk>, Error> {
        let mut chunks = Vec::new();
        let encoded = self.late(series, mint, maxt, until)?.encode(&mut chunks);
        encoded.map_err(|source| Error::HeadChunk { series: series.series_ref(), source })?;
        Ok(chunks)
    }

    fn late(&self, series: &Series, mint: i64, maxt: i64, until: Era) -> Result<Recoder, Error> {
        let mut recoder = Recoder::default();
        if let Some(sought) = self.sought(mint, maxt, until) {
            let runs = series.view(|series| series.out_of_order_runs(&sought)).flatten();
            let deleted_of = |era| self.deleted.of(series.series_ref(), era);
            if let Some(runs) = runs {
                runs.merge_into(self.head.files(), deleted_of, &mut recoder)?;
            }
        }
        Ok(recoder)
    }

    /// The ranges of `range_ms`, aligned to it, with samples out of order that came before the era
    /// `until`, by time.
    pub(crate) fn late_ranges(&self, range_ms: i64, until: Era) -> Result<Vec<Range<i64>>, Error> {
        let mut starts = BTreeSet::new();
        for series in self.select_late(i64::MIN, i64::MAX, until)? {
            let recoder = self.late(&series, i64::MIN, i64::MAX, until)?;
            starts.extend(recoder.times().map(|time| time.div_euclid(range_ms)));
        }
        let start = |number: i64| number.saturating_mul(range_ms);
        Ok(starts.into_iter().map(|number| start(number)..start(number + 1)).collect())
    }

    /// Tells whether what the head has of a series from `mint` to `maxt` is all deleted.
    fn is_deleted(&self, series: SeriesView<'_>, mint: i64, maxt: i64) -> bool {
        let deleted = self.tombstones.of(series.series_ref());
        if deleted.is_empty() {
            return false;
        }
        let (oldest, newest) = (series.oldest(), series.newest());
        oldest.zip(newest).is_some_and(|(oldest, newest)| {
            covers(deleted, mint.max(oldest), maxt.min(newest.timestamp()))
        })
    }

    /// Appends the samples of a series from `mint` to `maxt`, both inclusive, to `batch`.
    pub(crate) fn read(
        &self,
        series: &Series,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
        room: &mut MakeRoom<'_>,
    ) -> Result<(), Error> {
        let late = self.sought(mint, maxt, Era(u64::MAX));
        let late = late.and_then(|late| series.view(|series| series.out_of_order_runs(&late))?);
        let Some(late) = late else { return self.read_in_order(series, mint, maxt, batch, room) };
        let mint = mint.max(self.guard.from());
        let chunks = series.view(|series| series.chunks(mint, maxt, self.guard.seen()));
        let (files, series) = (self.head.files(), series.series_ref());
        let mut recoder = Recoder::default();
        if let Some(chunks) = chunks.flatten() {
            let (mint, maxt) = chunks.range();
            chunks.recode(files, &mut recoder)?;
            recoder.retain_decoded(|_, time| (mint..=maxt).contains(&time));
            recoder.merge(self.tombstones.of(series));
        }
        late.merge_into(files, |era| self.deleted.of(series, era), &mut recoder)?;
        room(batch, recoder.times().count())?;
        recoder.read_into(batch);
        Ok(())
    }

    /// Appends the samples of a series that came in order.
    pub(crate) fn read_in_order(
        &self,
        series: &Series,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
        room: &mut MakeRoom<'_>,
    ) -> Result<(), Error> {
        let mint = mint.max(self.guard.from());
        let chunks = series.view(|series| series.chunks(mint, maxt, self.guard.seen()));
        let start = batch.len();
        if let Some(chunks) = chunks.flatten() {
            chunks.decode_into(self.head.files(), batch, room)?;
            self.tombstones.apply(series.series_ref(), batch, start);
        }
        Ok(())
    }

    /// Appends the samples of a series that came out of order.
    pub(crate) fn read_late(
        &self,
        series: &Series,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
        room: &mut MakeRoom<'_>,
    ) -> Result<(), Error> {
        let mut late = self.late(series, mint, maxt, Era(u64::MAX))?;
        room(batch, late.times().count())?;
        late.read_into(batch);
        Ok(())
    }

    /// Tells whether the head has samples out of order.
    pub(crate) fn has_out_of_order(&self) -> bool {
        self.head.has_out_of_order()
    }

    /// Time of the oldest sample at or after `from`, as far as the ranges of the chunks tell: it
    /// lies in the block range of what is returned.
    pub(crate) fn oldest_from(&self, from: i64) -> Option<i64> {
        self.head.oldest_seen_from(from, self.guard.seen())
    }

    /// Names of the labels of series that pass all `matchers`, if the head overlaps the range.
    pub(crate) fn label_names(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Vec<String> {
        if !self.overlaps(mint, maxt) {
            return Vec::new();
        }
        let Some(seen) = self.seen_if_some_are_not(matchers) else {
            return self.head.index().label_names(matchers);
        };
        let mut names = BTreeSet::new();
        for labels in seen.iter().filter_map(|series| self.head.index().labels(series)) {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
        names.into_iter().collect()
    }

    /// Values of the label `name` among series that pass all `matchers`, if the head overlaps the
    /// range.
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        mint: i64,
        maxt: i64,
    ) -> Vec<String> {
        if !self.overlaps(mint, maxt) {
            return Vec::new();
        }
        let Some(seen) = self.seen_if_some_are_not(matchers) else {
            return self.head.index().label_values(name, matchers);
        };
        let mut values = BTreeSet::new();
        for labels in seen.iter().filter_map(|series| self.head.index().labels(series)) {
            values.extend(labels.get(name).map(str::to_owned));
        }
        values.into_iter().collect()
    }

    /// The selected series without those that this reader must not learn of yet, or not any more;
    /// `None` if there are no such, which is the usual case.
    fn seen_if_some_are_not(&self, matchers: &[Matcher]) -> Option<Postings> {
        let mut unseen = self.head.unseen_series(self.guard.seen());
        let mut pages = PageCursor::default();
        unseen.extend(self.tombstones.series().filter(|series| {
            let found = self.head.series(*series, &mut pages);
            let is_gone = |series: SeriesView<'_>| {
                self.is_deleted(series, i64::MIN, i64::MAX) && !series.has_out_of_order()
            };
            found.is_some_and(|found| found.view(is_gone).unwrap_or_default())
        }));
        if unseen.is_empty() {
            return None;
        }
        let mut selected = self.head.index().select(matchers);
        for series in unseen {
            selected.remove(series);
        }
        Some(selected)
    }

    fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        let overlaps =
            |mint: i64, (from, to): (i64, i64)| mint <= maxt && from <= maxt && mint <= to;
        let in_order = self.head.time_range();
        in_order.is_some_and(|range| overlaps(mint.max(self.guard.from()), range))
            || self.head.out_of_order_range().is_some_and(|range| overlaps(mint, range))
    }
}

fn refs_of(series: &[Series]) -> Vec<SeriesRef> {
    series.iter().map(Series::series_ref).collect()
}

/// Chunks without what is deleted of them.
fn without_deleted(
    chunks: Vec<EncodedChunk>,
    deleted: &[Interval],
) -> Result<Vec<EncodedChunk>, ferula_chunkenc::Error> {
    let mut recoder = Recoder::default();
    let mut left = Vec::with_capacity(chunks.len());
    for EncodedChunk { mint, maxt, chunk } in chunks {
        if !touches(deleted, mint, maxt) {
            left.push(EncodedChunk { mint, maxt, chunk });
        } else if !covers(deleted, mint, maxt) {
            recoder.clear();
            recoder.decode(&chunk)?;
            recoder.merge(deleted);
            recoder.encode(&mut left)?;
        }
    }
    Ok(left)
}
