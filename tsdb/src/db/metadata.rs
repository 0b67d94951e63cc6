//! Reading metadata.

use ferula_index::Labels;

use super::{Db, ReadOnlyDb};
use crate::error::Error;
use crate::head::Head;
use crate::metadata::{Metadata, MetricMetadata};

impl Db {
    /// What the series of the head say of their metrics, in the order of these metrics: of all, or
    /// of the one that is named. What different series of a metric say differently is there each.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close).
    pub fn metadata(&self, metric: Option<&str>) -> Result<Vec<MetricMetadata>, Error> {
        self.shared.check_open()?;
        Ok(of_metrics(&self.shared.head, metric))
    }

    /// What the series with these `labels` says of its metric, if it is in the head and says
    /// something.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close).
    pub fn metadata_of(&self, labels: &Labels) -> Result<Option<Metadata>, Error> {
        self.shared.check_open()?;
        Ok(of_series(&self.shared.head, labels))
    }
}

impl ReadOnlyDb {
    /// What [`Db::metadata`] says, as it was when the directory was read.
    ///
    /// # Errors
    /// None so far.
    pub fn metadata(&self, metric: Option<&str>) -> Result<Vec<MetricMetadata>, Error> {
        Ok(of_metrics(&self.content.read().head, metric))
    }

    /// What [`Db::metadata_of`] says, as it was when the directory was read.
    ///
    /// # Errors
    /// None so far.
    pub fn metadata_of(&self, labels: &Labels) -> Result<Option<Metadata>, Error> {
        Ok(of_series(&self.content.read().head, labels))
    }
}

fn of_metrics(head: &Head, metric: Option<&str>) -> Vec<MetricMetadata> {
    head.metadata().of_metrics(metric, head.visible())
}

fn of_series(head: &Head, labels: &Labels) -> Option<Metadata> {
    head.metadata().of(head.index().get(labels)?, head.visible())
}
