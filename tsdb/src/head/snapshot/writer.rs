//! Writing a snapshot front to back.

use std::collections::{HashMap, HashSet};
use std::io;

use ferula_chunkenc::cursor::{
    put_i64_be, put_prefixed_bytes, put_u32_be, put_u64_be, put_uvarint, put_varint,
};
use ferula_index::{Labels, SeriesRef};
use ferula_wal::record::exemplars::{self, RefExemplar};
use ferula_wal::record::series;

use super::layout::{FRAME_BYTES, FrameKind, begin_frame, content_len, end_frame, put_header};
use super::{Snapshot, SnapshotChunk, SnapshotOpen};
use crate::exemplar::Exemplar;
use crate::head::exemplars::Logged;
use crate::head::metadata::Described;

/// Writes a snapshot to `W`.
#[derive(Debug)]
pub(crate) struct SnapshotWriter<W> {
    out: W,
    names: HashMap<Box<str>, Name>,
    n_pairs: u32,
    /// Label pairs that are new since the last frame of series.
    pairs_frame: Vec<u8>,
    series_frame: Vec<u8>,
    /// The series before, of the same frame.
    before: SeriesRef,
    pairs_before: Vec<u32>,
    scratch: Vec<u32>,
    n_series: u64,
    /// Refs of exemplars that were met.
    exemplar_refs: HashSet<SeriesRef>,
    /// Series and exemplars of the next frames, and about how long these are.
    exemplar_series: Vec<(SeriesRef, Labels)>,
    exemplars: Vec<RefExemplar>,
    exemplar_bytes: usize,
    /// Descriptions, and then series that have some.
    described_frame: Vec<u8>,
    /// The series before, once there was one.
    before_described: Option<SeriesRef>,
}

/// A label name that was written.
#[derive(Debug)]
struct Name {
    number: u32,
    /// Numbers of the pairs with it, by value.
    pairs: HashMap<Box<str>, u32>,
}

impl<W: io::Write> SnapshotWriter<W> {
    /// Writes everything but series.
    pub(crate) fn new(mut out: W, snapshot: &Snapshot) -> io::Result<Self> {
        let mut frame = Vec::new();
        put_header(&mut frame);
        out.write_all(&frame)?;

        frame.clear();
        begin_frame(&mut frame, FrameKind::State);
        let origin = &snapshot.origin;
        for log in [origin.log, origin.out_of_order] {
            put_u32_be(&mut frame, log.segment);
            put_u64_be(&mut frame, log.len);
            put_u32_be(&mut frame, log.tail);
        }
        put_i64_be(&mut frame, origin.covered_until);
        put_u64_be(&mut frame, snapshot.next_ref);
        frame.push(u8::from(snapshot.has_opaque_records));
        write_frame(&mut out, &mut frame)?;

        begin_frame(&mut frame, FrameKind::ChunkFiles);
        for file in &origin.chunk_files {
            put_u32_be(&mut frame, file.number);
            put_u64_be(&mut frame, file.end);
            put_i64_be(&mut frame, file.maxt);
        }
        write_frame(&mut out, &mut frame)?;

        for aliases in snapshot.aliases.chunks(FRAME_BYTES / 16) {
            begin_frame(&mut frame, FrameKind::Aliases);
            for (alias, series) in aliases {
                put_u64_be(&mut frame, alias.0);
                put_u64_be(&mut frame, series.0);
            }
            write_frame(&mut out, &mut frame)?;
        }
        for deleted in snapshot.deleted.chunks(FRAME_BYTES / 24) {
            begin_frame(&mut frame, FrameKind::Deleted);
            for (series, mint, maxt) in deleted {
                put_u64_be(&mut frame, series.0);
                put_i64_be(&mut frame, *mint);
                put_i64_be(&mut frame, *maxt);
            }
            write_frame(&mut out, &mut frame)?;
        }
        Ok(Self {
            out,
            names: HashMap::new(),
            n_pairs: 0,
            pairs_frame: Vec::new(),
            series_frame: Vec::new(),
            before: SeriesRef(0),
            pairs_before: Vec::new(),
            scratch: Vec::new(),
            n_series: 0,
            exemplar_refs: HashSet::new(),
            exemplar_series: Vec::new(),
            exemplars: Vec::new(),
            exemplar_bytes: 0,
            described_frame: Vec::new(),
            before_described: None,
        })
    }

