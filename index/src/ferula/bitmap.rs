//! Postings of many series: bitmaps in the portable format of roaring, under a checksum.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use ferula_chunkenc::cursor::{Cursor, crc32c};
use roaring::RoaringBitmap;

use super::layout::CRC_BYTES;
use super::sink::Sink;
use crate::Error;
use crate::block::Section;
use crate::error::Corruption;
use crate::postings::Postings;

/// First bytes of a bitmap without runs, and of one with them.
const COOKIE: u32 = 12346;
const COOKIE_WITH_RUNS: u16 = 12347;

/// With runs, offsets of containers are only there from so many on.
const OFFSETS_FROM: usize = 4;

/// Longest container that is a list.
const MAX_LISTED: usize = 4096;

const BITS_BYTES: usize = 8192;

/// The bitmaps of a file.
#[derive(Clone, Debug)]
pub(super) struct Bitmaps {
    data: Bytes,
    range: Range<usize>,
    n_series: u32,
}

impl Bitmaps {
    pub(super) fn new(data: &Bytes, range: Range<usize>, n_series: u32) -> Self {
        Self { data: data.clone(), range, n_series }
    }

    /// Reads the bitmap of `len` bytes at `offset` of the section.
    pub(super) fn read(&self, offset: u64, len: u64) -> Result<Postings, Error> {
        let bytes = self.bytes(offset, len)?;
        let malformed = || self.corrupt(offset, Corruption::Count { found: len });
        // The size first, so that no container takes memory that is not there.
        let containers = Containers::parse(bytes).ok_or_else(malformed)?;
        if containers.count().is_none() {
            return Err(malformed());
        }
        let bitmap = RoaringBitmap::deserialize_from(bytes).map_err(|_| malformed())?;
        let is_known = bitmap.min().is_some_and(|first| first > 0)
            && bitmap.max().is_some_and(|last| last <= self.n_series);
        if is_known { Ok(Postings::from_bitmap(bitmap)) } else { Err(malformed()) }
    }

    /// Adds the bitmap of `len` bytes at `offset` of the section to a set, from where it lies.
    pub(super) fn unite(&self, offset: u64, len: u64, into: &mut SeriesBits) -> Result<(), Error> {
        let containers = Containers::parse(self.bytes(offset, len)?);
        let added = containers.and_then(|containers| containers.add_to(into));
        added.ok_or_else(|| self.corrupt(offset, Corruption::Count { found: len }))
    }

    fn corrupt(&self, offset: u64, source: Corruption) -> Error {
        let offset = (self.range.start as u64).saturating_add(offset);
        Error::Corrupt { section: Section::Postings, offset, source }
    }

    /// The bytes of a bitmap, whose checksum is verified.
    fn bytes(&self, offset: u64, len: u64) -> Result<&[u8], Error> {
        let corrupt = |source| self.corrupt(offset, source);
        let range = usize::try_from(offset).ok().zip(usize::try_from(len).ok());
        let range = range
            .and_then(|(start, len)| Some(start..start.checked_add(len)?.checked_add(CRC_BYTES)?));
        let section = &self.data[self.range.clone()];
        let bytes = range.and_then(|range| section.get(range));
        let split = bytes.and_then(<[u8]>::split_last_chunk::<CRC_BYTES>);
        let Some((bitmap, crc)) = split else { return Err(corrupt(Corruption::Offset)) };
        let (expected, found) = (u32::from_be_bytes(*crc), crc32c(bitmap));
        if found != expected {
            let offset = bitmap.len();
            let source = ferula_chunkenc::Error::Checksum { offset, expected, found };
            return Err(corrupt(source.into()));
        }
        Ok(bitmap)
    }
}

/// A set of series, a bit for each.
#[derive(Clone, Debug)]
pub(super) struct SeriesBits {
    /// Those of refs from 0 on; there is no series 0.
    words: Vec<u64>,
    n_series: u32,
}

impl SeriesBits {
    /// An empty set of series with refs up to `n_series`.
    pub(super) fn new(n_series: u32) -> Self {
        Self { words: vec![0; n_series as usize / 64 + 1], n_series }
    }

