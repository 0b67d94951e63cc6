//! Making a head from a log.
//!
//! One thread reads and checks records, a second decodes them in the order of the log, which is the
//! order in which they were applied when they were logged, and [`worker`]s append the samples, each
//! to pages of its own: those of one series stay in order, and the head comes out the same whatever
//! the number of workers. What is on its way between threads is bounded, so that a replay takes no
//! more memory than the head it makes.
//!
//! Samples that a block already covers are left out: the block was cut before the log could be
//! truncated. Full chunks that an earlier run has left in files are [taken over](loading), and their
//! samples passed over.

mod decode;
mod known;
mod loading;
mod worker;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder};

use ferula_wal::LogRecord;

use self::decode::Decoder;
pub(crate) use self::loading::{ChunkLoader, Loaded};
use self::worker::Workers;
use super::Head;
use crate::error::Error;

/// Bytes of records that are handed over together; the last one may exceed it.
const PARCEL_BYTES: usize = 512 << 10;

/// Parcels that wait at most.
const MAX_WAITING: usize = 4;

/// What a replay read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplayStats {
    pub(crate) segments: u64,
    pub(crate) records: u64,
    pub(crate) samples: u64,
    pub(crate) covered_samples: u64,
    pub(crate) skipped_records: u64,
    pub(crate) invalid_histograms: u64,
}

/// Takes the records of a log.
#[derive(Debug)]
pub(crate) struct Replay {
    parcels: SyncSender<Parcel>,
    parcel: Parcel,
    /// Parcels that were decoded.
    spare: Receiver<Parcel>,
}

/// Records on their way to be decoded.
#[derive(Debug, Default)]
struct Parcel {
    bytes: Vec<u8>,
    records: Vec<Place>,
}

/// Where a record stood in the log.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u32,
    is_checkpoint: bool,
    offset: u64,
    len: usize,
}

impl Parcel {
    fn records(&self) -> impl Iterator<Item = LogRecord<'_>> {
        let mut start = 0;
        self.records.iter().map(move |&Place { segment, is_checkpoint, offset, len }| {
            let bytes = &self.bytes[start..start + len];
            start += len;
            LogRecord { segment, is_checkpoint, offset, bytes }
        })
    }
}

impl Replay {
    /// Takes the next record. What is wrong with it shows at the end.
    pub(crate) fn apply(&mut self, record: &LogRecord<'_>) {
        let &LogRecord { segment, is_checkpoint, offset, bytes } = record;
        self.parcel.records.push(Place { segment, is_checkpoint, offset, len: bytes.len() });
        self.parcel.bytes.extend_from_slice(bytes);
        if self.parcel.bytes.len() >= PARCEL_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        let next = self.spare.try_recv().unwrap_or_default();
        // A decoder that has ended says why when it is joined.
        let _ = self.parcels.send(std::mem::replace(&mut self.parcel, next));
    }
}

impl Head {
    /// Applies the records that `read` gives to the replay, in the order of the log, on top of the
    /// chunks that were `loaded`. Nobody else uses the head yet. `None` if the chunks do not go
    /// together with the log: then, and after an error, the head is not to be used at all. Series
    /// without samples are left for those that came out of order.
    pub(crate) fn replay(
        &mut self,
        loaded: Loaded,
        read: impl FnOnce(&mut Replay) -> Result<(), Error>,
    ) -> Result<Option<ReplayStats>, Error> {
        let head = &*self;
        let done = thread::scope(|scope| {
            let (parcels, todo) = sync_channel::<Parcel>(MAX_WAITING);
            let (give_back, spare) = sync_channel::<Parcel>(MAX_WAITING);
            let mut decoder = Decoder::new(head, Workers::start(head, scope)?, loaded);
            let decode = move || {
                for mut parcel in todo {
                    parcel.records().try_for_each(|record| decoder.apply(&record))?;
                    parcel.bytes.clear();
                    parcel.records.clear();
                    // Nobody takes it when all was read.
                    let _ = give_back.try_send(parcel);
                }
                decoder.finish()
            };
            let thread =
                Builder::new().name("ferula-decode".to_owned()).spawn_scoped(scope, decode);
            let thread = thread.map_err(Error::io("start a thread for", "the replay".as_ref()))?;
            let mut replay = Replay { parcels, parcel: Parcel::default(), spare };
            let read = read(&mut replay);
            replay.send();
            drop(replay);
            // What the log says comes before what could not be read after it.
            let done = thread.join().expect("decoding does not panic")?;
            read.map(|()| done)
        })?;
        let Some(stats) = done else { return Ok(None) };
        self.has_opaque_records = stats.skipped_records > 0;
        *self.appended.get_mut() = 0;
        Ok(Some(stats))
    }
}
