//! What a storage must offer to be queried.
//!
//! The engine opens one [`Querier`] per query, selects the series of every selector at once, and
//! then reads them one by one in whatever order its operators need. A [`SeriesSet`] is therefore an
//! ordered list with random access: labels are cheap, samples are decoded only when read, and
//! several threads may read different series at the same time. Samples arrive in columns, so no
//! call is made per sample.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};

use crate::ledger::{Charge, Site};
use crate::limits::Limits;

/// Any error of a storage; the engine hands it on as the source of its own.
pub type StorageError = Box<dyn StdError + Send + Sync>;

/// A closed range of time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    mint: i64,
    maxt: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { mint: i64::MIN, maxt: i64::MAX };

    /// Makes the range from `mint` to `maxt`, both inclusive; `None` if it is inverted.
    pub const fn new(mint: i64, maxt: i64) -> Option<Self> {
        if mint <= maxt { Some(Self { mint, maxt }) } else { None }
    }

    /// First millisecond of the range.
    pub const fn mint(self) -> i64 {
        self.mint
    }

    /// Last millisecond of the range.
    pub const fn maxt(self) -> i64 {
        self.maxt
    }
}

/// A source of series, for instance a database. Shared by all queries.
pub trait Queryable: Send + Sync {
    /// Opens a consistent view of the samples in `range`.
    ///
    /// # Errors
    /// Whatever keeps the storage from being read.
    fn querier(&self, range: TimeRange) -> Result<Box<dyn Querier>, StorageError>;
}

/// What the engine knows of the use it will make of the selected series.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SelectHints {
    /// Samples outside this range are not needed; a storage may return them all the same only if
    /// they lie inside the range of its querier.
    pub range: TimeRange,
    /// Step of the query in milliseconds, 0 for an instant query.
    pub step_ms: i64,
    /// Length of the range selector in milliseconds, 0 for an instant selector.
    pub window_ms: i64,
    /// Function or aggregation directly around the selector, empty if there is none.
    pub function: String,
    /// Which samples of the range are looked at.
    pub wanted: Wanted,
    /// Series may come in any order, so that nobody needs to sort them.
    pub any_order: bool,
    /// Names of the only labels that anybody looks at, besides those that describe the metric (`__name__`,
    /// `__type__` and `__unit__`), if that is known. A storage that has to keep label sets for the query can
    /// leave out the others; series are told apart, and sorted, by all of them all the same.
    pub needed: Option<Vec<String>>,
    /// What the query may use to select the series and to read them.
    pub budget: Budget,
}

impl SelectHints {
    /// Hints that say only which time range is needed.
    pub fn new(range: TimeRange) -> Self {
        let budget = Budget::default();
        let function = String::new();
        Self {
            range,
            step_ms: 0,
            window_ms: 0,
            function,
            wanted: Wanted::All,
            any_order: false,
            needed: None,
            budget,
        }
    }
}

impl SelectHints {
    /// Tells whether what was selected with these hints answers `other` ones, too.
    pub(crate) fn answers(&self, other: &Self) -> bool {
        self.range == other.range
            && (self.wanted == Wanted::All || self.wanted == other.wanted)
            && (!self.any_order || other.any_order)
            && self.has_labels_for(other)
    }

    fn has_labels_for(&self, other: &Self) -> bool {
        match (&self.needed, &other.needed) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(known), Some(names)) => names.iter().all(|name| known.contains(name)),
        }
    }
}

/// Which samples of a range the engine looks at. A storage may always give all of them, and must where
/// the newest one is a histogram: what its counter reset hint means is told by those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wanted {
    /// All.
    #[default]
    All,
    /// The newest of each series, but for its start timestamp.
    Newest,
    /// The newest of each series that is no staleness marker, but for its start timestamp.
    NewestNotStale,
}

/// Time and memory of the query that a storage works for; the default has no bounds.
///
/// A storage that works for long, or keeps much for a query, asks here on the way, and hands the
/// errors on as they are: the query then fails with the [`Error`](crate::Error) in them.
#[derive(Clone, Default)]
pub struct Budget {
    of_query: Option<(Arc<Limits>, Site)>,
}

/// Memory that was taken from a [`Budget`], given back when this is dropped.
pub struct Drawn {
    charge: Option<Charge>,
}