    /// Adds a series; none if there is no such.
    #[inline]
    pub(super) fn insert(&mut self, series: u32) -> Option<()> {
        if series == 0 || series > self.n_series {
            return None;
        }
        self.words[series as usize / 64] |= 1 << (series % 64);
        Some(())
    }

    /// Adds all series from `first` to `last`.
    pub(super) fn insert_range(&mut self, first: u32, last: u32) -> Option<()> {
        if first == 0 || last > self.n_series || last < first {
            return None;
        }
        let (from, to) = (first as usize / 64, last as usize / 64);
        let (head, tail) = (u64::MAX << (first % 64), u64::MAX >> (63 - last % 64));
        if from == to {
            self.words[from] |= head & tail;
        } else {
            self.words[from] |= head;
            self.words[from + 1..to].fill(u64::MAX);
            self.words[to] |= tail;
        }
        Some(())
    }

    /// Tells whether a series is in the set.
    pub(super) fn contains(&self, series: u64) -> bool {
        let word = usize::try_from(series / 64).ok().and_then(|at| self.words.get(at));
        word.is_some_and(|word| word >> (series % 64) & 1 == 1)
    }

    /// The same set in another form.
    pub(super) fn to_postings(&self) -> Postings {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Postings::from_bitmap(RoaringBitmap::from_lsb0_bytes(0, &bytes))
    }
}

/// The containers of a bitmap, where they lie.
struct Containers<'a> {
    is_run: &'a [u8],
    /// Key, and number of values less one, of each.
    descriptions: &'a [[u8; 4]],
    rest: &'a [u8],
}

