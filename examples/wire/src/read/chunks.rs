//! Series as a streamed answer has them: frames with chunks of one series each.

use ferula_chunkenc::{Appended, Chunk, Error, FloatHistogramAppender, SampleBatch, XorAppender};
use ferula_index::Labels;

use super::samples::push_labels;
use crate::protobuf::write::{push_bytes, push_uint, push_varint};

/// Samples of a chunk, as in Prometheus.
const CHUNK_SAMPLES: usize = 120;

/// Bytes of chunks from which on a frame is full.
const FRAME_BYTES: usize = 1 << 20;

/// Appends the frames of a series: each is its length, the CRC-32C of its message in big-endian order,
/// and a `ChunkedReadResponse`: 1 series, 2 number of the query.
///
/// # Errors
/// Whatever keeps histograms from being encoded, which a store has checked before.
pub(crate) fn push_frames(
    out: &mut Vec<u8>,
    query: usize,
    labels: &Labels,
    batch: &SampleBatch,
) -> Result<(), Error> {
    let mut encoded_labels = Vec::new();
    push_labels(&mut encoded_labels, labels);
    let mut series = encoded_labels.clone();
    each_chunk(batch, |times, chunk| {
        push_chunk(&mut series, times, chunk);
        if series.len() >= FRAME_BYTES {
            push_frame(out, query, &series);
            series.truncate(encoded_labels.len());
        }
    })?;
    if series.len() > encoded_labels.len() {
        push_frame(out, query, &series);
    }
    Ok(())
}

fn push_frame(out: &mut Vec<u8>, query: usize, series: &[u8]) {
    let mut message = Vec::with_capacity(series.len() + 16);
    push_bytes(&mut message, 1, series);
    push_uint(&mut message, 2, query as u64);
    push_varint(out, message.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
}

/// Appends a `Chunk`, which is field 2: 1 and 2 first and last time, 3 encoding, 4 data.
fn push_chunk(out: &mut Vec<u8>, (first, last): (i64, i64), chunk: &Chunk) {
    let mut encoded = Vec::with_capacity(chunk.data.len() + 32);
    push_uint(&mut encoded, 1, first.cast_unsigned());
    push_uint(&mut encoded, 2, last.cast_unsigned());
    push_uint(&mut encoded, 3, u64::from(chunk.encoding.to_byte()));
    push_bytes(&mut encoded, 4, &chunk.data);
    push_bytes(out, 2, &encoded);
}

/// Encodes the samples and hands over the chunks, with their first and last times.
fn each_chunk(batch: &SampleBatch, mut take: impl FnMut((i64, i64), &Chunk)) -> Result<(), Error> {
    let times = batch.timestamps();
    let mut at = 0;
    while at < times.len() {
        let is_histogram = batch.histogram(at).is_some();
        let same = (at..times.len().min(at + CHUNK_SAMPLES))
            .take_while(|place| batch.histogram(*place).is_some() == is_histogram)
            .count();
        let places = at..at + same;
        at = places.end;
        if !is_histogram {
            let mut chunk = XorAppender::new();
            for place in places.clone() {
                chunk.append(times[place], batch.values()[place])?;
            }
            take((times[places.start], times[places.end - 1]), &chunk.to_chunk());
            continue;
        }
        let mut open = FloatHistogramAppender::new();
        let mut first = places.start;
        for place in places.clone() {
            let Some(histogram) = batch.histogram(place) else { continue };
            if let Appended::Cut { finished, .. } = open.append(times[place], histogram)? {
                take((times[first], times[place - 1]), &finished);
                first = place;
            }
        }
        take((times[first], times[places.end - 1]), &open.to_chunk());
    }
    Ok(())
}
