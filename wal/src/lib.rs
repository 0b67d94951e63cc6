//! A write-ahead log in Prometheus's format, and the file-system trait it is tested with.
//!
//! Records go into numbered segments, in batches that survive a crash whole or not at all, and are
//! read back when the log is opened again, or followed while it is written ([`LogTail`]). Prometheus
//! and its tools read these logs, and logs of Prometheus are read here. For a whole store, with a head and blocks, see `ferula-tsdb`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use ferula_index::{Labels, SeriesRef};
//! use ferula_wal::fs::StdFs;
//! use ferula_wal::record::{Record, samples, series};
//! use ferula_wal::{Options, Wal};
//!
//! # let tmp = tempfile::tempdir()?;
//! # let dir = tmp.path().join("wal");
//! let (wal, _) = Wal::open(Arc::new(StdFs), &dir, Options::default())?;
//! let labels = Labels::from_pairs([("__name__", "up")])?;
//! let (mut series_record, mut samples_record) = (Vec::new(), Vec::new());
//! series::encode([(SeriesRef(1), &labels)], &mut series_record);
//! let sample = samples::RefSample { series: SeriesRef(1), timestamp: 1_000, value: 1.0 };
//! samples::encode([sample], &mut samples_record);
//! wal.append(&[&series_record, &samples_record])?;
//! wal.close()?;
//!
//! let (_wal, mut recovery) = Wal::open(Arc::new(StdFs), &dir, Options::default())?;
//! assert_eq!(recovery.report.cut, None);
//! let mut n_samples = 0;
//! while let Some(record) = recovery.next_record()? {
//!     if let Record::Samples(mut samples) = record.decode()? {
//!         while let Some(read) = samples.next()? {
//!             assert_eq!(read, sample);
//!             n_samples += 1;
//!         }
//!     }
//! }
//! assert_eq!(n_samples, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//! - A batch whose commit returned is read back, up to what the [`SyncPolicy`] leaves open.
//! - What is read back is a prefix of what was logged, in whole batches.
//! - After a failed write or sync nothing is acknowledged ([`Error::Stopped`]) until the log can go on:
//!   with everything that was logged, in order ([`Wal::try_resume`]).
//! - A torn end is cut off and reported ([`RecoveryReport::cut`]); anything else that cannot be read
//!   is an error that names segment and offset, and nothing is changed.
//!
//! # Features
//! | feature | what it adds |
//! | --- | --- |
//! | `testing` | `fs::FaultFs`, a file system in memory that fails and crashes on demand |

#![forbid(unsafe_code)]

mod checkpoint;
mod error;
mod frame;
pub mod fs;
mod options;
mod packed;
mod reader;
pub mod record;
mod repair;
mod segment;
mod tail;
mod writer;

pub use checkpoint::CheckpointReport;
pub use error::{DamageReason, Error};
pub use frame::{Compression, MAX_BATCH_BYTES, PAGE_BYTES, Unpacker};
pub use options::{DEFAULT_SEGMENT_BYTES, MAX_SEGMENT_BYTES, Options, OptionsBuilder, SyncPolicy};
pub use packed::PackedRecord;
pub use reader::{LogReader, LogRecord};
pub use repair::{Cut, torn_end};
pub use tail::{LogTail, TailPosition, TailStart};
pub use writer::{Lsn, Recovery, RecoveryReport, Reservation, Wal};
