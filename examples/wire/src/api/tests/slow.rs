//! Clients that hang up, or do not read what they are sent.

use std::sync::atomic::{AtomicUsize, Ordering};

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher};
use ferula_promql::storage::{Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange};
use parking_lot::Mutex;

use super::*;

/// A thousand series; reading the first one waits until it is allowed to go on.
struct SlowStorage {
    reading: std::sync::mpsc::Sender<()>,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
    n_read: AtomicUsize,
}

const SLOW_COUNT: usize = 1000;

/// A view of a [`SlowStorage`].
#[derive(Clone)]
struct SlowView(Arc<SlowStorage>);

impl Queryable for SlowView {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for SlowView {
    fn select(&self, _: &[Matcher], _: &SelectHints) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(self.clone()))
    }

    fn label_names(&self, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

impl SeriesSet for SlowView {
    fn len(&self) -> usize {
        SLOW_COUNT
    }

    fn labels(&self, index: usize) -> Labels {
        Labels::from_pairs([("__name__", "slow"), ("n", &format!("{index:04}"))]).unwrap()
    }

    fn read(&self, _: usize, _: &mut SampleBatch) -> Result<(), StorageError> {
        if self.0.n_read.fetch_add(1, Ordering::Relaxed) == 0 {
            self.0.reading.send(())?;
            self.0.go_on.lock().recv()?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_query_whose_client_hangs_up_is_cancelled() {
    let (reading, is_reading) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let n_read = AtomicUsize::new(0);
    let slow = Arc::new(SlowStorage { reading, go_on: Mutex::new(may_go_on), n_read });
    let state = ApiState::builder(Arc::new(SlowView(slow.clone()))).query_concurrency(1).build();
    let api = router(state.clone());
    let request = Request::get("/api/v1/query?query=slow&time=0").body(Body::empty()).unwrap();
    let client = tokio::spawn(api.oneshot(request));
    tokio::task::spawn_blocking(move || is_reading.recv()).await.unwrap().unwrap();
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    // The slot is free when the query has ended.
    drop(state.shared.query_slots.acquire().await.unwrap());
    assert!(slow.n_read.load(Ordering::Relaxed) < SLOW_COUNT);
}

/// As many series as anybody reads, each with a sample at time zero.
#[derive(Clone, Default)]
struct Endless {
    n_read: Arc<AtomicUsize>,
    fails_at: Option<usize>,
}

impl Queryable for Endless {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
        Ok(Box::new(self.clone()))
    }
}

impl Querier for Endless {
    fn select(&self, _: &[Matcher], _: &SelectHints) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(self.clone()))
    }

    fn label_names(&self, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

impl SeriesSet for Endless {
    fn len(&self) -> usize {
        40_000
    }

    fn labels(&self, index: usize) -> Labels {
        Labels::from_pairs([("__name__", "endless"), ("n", &format!("{index:09}"))]).unwrap()
    }

    fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
        self.n_read.fetch_add(1, Ordering::Relaxed);
        if self.fails_at == Some(index) {
            return Err("cannot read block".into());
        }
        batch.push(0, 1.5);
        Ok(())
    }
}

const ENDLESS: &str = "/api/v1/query_range?query=endless&start=0&end=200&step=1";

#[tokio::test]
async fn a_query_whose_client_does_not_read_waits_and_ends_when_its_time_is_over() {
    let storage = Endless::default();
    let state = ApiState::builder(Arc::new(storage.clone())).query_concurrency(1).build();
    let request = Request::get(format!("{ENDLESS}&timeout=2s")).body(Body::empty()).unwrap();
    let response = router(state.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // Nobody reads the body; the slot is free again when the time of the query is over.
    drop(state.shared.query_slots.acquire().await.unwrap());
    assert!(storage.n_read.load(Ordering::Relaxed) < 20_000);
    // What was sent ends as an error.
    assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
}

#[tokio::test]
async fn a_query_whose_client_hangs_up_while_it_reads_is_cancelled() {
    let storage = Endless::default();
    let state = ApiState::builder(Arc::new(storage.clone())).query_concurrency(1).build();
    let request = Request::get(ENDLESS).body(Body::empty()).unwrap();
    let response = router(state.clone()).oneshot(request).await.unwrap();
    drop(response);
    drop(state.shared.query_slots.acquire().await.unwrap());
    assert!(storage.n_read.load(Ordering::Relaxed) < 20_000);
}

#[tokio::test]
async fn an_answer_that_fails_on_the_way_is_told_as_one_or_cut_off() {
    for (fails_at, is_told) in [(10, true), (30_000, false)] {
        let storage = Endless { fails_at: Some(fails_at), ..Endless::default() };
        let api = router(ApiState::builder(Arc::new(storage)).build());
        let response =
            api.oneshot(Request::get(ENDLESS).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await;
        if is_told {
            let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
            assert!(status == 500 && body.contains("cannot read block"), "{body}");
        } else {
            assert!(status == 200 && body.is_err());
        }
    }
}
