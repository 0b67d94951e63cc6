//! What is sent: samples and exemplars, each with its series.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ferula_index::Labels;
use ferula_tsdb::{Exemplar, Metadata, NativeHistogram};
use parking_lot::Mutex;

/// A series as it is sent: relabelled, with external labels.
#[derive(Debug)]
pub(super) struct SentSeries {
    /// Its number in the log, which chooses the queue.
    pub(super) number: u64,
    pub(super) labels: Labels,
    pub(super) metadata: Mutex<Option<Arc<Metadata>>>,
}

/// Something that is sent of a series.
#[derive(Clone, Debug)]
pub(super) enum What {
    Float { start: i64, timestamp: i64, value: f64 },
    Histogram { start: i64, timestamp: i64, histogram: Box<NativeHistogram> },
    Exemplar(Exemplar),
}

/// Something that is under way.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) series: Arc<SentSeries>,
    pub(super) what: What,
    /// How many of the piece of the log that it stands in were not answered yet.
    pub(super) unanswered: Arc<AtomicUsize>,
}