/// The values of a container, of which the low halves are given.
enum Container<'a> {
    /// First value and number of further ones.
    Runs(&'a [[u8; 4]]),
    List(&'a [[u8; 2]]),
    Bits(&'a [[u8; 8]]),
}

impl<'a> Containers<'a> {
    /// Reads what stands in front of them.
    fn parse(bitmap: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bitmap);
        let cookie = [u16_le(&mut cursor)?, u16_le(&mut cursor)?];
        let has_runs = cookie[0] == COOKIE_WITH_RUNS;
        let n = match has_runs {
            true => usize::from(cookie[1]) + 1,
            false if u32::from(cookie[0]) == COOKIE && cookie[1] == 0 => {
                usize::try_from(cursor.u32_be().ok()?.swap_bytes()).ok()?
            }
            false => return None,
        };
        if n == 0 || n > 1 << 16 {
            return None;
        }
        let is_run = if has_runs { cursor.bytes(n.div_ceil(8)).ok()? } else { &[] };
        let (descriptions, _) = cursor.bytes(4 * n).ok()?.as_chunks::<4>();
        if !has_runs || n >= OFFSETS_FROM {
            cursor.skip(4 * n).ok()?;
        }
        Some(Self { is_run, descriptions, rest: cursor.rest() })
    }

    /// Calls `each` with the key of every container and what it holds; none if they take more bytes
    /// than there are, or fewer.
    fn for_each(&self, mut each: impl FnMut(u32, Container<'a>) -> Option<()>) -> Option<()> {
        let mut cursor = Cursor::new(self.rest);
        for (at, [a, b, low, high]) in self.descriptions.iter().enumerate() {
            let n_values = usize::from(u16::from_le_bytes([*low, *high])) + 1;
            let container =
                if self.is_run.get(at / 8).is_some_and(|flags| flags >> (at % 8) & 1 == 1) {
                    let n_runs = usize::from(u16_le(&mut cursor)?);
                    Container::Runs(cursor.bytes(4 * n_runs).ok()?.as_chunks().0)
                } else if n_values <= MAX_LISTED {
                    Container::List(cursor.bytes(2 * n_values).ok()?.as_chunks().0)
                } else {
                    Container::Bits(cursor.bytes(BITS_BYTES).ok()?.as_chunks().0)
                };
            each(u32::from(u16::from_le_bytes([*a, *b])) << 16, container)?;
        }
        cursor.is_empty().then_some(())
    }

    /// Number of containers, if they take as many bytes as there are.
    fn count(&self) -> Option<usize> {
        self.for_each(|_, _| Some(()))?;
        Some(self.descriptions.len())
    }

    /// Adds all values to a set; none if some of them are no series.
    fn add_to(&self, into: &mut SeriesBits) -> Option<()> {
        self.for_each(|key, container| {
            match container {
                Container::Runs(runs) => {
                    for [a, b, c, d] in runs {
                        let first = key | u32::from(u16::from_le_bytes([*a, *b]));
                        let last = first.checked_add(u16::from_le_bytes([*c, *d]).into())?;
                        into.insert_range(first, last)?;
                    }
                }
                Container::List(values) => {
                    for value in values {
                        into.insert(key | u32::from(u16::from_le_bytes(*value)))?;
                    }
                }
                Container::Bits(words) => {
                    for (at, word) in (0..).zip(words) {
                        let mut word = u64::from_le_bytes(*word);
                        while word != 0 {
                            into.insert(key | (at * 64) | word.trailing_zeros())?;
                            word &= word - 1;
                        }
                    }
                }
            }
            Some(())
        })
    }
}

fn u16_le(cursor: &mut Cursor<'_>) -> Option<u16> {
    cursor.u16_be().ok().map(u16::swap_bytes)
}

/// Writes the bitmap of ascending series and tells its length.
pub(super) fn write<W: Write>(
    out: &mut Sink<W>,
    series: impl Iterator<Item = u32>,
) -> Result<u64, Error> {
    let mut bitmap = RoaringBitmap::from_sorted_iter(series).expect("refs ascend");
    bitmap.optimize();
    let mut bytes = Vec::with_capacity(bitmap.serialized_size() + CRC_BYTES);
    bitmap.serialize_into(&mut bytes)?;
    let len = bytes.len() as u64;
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    out.write(&bytes)?;
    Ok(len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SeriesRef;

    fn bytes_of(series: &[u32]) -> Bytes {
        let mut sink = Sink::new(Vec::new());
        write(&mut sink, series.iter().copied()).unwrap();
        sink.finish().unwrap().into()
    }

    fn read(bytes: &Bytes, n_series: u32) -> Result<Postings, Error> {
        let len = (bytes.len() - CRC_BYTES) as u64;
        Bitmaps::new(bytes, 0..bytes.len(), n_series).read(0, len)
    }

    #[test]
    fn all_kinds_of_containers_are_measured() {
        let runs: Vec<u32> = (1..70_000).chain(90_000..400_000).collect();
        let bits: Vec<u32> = (1..200_000).filter(|n| n % 3 != 0).collect();
        let lists: Vec<u32> = (1..300_000).step_by(100).collect();
        for series in [runs, bits, lists, vec![7]] {
            let bytes = bytes_of(&series);
            let found = read(&bytes, 400_000).unwrap();
            let bitmaps = Bitmaps::new(&bytes, 0..bytes.len(), 400_000);
            let len = (bytes.len() - CRC_BYTES) as u64;
            let mut bits = SeriesBits::new(400_000);
            bitmaps.unite(0, len, &mut bits).unwrap();
            assert_eq!(bits.to_postings(), found);
            assert!(series.iter().all(|series| bits.contains(u64::from(*series))));
            assert!(!bits.contains(0) && !bits.contains(450_000));
            assert!(found.iter().eq(series.iter().map(|n| SeriesRef((*n).into()))));
            let last = *series.last().unwrap();
            assert!(read(&bytes, last - 1).is_err(), "no such series");
        }
        assert!(read(&bytes_of(&[0, 1]), 9).is_err(), "refs begin with one");
    }

    proptest! {
        #[test]
        fn malformed_bitmaps_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 4..200), cut in any::<bool>(), runs in any::<bool>()) {
            bytes[..4].copy_from_slice(&if runs { [0x3b, 0x30, 1, 0] } else { [0x3a, 0x30, 0, 0] });
            if cut {
                bytes.truncate(bytes.len() / 2);
            }
            let crc = crc32c(&bytes);
            bytes.extend_from_slice(&crc.to_be_bytes());
            let bytes = Bytes::from(bytes);
            let found = read(&bytes, 1 << 20);
            let mut bits = SeriesBits::new(1 << 20);
            let len = (bytes.len() - CRC_BYTES) as u64;
            let united = Bitmaps::new(&bytes, 0..bytes.len(), 1 << 20).unite(0, len, &mut bits);
            if found.is_ok() {
                prop_assert!(united.is_ok());
                prop_assert_eq!(bits.to_postings(), found.unwrap());
            }
        }
    }
}
