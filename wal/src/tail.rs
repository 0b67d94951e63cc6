//! Reads a log that is still being written, by this process or another one.
//!
//! A tail hands on a record once all of its batch can be read, and otherwise says that there is
//! nothing yet. What cannot be read at the end of the last segment is on its way, or the trace of a
//! crash that its writer cuts off when it comes back; only what cannot be read in front of a later
//! segment is damage. Nothing is written and nothing locked, so whoever writes the log need not know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::fs::Fs;
use crate::reader::{LogReader, LogRecord, SegmentReader};
use crate::segment::{Listing, segment_path};

/// A place in a log at which a tail can go on, in this process or a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TailPosition {
    /// Number of the segment.
    pub segment: u32,
    /// Offset in it, in bytes: the end of a batch.
    pub offset: u64,
}

/// Where a tail begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TailStart {
    /// At the newest checkpoint, or the first segment if there is none.
    #[default]
    Beginning,
    /// Behind the last complete batch of the last segment.
    End,
    /// At a place that another tail of this log had come to.
    At(TailPosition),
}

/// Follows a log. See the [crate documentation](crate) for the log itself.
///
/// ```
/// use std::sync::Arc;
///
/// use ferula_wal::fs::StdFs;
/// use ferula_wal::{LogTail, Options, TailStart, Wal};
///
/// # let tmp = tempfile::tempdir()?;
/// # let dir = tmp.path().join("wal");
/// let (wal, _) = Wal::open(Arc::new(StdFs), &dir, Options::default())?;
/// let mut tail = LogTail::open(Arc::new(StdFs), &dir, TailStart::Beginning)?;
/// assert_eq!(tail.next_record()?, None);
/// wal.append(&[&[200, 1], &[200, 2]])?;
/// assert_eq!(tail.next_record()?.expect("a record").bytes, [200, 1]);
/// assert_eq!(tail.next_record()?.expect("a record").bytes, [200, 2]);
/// assert_eq!(tail.next_record()?, None);
///
/// let position = tail.position().expect("in a segment");
/// wal.append(&[&[200, 3]])?;
/// let mut later = LogTail::open(Arc::new(StdFs), &dir, TailStart::At(position))?;
/// assert_eq!(later.next_record()?.expect("a record").bytes, [200, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogTail {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// What is left of the checkpoint.
    checkpoint: Option<LogReader>,
    /// Where to read the segment from that is not open yet.
    next: TailPosition,
    /// The open segment, which is that of `next`.
    segment: Option<SegmentReader>,
}

