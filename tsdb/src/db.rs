//! Opening, closing and everything between: the database as its owner sees it.

use std::path::Path;

use ulid::Ulid;

use crate::error::Error;
use crate::head::Appender;
use crate::options::Options;
use crate::querier::Querier;
use crate::stats::{OpenReport, Stats};

/// An embedded database, which owns its data directory while it is open.
///
/// It is shared by reference or in an `Arc`; appenders and queriers keep what they need alive.
#[derive(Debug)]
pub struct Db {
    report: OpenReport,
}

impl Db {
    /// Opens the database in the directory `path`, which is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is in use, and whatever keeps its log from being read.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let _ = (path.as_ref(), options);
        Err(Error::Closed)
    }

    /// Opens the database in the directory `path` to be read: takes no lock and writes nothing.
    ///
    /// # Errors
    /// Whatever keeps its log from being read.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<ReadOnlyDb, Error> {
        let _ = path.as_ref();
        Err(Error::Closed)
    }

    /// What opening read, and what it had to cut or set aside.
    pub fn open_report(&self) -> &OpenReport {
        &self.report
    }

    /// Starts a batch of samples.
    pub fn appender(&self) -> Appender {
        Appender {}
    }

    /// Opens a consistent view of the samples from `mint` to `maxt`, both inclusive, in
    /// milliseconds.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close).
    pub fn querier(&self, mint: i64, maxt: i64) -> Result<Querier, Error> {
        let _ = (mint, maxt);
        Err(Error::Closed)
    }

    /// Does what the background thread does: cuts the blocks that are due, and frees what they
    /// cover. Returns the blocks made.
    ///
    /// # Errors
    /// Whatever keeps a block from being written; nothing is lost then.
    pub fn maintain(&self) -> Result<Vec<Ulid>, Error> {
        Err(Error::Closed)
    }

    /// Writes everything committed, as blocks, into the directory `dir`, which is made if it does
    /// not exist. Returns the names of the blocks in it.
    ///
    /// # Errors
    /// Whatever keeps a block from being written or linked.
    pub fn snapshot(&self, dir: impl AsRef<Path>) -> Result<Vec<Ulid>, Error> {
        let _ = dir.as_ref();
        Err(Error::Closed)
    }

    /// What the database holds now.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Writes out the log, ends the background thread and gives the directory free. What is not
    /// committed is lost. Closing twice is no error.
    ///
    /// # Errors
    /// Whatever keeps the log from being synced.
    pub fn close(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }
}

/// A data directory opened to be read, perhaps while another process writes to it.
#[derive(Debug)]
pub struct ReadOnlyDb {
    report: OpenReport,
}

impl ReadOnlyDb {
    /// What opening, or the last [`reload`](Self::reload), read.
    pub fn open_report(&self) -> OpenReport {
        self.report.clone()
    }

    /// Opens a consistent view of the samples from `mint` to `maxt`, both inclusive, in
    /// milliseconds.
    ///
    /// # Errors
    /// Whatever keeps the view from being opened.
    pub fn querier(&self, mint: i64, maxt: i64) -> Result<Querier, Error> {
        let _ = (mint, maxt);
        Err(Error::Closed)
    }

    /// Reads the directory again, as it is now. Queriers opened before keep their view.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the old view stays then.
    pub fn reload(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }

    /// What the directory held when it was read.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
