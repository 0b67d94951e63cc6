//! Checksums of decoded samples: what is in a page is held against what was put into it.

use ferula_chunkenc::cursor::crc32c_append;
use ferula_chunkenc::histogram::{FloatHistogram, Histogram, Span};

/// Sums up what is added, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u32);

impl Digest {
    /// That of floats and start timestamps.
    pub(super) fn of_floats(values: &[f64], starts: Option<&[i64]>) -> Self {
        let mut digest = Self::default();
        digest.floats(values);
        digest.starts(starts);
        digest
    }

    /// That of histograms and start timestamps.
    pub(super) fn of_histograms<H: Summed>(histograms: &[H], starts: Option<&[i64]>) -> Self {
        let mut digest = Self::default();
        for histogram in histograms {
            histogram.sum_up(&mut digest);
        }
        digest.starts(starts);
        digest
    }

    fn starts(&mut self, starts: Option<&[i64]>) {
        for start in starts.unwrap_or_default() {
            self.int(*start);
        }
    }

    fn int(&mut self, int: i64) {
        self.0 = crc32c_append(self.0, &int.to_be_bytes());
    }

    fn ints(&mut self, ints: &[i64]) {
        ints.iter().for_each(|int| self.int(*int));
    }

    fn floats(&mut self, floats: &[f64]) {
        for float in floats {
            self.0 = crc32c_append(self.0, &float.to_bits().to_be_bytes());
        }
    }

    fn spans(&mut self, spans: &[Span]) {
        self.int(i64::try_from(spans.len()).unwrap_or(i64::MAX));
        for span in spans {
            self.ints(&[span.offset.into(), span.length.into()]);
        }
    }
}

/// Histograms that are summed up bit for bit.
pub(super) trait Summed {
    fn sum_up(&self, digest: &mut Digest);
}

impl Summed for Histogram {
    fn sum_up(&self, digest: &mut Digest) {
        digest.ints(&[self.schema.into(), self.counter_reset_hint as i64]);
        digest.ints(&[self.count.cast_signed(), self.zero_count.cast_signed()]);
        digest.floats(&[self.zero_threshold, self.sum]);
        digest.spans(&self.positive_spans);
        digest.spans(&self.negative_spans);
        digest.ints(&self.positive_buckets);
        digest.ints(&self.negative_buckets);
        digest.floats(&self.custom_values);
    }
}

impl Summed for FloatHistogram {
    fn sum_up(&self, digest: &mut Digest) {
        digest.ints(&[self.schema.into(), self.counter_reset_hint as i64]);
        digest.floats(&[self.zero_threshold, self.sum, self.count, self.zero_count]);
        digest.spans(&self.positive_spans);
        digest.spans(&self.negative_spans);
        digest.floats(&self.positive_buckets);
        digest.floats(&self.negative_buckets);
        digest.floats(&self.custom_values);
    }
}
