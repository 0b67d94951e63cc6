//! Making the series that a log names, while the next ones are decoded.
//!
//! They are made in the order of the log: which ref a series has that the log names twice must not
//! depend on how fast threads are.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use ferula_index::{Labels, SeriesRef};

use crate::error::Error;
use crate::head::Head;
use crate::head::series::page_number;

/// Series that are made together at most.
const BATCH: usize = 1024;

/// Batches that wait at most.
const MAX_WAITING: usize = 4;

/// Series that are made at once rather than handed to the thread, which takes longer to wake up.
const MADE_AT_ONCE: usize = 128;

/// Series that were made.
#[derive(Debug)]
pub(super) struct Made {
    /// What the log calls them.
    pub(super) series: Vec<SeriesRef>,
    /// Those of them that stand for a series which is there under another ref, with that one; in
    /// the same order.
    pub(super) aliases: Vec<(SeriesRef, SeriesRef)>,
}

/// Takes series, and hands them to the thread that makes them.
#[derive(Debug)]
pub(super) struct Maker<'scope> {
    head: &'scope Head,
    thread: ScopedJoinHandle<'scope, ()>,
    /// Those that are not handed over yet.
    named: Vec<(SeriesRef, Labels)>,
    todo: SyncSender<Vec<(SeriesRef, Labels)>>,
    made: Receiver<Result<Made, Error>>,
    n_under_way: usize,
}

impl<'scope> Maker<'scope> {
    /// Starts the thread, which ends with the scope, or when this is dropped.
    pub(super) fn start<'env: 'scope>(
        head: &'env Head,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<Self, Error> {
        let (todo, named) = sync_channel(MAX_WAITING);
        let (give, made) = channel();
        let thread = Builder::new().name("ferula-series".to_owned());
        let thread = thread.spawn_scoped(scope, move || make_all(head, &named, &give));
        let thread = thread.map_err(Error::io("start a thread for", "the replay".as_ref()))?;
        Ok(Self { head, thread, named: Vec::new(), todo, made, n_under_way: 0 })
    }

    /// Waits until the thread has ended; all series that were taken were asked for.
    pub(super) fn finish(self) {
        drop(self.todo);
        self.thread.join().expect("making series does not panic");
    }

    /// Takes the next series.
    pub(super) fn put(&mut self, series: SeriesRef, labels: Labels) {
        self.named.push((series, labels));
        if self.named.len() >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let named = std::mem::replace(&mut self.named, Vec::with_capacity(BATCH));
        // A thread that has ended has left the reason.
        let _ = self.todo.send(named);
        self.n_under_way += 1;
    }

    /// Whether all series that were taken are made and have been asked for.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.n_under_way == 0 && self.named.is_empty()
    }

    /// The next ones that were made, in the order in which they were taken; `None` after the last.
    /// Waits for those under way.
    pub(super) fn next_made(&mut self) -> Result<Option<Made>, Error> {
        if self.n_under_way == 0 && self.named.len() <= MADE_AT_ONCE {
            if self.named.is_empty() {
                return Ok(None);
            }
            let made = make(self.head, &self.named).map(Some);
            self.named.clear();
            return made;
        }
        if !self.named.is_empty() {
            self.hand_over();
        }
        self.n_under_way -= 1;
        self.made.recv().expect("the thread leaves a result of each batch, or an error").map(Some)
    }
}

fn make_all(
    head: &Head,
    named: &Receiver<Vec<(SeriesRef, Labels)>>,
    give: &Sender<Result<Made, Error>>,
) {
    for named in named {
        let made = make(head, &named);
        let has_failed = made.is_err();
        // Nobody takes it after another failure.
        if give.send(made).is_err() || has_failed {
            return;
        }
    }
}

fn make(head: &Head, named: &[(SeriesRef, Labels)]) -> Result<Made, Error> {
    let series: Vec<SeriesRef> = named.iter().map(|(series, _)| *series).collect();
    let first = series.first().copied().unwrap_or_default();
    let aliases = head.index.insert_all(named).map_err(Error::index_all(first))?;
    let mut next_alias = aliases.iter().copied().peekable();
    for &series in &series {
        head.note_ref(series);
        if next_alias.next_if(|(alias, _)| *alias == series).is_some() {
            continue;
        }
        head.stripes.insert(series);
        if let Some(page) = head.stripes.page(page_number(series))
            && let Some(mut made) = page.lock().series_mut(series)
        {
            made.publish();
        }
    }
    Ok(Made { series, aliases })
}
