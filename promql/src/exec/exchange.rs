//! Reading all series of an operator, with the help of other threads.
//!
//! Series are computed in chunks, each by whichever thread comes next, and handed on in their order
//! by the thread that asked for them, which computes chunks itself while there is nothing to hand on.
//! A bounded number of chunks is under way at a time. What is handed on, and in which order, is the
//! same for any number of threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::batch::{Column, STEP_BYTES, SeriesMeta};
use super::{BoxOperator, Context, Operator};
use crate::Error;

/// Values of a chunk, about: enough to be worth a lock, few enough to stay near a processor.
const CHUNK_VALUES: usize = 8192;

/// Most series of a chunk.
const MAX_CHUNK_SERIES: usize = 128;

/// Fewest series for which other threads are asked.
const MIN_SERIES: usize = 32;

/// Chunks that are under way at a time, for each thread.
const CHUNKS_PER_THREAD: usize = 4;

/// Reads all series of `operator` in order.
pub(crate) fn read_all(
    operator: &mut dyn Operator,
    context: &Context,
    mut each: impl FnMut(usize, &Column) -> Result<(), Error>,
) -> Result<(), Error> {
    read_named(operator, context, |index, _, column| each(index, column))
}

/// Reads all series of `operator` in order, together with what is known of them.
pub(crate) fn read_named(
    operator: &mut dyn Operator,
    context: &Context,
    mut each: impl FnMut(usize, &SeriesMeta, &Column) -> Result<(), Error>,
) -> Result<(), Error> {
    let n_series = operator.series().len();
    let helpers = helpers(operator, n_series, context);
    if !helpers.is_empty() {
        return read_with(operator, helpers, n_series, context, each);
    }
    let mut column = context.column();
    for index in 0..n_series {
        context.limits.check()?;
        operator.read(index, &mut column)?;
        each(index, &operator.series()[index], &column)?;
    }
    Ok(())
}

/// Readers for other threads; none if these are not worth it.
fn helpers(operator: &dyn Operator, n_series: usize, context: &Context) -> Vec<BoxOperator> {
    let Some(threads) = &context.threads else { return Vec::new() };
    if n_series < MIN_SERIES {
        return Vec::new();
    }
    let wanted = threads.count().min(n_series / (MIN_SERIES / 2));
    let n_chunks = (wanted + 1).saturating_mul(CHUNKS_PER_THREAD);
    let chunk_bytes = CHUNK_VALUES.max(context.n_steps).saturating_mul(2 * STEP_BYTES);
    if !context.limits.ledger().has_room(n_chunks.saturating_mul(chunk_bytes)) {
        return Vec::new();
    }
    let mut helpers = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        helpers.extend(operator.fork());
    }
    helpers
}

fn read_with(
    operator: &mut dyn Operator,
    helpers: Vec<BoxOperator>,
    n_series: usize,
    context: &Context,
    mut each: impl FnMut(usize, &SeriesMeta, &Column) -> Result<(), Error>,
) -> Result<(), Error> {
    let n_helpers = helpers.len();
    let pipeline = Arc::new(Pipeline::new(helpers, n_series, context));
    let stop = StopAtEnd(&pipeline);
    if let Some(threads) = &context.threads {
        for _ in 0..n_helpers {
            let pipeline = Arc::clone(&pipeline);
            threads.spawn(Box::new(move || pipeline.help()));
        }
    }
    while let Some(task) = pipeline.next_task() {
        match task {
            Task::Compute(at) => pipeline.compute(at, operator),
            Task::HandOn(at) => {
                let mut chunk = pipeline.chunk(at);
                let first = at * pipeline.chunk_series;
                for (index, column) in (first..).zip(&chunk.columns[..chunk.len]) {
                    each(index, &operator.series()[index], column)?;
                }
                if let Some(error) = chunk.error.take() {
                    return Err(error);
                }
                drop(chunk);
                pipeline.handed_on();
            }
        }
    }
    drop(stop);
    let panicked = pipeline.lock().panicked;
    assert!(!panicked, "a thread that computed series for this query has panicked");
    Ok(())
}

/// What the threads that read the series of an operator share.
struct Pipeline {
    state: Mutex<State>,
    changed: Condvar,
    /// Chunk `n` lies in the slot `n` modulo their number.
    slots: Vec<Mutex<Chunk>>,
    chunk_series: usize,
    n_series: usize,
    n_chunks: usize,
    context: Context,
}

struct State {
    /// The chunk that is computed next.
    next: usize,
    /// Chunks that were handed on.
    handed_on: usize,
    /// Which slots hold a chunk that is computed.
    ready: Vec<bool>,
    /// Readers that no thread has taken yet.
    helpers: Vec<BoxOperator>,
    /// Threads that help.
    n_active: usize,
    stopped: bool,
    panicked: bool,
}

