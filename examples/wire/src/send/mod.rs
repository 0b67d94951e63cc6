//! Sending what a store takes in to other servers, by remote write 1.0 or 2.0.
//!
//! The store's log is followed: what is committed is sent, in the order of each series, and nothing is kept
//! in memory beside what is under way. A place that does not answer is asked again until it does, with
//! longer and longer breaks, while the log keeps what it misses. The position up to which all was
//! answered is written down every second, so that a later process goes on there; what was sent since is
//! sent again, which receivers pass over.
//!
//! What is not sent: samples that the log has dropped before a place took them, which is told by a warning
//! and a metric; and what a place refuses with a status that says so.

mod client;
mod encode;
mod item;
mod metrics;
mod position;
mod queue;
mod reader;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::channel;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use self::client::Client;
use self::metrics::Metrics;
use self::position::Positions;
use self::queue::Queue;
use self::reader::Reader;
use crate::Error;
use crate::config::{ConfigProblem, RemoteWrite, ScrapeFile};
use crate::telemetry::Registry;

/// How long what is under way may go on when a sender is stopped.
const GRACE_PERIOD: Duration = Duration::from_secs(3);

/// Pieces of the log that wait in a queue; the log waits for room.
const QUEUE_PIECES: usize = 2;

/// Sends to all places of a configuration.
#[derive(Debug, Default)]
pub struct Senders {
    places: Vec<Place>,
    config: Vec<RemoteWrite>,
}

/// One place, and what works for it.
#[derive(Debug)]
struct Place {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Positions>,
    queues: Vec<JoinHandle<()>>,
}

impl Senders {
    /// Starts to follow the log of the store in `data`, which is open, for each of the places.
    ///
    /// # Errors
    /// [`Error::Client`] if no client can be made, [`Error::Read`] if a position cannot be read.
    pub fn start(
        config: &[RemoteWrite],
        external_labels: &BTreeMap<String, String>,
        data: &Path,
        registry: &Registry,
    ) -> Result<Self, Error> {
        let mut places = Vec::with_capacity(config.len());
        for place in config {
            places.push(Place::start(place, external_labels, data, registry)?);
        }
        Ok(Self { places, config: config.to_vec() })
    }

    /// Checks that a file that is read again names the same places: others are sent to by another process.
    ///
    /// # Errors
    /// [`Error::Config`] if it does not.
    pub fn check_unchanged(&self, again: &ScrapeFile, file: &Path) -> Result<(), Error> {
        if again.remote_write == self.config {
            return Ok(());
        }
        let url = again.remote_write.first().map(RemoteWrite::shown_url).unwrap_or_default();
        let reason = "a change of remote_write needs a restart".to_owned();
        let source = ConfigProblem::RemoteWrite { url, reason };
        Err(Error::Config { file: file.to_owned(), source })
    }

    /// Ends; what is under way has a few seconds. What was not answered by then is sent by the next
    /// process.
    pub async fn stop(self) {
        for place in &self.places {
            place.stop.store(true, Ordering::Release);
        }
        for mut place in self.places {
            // It waits for room in the queues, and so for requests that may not be answered for long.
            let ended = timeout(GRACE_PERIOD, &mut place.reader).await;
            if ended.is_err() {
                place.queues.iter().for_each(JoinHandle::abort);
            }
            let mut positions = match ended {
                Ok(ended) => ended.ok(),
                Err(_) => (&mut place.reader).await.ok(),
            };
            for queue in &mut place.queues {
                if timeout(GRACE_PERIOD, &mut *queue).await.is_err() {
                    queue.abort();
                }
            }
            if let Some(positions) = &mut positions {
                positions.save();
            }
        }
    }
}

/// What is not stopped ends all the same, or the runtime would wait for it.
impl Drop for Place {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Place {
    fn start(
        config: &RemoteWrite,
        external_labels: &BTreeMap<String, String>,
        data: &Path,
        registry: &Registry,
    ) -> Result<Self, Error> {
        let config = Arc::new(config.clone());
        let metrics = Arc::new(Metrics::new(registry, &config.name));
        let client = Client::new(config.clone(), metrics.clone())?;
        let mut positions = Positions::open(data, &config.name)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (mut senders, mut queues) = (Vec::new(), Vec::new());
        for _ in 0..config.shards {
            let (sender, receiver) = channel(QUEUE_PIECES);
            let queue = Queue::new(config.clone(), client.clone(), stop.clone(), metrics.clone());
            queues.push(tokio::spawn(queue.run(receiver)));
            senders.push(sender);
        }
        let reader = Reader::new(config, external_labels.clone(), data, senders, metrics);
        if let Err(error) = reader.begin(&mut positions) {
            // It is tried again when the log is followed.
            tracing::warn!(error = crate::error::chain(&error), "cannot find the end of the log");
        }
        let (stopped, runtime) = (stop.clone(), Handle::current());
        let reader = spawn_blocking(move || reader.run(positions, &stopped, &runtime));
        Ok(Self { stop, reader, queues })
    }
}
