//! The entry of one series: label pairs as symbol numbers, chunks by differences.

use ferula_chunkenc::cursor::{Cursor, put_uvarint, put_varint};

use super::section::SectionReader;
use crate::error::Corruption;
use crate::{ChunkMeta, ChunkRef, Error};

/// Appends the content of an entry to `out`.
pub(super) fn put_series(out: &mut Vec<u8>, labels: &[(u32, u32)], chunks: &[ChunkMeta]) {
    put_uvarint(out, labels.len() as u64);
    for &(name, value) in labels {
        put_uvarint(out, u64::from(name));
        put_uvarint(out, u64::from(value));
    }
    put_uvarint(out, chunks.len() as u64);
    let mut last: Option<&ChunkMeta> = None;
    for chunk in chunks {
        match last {
            None => {
                put_varint(out, chunk.mint);
                put_uvarint(out, difference(chunk.maxt, chunk.mint));
                put_uvarint(out, chunk.chunk.0);
            }
            Some(last) => {
                put_uvarint(out, difference(chunk.mint, last.maxt));
                put_uvarint(out, difference(chunk.maxt, chunk.mint));
                put_varint(out, chunk.chunk.0.wrapping_sub(last.chunk.0).cast_signed());
            }
        }
        last = Some(chunk);
    }
}

/// Reads the label pairs of an entry and hands each to `label`, as symbol numbers.
pub(super) fn read_labels(
    reader: &mut SectionReader<'_>,
    mut label: impl FnMut(u32, u32) -> Result<(), Error>,
) -> Result<(), Error> {
    for _ in 0..reader.uvarint()? {
        let name = reader.uvarint32()?;
        let value = reader.uvarint32()?;
        label(name, value)?;
    }
    Ok(())
}

/// Reads the chunks of an entry, behind its labels, to the end of `chunks`.
pub(super) fn read_chunks(
    reader: &mut SectionReader<'_>,
    chunks: &mut Vec<ChunkMeta>,
) -> Result<(), Error> {
    let mut last: Option<ChunkMeta> = None;
    for _ in 0..reader.uvarint()? {
        let (mint, chunk) = match last {
            None => (Some(reader.read(Cursor::varint)?), None),
            Some(last) => (last.maxt.checked_add_unsigned(reader.uvarint()?), Some(last.chunk)),
        };
        let duration = reader.uvarint()?;
        let chunk = match chunk {
            None => reader.uvarint()?,
            Some(last) => last.0.wrapping_add_signed(reader.read(Cursor::varint)?),
        };
        let maxt = mint.and_then(|mint| mint.checked_add_unsigned(duration));
        let (Some(mint), Some(maxt)) = (mint, maxt) else {
            return Err(reader.corrupt(Corruption::Time));
        };
        let meta = ChunkMeta { mint, maxt, chunk: ChunkRef(chunk) };
        chunks.push(meta);
        last = Some(meta);
    }
    Ok(())
}

fn difference(later: i64, earlier: i64) -> u64 {
    later.wrapping_sub(earlier).cast_unsigned()
}
