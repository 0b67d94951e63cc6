//! Reads a log from its first record to its last, checking everything on the way.
//!
//! A reader holds one window of the segment and one record, whatever the size of the log. It takes
//! the log as it is: cutting a torn end off is the business of [`crate::repair`].

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::error::DamageReason;
use crate::frame::{
    Compression, Flags, HEADER_BYTES, Header, Kind, MAX_BATCH_BYTES, PAGE_BYTES, Unpacker,
    page_left,
};
use crate::fs::{File, Fs, OpenMode};
use crate::packed::{PackedRecord, PackedSource};
use crate::record::Record;
use crate::segment::{Listing, checkpoint_path, segment_path};

/// Bytes read from a segment at once; whole pages.
const WINDOW_BYTES: u64 = 16 * PAGE_BYTES as u64;

/// One record and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// Number of the segment; of the checkpoint, for a record from one.
    pub segment: u32,
    /// Whether the record comes from a checkpoint rather than from the log proper.
    pub is_checkpoint: bool,
    /// Offset of the record's first fragment in its segment.
    pub offset: u64,
    /// The record, decompressed; at least one byte.
    pub bytes: &'a [u8],
}

impl<'a> LogRecord<'a> {
    /// Decodes the record.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] if its bytes are not what its type says.
    pub fn decode(&self) -> Result<Record<'a>, Error> {
        Record::decode(self.bytes)
    }
}

/// Reads the records of a log in order: the last checkpoint, then the segments after it.
#[derive(Debug)]
pub struct LogReader {
    fs: Arc<dyn Fs>,
    queue: VecDeque<Source>,
    current: Option<(Source, SegmentReader)>,
}

#[derive(Clone, Debug)]
struct Source {
    path: Arc<Path>,
    number: u32,
    is_checkpoint: bool,
}

impl LogReader {
    /// Opens the log in `dir` for reading only.
    ///
    /// # Errors
    /// [`Error::MissingSegment`] if there is a gap, [`Error::Io`].
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, Error> {
        let listing = Listing::read(&*fs, dir)?;
        let last = listing.segments.last().copied().unwrap_or(u32::MAX);
        Self::over(fs, dir, &listing, last)
    }

    /// Reads what `listing` found in `dir`, up to segment `last`.
    pub(crate) fn over(
        fs: Arc<dyn Fs>,
        dir: &Path,
        listing: &Listing,
        last: u32,
    ) -> Result<Self, Error> {
        let mut queue = VecDeque::new();
        if let Some(number) = listing.checkpoint {
            let dir = checkpoint_path(dir, number);
            let segments = Listing::read(&*fs, &dir)?.segments;
            // A checkpoint was durable before it got its name, so its start cannot be missing.
            match segments.first() {
                Some(0) => {}
                next => {
                    let next = next.copied().unwrap_or(u32::MAX);
                    return Err(Error::MissingSegment { dir, missing: 0, next });
                }
            }
            for segment in segments {
                let path = segment_path(&dir, segment).into();
                queue.push_back(Source { path, number, is_checkpoint: true });
            }
        }
        for &number in listing.segments.iter().filter(|&&number| number <= last) {
            let path = segment_path(dir, number).into();
            queue.push_back(Source { path, number, is_checkpoint: false });
        }
        Ok(Self { fs, queue, current: None })
    }