/// Some series, computed.
#[derive(Default)]
struct Chunk {
    columns: Vec<Column>,
    /// Series that were computed, up to one that failed.
    len: usize,
    error: Option<Error>,
}

enum Task {
    Compute(usize),
    HandOn(usize),
}

impl Pipeline {
    fn new(helpers: Vec<BoxOperator>, n_series: usize, context: &Context) -> Self {
        let n_slots = CHUNKS_PER_THREAD * (helpers.len() + 1);
        let n_steps = context.n_steps.max(1);
        let chunk_series = (CHUNK_VALUES / n_steps).clamp(1, MAX_CHUNK_SERIES);
        // Few series are shared out, too.
        let chunk_series = chunk_series.min(n_series.div_ceil(n_slots));
        let state = State {
            next: 0,
            handed_on: 0,
            ready: vec![false; n_slots],
            helpers,
            n_active: 0,
            stopped: false,
            panicked: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            slots: (0..n_slots).map(|_| Mutex::default()).collect(),
            chunk_series,
            n_series,
            n_chunks: n_series.div_ceil(chunk_series),
            context: context.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn chunk(&self, at: usize) -> MutexGuard<'_, Chunk> {
        self.slots[at % self.slots.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread that asked for the series is to do; nothing once all were handed on, or
    /// another thread has panicked.
    fn next_task(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            let at = state.handed_on;
            if at == self.n_chunks || state.panicked {
                return None;
            }
            if state.ready[at % self.slots.len()] {
                return Some(Task::HandOn(at));
            }
            if let Some(at) = self.claim(&mut state) {
                return Some(Task::Compute(at));
            }
            state = self.wait(state);
        }
    }

    /// Takes the next chunk to be computed, if there is a slot for it.
    fn claim(&self, state: &mut State) -> Option<usize> {
        let at = state.next;
        let has_slot = at < self.n_chunks && at < state.handed_on + self.slots.len();
        has_slot.then(|| {
            state.next += 1;
            at
        })
    }

    /// Frees the slot of the chunk that was handed on last.
    fn handed_on(&self) {
        let mut state = self.lock();
        let slot = state.handed_on % self.slots.len();
        state.ready[slot] = false;
        state.handed_on += 1;
        self.changed.notify_all();
    }

    /// Computes a chunk.
    fn compute(&self, at: usize, operator: &mut dyn Operator) {
        let mut chunk = self.chunk(at);
        let first = at * self.chunk_series;
        let series = first..self.n_series.min(first + self.chunk_series);
        chunk.len = 0;
        for index in series {
            let len = chunk.len;
            if len == chunk.columns.len() {
                chunk.columns.push(self.context.column());
            }
            let read = self.context.limits.check();
            let read = read.and_then(|()| operator.read(index, &mut chunk.columns[len]));
            if let Err(error) = read {
                chunk.error = Some(error);
                break;
            }
            chunk.len += 1;
        }
        drop(chunk);
        self.lock().ready[at % self.slots.len()] = true;
        self.changed.notify_all();
    }

    /// Computes chunks on another thread as long as there are any.
    fn help(&self) {
        let Some(operator) = self.enter() else { return };
        let _leave = LeaveAtEnd(self);
        // Dropped before others hear that this thread is done.
        let mut operator = operator;
        while let Some(at) = self.wait_for_chunk() {
            self.compute(at, &mut *operator);
        }
    }

    fn enter(&self) -> Option<BoxOperator> {
        let mut state = self.lock();
        if state.stopped || state.next >= self.n_chunks {
            return None;
        }
        let operator = state.helpers.pop()?;
        state.n_active += 1;
        Some(operator)
    }

    fn wait_for_chunk(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.next >= self.n_chunks {
                return None;
            }
            if let Some(at) = self.claim(&mut state) {
                return Some(at);
            }
            state = self.wait(state);
        }
    }
}

/// Makes the other threads stop, and waits until they have.
struct StopAtEnd<'a>(&'a Pipeline);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        let helpers = std::mem::take(&mut state.helpers);
        self.0.changed.notify_all();
        while state.n_active > 0 {
            state = self.0.wait(state);
        }
        drop(state);
        // Outside of the lock: what readers hold may take long to give back.
        drop(helpers);
        for slot in &self.0.slots {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Chunk::default();
        }
    }
}

/// Tells that a thread does not help any more.
struct LeaveAtEnd<'a>(&'a Pipeline);

impl Drop for LeaveAtEnd<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.n_active -= 1;
        state.panicked |= std::thread::panicking();
        self.0.changed.notify_all();
    }
}
