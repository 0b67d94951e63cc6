//! Histogram chunks: arbitrary bytes decode or fail, and what decodes can be continued and coded
//! anew. The first byte chooses the encoding.
#![no_main]

use ferula_chunkenc::histogram::{FloatHistogram, Histogram};
use ferula_chunkenc::stale::is_stale;
use ferula_chunkenc::{
    Appended, Chunk, ChunkAppender, ChunkHistogram, ChunkHistograms, Encoding, Error, SampleBatch,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, data)) = data.split_first() else { return };
    match choice % 4 {
        0 => check::<Histogram>(Encoding::Histogram, data, Histogram::to_float),
        1 => check::<FloatHistogram>(Encoding::FloatHistogram, data, FloatHistogram::clone),
        2 => check::<Histogram>(Encoding::HistogramSt, data, Histogram::to_float),
        _ => check::<FloatHistogram>(Encoding::FloatHistogramSt, data, FloatHistogram::clone),
    }
});

/// Start timestamps, timestamps and histograms.
fn step_through<H: ChunkHistogram>(
    encoding: Encoding,
    data: &[u8],
) -> Result<Vec<(i64, i64, H)>, Error> {
    let mut histograms = ChunkHistograms::<H>::new(encoding, data)?;
    let mut found = Vec::new();
    while let Some(timestamp) = histograms.next()? {
        found.push((histograms.start_timestamp(), timestamp, histograms.histogram()?));
    }
    Ok(found)
}

fn check<H: ChunkHistogram>(
    encoding: Encoding,
    data: &[u8],
    to_float: impl Fn(&H) -> FloatHistogram,
) {
    let chunk = Chunk { encoding, data: data.to_vec().into() };
    // A few bytes can stand for many samples of many spans, each of which is kept here.
    let is_small = chunk.sample_count().is_ok_and(|count| count < 300) && data.len() < 4_000;
    let stepped = if is_small { step_through::<H>(encoding, data).ok() } else { None };
    let mut batch = SampleBatch::new();
    let is_decoded = chunk.decode_into(&mut batch).is_ok();
    assert!(is_decoded || batch.is_empty());
    let Some(found) = stepped else { return };
    if is_decoded {
        assert_eq!(batch.len(), found.len());
        for (i, (start, timestamp, histogram)) in found.iter().enumerate() {
            assert_eq!(batch.timestamps()[i], *timestamp);
            assert_eq!(batch.start_timestamp(i), *start);
            assert_eq!(batch.histogram(i).is_none(), is_stale(to_float(histogram).sum));
        }
    }

    // Code it anew: what comes of it reads the same times, in as many chunks as it takes.
    let mut appender = match encoding {
        Encoding::Histogram | Encoding::FloatHistogram => ChunkAppender::<H>::new(),
        _ => ChunkAppender::with_start_timestamps(),
    };
    let mut chunks = Vec::new();
    let mut times = Vec::new();
    for (start, timestamp, histogram) in &found {
        match appender.append_with_start(*start, *timestamp, histogram) {
            Ok(Appended::Cut { finished, .. }) => chunks.push(finished),
            Ok(_) => {}
            Err(_) => continue,
        }
        times.push((*start, *timestamp));
    }
    chunks.push(appender.into_chunk());
    let mut again = Vec::new();
    for chunk in &chunks {
        let found = step_through::<H>(encoding, &chunk.data).expect("written a moment ago");
        again.extend(found.iter().map(|(start, timestamp, _)| (*start, *timestamp)));
    }
    assert_eq!(again, times);

    // What was read can be continued, unless its spans overlap.
    if let Ok(mut appender) = ChunkAppender::<H>::resume(encoding, data.to_vec())
        && let Some((_, last, histogram)) = found.last()
    {
        let _ = appender.append_with_start(7, last.saturating_add(1), histogram);
        step_through::<H>(encoding, appender.as_bytes()).expect("written a moment ago");
    }
}
