//! Up to where the log was sent, kept over restarts.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferula_wal::TailPosition;
use tracing::warn;

use crate::Error;

/// Folder of the positions in the data directory.
const DIR: &str = "remote_write";

/// Pieces of the log that are under way, and the position before the first of them.
#[derive(Debug)]
pub(super) struct Positions {
    file: PathBuf,
    /// What it is written as at first; no name of a place begins with a dot.
    next: PathBuf,
    /// Where pieces end, and how many samples of them were not answered.
    under_way: VecDeque<(TailPosition, Arc<AtomicUsize>)>,
    answered: Option<TailPosition>,
    saved: Option<TailPosition>,
}

impl Positions {
    /// Reads the position of a place; there is none at its first start.
    pub(super) fn open(data: &Path, name: &str) -> Result<Self, Error> {
        let dir = data.join(DIR);
        let file = dir.join(name);
        let failed = |source| Error::Read { file: file.clone(), source };
        fs::create_dir_all(&dir).map_err(failed)?;
        let saved = match fs::read_to_string(&file) {
            Ok(text) => {
                let position =
                    parse(&text).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()));
                Some(position?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let next = dir.join(format!(".{name}"));
        Ok(Self { file, next, under_way: VecDeque::new(), answered: saved, saved })
    }

    /// The position that was read.
    pub(super) fn start(&self) -> Option<TailPosition> {
        self.answered
    }

    /// Notes that nothing before this is to be sent.
    pub(super) fn begin_at(&mut self, position: TailPosition) {
        self.answered = Some(position);
    }

    /// Notes a piece that ends at `position`, of which so many are not answered.
    pub(super) fn push(&mut self, position: TailPosition, unanswered: Arc<AtomicUsize>) {
        self.under_way.push_back((position, unanswered));
    }

    /// Whether nothing is under way.
    pub(super) fn are_all_answered(&self) -> bool {
        self.under_way.iter().all(|(_, unanswered)| unanswered.load(Ordering::Acquire) == 0)
    }

    /// Writes down how far all was answered. That a power cut loses it costs sending more again.
    pub(super) fn save(&mut self) {
        while let Some((position, unanswered)) = self.under_way.front()
            && unanswered.load(Ordering::Acquire) == 0
        {
            self.answered = Some(*position);
            self.under_way.pop_front();
        }
        if self.answered == self.saved {
            return;
        }
        let Some(TailPosition { segment, offset, .. }) = self.answered else { return };
        let written = fs::File::create(&self.next)
            .and_then(|mut file| writeln!(file, "{segment} {offset}"))
            .and_then(|()| fs::rename(&self.next, &self.file));
        match written {
            Ok(()) => self.saved = self.answered,
            Err(error) => warn!(file = %self.file.display(), %error, "cannot write a position"),
        }
    }
}

fn parse(text: &str) -> Option<TailPosition> {
    let (segment, offset) = text.trim_end().split_once(' ')?;
    Some(TailPosition { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_answered_from_the_start_on_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let mut positions = Positions::open(dir.path(), "a").unwrap();
        assert_eq!(positions.start(), None);
        let at = |offset| TailPosition { segment: 7, offset };
        let pieces = [1, 1, 1].map(|count| Arc::new(AtomicUsize::new(count)));
        for (unanswered, offset) in pieces.iter().zip([10, 20, 30]) {
            positions.push(at(offset), unanswered.clone());
        }
        let reopened = || Positions::open(dir.path(), "a").unwrap().start();
        let answer = |piece: usize| pieces[piece].store(0, Ordering::Release);
        answer(1);
        positions.save();
        assert_eq!(reopened(), None);
        answer(0);
        positions.save();
        assert_eq!(reopened(), Some(at(20)));
        answer(2);
        positions.save();
        assert_eq!(reopened(), Some(at(30)));
        fs::write(dir.path().join(DIR).join("a"), "7").unwrap();
        assert!(Positions::open(dir.path(), "a").is_err());
    }
}
