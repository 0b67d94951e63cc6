//! Making a head from a log.
//!
//! One thread reads and checks records, others [unpack](unpack) them, one [decodes](decode) them in
//! the order of the log, which is the order in which they were applied when they were logged, one
//! [makes](making) the series, and [`worker`]s append the samples, each to pages of its own: those
//! of one series stay in order, and the head comes out the same whatever the number of workers. What
//! is on its way between threads is bounded, so that a replay takes no more memory than the head it
//! makes.
//!
//! Samples that a block already covers are left out: the block was cut before the log could be
//! truncated. Full chunks that an earlier run has left in files are [taken over](loading), and their
//! samples passed over.

mod decode;
mod known;
mod loading;
mod making;
mod unpack;
mod worker;

use std::thread::{self, Builder};

use self::decode::Decoder;
pub(crate) use self::loading::{ChunkLoader, Loaded};
use self::making::Maker;
pub(crate) use self::unpack::Replay;
use self::worker::Workers;
use super::Head;
use crate::error::Error;

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
            let (mut replay, unpacking, mut parcels) = unpack::start(scope)?;
            let (maker, workers) = (Maker::start(head, scope)?, Workers::start(head, scope)?);
            let mut decoder = Decoder::new(head, maker, workers, loaded);
            let decode = move || {
                while let Some(parcel) = parcels.next() {
                    parcel.records().try_for_each(|record| decoder.apply(&record))?;
                    parcels.give_back(parcel);
                }
                decoder.finish().map(|done| (done, parcels.turn()))
            };
            let thread =
                Builder::new().name("ferula-decode".to_owned()).spawn_scoped(scope, decode);
            let thread = thread.map_err(Error::io("start a thread for", "the replay".as_ref()))?;
            let read = read(&mut replay);
            replay.finish();
            // What the log says comes before what could not be unpacked after it, and that before
            // what could not be read.
            let (done, turn) = thread.join().expect("decoding does not panic")?;
            unpacking.finish(turn)?;
            read.map(|()| done)
        })?;
        let Some(stats) = done else { return Ok(None) };
        self.has_opaque_records = stats.skipped_records > 0;
        *self.appended.get_mut() = 0;
        Ok(Some(stats))
    }
}
