//! What is deleted of a block, and what that leaves of its series and labels.
//!
//! A series of which nothing is left is not there any more: selections do not find it, and label
//! names and values that only such series have are not listed. Which these are is found out when
//! the block is opened or something is deleted, from the times of their chunks.

use std::collections::BTreeSet;

use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, Labels, MatchOp, Matcher};
use ferula_wal::fs::Fs;

use super::Block;
use super::format::SeriesReader;
use crate::error::Error;
use crate::tombstones::Tombstones;

/// The series of which nothing is left.
pub(super) fn gone_series(
    reader: &dyn SeriesReader,
    tombstones: &Tombstones,
) -> Result<Postings, Error> {
    let mut gone = Postings::new();
    let mut chunks = Vec::new();
    let mut cursor = reader.cursor();
    for series in tombstones.series() {
        match cursor.series(series, &mut chunks) {
            Ok(_) => {}
            // Tombstones of another program may name what is not there.
            Err(Error::Index { source: ferula_index::Error::UnknownSeries { .. }, .. }) => continue,
            Err(error) => return Err(error),
        }
        let is_gone = |chunk: &ChunkMeta| tombstones.covers(series, chunk.mint, chunk.maxt);
        if chunks.iter().all(is_gone) {
            gone.insert(series);
        }
    }
    Ok(gone)
}

impl Block {
    /// Deletes the samples from `mint` to `maxt`, both inclusive, of the `selected` series, durably.
    /// Returns the block as it is then, or nothing if there are none; this one stays as it is for
    /// those who read it.
    pub(crate) fn delete(
        &self,
        fs: &dyn Fs,
        selected: &Postings,
        mint: i64,
        maxt: i64,
    ) -> Result<Option<Self>, Error> {
        let mut tombstones = self.tombstones.clone();
        let mut is_changed = false;
        let mut chunks = Vec::new();
        let mut cursor = self.cursor();
        for series in selected {
            cursor.series(series, &mut chunks)?;
            let overlapping =
                chunks.iter().filter(|chunk| chunk.mint <= maxt && mint <= chunk.maxt);
            let times = overlapping.map(|chunk| (chunk.mint.max(mint), chunk.maxt.min(maxt)));
            let from = times.clone().map(|(from, _)| from).min();
            if let Some((from, to)) = from.zip(times.map(|(_, to)| to).max()) {
                is_changed |= tombstones.add(series, from, to);
            }
        }
        if !is_changed {
            return Ok(None);
        }
        tombstones.replace(fs, &self.dir)?;
        let mut meta = self.meta.clone();
        meta.stats.num_tombstones = tombstones.len();
        meta.replace(fs, &self.dir)?;
        let gone = self.noting_damage(gone_series(&*self.reader, &tombstones))?;
        Ok(Some(Self { meta, tombstones, gone, ..self.clone() }))
    }

    /// Names of the labels of series that pass all `matchers`, sorted.
    pub(crate) fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        let mut names = self.noting_damage(self.reader.label_names(matchers))?;
        let Some(Affected { gone, left }) = self.affected(matchers)? else { return Ok(names) };
        let doubtful = self.of_series(&gone, |labels, into: &mut BTreeSet<String>| {
            into.extend(labels.iter().map(|(name, _)| name.to_owned()));
        })?;
        self.retain(&mut names, &doubtful, &left, |name| {
            Matcher::new(MatchOp::NotEqual, name, "").expect("only regular expressions can fail")
        })?;
        Ok(names)
    }

    /// Values of the label `name` among series that pass all `matchers`, sorted.
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
    ) -> Result<Vec<String>, Error> {
        let mut values = self.noting_damage(self.reader.label_values(name, matchers))?;
        let Some(Affected { gone, left }) = self.affected(matchers)? else { return Ok(values) };
        let doubtful = self.of_series(&gone, |labels, into: &mut BTreeSet<String>| {
            into.extend(labels.get(name).map(str::to_owned));
        })?;
        self.retain(&mut values, &doubtful, &left, |value| Matcher::equal(name, value))?;
        Ok(values)
    }

    /// The series that pass all `matchers`, if any of them is gone.
    fn affected(&self, matchers: &[Matcher]) -> Result<Option<Affected>, Error> {
        if self.gone.is_empty() {
            return Ok(None);
        }
        let mut left = self.noting_damage(self.reader.select(matchers))?;
        let mut gone = self.gone.clone();
        gone.intersect(&left);
        left.subtract(&gone);
        Ok((!gone.is_empty()).then_some(Affected { gone, left }))
    }

    fn of_series<T: Default>(
        &self,
        series: &Postings,
        collect: impl Fn(&Labels, &mut T),
    ) -> Result<T, Error> {
        let mut collected = T::default();
        let mut chunks = Vec::new();
        let mut cursor = self.cursor();
        for series in series {
            collect(&cursor.series(series, &mut chunks)?, &mut collected);
        }
        Ok(collected)
    }

    /// Keeps of `listed` what is not in `doubtful`, or what `matcher` finds among `left`.
    fn retain(
        &self,
        listed: &mut Vec<String>,
        doubtful: &BTreeSet<String>,
        left: &Postings,
        matcher: impl Fn(&str) -> Matcher,
    ) -> Result<(), Error> {
        let mut removed = BTreeSet::new();
        for text in doubtful {
            let found = self.noting_damage(self.reader.select(&[matcher(text)]))?;
            if found.is_disjoint(left) {
                removed.insert(text);
            }
        }
        listed.retain(|text| !removed.contains(text));
        Ok(())
    }
}

/// The series that pass matchers, by what is left of them.
struct Affected {
    gone: Postings,
    left: Postings,
}
