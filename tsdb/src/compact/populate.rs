//! Making the chunks of one series from those that the sources have of it.
//!
//! Chunks that follow each other stay as they are. Those that overlap, and those of which something
//! is deleted, are decoded, merged and encoded anew, unless they are all the same. Of two samples at
//! the same time the one of the first source stays, which is what a query over the sources reads.
//! Prometheus itself takes one or the other, depending on where the chunks begin.

use ferula_index::ChunkMeta;
use ferula_index::ferula::ValueBounds;
use ferula_wal::fs::Fs;

use super::merge::Part;
use crate::block::{Block, BlockChunk, BlockFormat, BlockStream, StoredChunk};
use crate::error::Error;
use crate::recode::Recoder;
use crate::tombstones::{covers, touches};

/// A chunk of a source.
#[derive(Clone, Copy, Debug)]
struct Piece {
    meta: ChunkMeta,
    /// Which part of the series it belongs to.
    part: usize,
    /// Whether some of it is deleted.
    is_touched: bool,
    /// What the index says of its values.
    bounds: Option<ValueBounds>,
}

/// Makes the chunks of series.
#[derive(Debug)]
pub(super) struct Populator<'a> {
    sources: &'a [&'a Block],
    streams: Vec<BlockStream<'a>>,
    format: BlockFormat,
    pieces: Vec<Piece>,
    recoder: Recoder,
}

impl<'a> Populator<'a> {
    /// Makes chunks for a block of this `format`.
    pub(super) fn new(fs: &'a dyn Fs, sources: &'a [&'a Block], format: BlockFormat) -> Self {
        let streams = sources.iter().map(|block| block.stream(fs)).collect();
        let (pieces, recoder) = (Vec::new(), Recoder::default());
        Self { sources, streams, format, pieces, recoder }
    }

    /// Appends the chunks of a series to `chunks`, in time order and apart from each other. There
    /// are none if everything is deleted.
    pub(super) fn populate(
        &mut self,
        parts: &[Part],
        chunks: &mut Vec<BlockChunk>,
    ) -> Result<(), Error> {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        for (place, part) in parts.iter().enumerate() {
            let deleted = self.sources[part.source].tombstones().of(part.series);
            for (at, meta) in part.chunks.iter().enumerate() {
                if !covers(deleted, meta.mint, meta.maxt) {
                    let is_touched = touches(deleted, meta.mint, meta.maxt);
                    let bounds = part.entries.get(at).and_then(|entry| entry.bounds);
                    pieces.push(Piece { meta: *meta, part: place, is_touched, bounds });
                }
            }
        }
        // Nearly always in order already, which is found out in one pass.
        pieces.sort_by_key(|piece| (piece.meta.mint, piece.part));
        let mut rest = &pieces[..];
        while let [first, behind @ ..] = rest {
            let mut until = first.meta.maxt;
            let overlapping = behind.iter().take_while(|piece| {
                let overlaps = piece.meta.mint <= until;
                until = until.max(piece.meta.maxt);
                overlaps
            });
            let (group, behind) = rest.split_at(1 + overlapping.count());
            self.populate_group(parts, group, chunks)?;
            rest = behind;
        }
        self.pieces = pieces;
        Ok(())
    }

    /// Makes chunks from those of a group, each of which overlaps another one.
    fn populate_group(
        &mut self,
        parts: &[Part],
        group: &[Piece],
        chunks: &mut Vec<BlockChunk>,
    ) -> Result<(), Error> {
        let alone = matches!(group, [piece] if !piece.is_touched);
        let block = |piece: &Piece| self.sources[parts[piece.part].source];
        let streams = &mut self.streams;
        let read = |piece: &Piece| streams[parts[piece.part].source].read(&piece.meta);
        let mut read: Vec<StoredChunk> = group.iter().map(read).collect::<Result<_, _>>()?;
        let ChunkMeta { mint, maxt, .. } = group[0].meta;
        let is_first = |(piece, chunk): (&Piece, &StoredChunk)| {
            !piece.is_touched
                && (piece.meta.mint, piece.meta.maxt) == (mint, maxt)
                && is_same(chunk, &read[0])
        };
        // Nearly every chunk is alone.
        if self.format.stores(&read[0]) && (alone || group.iter().zip(&read).all(is_first)) {
            let mut chunk = read.swap_remove(0);
            if let StoredChunk::Paged(paged) = &mut chunk {
                paged.set_source(parts[group[0].part].source, group[0].bounds);
            }
            chunks.push(BlockChunk { mint, maxt, chunk });
            return Ok(());
        }
        self.recoder.clear();
        for (place, part) in parts.iter().enumerate() {
            let of_part = group.iter().zip(&read).filter(|(piece, _)| piece.part == place);
            for (piece, chunk) in of_part {
                let decoded = self.recoder.decode_stored(chunk);
                block(piece).of_chunk(&piece.meta, decoded)?;
            }
            let deleted = self.sources[part.source].tombstones().of(part.series);
            self.recoder.merge(deleted);
        }
        let mut encoded = Vec::new();
        // What is only written otherwise keeps what its chunk says of counter resets.
        let done = match alone {
            true => self.recoder.encode_as_it_was(&mut encoded),
            false => self.recoder.encode(&mut encoded),
        };
        done.map_err(|source| block(&group[0]).chunk_error(&group[0].meta, source))?;
        chunks.extend(encoded.into_iter().map(BlockChunk::from));
        Ok(())
    }
}

/// Tells whether two chunks are encoded to the same bytes.
fn is_same(a: &StoredChunk, b: &StoredChunk) -> bool {
    match (a, b) {
        (StoredChunk::Encoded(a), StoredChunk::Encoded(b)) => a == b,
        _ => false,
    }
}
