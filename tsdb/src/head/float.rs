//! What floats with and without start timestamps have in common.

use ferula_chunkenc::Sample;
use ferula_index::SeriesRef;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;

/// A float on its way to its series.
pub(super) trait Float: Copy {
    fn series(&self) -> SeriesRef;

    /// Since when it has been counting; zero if that is unknown.
    fn start(&self) -> i64;

    fn sample(&self) -> Sample;
}

impl Float for RefSample {
    #[inline]
    fn series(&self) -> SeriesRef {
        self.series
    }

    #[inline]
    fn start(&self) -> i64 {
        0
    }

    #[inline]
    fn sample(&self) -> Sample {
        Sample::new(self.timestamp, self.value)
    }
}

impl Float for RefStartedSample {
    #[inline]
    fn series(&self) -> SeriesRef {
        self.series
    }

    #[inline]
    fn start(&self) -> i64 {
        self.start_timestamp
    }

    #[inline]
    fn sample(&self) -> Sample {
        Sample::new(self.timestamp, self.value)
    }
}
