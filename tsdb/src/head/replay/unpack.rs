//! Unpacking the records of a log, between the thread that reads them and the one that decodes them.
//!
//! It takes longer than all else that is done with most of them, so several threads take turns.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle, available_parallelism};

use ferula_wal::{LogRecord, PackedRecord, Unpacker};

use crate::error::Error;

/// Threads at most.
const MAX_THREADS: usize = 4;

/// Bytes of records that are handed over together; the last one may exceed it.
const PARCEL_BYTES: usize = 512 << 10;

/// Parcels that wait at most, for each thread and for what it has unpacked.
const MAX_WAITING: usize = 2;

/// Takes the records of a log.
#[derive(Debug)]
pub(crate) struct Replay {
    threads: Vec<ToUnpack>,
    /// The one whose turn it is.
    turn: usize,
    parcel: Packed,
}

#[derive(Debug)]
struct ToUnpack {
    parcels: SyncSender<Packed>,
    /// Parcels that were unpacked.
    spare: Receiver<Packed>,
}

/// Records as they stand in the log.
#[derive(Debug, Default)]
struct Packed {
    /// The first `len` of these, and memory for more.
    records: Vec<PackedRecord>,
    len: usize,
    bytes: usize,
}

/// Records on their way to be decoded.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    bytes: Vec<u8>,
    records: Vec<Place>,
    /// Whether more is to come from the same thread before it is the next one's turn.
    continues: bool,
}

/// Where a record stood in the log.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u32,
    is_checkpoint: bool,
    offset: u64,
    len: usize,
}

/// What the threads have unpacked, in the order of the log.
#[derive(Debug)]
pub(super) struct Parcels {
    threads: Vec<(Receiver<Parcel>, SyncSender<Parcel>)>,
    turn: usize,
}

/// The threads, to wait for.
#[derive(Debug)]
pub(super) struct Unpacking<'scope>(Vec<ScopedJoinHandle<'scope, Result<(), ferula_wal::Error>>>);

/// Starts threads that unpack, which end when all was read.
pub(super) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
) -> Result<(Replay, Unpacking<'scope>, Parcels), Error> {
    let mut replay = Replay { threads: Vec::new(), turn: 0, parcel: Packed::default() };
    let mut unpacked = Parcels { threads: Vec::new(), turn: 0 };
    let mut threads = Vec::new();
    for _ in 0..available_parallelism().map_or(1, usize::from).min(MAX_THREADS) {
        let (parcels, todo) = sync_channel(MAX_WAITING);
        let (return_packed, spare) = sync_channel(MAX_WAITING);
        replay.threads.push(ToUnpack { parcels, spare });
        let (done, decode) = sync_channel(MAX_WAITING);
        let (return_parcel, spare) = sync_channel(MAX_WAITING);
        unpacked.threads.push((decode, return_parcel));
        let unpack = move || unpack(todo, &return_packed, &done, &spare);
        let thread = Builder::new().name("ferula-unpack".to_owned()).spawn_scoped(scope, unpack);
        let thread = thread.map_err(Error::io("start a thread for", "the replay".as_ref()))?;
        threads.push(thread);
    }
    Ok((replay, Unpacking(threads), unpacked))
}

impl Replay {
    /// Takes the record that `read` reads. Tells whether there was one; what is wrong with it shows at
    /// the end.
    pub(crate) fn take(
        &mut self,
        read: impl FnOnce(&mut PackedRecord) -> Result<bool, ferula_wal::Error>,
    ) -> Result<bool, ferula_wal::Error> {
        let Packed { records, len, bytes } = &mut self.parcel;
        if *len == records.len() {
            records.push(PackedRecord::default());
        }
        let record = &mut records[*len];
        if !read(record)? {
            return Ok(false);
        }
        *len += 1;
        *bytes += record.packed_bytes();
        if *bytes >= PARCEL_BYTES {
            self.send();
        }
        Ok(true)
    }

    fn send(&mut self) {
        let ToUnpack { parcels, spare } = &self.threads[self.turn];
        let next = spare.try_recv().unwrap_or_default();
        // Who has ended says why when it is joined.
        let _ = parcels.send(mem::replace(&mut self.parcel, next));
        self.turn = (self.turn + 1) % self.threads.len();
    }

    /// Hands over what was taken.
    pub(super) fn finish(mut self) {
        self.send();
    }
}

/// Unpacks until all is read, or a record cannot be; those before it are handed over.
fn unpack(
    todo: Receiver<Packed>,
    give_back: &SyncSender<Packed>,
    done: &SyncSender<Parcel>,
    spare: &Receiver<Parcel>,
) -> Result<(), ferula_wal::Error> {
    let mut unpacker = Unpacker::default();
    for mut packed in todo {
        let mut parcel = spare.try_recv().unwrap_or_default();
        for record in &packed.records[..packed.len] {
            let unpacked = record.unpack(&mut unpacker).map(|record| parcel.push(&record));
            if unpacked.is_err() || parcel.bytes.len() >= PARCEL_BYTES {
                parcel.continues = true;
                let next = spare.try_recv().unwrap_or_default();
                let _ = done.send(mem::replace(&mut parcel, next));
                unpacked?;
            }
        }
        if done.send(parcel).is_err() {
            // Decoding has failed.
            return Ok(());
        }
        (packed.len, packed.bytes) = (0, 0);
        // Nobody takes it when all was read.
        let _ = give_back.try_send(packed);
    }
    Ok(())
}

impl Parcels {
    /// The thread whose turn it is.
    pub(super) fn turn(&self) -> usize {
        self.turn
    }

    /// The next ones; `None` when all was read, or could not be unpacked.
    pub(super) fn next(&mut self) -> Option<Parcel> {
        self.threads[self.turn].0.recv().ok()
    }

    /// Gives back what [`next`](Self::next) gave last, and whose records are decoded.
    pub(super) fn give_back(&mut self, mut parcel: Parcel) {
        let turn = self.turn;
        if !mem::take(&mut parcel.continues) {
            self.turn = (turn + 1) % self.threads.len();
        }
        parcel.bytes.clear();
        parcel.records.clear();
        // Nobody takes it when all was read.
        let _ = self.threads[turn].1.try_send(parcel);
    }
}

impl Unpacking<'_> {
    /// Waits for the threads. Fails with what the thread `turn` failed with, where decoding ended,
    /// before what came later in the log.
    pub(super) fn finish(self, turn: usize) -> Result<(), Error> {
        let results = self.0.into_iter().map(|t| t.join().expect("unpacking does not panic"));
        let mut results: Vec<_> = results.collect();
        results.rotate_left(turn);
        let result = results.into_iter().collect::<Result<(), _>>();
        result.map_err(|source| Error::Wal { op: "read", source })
    }
}

impl Parcel {
    fn push(&mut self, record: &LogRecord<'_>) {
        let &LogRecord { segment, is_checkpoint, offset, bytes } = record;
        self.records.push(Place { segment, is_checkpoint, offset, len: bytes.len() });
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn records(&self) -> impl Iterator<Item = LogRecord<'_>> {
        let mut start = 0;
        self.records.iter().map(move |&Place { segment, is_checkpoint, offset, len }| {
            let bytes = &self.bytes[start..start + len];
            start += len;
            LogRecord { segment, is_checkpoint, offset, bytes }
        })
    }
}