    /// Writes a series. Refs ascend.
    pub(crate) fn add(
        &mut self,
        series: SeriesRef,
        labels: &Labels,
        full: impl ExactSizeIterator<Item = SnapshotChunk>,
        open: Option<SnapshotOpen<'_>>,
    ) -> io::Result<()> {
        debug_assert!(series > self.before || self.series_frame.is_empty(), "refs ascend");
        let mut pairs = std::mem::take(&mut self.scratch);
        pairs.clear();
        for (name, value) in labels {
            pairs.push(self.pair(name, value)?);
        }
        if self.series_frame.is_empty() {
            begin_frame(&mut self.series_frame, FrameKind::Series);
            self.before = SeriesRef(0);
            self.pairs_before.clear();
        }
        let out = &mut self.series_frame;
        put_uvarint(out, series.0 - self.before.0);
        let is_same = |(a, b): &(&u32, &u32)| a == b;
        let n_same = pairs.iter().zip(&self.pairs_before).take_while(is_same).count();
        put_uvarint(out, n_same as u64);
        put_uvarint(out, (pairs.len() - n_same) as u64);
        for &pair in &pairs[n_same..] {
            put_uvarint(out, pair.into());
        }
        put_uvarint(out, full.len() as u64);
        let (mut time, mut at_before) = (0_i64, 0_u64);
        for SnapshotChunk { mint, maxt, at } in full {
            put_varint(out, mint.wrapping_sub(time));
            put_uvarint(out, mint.abs_diff(maxt));
            put_varint(out, at.0.wrapping_sub(at_before).cast_signed());
            (time, at_before) = (maxt, at.0);
        }
        match open {
            Some(open) => {
                out.push(open.encoding.to_byte());
                put_varint(out, open.mint.wrapping_sub(time));
                put_uvarint(out, open.cut_span_ms);
                put_prefixed_bytes(out, open.data);
            }
            None => out.push(0),
        }
        self.scratch = std::mem::replace(&mut self.pairs_before, pairs);
        self.before = series;
        self.n_series += 1;
        if content_len(&self.series_frame) >= FRAME_BYTES
            || content_len(&self.pairs_frame) >= FRAME_BYTES
        {
            self.end_series()?;
        }
        Ok(())
    }