impl Budget {
    pub(crate) fn new(limits: &Arc<Limits>, site: Site) -> Self {
        Self { of_query: Some((Arc::clone(limits), site)) }
    }

    /// Fails if the query was cancelled or its time is over.
    ///
    /// # Errors
    /// What the query ends with.
    pub fn check(&self) -> Result<(), StorageError> {
        match &self.of_query {
            Some((limits, _)) => Ok(limits.check()?),
            None => Ok(()),
        }
    }

    /// Takes `bytes` of the memory of the query, which are about to be allocated.
    ///
    /// # Errors
    /// What the query ends with if there are not as many left.
    pub fn draw(&self, bytes: usize) -> Result<Drawn, StorageError> {
        let Some((limits, site)) = &self.of_query else { return Ok(Drawn { charge: None }) };
        let mut charge = Charge::new(limits, *site);
        charge.add(bytes)?;
        Ok(Drawn { charge: Some(charge) })
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("is_bounded", &self.of_query.is_some()).finish()
    }
}

impl Drawn {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// As those of [`Budget::draw`].
    pub fn add(&mut self, bytes: usize) -> Result<(), StorageError> {
        match &mut self.charge {
            Some(charge) => Ok(charge.add(bytes)?),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawn").field("is_bounded", &self.charge.is_some()).finish()
    }
}

/// Makes room in a batch, for a storage that reads a series piece by piece.
pub trait Room {
    /// Announces that `n_samples` are about to be appended to `batch`.
    ///
    /// # Errors
    /// What the query ends with if they do not fit, or there is no time for them.
    fn make(&mut self, batch: &SampleBatch, n_samples: usize) -> Result<(), StorageError>;
}

/// A consistent view of a storage over one range of time.
pub trait Querier: Send + Sync {
    /// Selects the series that pass all `matchers`, each label set once, sorted by their labels unless
    /// the hints say that any order is fine.
    ///
    /// # Errors
    /// Whatever keeps the storage from finding them.
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn SeriesSet>, StorageError>;

    /// Names of the labels of series that pass all `matchers`, sorted and unique.
    ///
    /// # Errors
    /// Whatever keeps the storage from finding them.
    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StorageError>;

    /// Values of the label `name` among series that pass all `matchers`, sorted and unique.
    ///
    /// # Errors
    /// Whatever keeps the storage from finding them.
    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StorageError>;
}

/// The series that a selection found, in label order, or in any that stays the same.
pub trait SeriesSet: Send + Sync {
    /// Number of series.
    fn len(&self) -> usize;

    /// Tells whether nothing was found.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Labels of the series at `index`, which is below [`len`](Self::len), but for those that the hints said
    /// nobody looks at.
    fn labels(&self, index: usize) -> Labels;

    /// Labels of the series in `range`, in order. Of these only the ones that have one of the `needed` names are
    /// looked at, if there are any given; what comes cheaper, all labels or these, is fine.
    ///
    /// Aggregations of many series ask for few labels. A storage that has to make label sets can
    /// make few of them, then.
    fn labels_in(&self, range: Range<usize>, needed: Option<&[&str]>) -> Vec<Labels> {
        let _ = needed;
        range.map(|index| self.labels(index)).collect()
    }

    /// Appends the samples of the series at `index` to `batch`, in strictly ascending time, those
    /// of the hinted range at least, staleness markers included.
    ///
    /// The counter reset hint of a histogram is about the histogram in front of it in the batch,
    /// and is believed. A storage that does not know, or leaves out samples in between, says
    /// [`Unknown`](ferula_chunkenc::histogram::CounterResetHint::Unknown).
    ///
    /// # Errors
    /// Whatever keeps the samples from being read; `batch` then holds nothing to rely on.
    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError>;

    /// Reads as [`read`](Self::read) does, and asks for `room` before each piece that is appended. This
    /// is what the engine calls; a storage that does not ask is bounded by what a series holds.
    ///
    /// # Errors
    /// As those of `read`, and those of `room`, handed on as they are.
    fn read_within(
        &self,
        index: usize,
        batch: &mut SampleBatch,
        room: &mut dyn Room,
    ) -> Result<(), StorageError> {
        room.make(batch, 0)?;
        self.read(index, batch)
    }
}
