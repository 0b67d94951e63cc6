//! The storage traits of `ferula-promql`, implemented by the database and its queriers.

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};
use ferula_promql::storage::{
    Querier as StorageQuerier, Queryable, SelectHints, SeriesSet as StorageSeriesSet, StorageError,
    TimeRange,
};

use crate::db::{Db, ReadOnlyDb};
use crate::querier::{Querier, SeriesSet};

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
        Ok(Box::new(self.select_within(matchers, hints.range.mint(), hints.range.maxt())?))
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Self::label_names(self, matchers)?)
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Self::label_values(self, name, matchers)?)
    }
}

impl StorageSeriesSet for SeriesSet {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn labels(&self, index: usize) -> Labels {
        Self::labels(self, index)
    }

    fn all_labels(&self, needed: Option<&[&str]>) -> Vec<Labels> {
        match needed {
            None => Self::all_labels(self),
            Some(names) => Self::labels_among(self, names),
        }
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        Ok(Self::read(self, index, batch)?)
    }
}