    /// The number of a label pair.
    fn pair(&mut self, name: &str, value: &str) -> io::Result<u32> {
        if let Some(pair) = self.names.get(name).and_then(|name| name.pairs.get(value)) {
            return Ok(*pair);
        }
        let pair = self.n_pairs;
        self.n_pairs = pair.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        let out = &mut self.pairs_frame;
        if out.is_empty() {
            begin_frame(out, FrameKind::Pairs);
        }
        let pairs = if let Some(known) = self.names.get_mut(name) {
            put_uvarint(out, known.number.into());
            &mut known.pairs
        } else {
            let number =
                u32::try_from(self.names.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
            put_uvarint(out, number.into());
            put_prefixed_bytes(out, name.as_bytes());
            let made = Name { number, pairs: HashMap::new() };
            &mut self.names.entry(name.into()).or_insert(made).pairs
        };
        put_prefixed_bytes(out, value.as_bytes());
        pairs.insert(value.into(), pair);
        Ok(pair)
    }

    /// Writes the frame of series, and before it that of their new label pairs.
    fn end_series(&mut self) -> io::Result<()> {
        for frame in [&mut self.pairs_frame, &mut self.series_frame] {
            if !frame.is_empty() {
                write_frame(&mut self.out, frame)?;
            }
        }
        Ok(())
    }

    /// Writes an exemplar of the series with these labels. They come in the order in which they came
    /// to the head, behind all series.
    pub(crate) fn add_exemplar(&mut self, labels: &Labels, logged: &Logged) -> io::Result<()> {
        self.end_series()?;
        let Logged { logged_as: series, exemplar } = logged;
        if self.exemplar_refs.insert(*series) {
            self.exemplar_bytes += labels.size_bytes();
            self.exemplar_series.push((*series, labels.clone()));
        }
        let Exemplar { timestamp, value, labels } = exemplar.clone();
        self.exemplar_bytes += labels.size_bytes();
        self.exemplars.push(RefExemplar { series: *series, timestamp, value, labels });
        if self.exemplar_bytes >= FRAME_BYTES { self.end_exemplars() } else { Ok(()) }
    }

    /// Writes the frame of exemplars, and before it that of their new series.
    fn end_exemplars(&mut self) -> io::Result<()> {
        self.exemplar_bytes = 0;
        let mut frame = Vec::new();
        let series = std::mem::take(&mut self.exemplar_series);
        if !series.is_empty() {
            begin_frame(&mut frame, FrameKind::ExemplarSeries);
            series::encode(series.iter().map(|(series, labels)| (*series, labels)), &mut frame);
            write_frame(&mut self.out, &mut frame)?;
        }
        if !self.exemplars.is_empty() {
            begin_frame(&mut frame, FrameKind::Exemplars);
            exemplars::encode(&self.exemplars, &mut frame);
            write_frame(&mut self.out, &mut frame)?;
            self.exemplars.clear();
        }
        Ok(())
    }

    /// Writes what a metric says, behind all series. The first is number zero, the next one, and so
    /// on.
    pub(crate) fn add_description(&mut self, described: &Described) -> io::Result<()> {
        self.end_series()?;
        let out = &mut self.described_frame;
        if out.is_empty() {
            begin_frame(out, FrameKind::Descriptions);
        }
        let Described { metric, metadata } = described;
        put_prefixed_bytes(out, metric.as_bytes());
        out.push(metadata.metric_type.to_byte());
        put_prefixed_bytes(out, metadata.unit.as_bytes());
        put_prefixed_bytes(out, metadata.help.as_bytes());
        if content_len(out) >= FRAME_BYTES { self.end_described() } else { Ok(()) }
    }

    /// Writes which description a series has, behind all descriptions. Refs ascend.
    pub(crate) fn add_described(&mut self, series: SeriesRef, number: u32) -> io::Result<()> {
        if self.before_described.is_none() {
            self.end_described()?;
        }
        let out = &mut self.described_frame;
        if out.is_empty() {
            begin_frame(out, FrameKind::Described);
            self.before_described = Some(SeriesRef(0));
        }
        let before = self.before_described.replace(series).unwrap_or_default();
        put_uvarint(out, series.0 - before.0);
        put_uvarint(out, number.into());
        if content_len(out) >= FRAME_BYTES { self.end_described() } else { Ok(()) }
    }

    fn end_described(&mut self) -> io::Result<()> {
        if self.described_frame.is_empty() {
            return Ok(());
        }
        write_frame(&mut self.out, &mut self.described_frame)
    }

    /// Writes what is left, and returns what was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end_series()?;
        self.end_exemplars()?;
        self.end_described()?;
        let mut frame = Vec::new();
        begin_frame(&mut frame, FrameKind::End);
        put_u64_be(&mut frame, self.names.len() as u64);
        put_u64_be(&mut frame, self.n_pairs.into());
        put_u64_be(&mut frame, self.n_series);
        write_frame(&mut self.out, &mut frame)?;
        Ok(self.out)
    }
}

/// Completes and writes a frame, and empties its buffer.
fn write_frame(out: &mut impl io::Write, frame: &mut Vec<u8>) -> io::Result<()> {
    if !end_frame(frame) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    out.write_all(frame)?;
    frame.clear();
    Ok(())
}
