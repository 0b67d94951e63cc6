//! Reading a snapshot, a frame of series at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::Encoding;
use ferula_chunkenc::cursor::Cursor;
use ferula_index::{ChunkRef, Labels, SeriesRef};
use ferula_wal::record::Record;
use ferula_wal::record::exemplars::RefExemplar;

use super::layout::{Frame, FrameKind, HEADER_BYTES, MAGIC, VERSION};
use super::{LogEnd, Origin, Snapshot, SnapshotChunk, SnapshotOpen, SnapshotSeries};
use crate::error::{Error, SnapshotFault};
use crate::exemplar::Exemplar;
use crate::head::chunk_files::ChunkFileEnd;
use crate::head::exemplars::Logged;
use crate::head::metadata::Description;
use crate::metadata::MetricType;

/// A snapshot that is whole as far as its frames go. Series are checked when they are read.
///
/// Shared by reference between threads.
#[derive(Debug)]
pub(crate) struct SnapshotReader {
    path: PathBuf,
    bytes: Bytes,
    snapshot: Snapshot,
    names: Vec<Text>,
    pairs: Vec<(u32, Text)>,
    series: Vec<Frame>,
    n_series: u64,
    /// Those of exemplars and their series.
    exemplars: Vec<Frame>,
    /// Those of metadata and the series that have it.
    metadata: Vec<Frame>,
}

/// Where a text lies in the file.
#[derive(Clone, Copy, Debug)]
struct Text {
    start: usize,
    len: u32,
}

impl SnapshotReader {
    /// Opens the snapshot in `bytes`, the content of `path`.
    pub(crate) fn open(path: &Path, bytes: Bytes) -> Result<Self, Error> {
        let mut reader = Self {
            path: path.to_path_buf(),
            bytes,
            snapshot: Snapshot::default(),
            names: Vec::new(),
            pairs: Vec::new(),
            series: Vec::new(),
            n_series: 0,
            exemplars: Vec::new(),
            metadata: Vec::new(),
        };
        reader.check_header()?;
        reader.read_frames()?;
        Ok(reader)
    }

    /// What it holds beside series.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Number of series.
    pub(crate) fn n_series(&self) -> u64 {
        self.n_series
    }

    /// Name and value of the label pair with this number.
    ///
    /// # Panics
    /// If there is none; those of series that are read exist.
    pub(crate) fn pair(&self, number: u32) -> (&str, &str) {
        let (name, value) = self.pairs[usize::try_from(number).expect("it was counted")];
        let name = self.names[usize::try_from(name).expect("it was counted")];
        (self.text(name), self.text(value))
    }

    fn text(&self, text: Text) -> &str {
        let len = usize::try_from(text.len).expect("it lies in memory");
        let bytes = &self.bytes[text.start..text.start + len];
        std::str::from_utf8(bytes).expect("it was checked when the snapshot was opened")
    }

    /// Number of frames of series.
    pub(crate) fn n_frames(&self) -> usize {
        self.series.len()
    }