    /// Reads the next record, or `None` at the end of the log.
    ///
    /// The records of a batch come all or not at all: one that the log does not hold whole is damage.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the log cannot be read, which names segment and offset; the
    /// batches before that place have been returned. [`Error::Io`].
    pub fn next_record(&mut self) -> Result<Option<LogRecord<'_>>, Error> {
        Ok(if self.advance()? { self.record() } else { None })
    }

    /// Goes to the next record; `false` at the end of the log.
    pub(crate) fn advance(&mut self) -> Result<bool, Error> {
        Ok(self.step(|reader| Ok(reader.advance()?.then_some(())))?.is_some())
    }

    /// Takes a step in the first segment that has one left.
    fn step<T>(
        &mut self,
        step: impl Fn(&mut SegmentReader) -> Result<Option<T>, ScanError>,
    ) -> Result<Option<T>, Error> {
        loop {
            if self.current.is_none() {
                let Some(source) = self.queue.pop_front() else { return Ok(None) };
                let reader = SegmentReader::open(&*self.fs, &source.path)
                    .map_err(Error::io("open", &source.path))?;
                self.current = Some((source, reader));
            }
            let (source, reader) = self.current.as_mut().expect("opened above");
            match step(reader) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => self.current = None,
                Err(error) => return Err(error.in_file(&source.path)),
            }
        }
    }

    /// Reads the next record without unpacking it, which is most of the work and can be done by
    /// another thread; `false` at the end of the log.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ferula_wal::fs::StdFs;
    /// use ferula_wal::{LogReader, Options, PackedRecord, Unpacker, Wal};
    ///
    /// # let tmp = tempfile::tempdir()?;
    /// let (wal, _) = Wal::open(Arc::new(StdFs), tmp.path(), Options::default())?;
    /// wal.append(&[&[200, 1], &[200, 2]])?;
    /// let mut reader = LogReader::open(Arc::new(StdFs), tmp.path())?;
    /// let (sender, receiver) = std::sync::mpsc::sync_channel::<PackedRecord>(8);
    /// let worker = std::thread::spawn(move || {
    ///     let mut unpacker = Unpacker::default();
    ///     receiver.iter().map(|packed| packed.unpack(&mut unpacker).map(|r| r.bytes.len())).sum()
    /// });
    /// let mut packed = PackedRecord::default();
    /// while reader.next_packed(&mut packed)? {
    ///     sender.send(std::mem::take(&mut packed))?;
    /// }
    /// drop(sender);
    /// let n_bytes: Result<usize, ferula_wal::Error> = worker.join().expect("no panic");
    /// assert_eq!(n_bytes?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`LogReader::next_record`], except that a record that does not decompress is found
    /// when it is unpacked.
    pub fn next_packed(&mut self, packed: &mut PackedRecord) -> Result<bool, Error> {
        let Some(compression) = self.step(SegmentReader::step_in_batch)? else { return Ok(false) };
        let (source, reader) = self.current.as_ref().expect("stepped in it");
        packed.fill(PackedSource {
            file: Arc::clone(&source.path),
            segment: source.number,
            is_checkpoint: source.is_checkpoint,
            offset: reader.record_start,
            compression,
            bytes: reader.packed(),
        });
        Ok(true)
    }

    /// Leaves what is left of the segment that is being read, so that the next record is one of a
    /// later segment: for whoever looks for all that is damaged.
    pub fn skip_segment(&mut self) {
        self.current = None;
    }

    /// The record gone to last.
    pub(crate) fn record(&self) -> Option<LogRecord<'_>> {
        let (source, reader) = self.current.as_ref()?;
        Some(reader.log_record(source.number, source.is_checkpoint))
    }
}

/// Why a segment could not be read on.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    Damage { offset: u64, reason: DamageReason },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ScanError {
    /// Tells whether a write that is still under way could look like this.
    pub(crate) fn may_be_incomplete(&self) -> bool {
        use DamageReason::{Compression, TooLarge};
        // These are found behind checksums that are right.
        matches!(self, Self::Damage { reason, .. } if !matches!(reason, Compression | TooLarge { .. }))
    }

    pub(crate) fn in_file(self, file: &Path) -> Error {
        match self {
            Self::Io(source) => Error::io("read", file)(source),
            Self::Damage { offset, reason } => {
                Error::Damaged { file: file.to_path_buf(), offset, reason }
            }
        }
    }
}

/// Where the bytes of the current record are.
#[derive(Debug)]
enum Place {
    /// In the window, at this range: one fragment, not compressed.
    Window(Range<usize>),
    /// Put together from its fragments, not compressed.
    Joined,
    /// Decompressed.
    Unpacked,
}

/// Reads the records of one segment.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: Box<dyn File>,
    len: u64,
    window: Vec<u8>,
    window_start: u64,
    pos: u64,
    /// Where padding began that only the end of a segment may have.
    padding: Option<u64>,
    joined: Vec<u8>,
    unpacker: Unpacker,
    place: Place,
    record_start: u64,
    /// Whether the record before `pos` announced another one of its batch.
    in_batch: bool,
    /// End of the batch that `pos` is in, once it is known to be complete.
    batch_end: u64,
    good_end: u64,
    durable_to: u64,
}