impl LogTail {
    /// Opens the log in `dir` for following it.
    ///
    /// # Errors
    /// [`Error::MissingSegment`] if the segment of the position is gone or the log has a gap,
    /// [`Error::PositionLost`] if the segment ends before it, [`Error::Damaged`], [`Error::Io`].
    pub fn open(fs: Arc<dyn Fs>, dir: impl AsRef<Path>, start: TailStart) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let listing = Listing::read(&*fs, dir)?;
        let after_checkpoint = listing.checkpoint.map_or(0, |number| number.saturating_add(1));
        let begin = |segment| TailPosition { segment, offset: 0 };
        let mut tail = Self {
            checkpoint: None,
            next: begin(*listing.segments.first().unwrap_or(&after_checkpoint)),
            segment: None,
            dir: dir.to_path_buf(),
            fs,
        };
        match start {
            TailStart::Beginning => {
                let fs = Arc::clone(&tail.fs);
                tail.checkpoint = match listing.checkpoint {
                    Some(number) => Some(LogReader::over(fs, dir, &listing, number)?),
                    None => None,
                };
            }
            TailStart::End => {
                tail.next = begin(*listing.segments.last().unwrap_or(&after_checkpoint));
                while tail.advance()? {}
            }
            TailStart::At(position) => {
                tail.next = position;
                if !tail.open_segment()? && position.offset > 0 {
                    let (missing, next) = (position.segment, u32::MAX);
                    return Err(Error::MissingSegment { dir: tail.dir, missing, next });
                }
            }
        }
        Ok(tail)
    }

    /// The next record of a complete batch, or `None` if there is none yet: then this may be called
    /// again later.
    ///
    /// # Errors
    /// [`Error::MissingSegment`] if the tail was so slow that what it was to read next is gone: then
    /// what is still wanted of it stands in a checkpoint, and a new tail can begin with that.
    /// [`Error::PositionLost`] if what was read last is not in the log any more; [`Error::Damaged`]
    /// where a part of the log in front of a later segment cannot be read; [`Error::Io`]. Calling
    /// again tries again.
    pub fn next_record(&mut self) -> Result<Option<LogRecord<'_>>, Error> {
        if !self.advance()? {
            return Ok(None);
        }
        if let Some(checkpoint) = &self.checkpoint {
            return Ok(checkpoint.record());
        }
        Ok(self.segment.as_ref().map(|reader| reader.log_record(self.next.segment, false)))
    }

    /// Where a later tail can go on: behind the last batch of which all records were returned.
    ///
    /// `None` while the checkpoint is read, which cannot be interrupted.
    pub fn position(&self) -> Option<TailPosition> {
        let offset = self.segment.as_ref().map_or(self.next.offset, SegmentReader::good_end);
        self.checkpoint.is_none().then_some(TailPosition { offset, ..self.next })
    }

    /// Goes to the next record; `false` if there is none yet.
    fn advance(&mut self) -> Result<bool, Error> {
        if let Some(checkpoint) = &mut self.checkpoint {
            if checkpoint.advance()? {
                return Ok(true);
            }
            self.checkpoint = None;
        }
        // What is read after a later segment was seen is all that there will ever be.
        let (mut is_fresh, mut is_complete) = (false, false);
        loop {
            if self.segment.is_none() && !self.open_segment()? {
                return Ok(false);
            }
            let path = segment_path(&self.dir, self.next.segment);
            let reader = self.segment.as_mut().expect("opened above");
            let damage = match reader.advance() {
                Ok(true) => return Ok(true),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            reader.seek(reader.good_end());
            match damage {
                Some(error) if !error.may_be_incomplete() => return Err(error.in_file(&path)),
                _ if !is_fresh => {
                    is_complete = self.exists_after()?;
                    self.look_again(is_complete)?;
                    is_fresh = true;
                }
                _ if !is_complete => return Ok(false),
                None => {
                    self.segment = None;
                    self.next = TailPosition { segment: self.next.segment + 1, offset: 0 };
                    (is_fresh, is_complete) = (false, false);
                }
                // A Prometheus that was killed when it had just started leaves an empty segment
                // behind the torn one, which it repairs when it starts again.
                Some(_) if self.is_empty_after()? => return Ok(false),
                Some(error) => return Err(error.in_file(&path)),
            }
        }
    }

    /// Opens the segment to read next; `false` if it does not exist yet.
    fn open_segment(&mut self) -> Result<bool, Error> {
        let TailPosition { segment, offset } = self.next;
        let path = segment_path(&self.dir, segment);
        match SegmentReader::open_range(&*self.fs, &path, offset, u64::MAX) {
            Ok(reader) => self.segment = Some(self.check_position(reader)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let listing = Listing::read(&*self.fs, &self.dir)?;
                let mut all = listing.stale_segments.iter().chain(&listing.segments);
                return match all.find(|&&number| number > segment) {
                    Some(&next) => {
                        Err(Error::MissingSegment { dir: self.dir.clone(), missing: segment, next })
                    }
                    None => Ok(false),
                };
            }
            Err(error) => return Err(Error::io("open", &path)(error)),
        }
        Ok(true)
    }

    /// Has the open segment read as it is now. A complete one is opened anew: whoever repaired it
    /// may have put another file in its place.
    fn look_again(&mut self, is_complete: bool) -> Result<(), Error> {
        let Some(mut reader) = self.segment.take() else { return Ok(()) };
        let path = segment_path(&self.dir, self.next.segment);
        self.next.offset = reader.good_end();
        if is_complete {
            match SegmentReader::open_range(&*self.fs, &path, self.next.offset, u64::MAX) {
                Ok(reopened) => reader = reopened,
                // It may be removed by now, and is still readable.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", &path)(error)),
            }
        }
        reader.refresh().map_err(Error::io("read", &path))?;
        self.segment = Some(self.check_position(reader)?);
        Ok(())
    }

    /// Checks that the segment reaches to the position at which it is to be read.
    fn check_position(&self, reader: SegmentReader) -> Result<SegmentReader, Error> {
        let TailPosition { segment, offset } = self.next;
        if reader.len() >= offset {
            return Ok(reader);
        }
        let file = segment_path(&self.dir, segment);
        Err(Error::PositionLost { file, offset, len: reader.len() })
    }

    /// Tells whether there is a later segment. The open one may be removed by now, and then the next
    /// one may be too.
    fn exists_after(&self) -> Result<bool, Error> {
        let exists = |segment| {
            let path = segment_path(&self.dir, segment);
            self.fs.exists(&path).map_err(Error::io("inspect", &path))
        };
        let Some(next) = self.next.segment.checked_add(1) else { return Ok(false) };
        Ok(exists(next)? || !exists(self.next.segment)?)
    }

    /// Tells whether the segment after the open one, which exists, has nothing in it.
    fn is_empty_after(&self) -> Result<bool, Error> {
        let path = segment_path(&self.dir, self.next.segment + 1);
        match self.fs.metadata(&path) {
            Ok(metadata) => Ok(metadata.len == 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(Error::io("inspect", &path)(error)),
        }
    }
}
