//! The storage traits of `ferula-promql`, implemented by the database and its queriers.

use std::cell::RefCell;
use std::ops::Range;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};
use ferula_promql::storage::{
    Drawn, Querier as StorageQuerier, Queryable, Room, SelectHints, SeriesSet as StorageSeriesSet,
    StorageError, TimeRange, Wanted,
};

use crate::db::{Db, ReadOnlyDb};
use crate::error::Error;
use crate::querier::{Querier, Request, SeriesSet};

impl Queryable for Db {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn StorageQuerier>, StorageError> {
        Ok(Box::new(Self::querier(self, range.mint(), range.maxt())?))
    }
}

impl Queryable for ReadOnlyDb {
    fn querier(&self, range: TimeRange) -> Result<Box<dyn StorageQuerier>, StorageError> {
        Ok(Box::new(Self::querier(self, range.mint(), range.maxt())?))
    }
}

impl StorageQuerier for Querier {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Box<dyn StorageSeriesSet>, StorageError> {
        let drawn = RefCell::new(hints.budget.draw(0)?);
        let draw = |bytes| {
            let asked = hints.budget.check().and_then(|()| drawn.borrow_mut().add(bytes));
            asked.map_err(Error::Stopped)
        };
        let range = hints.range;
        let (mint, maxt) = (range.mint(), range.maxt());
        let request = Request {
            mint,
            maxt,
            newest_only: matches!(hints.wanted, Wanted::Newest | Wanted::NewestNotStale),
            skips_stale: hints.wanted == Wanted::NewestNotStale,
            any_order: hints.any_order,
            needed: hints.needed.as_deref(),
        };
        let set = self.select_within(matchers, request, &draw);
        Ok(Box::new(Selected { set: set.map_err(of_reader)?, _drawn: drawn.into_inner() }))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Self::label_names(self, matchers)?)
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Self::label_values(self, name, matchers)?)
    }
}

/// The error of a reader, or what made it stop.
fn of_reader(error: Error) -> StorageError {
    match error {
        Error::Stopped(source) => source,
        error => Box::new(error),
    }
}

/// The series that a query selected, and the memory that they take of what it may use.
struct Selected {
    set: SeriesSet,
    _drawn: Drawn,
}

impl StorageSeriesSet for Selected {
    fn len(&self) -> usize {
        self.set.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.set.labels(index)
    }

    fn labels_in(&self, range: Range<usize>, needed: Option<&[&str]>) -> Vec<Labels> {
        self.set.labels_in(range, needed)
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        Ok(self.set.read(index, batch)?)
    }

    fn read_within(
        &self,
        index: usize,
        batch: &mut SampleBatch,
        room: &mut dyn Room,
    ) -> Result<(), StorageError> {
        let mut make_room =
            |batch: &SampleBatch, n_samples| room.make(batch, n_samples).map_err(Error::Stopped);
        self.set.read_within(index, batch, &mut make_room).map_err(of_reader)
    }
}
