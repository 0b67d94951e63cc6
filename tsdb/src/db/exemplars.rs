//! Reading exemplars.

use ferula_index::Matcher;

use super::{Db, ReadOnlyDb};
use crate::error::Error;
use crate::exemplar::SeriesExemplars;
use crate::head::Head;

impl Db {
    /// The exemplars from `mint` to `maxt`, both inclusive, in milliseconds, of the series that pass
    /// all matchers of at least one of the `sets`: series in the order of their labels, exemplars in
    /// that of their times. Without sets there are none.
    ///
    /// The database has the newest [`Limits::exemplars`](crate::Limits::exemplars) of all series, in
    /// the order in which they came. Neither cutting blocks nor deletion takes any away.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close).
    pub fn exemplars<S: AsRef<[Matcher]>>(
        &self,
        sets: &[S],
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<SeriesExemplars>, Error> {
        self.shared.check_open()?;
        Ok(select(&self.shared.head, sets, mint, maxt))
    }
}

impl ReadOnlyDb {
    /// The exemplars that the directory held when it was read, as [`Db::exemplars`] selects them.
    /// Of more than [`DEFAULT_MAX_EXEMPLARS`](crate::DEFAULT_MAX_EXEMPLARS) the newest ones are read.
    ///
    /// # Errors
    /// None so far.
    pub fn exemplars<S: AsRef<[Matcher]>>(
        &self,
        sets: &[S],
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<SeriesExemplars>, Error> {
        Ok(select(&self.content.read().head, sets, mint, maxt))
    }
}

fn select<S: AsRef<[Matcher]>>(
    head: &Head,
    sets: &[S],
    mint: i64,
    maxt: i64,
) -> Vec<SeriesExemplars> {
    head.exemplars().select(sets, mint, maxt, head.visible())
}