    /// Reads a frame of series and shows each to `visit`, the refs ascending. Returns how many there
    /// were; over all frames that should be [`n_series`](Self::n_series).
    pub(crate) fn read_frame(
        &self,
        frame: usize,
        visit: &mut dyn FnMut(SnapshotSeries<'_>) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let mut cursor = self.series[frame].open(&self.bytes).map_err(|e| self.malformed(e))?;
        let mut decoder = SeriesDecoder::default();
        let mut n_series = 0;
        while !cursor.is_empty() {
            let before = decoder.series;
            let open = decoder.next(&mut cursor).map_err(|source| self.malformed(source))?;
            let SeriesDecoder { series, pairs, full } = &decoder;
            if *series <= before {
                return Err(self.fault(SnapshotFault::Order { series: *series }));
            }
            if let Some(&pair) = pairs.iter().find(|pair| **pair as usize >= self.pairs.len()) {
                return Err(self.fault(SnapshotFault::Pair { series: *series, pair }));
            }
            visit(SnapshotSeries { series: *series, pairs, full, open })?;
            n_series += 1;
        }
        Ok(n_series)
    }

    /// The error of a snapshot that is not what it should be.
    pub(crate) fn fault(&self, fault: SnapshotFault) -> Error {
        Error::Snapshot { file: self.path.clone(), fault }
    }

    fn malformed(&self, source: ferula_chunkenc::Error) -> Error {
        Error::Decode { file: self.path.clone(), source }
    }

    fn check_header(&self) -> Result<(), Error> {
        let malformed = |source| self.malformed(source);
        let file = || self.path.clone();
        let mut cursor = Cursor::new(&self.bytes);
        let magic = cursor.u32_be().map_err(malformed)?;
        if magic != MAGIC {
            return Err(Error::Magic { file: file(), found: magic, expected: MAGIC });
        }
        let version = cursor.u8().map_err(malformed)?;
        if version != VERSION {
            let (found, expected) = (u32::from(version), u32::from(VERSION));
            return Err(Error::Version { file: file(), found, expected });
        }
        cursor.skip(3).map_err(malformed)
    }

    /// Reads all frames but those of series, of which it notes where they are.
    fn read_frames(&mut self) -> Result<(), Error> {
        let mut before = None;
        let mut at = HEADER_BYTES;
        loop {
            let frame = Frame::find(&self.bytes, at).map_err(|e| self.malformed(e))?;
            at = frame.end();
            let offset = frame.start() as u64;
            let is_first = before.is_none();
            let Some(kind) = frame.kind.filter(|kind| is_first == (*kind == FrameKind::State))
            else {
                return Err(self.fault(SnapshotFault::Frame { offset }));
            };
            before = Some(kind);
            let later = match kind {
                FrameKind::Series => Some(&mut self.series),
                FrameKind::ExemplarSeries | FrameKind::Exemplars => Some(&mut self.exemplars),
                FrameKind::Descriptions | FrameKind::Described => Some(&mut self.metadata),
                _ => None,
            };
            if let Some(later) = later {
                later.push(frame);
                continue;
            }
            // Cheap to clone, and keeps what is read apart from what is filled.
            let bytes = self.bytes.clone();
            let read = frame.open(&bytes).and_then(|cursor| self.read_parts(kind, cursor));
            read.map_err(|source| self.malformed(source))??;
            if kind == FrameKind::End {
                break;
            }
        }
        if at != self.bytes.len() {
            return Err(self.fault(SnapshotFault::Frame { offset: at as u64 }));
        }
        Ok(())
    }

    /// Reads the content of a frame that is not of series.
    fn read_parts(
        &mut self,
        kind: FrameKind,
        mut cursor: Cursor<'_>,
    ) -> Result<Result<(), Error>, ferula_chunkenc::Error> {
        match kind {
            FrameKind::State => {
                let Snapshot { origin, next_ref, has_opaque_records, .. } = &mut self.snapshot;
                origin.log = read_log_end(&mut cursor)?;
                origin.out_of_order = read_log_end(&mut cursor)?;
                origin.covered_until = cursor.i64_be()?;
                *next_ref = cursor.u64_be()?;
                *has_opaque_records = cursor.u8()? != 0;
            }
            FrameKind::ChunkFiles => read_chunk_files(&mut cursor, &mut self.snapshot.origin)?,
            FrameKind::Aliases => {
                while !cursor.is_empty() {
                    let alias = (SeriesRef(cursor.u64_be()?), SeriesRef(cursor.u64_be()?));
                    self.snapshot.aliases.push(alias);
                }
            }
            FrameKind::Deleted => {
                while !cursor.is_empty() {
                    let series = SeriesRef(cursor.u64_be()?);
                    let (mint, maxt) = (cursor.i64_be()?, cursor.i64_be()?);
                    self.snapshot.deleted.push((series, mint, maxt));
                }
            }
            FrameKind::Pairs => {
                while !cursor.is_empty() {
                    if let Err(fault) = self.read_pair(&mut cursor)? {
                        return Ok(Err(fault));
                    }
                }
            }
            // These are read later.
            FrameKind::Series
            | FrameKind::ExemplarSeries
            | FrameKind::Exemplars
            | FrameKind::Descriptions
            | FrameKind::Described => {}
            FrameKind::End => {
                let counts = [
                    ("label names", self.names.len() as u64),
                    ("label pairs", self.pairs.len() as u64),
                ];
                for (what, found) in counts {
                    let expected = cursor.u64_be()?;
                    if found != expected {
                        let fault = SnapshotFault::Count { what, found, expected };
                        return Ok(Err(self.fault(fault)));
                    }
                }
                self.n_series = cursor.u64_be()?;
            }
        }
        Ok(Ok(()))
    }

    /// Shows each series that says something to `visit`, with what it says.
    pub(crate) fn read_metadata(
        &self,
        mut visit: impl FnMut(SeriesRef, Description<'_>),
    ) -> Result<(), Error> {
        let mut known: Vec<Description<'_>> = Vec::new();
        for frame in &self.metadata {
            let malformed = |source| self.malformed(source);
            let mut cursor = frame.open(&self.bytes).map_err(malformed)?;
            let mut series = SeriesRef(0);
            while !cursor.is_empty() {
                if frame.kind == Some(FrameKind::Descriptions) {
                    let offset = cursor.offset() as u64;
                    let described = read_description(&mut cursor).map_err(malformed)?;
                    let broken = || self.fault(SnapshotFault::Text { offset });
                    known.push(described.ok_or_else(broken)?);
                    continue;
                }
                series.0 = series.0.wrapping_add(cursor.uvarint().map_err(malformed)?);
                let number = cursor.uvarint().map_err(malformed)?;
                let described = usize::try_from(number).ok().and_then(|number| known.get(number));
                let missing = || self.fault(SnapshotFault::Description { series, number });
                visit(series, *described.ok_or_else(missing)?);
            }
        }
        Ok(())
    }

    /// Reads the exemplars and shows each to `visit` with the labels of its series, in the order in
    /// which they came to the head.
    pub(crate) fn read_exemplars(
        &self,
        mut visit: impl FnMut(&Labels, Logged),
    ) -> Result<(), Error> {
        let malformed = |source| Error::SnapshotRecord { file: self.path.clone(), source };
        let mut known: HashMap<SeriesRef, Labels> = HashMap::new();
        for frame in &self.exemplars {
            let cursor = frame.open(&self.bytes).map_err(|source| self.malformed(source))?;
            match Record::decode(cursor.rest()).map_err(malformed)? {
                Record::Series(mut series) => {
                    while let Some((series, labels)) = series.next().map_err(malformed)? {
                        known.insert(series, labels);
                    }
                }
                Record::Exemplars(mut exemplars) => {
                    while let Some(exemplar) = exemplars.next().map_err(malformed)? {
                        let RefExemplar { series: logged_as, timestamp, value, labels } = exemplar;
                        let Some(series) = known.get(&logged_as) else {
                            let series = logged_as;
                            return Err(self.fault(SnapshotFault::ExemplarSeries { series }));
                        };
                        let exemplar = Exemplar::new(timestamp, value, labels);
                        visit(series, Logged { logged_as, exemplar });
                    }
                }
                _ => {
                    let offset = frame.start() as u64;
                    return Err(self.fault(SnapshotFault::Frame { offset }));
                }
            }
        }
        Ok(())
    }

    /// Reads a label pair.
    fn read_pair(
        &mut self,
        cursor: &mut Cursor<'_>,
    ) -> Result<Result<(), Error>, ferula_chunkenc::Error> {
        let offset = cursor.offset() as u64;
        let broken = |reader: &Self| Ok(Err(reader.fault(SnapshotFault::Text { offset })));
        let name = cursor.uvarint()?;
        let n_names = self.names.len() as u64;
        if name == n_names {
            match read_text(cursor)? {
                Some(text) => self.names.push(text),
                None => return broken(self),
            }
        }
        match (read_text(cursor)?, u32::try_from(name)) {
            (Some(value), Ok(number)) if name <= n_names => self.pairs.push((number, value)),
            _ => return broken(self),
        }
        Ok(Ok(()))
    }
}

/// Reads what a metric says; `None` if a text is none.
fn read_description<'a>(
    cursor: &mut Cursor<'a>,
) -> Result<Option<Description<'a>>, ferula_chunkenc::Error> {
    let metric = str::from_utf8(cursor.prefixed_bytes()?);
    let metric_type = MetricType::from_byte(cursor.u8()?);
    let (unit, help) = (cursor.prefixed_bytes()?, cursor.prefixed_bytes()?);
    let (Ok(metric), Ok(unit), Ok(help)) = (metric, str::from_utf8(unit), str::from_utf8(help))
    else {
        return Ok(None);
    };
    Ok(Some(Description { metric, metric_type, unit, help }))
}

