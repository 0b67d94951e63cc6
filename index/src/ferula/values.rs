//! The values of label names, and the series of each pair.
//!
//! Series of a pair that follow each other are a run, a few others are listed: both stand beside
//! the value. More of them are a bitmap of their own, which is read when it is asked for.

use std::io::Write;

use ferula_chunkenc::cursor::put_uvarint;

use super::bitmap::{self, Bitmaps, SeriesBits};
use super::groups::{Groups, read_u32};
use super::layout::{LISTED_SERIES, VALUES_OF_GROUP};
use super::names::Name;
use super::sink::{GroupWriter, Sink};
use crate::Error;
use crate::block::{GapPostings, Section, SectionReader};
use crate::error::Corruption;
use crate::postings::Postings;

/// How the series of a pair are written: the two low bits of a number.
const RUN: u64 = 0;
const LIST: u64 = 1;
const BITMAP: u64 = 2;

/// The series of a pair, as they stand beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeriesSet {
    Run {
        first: u32,
        len: u32,
    },
    /// As many ascending refs, of which the others are zero.
    List {
        refs: [u32; LISTED_SERIES as usize],
        len: u32,
    },
    Bitmap {
        offset: u64,
        len: u64,
    },
}

impl SeriesSet {
    fn read(reader: &mut SectionReader<'_>, n_series: u32) -> Result<Self, Error> {
        let head = reader.uvarint()?;
        let found = head >> 2;
        let wrong = |reader: &SectionReader<'_>| reader.corrupt(Corruption::Count { found });
        match head & 3 {
            RUN => {
                let first = read_u32(reader)?;
                let len = u32::try_from(found).ok().and_then(|len| len.checked_add(1));
                let len = len.ok_or_else(|| wrong(reader))?;
                let last = first.checked_add(len - 1).filter(|last| *last <= n_series);
                if first == 0 || last.is_none() {
                    return Err(wrong(reader));
                }
                Ok(Self::Run { first, len })
            }
            LIST => {
                let mut refs = [0; LISTED_SERIES as usize];
                let len = u32::try_from(found).ok().filter(|len| *len <= LISTED_SERIES);
                let len = len.filter(|len| *len > 0).ok_or_else(|| wrong(reader))?;
                let mut last = 0_u32;
                for series in &mut refs[..len as usize] {
                    let gap = read_u32(reader)?;
                    let next = last.checked_add(gap).filter(|next| *next <= n_series);
                    last = next.filter(|_| gap > 0).ok_or_else(|| wrong(reader))?;
                    *series = last;
                }
                Ok(Self::List { refs, len })
            }
            BITMAP => Ok(Self::Bitmap { offset: reader.uvarint()?, len: found }),
            _ => Err(wrong(reader)),
        }
    }

    /// The series.
    pub(super) fn read_series(&self, bitmaps: &Bitmaps) -> Result<Postings, Error> {
        match self {
            Self::Run { .. } | Self::List { .. } => {
                let mut refs = Vec::new();
                self.append_listed(&mut refs);
                Ok(Postings::from_ascending(refs))
            }
            Self::Bitmap { offset, len } => bitmaps.read(*offset, *len),
        }
    }

    /// Adds the series to `into`.
    pub(super) fn unite_into(&self, bitmaps: &Bitmaps, into: &mut SeriesBits) -> Result<(), Error> {
        match self {
            Self::Bitmap { offset, len } => return bitmaps.unite(*offset, *len, into),
            Self::Run { first, len } => into.insert_range(*first, *first + (*len - 1)),
            Self::List { refs, len } => {
                refs[..*len as usize].iter().try_for_each(|series| into.insert(*series))
            }
        }
        .expect("refs were checked when they were read");
        Ok(())
    }

    /// What it costs to add the series to others: bytes that are looked at, about.
    pub(super) fn cost(&self) -> u64 {
        match self {
            Self::Bitmap { len, .. } => *len,
            Self::Run { .. } => 16,
            Self::List { len, .. } => 4 * u64::from(*len),
        }
    }

    fn append_listed(&self, listed: &mut Vec<u64>) {
        match self {
            Self::Run { first, len } => {
                let first = u64::from(*first);
                listed.extend(first..first + u64::from(*len));
            }
            Self::List { refs, len } => {
                listed.extend(refs[..*len as usize].iter().map(|&series| u64::from(series)));
            }
            Self::Bitmap { .. } => {}
        }
    }
}

/// The values of all label names.
#[derive(Clone, Debug)]
pub(super) struct Values {
    groups: Groups,
    n_series: u32,
}

impl Values {
    pub(super) fn new(groups: Groups, n_series: u32) -> Self {
        Self { groups, n_series }
    }

    /// Number of groups that so many values of one name take.
    pub(super) fn n_groups(n_values: u32) -> u32 {
        n_values.div_ceil(VALUES_OF_GROUP)
    }

    /// The series with the value whose symbol is `value`.
    pub(super) fn find(&self, name: &Name, value: u32) -> Result<Option<SeriesSet>, Error> {
        let mut cursor = self.from(name, value)?;
        Ok(cursor.next()?.filter(|(found, _)| *found == value).map(|(_, series)| series))
    }