impl SegmentReader {
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        Self::open_range(fs, path, 0, u64::MAX)
    }

    /// Reads from the fragment at `start`, and nothing that lies behind `end`.
    pub(crate) fn open_range(fs: &dyn Fs, path: &Path, start: u64, end: u64) -> io::Result<Self> {
        let file = fs.open(path, OpenMode::Read)?;
        let len = file.len()?.min(end);
        Ok(Self {
            file,
            len,
            window: Vec::new(),
            window_start: 0,
            pos: start,
            padding: None,
            joined: Vec::new(),
            unpacker: Unpacker::default(),
            place: Place::Joined,
            record_start: 0,
            in_batch: false,
            batch_end: start,
            good_end: start,
            durable_to: 0,
        })
    }

    /// Length of the segment, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// End of the last complete batch.
    pub(crate) fn good_end(&self) -> u64 {
        self.good_end
    }

    /// The bytes before this offset were durable when what follows was written.
    pub(crate) fn durable_to(&self) -> u64 {
        self.durable_to
    }

    fn record(&self) -> &[u8] {
        match &self.place {
            Place::Window(_) | Place::Joined => self.packed(),
            Place::Unpacked => self.unpacker.record(),
        }
    }

    /// Reads on at `pos`, which is where a batch begins.
    pub(crate) fn seek(&mut self, pos: u64) {
        self.pos = pos;
        self.padding = None;
        self.in_batch = false;
        self.batch_end = pos;
        self.good_end = pos;
    }

    /// Forgets what was read of the file, which may have changed since.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        self.window.clear();
        self.len = self.file.len()?;
        Ok(())
    }

    /// The current record.
    pub(crate) fn log_record(&self, segment: u32, is_checkpoint: bool) -> LogRecord<'_> {
        LogRecord { segment, is_checkpoint, offset: self.record_start, bytes: self.record() }
    }

    /// Goes to the next record of a complete batch; `false` at the end of the segment.
    pub(crate) fn advance(&mut self) -> Result<bool, ScanError> {
        let good_end = self.good_end;
        let Some(compression) = self.step_in_batch()? else { return Ok(false) };
        if let Err(reason) = self.unpack(compression) {
            self.good_end = good_end;
            return Err(damage(self.record_start, reason));
        }
        Ok(true)
    }

    /// Goes to the next record of a complete batch and leaves it compressed; `None` at the end of the
    /// segment.
    fn step_in_batch(&mut self) -> Result<Option<Compression>, ScanError> {
        let start = self.pos;
        let Some(compression) = self.step()? else { return Ok(None) };
        if start < self.batch_end {
            return Ok(Some(compression));
        }
        if !self.in_batch {
            self.batch_end = self.pos;
            return Ok(Some(compression));
        }
        // To its end and back: whether a batch is complete is known at its last record.
        while self.in_batch {
            if self.step()?.is_none() {
                return Ok(None);
            }
        }
        let end = self.pos;
        self.seek(start);
        self.batch_end = end;
        self.step()
    }

    /// Goes to the next record and leaves it compressed; `None` at the end of the segment.
    pub(crate) fn step(&mut self) -> Result<Option<Compression>, ScanError> {
        let Some((start, header, range)) = self.fragment()? else {
            if self.in_batch {
                return Err(damage(self.good_end, DamageReason::CutShort));
            }
            return Ok(None);
        };
        self.record_start = start;
        match header.kind {
            Kind::Full => self.place = Place::Window(range),
            Kind::First => {
                self.joined.clear();
                self.joined.extend_from_slice(&self.window[range]);
                self.join(header.flags)?;
                self.place = Place::Joined;
            }
            Kind::Middle | Kind::Last => return Err(damage(start, DamageReason::Order)),
        }
        self.in_batch = header.flags.continues;
        if !self.in_batch {
            self.good_end = self.pos;
        }
        Ok(Some(header.flags.compression))
    }

    /// Collects the fragments after the first one.
    fn join(&mut self, flags: Flags) -> Result<(), ScanError> {
        loop {
            let Some((offset, header, range)) = self.fragment()? else {
                return Err(damage(self.record_start, DamageReason::CutShort));
            };
            if !matches!(header.kind, Kind::Middle | Kind::Last) {
                return Err(damage(offset, DamageReason::Order));
            }
            // Which of the headers is wrong is unknown, so the record as a whole is.
            if header.flags != flags {
                return Err(damage(self.record_start, DamageReason::Order));
            }
            self.joined.extend_from_slice(&self.window[range]);
            if self.joined.len() > MAX_BATCH_BYTES {
                let len = self.joined.len() as u64;
                return Err(damage(self.record_start, DamageReason::TooLarge { len }));
            }
            if header.kind == Kind::Last {
                return Ok(());
            }
        }
    }

    /// The current record as it stands in the segment, unless it was unpacked.
    fn packed(&self) -> &[u8] {
        match &self.place {
            Place::Window(range) => &self.window[range.clone()],
            _ => &self.joined,
        }
    }

    fn unpack(&mut self, compression: Compression) -> Result<(), DamageReason> {
        let packed = match &self.place {
            Place::Window(range) => &self.window[range.clone()],
            _ => &self.joined,
        };
        if self.unpacker.unpack(packed, compression)? {
            self.place = Place::Unpacked;
        }
        Ok(())
    }

    /// Reads the fragment at `pos`, passing over padding: its offset, its header, and the range of
    /// its data in the window.
    fn fragment(&mut self) -> Result<Option<(u64, Header, Range<usize>)>, ScanError> {
        loop {
            if self.pos >= self.len {
                return Ok(None);
            }
            self.fill()?;
            let offset = self.pos;
            let left = page_left(offset);
            let at = usize::try_from(offset - self.window_start).expect("within the window");
            let page = &self.window[at..self.window.len().min(at + left)];
            if page[0] == 0 {
                if page.iter().any(|&byte| byte != 0) {
                    return Err(damage(offset, DamageReason::Padding));
                }
                if left >= HEADER_BYTES {
                    self.padding.get_or_insert(offset);
                }
                self.pos += page.len() as u64;
                continue;
            }
            // A page is only left early where a segment ends, so zeros before this fragment stand
            // where records were that did not reach the disk.
            if let Some(padding) = self.padding {
                return Err(damage(padding, DamageReason::Padding));
            }
            let header = Header::parse(page, left).map_err(|reason| damage(offset, reason))?;
            header.data(page).map_err(|reason| damage(offset, reason))?;
            if header.durable_before {
                self.durable_to = offset;
            }
            self.pos += header.framed_bytes() as u64;
            return Ok(Some((offset, header, at + HEADER_BYTES..at + header.framed_bytes())));
        }
    }

    /// Has the window hold the page of `pos`.
    fn fill(&mut self) -> io::Result<()> {
        let window_end = self.window_start + self.window.len() as u64;
        if (self.window_start..window_end).contains(&self.pos) {
            return Ok(());
        }
        self.window_start = self.pos - self.pos % PAGE_BYTES as u64;
        let want = (self.len - self.window_start).min(WINDOW_BYTES);
        self.window.resize(usize::try_from(want).expect("a window is smaller than usize"), 0);
        self.file.read_exact_at(&mut self.window, self.window_start)
    }

    /// Tells whether a fragment after `from` claims that the bytes before it were durable.
    ///
    /// Reads on past damage at `damage`: pages are looked at fragment by fragment, those that hold
    /// `from` and `damage` byte by byte, because there the chain of fragments may be broken.
    pub(crate) fn claims_durable_after(&mut self, from: u64, damage: u64) -> io::Result<bool> {
        self.pos = from - from % PAGE_BYTES as u64;
        while self.pos < self.len {
            self.fill()?;
            let at = usize::try_from(self.pos - self.window_start).expect("within the window");
            let page = &self.window[at..self.window.len().min(at + PAGE_BYTES)];
            let page_end = self.pos + page.len() as u64;
            let is_broken = [from, damage].iter().any(|at| (self.pos..page_end).contains(at));
            let mut i = usize::try_from((from + 1).saturating_sub(self.pos)).unwrap_or(page.len());
            while i < page.len() {
                let header = Header::parse(&page[i..], PAGE_BYTES - i);
                if let Ok(header) = header
                    && header.durable_before
                    && header.len > 0
                    && header.data(&page[i..]).is_ok()
                {
                    return Ok(true);
                }
                i += match header {
                    _ if is_broken => 1,
                    Ok(header) => header.framed_bytes(),
                    Err(_) => page.len(),
                };
            }
            self.pos = page_end;
        }
        Ok(false)
    }
}

fn damage(offset: u64, reason: DamageReason) -> ScanError {
    ScanError::Damage { offset, reason }
}