fn read_log_end(cursor: &mut Cursor<'_>) -> Result<LogEnd, ferula_chunkenc::Error> {
    Ok(LogEnd { segment: cursor.u32_be()?, len: cursor.u64_be()?, tail: cursor.u32_be()? })
}

fn read_chunk_files(
    cursor: &mut Cursor<'_>,
    origin: &mut Origin,
) -> Result<(), ferula_chunkenc::Error> {
    while !cursor.is_empty() {
        let number = cursor.u32_be()?;
        let (end, maxt) = (cursor.u64_be()?, cursor.i64_be()?);
        origin.chunk_files.push(ChunkFileEnd { number, end, maxt });
    }
    Ok(())
}

/// Where a text lies; `None` if it is none.
fn read_text(cursor: &mut Cursor<'_>) -> Result<Option<Text>, ferula_chunkenc::Error> {
    let bytes = cursor.prefixed_bytes()?;
    let start = cursor.offset() - bytes.len();
    let len = u32::try_from(bytes.len()).ok().filter(|_| std::str::from_utf8(bytes).is_ok());
    Ok(len.map(|len| Text { start, len }))
}

/// What series have in common with the one before.
#[derive(Debug, Default)]
struct SeriesDecoder {
    series: SeriesRef,
    pairs: Vec<u32>,
    full: Vec<SnapshotChunk>,
}

