//! Reading: series by matchers and time, merged over the head and the blocks.

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};

use crate::error::Error;

/// A consistent view of a database over one range of time. Keeps what it reads alive.
#[derive(Debug)]
pub struct Querier {}

impl Querier {
    /// Selects the series that pass all `matchers` and have samples in the range, sorted by their
    /// labels, each label set once.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn select(&self, matchers: &[Matcher]) -> Result<SeriesSet, Error> {
        let _ = matchers;
        Err(Error::Closed)
    }

    /// Names of the labels of series that pass all `matchers`, sorted and unique.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        let _ = matchers;
        Err(Error::Closed)
    }

    /// Values of the label `name` among series that pass all `matchers`, sorted and unique.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        let _ = (name, matchers);
        Err(Error::Closed)
    }
}

/// The series that a selection found, in label order. Samples are decoded when they are read.
#[derive(Debug)]
pub struct SeriesSet {}

impl SeriesSet {
    /// Number of series.
    pub fn len(&self) -> usize {
        0
    }

    /// Tells whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Labels of the series at `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn labels(&self, index: usize) -> &Labels {
        panic!("the series set has no series {index}")
    }

    /// Appends the samples of the series at `index` that lie in the range to `batch`, in strictly
    /// ascending time.
    ///
    /// # Errors
    /// Whatever keeps a chunk from being read; `batch` then holds nothing to rely on.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        let _ = (index, batch);
        Err(Error::Closed)
    }
}