    /// Starts before the first value of a name whose symbol is not below `value`.
    pub(super) fn from(&self, name: &Name, value: u32) -> Result<ValueCursor<'_>, Error> {
        let (mut low, mut high) = (0, Self::n_groups(name.n_values));
        // The last group whose first value is not greater.
        while low < high {
            let middle = low + (high - low) / 2;
            if read_u32(&mut self.groups.read(name.first_group + middle)?)? <= value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let group = low.saturating_sub(1);
        let mut cursor = ValueCursor {
            values: self,
            first_group: name.first_group,
            n_values: name.n_values,
            next: group * VALUES_OF_GROUP,
            group: None,
            last: None,
        };
        let mut before = cursor.clone();
        while before.next()?.is_some_and(|(found, _)| found < value) {
            cursor = before.clone();
        }
        Ok(cursor)
    }
}

/// Reads the values of one name in order.
#[derive(Clone, Debug)]
pub(super) struct ValueCursor<'a> {
    values: &'a Values,
    first_group: u32,
    n_values: u32,
    /// Index among the values of the name.
    next: u32,
    group: Option<SectionReader<'a>>,
    /// Symbol of the value read last.
    last: Option<u32>,
}

impl ValueCursor<'_> {
    /// Reads the next value: its symbol, and its series.
    pub(super) fn next(&mut self) -> Result<Option<(u32, SeriesSet)>, Error> {
        if self.next >= self.n_values {
            return Ok(None);
        }
        let is_first = self.next.is_multiple_of(VALUES_OF_GROUP);
        let mut group = match self.group.take().filter(|_| !is_first) {
            Some(group) => group,
            None => self.values.groups.read(self.first_group + self.next / VALUES_OF_GROUP)?,
        };
        let step = read_u32(&mut group)?;
        let symbol =
            if is_first { Some(step) } else { self.last.and_then(|l| l.checked_add(step)) };
        let symbol = symbol.filter(|symbol| self.last.is_none_or(|last| last < *symbol));
        let Some(symbol) = symbol else { return Err(group.corrupt(Corruption::Order)) };
        let series = SeriesSet::read(&mut group, self.values.n_series)?;
        (self.last, self.next, self.group) = (Some(symbol), self.next + 1, Some(group));
        Ok(Some((symbol, series)))
    }
}

/// Writes bitmaps as they come, and the values of names behind all of them.
#[derive(Debug, Default)]
pub(super) struct PairSets {
    /// Of each pair that is a bitmap, in order: where it is, and its length.
    bitmaps: Vec<(u64, u64)>,
}

/// The form in which the series of a pair are written.
fn form_of(postings: &GapPostings, pair: u32) -> u64 {
    let n_series = postings.n_series_of(pair);
    let mut series = postings.series(pair);
    let first = series.next().unwrap_or_default();
    if n_series <= LISTED_SERIES {
        let last = series.last().unwrap_or(first);
        return if last - first < n_series { RUN } else { LIST };
    }
    let mut next = first;
    let is_run = series.all(|series| {
        next += 1;
        series == next
    });
    if is_run { RUN } else { BITMAP }
}

impl PairSets {
    /// Writes the bitmaps of all pairs that need one.
    pub(super) fn write_bitmaps<W: Write>(
        out: &mut Sink<W>,
        postings: &GapPostings,
        order: &[u32],
    ) -> Result<Self, Error> {
        let start = out.position();
        let mut bitmaps = Vec::new();
        for &pair in order {
            if form_of(postings, pair) == BITMAP {
                let at = out.position() - start;
                bitmaps.push((at, bitmap::write(out, postings.series(pair))?));
            }
        }
        Ok(Self { bitmaps })
    }

    /// Writes the values in the order of their pairs.
    pub(super) fn write_values<W: Write>(
        self,
        out: &mut Sink<W>,
        postings: &GapPostings,
        order: &[u32],
    ) -> Result<(u32, [(u64, u32); 2]), Error> {
        let mut groups = GroupWriter::new(Section::Values, out.position());
        let mut bitmaps = self.bitmaps.into_iter();
        let mut last: Option<(u32, u32)> = None;
        let mut n_of_name = 0_u32;
        for &pair in order {
            let (name, value) = postings.pair(pair);
            let before = last.filter(|(last_name, _)| *last_name == name);
            n_of_name = if before.is_some() { n_of_name + 1 } else { 0 };
            match before.filter(|_| !n_of_name.is_multiple_of(VALUES_OF_GROUP)) {
                Some((_, before)) => put_uvarint(groups.content(), (value - before).into()),
                None => {
                    groups.end(out)?;
                    groups.begin();
                    put_uvarint(groups.content(), value.into());
                }
            }
            put_set(groups.content(), postings, pair, &mut bitmaps);
            last = Some((name, value));
        }
        groups.end(out)?;
        let n_groups = groups.n_groups();
        Ok((n_groups, groups.finish(out)?))
    }
}

fn put_set(
    out: &mut Vec<u8>,
    postings: &GapPostings,
    pair: u32,
    bitmaps: &mut impl Iterator<Item = (u64, u64)>,
) {
    let n_series = u64::from(postings.n_series_of(pair));
    match form_of(postings, pair) {
        RUN => {
            put_uvarint(out, (n_series - 1) << 2 | RUN);
            put_uvarint(out, postings.series(pair).next().unwrap_or_default().into());
        }
        LIST => {
            put_uvarint(out, n_series << 2 | LIST);
            let mut last = 0;
            for series in postings.series(pair) {
                put_uvarint(out, (series - last).into());
                last = series;
            }
        }
        _ => {
            let (offset, len) = bitmaps.next().expect("written in the same order");
            put_uvarint(out, len << 2 | BITMAP);
            put_uvarint(out, offset);
        }
    }
}
