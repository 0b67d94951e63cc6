//! A queue of one place: samples are gathered into requests, one of which is under way at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

use super::client::{Client, Outcome};
use super::encode::Encoder;
use super::item::Item;
use super::metrics::Metrics;
use crate::config::RemoteWrite;

/// Sends what comes in.
pub(super) struct Queue {
    config: Arc<RemoteWrite>,
    client: Client,
    encoder: Encoder,
    stop: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    waiting: Vec<Item>,
}

impl Queue {
    pub(super) fn new(
        config: Arc<RemoteWrite>,
        client: Client,
        stop: Arc<AtomicBool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let encoder = Encoder::new(config.version, config.send_metadata);
        Self { config, client, encoder, stop, metrics, waiting: Vec::new() }
    }

    /// Sends until nothing comes any more, or the sender is to stop and nobody answers.
    pub(super) async fn run(mut self, mut pieces: Receiver<Vec<Item>>) {
        let longest = Duration::from_millis(self.config.batch_deadline_ms.unsigned_abs());
        let mut deadline = None;
        loop {
            let piece = match deadline {
                Some(deadline) => timeout_at(deadline, pieces.recv()).await,
                None => Ok(pieces.recv().await),
            };
            let (is_over, is_urgent) = match piece {
                Ok(Some(mut piece)) => {
                    let is_urgent = piece.is_empty();
                    deadline = deadline.or_else(|| Some(Instant::now() + longest));
                    self.waiting.append(&mut piece);
                    (false, is_urgent)
                }
                Ok(None) => (true, true),
                Err(_) => {
                    deadline = None;
                    if !self.send(1).await {
                        return;
                    }
                    continue;
                }
            };
            if !self.send(if is_urgent { 1 } else { self.config.batch_samples }).await {
                return;
            }
            if self.waiting.is_empty() {
                deadline = None;
            }
            if is_over {
                return;
            }
        }
    }

    /// Sends requests as long as `least` samples wait; false if nobody answers and the sender is to stop.
    async fn send(&mut self, least: usize) -> bool {
        while !self.waiting.is_empty() && self.waiting.len() >= least {
            let n_items = self.next_request();
            let body = self.encoder.encode(&self.waiting[..n_items]);
            let outcome = self.client.send(body.into(), &self.stop).await;
            let n = n_items as u64;
            match outcome {
                Outcome::Taken => self.metrics.sent.add(n),
                Outcome::Refused => self.metrics.failed.add(n),
                Outcome::Stopped => return false,
            }
            for item in self.waiting.drain(..n_items) {
                item.unanswered.fetch_sub(1, Ordering::AcqRel);
            }
        }
        true
    }

    /// How many of those that wait make a request: all of a series that stand together stay together, as an
    /// exemplar needs its sample.
    fn next_request(&self) -> usize {
        let most = self.config.batch_samples.min(self.waiting.len());
        let last = self.waiting[most - 1].series.number;
        let rest = self.waiting[most..].iter();
        most + rest.take_while(|item| item.series.number == last).count().min(most)
    }
}