impl SeriesDecoder {
    /// Reads the next series, of which it returns the open chunk.
    fn next<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
    ) -> Result<Option<SnapshotOpen<'a>>, ferula_chunkenc::Error> {
        self.series = SeriesRef(self.series.0.wrapping_add(cursor.uvarint()?));
        let offset = cursor.offset();
        let needed = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
        let available = self.pairs.len();
        if needed > available {
            return Err(ferula_chunkenc::Error::Truncated { offset, needed, available });
        }
        self.pairs.truncate(needed);
        for _ in 0..cursor.uvarint()? {
            let offset = cursor.offset();
            let pair = u32::try_from(cursor.uvarint()?);
            self.pairs.push(pair.map_err(|_| ferula_chunkenc::Error::VarintOverflow { offset })?);
        }
        self.full.clear();
        let (mut time, mut at_before) = (0_i64, 0_u64);
        for _ in 0..cursor.uvarint()? {
            let mint = time.wrapping_add(cursor.varint()?);
            let maxt = mint.wrapping_add_unsigned(cursor.uvarint()?);
            let at = ChunkRef(at_before.wrapping_add_signed(cursor.varint()?));
            self.full.push(SnapshotChunk { mint, maxt, at });
            (time, at_before) = (maxt, at.0);
        }
        let encoding = match cursor.u8()? {
            0 => return Ok(None),
            byte => Encoding::from_byte(byte)?,
        };
        let mint = time.wrapping_add(cursor.varint()?);
        let cut_span_ms = cursor.uvarint()?;
        Ok(Some(SnapshotOpen { encoding, mint, cut_span_ms, data: cursor.prefixed_bytes()? }))
    }
}
