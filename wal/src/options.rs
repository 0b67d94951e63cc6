//! How a log is written.

use std::time::Duration;

use crate::Error;
use crate::frame::{Compression, PAGE_BYTES};

/// Size at which a segment is closed and the next one begun, in bytes, unless told otherwise.
pub const DEFAULT_SEGMENT_BYTES: u64 = 128 << 20;

/// Largest size a segment may be set to, in bytes.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;

/// When appended records are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// A commit returns once its records are durable; commits that wait together share one sync.
    Always,
    /// A thread of the log syncs at this interval; a crash of the machine loses what came after
    /// the last sync.
    Interval(Duration),
    /// Only a full or closed segment is synced; a crash of the machine loses what came after.
    Never,
}

/// Options of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Size at which a segment is closed, in bytes; a multiple of the page size.
    pub segment_bytes: u64,
    /// How records are compressed when that makes them smaller.
    pub compression: Compression,
    /// When appended records are made durable.
    pub sync: SyncPolicy,
}

impl Default for Options {
    /// 128 MiB segments, zstd, every commit durable.
    fn default() -> Self {
        Self {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            compression: Compression::Zstd,
            sync: SyncPolicy::Always,
        }
    }
}

impl Options {
    /// Starts from the defaults.
    ///
    /// ```
    /// use ferula_wal::{Options, SyncPolicy};
    ///
    /// let options = Options::builder().sync(SyncPolicy::Never).build()?;
    /// assert_eq!(options.segment_bytes, ferula_wal::DEFAULT_SEGMENT_BYTES);
    /// # Ok::<(), ferula_wal::Error>(())
    /// ```
    pub fn builder() -> OptionsBuilder {
        OptionsBuilder { options: Self::default() }
    }
}

/// Builds [`Options`].
#[derive(Clone, Debug)]
pub struct OptionsBuilder {
    options: Options,
}

impl OptionsBuilder {
    /// Sets the size at which a segment is closed, in bytes.
    #[must_use]
    pub fn segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.options.segment_bytes = segment_bytes;
        self
    }

    /// Sets how records are compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.options.compression = compression;
        self
    }

    /// Sets when appended records are made durable.
    #[must_use]
    pub fn sync(mut self, sync: SyncPolicy) -> Self {
        self.options.sync = sync;
        self
    }

    /// Checks the options together.
    ///
    /// # Errors
    /// [`Error::Option`] if the segment size is no multiple of 32 KiB, zero or above
    /// [`MAX_SEGMENT_BYTES`], or the sync interval is zero.
    pub fn build(self) -> Result<Options, Error> {
        let options = self.options;
        let size = options.segment_bytes;
        if size == 0 || size > MAX_SEGMENT_BYTES || !size.is_multiple_of(PAGE_BYTES as u64) {
            return Err(Error::Option {
                option: "segment_bytes",
                value: size,
                expected: "a multiple of 32 KiB up to 1 GiB",
            });
        }
        if options.sync == SyncPolicy::Interval(Duration::ZERO) {
            return Err(Error::Option { option: "sync", value: 0, expected: "above zero" });
        }
        Ok(options)
    }
}
