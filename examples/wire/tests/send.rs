//! What a store takes in is sent to another one, whole, whatever comes between.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, MatchOp, Matcher};
use ferula_tsdb::{Db, Options};
use ferula_wire::api::{ApiState, router};
use ferula_wire::config::ScrapeFile;
use ferula_wire::remote::{Receiver, Version};
use ferula_wire::send::Senders;
use ferula_wire::store::Store;
use ferula_wire::telemetry::Registry;
use http_body::Frame;
use tokio::net::TcpListener;

const NOW: i64 = 1_700_000_000_000;

/// What is stored: a line for each sample, exemplar and description.
fn stored(db: &Db) -> BTreeSet<String> {
    let (mint, maxt) = (NOW - 1_000_000, NOW + 1_000_000);
    let querier = db.querier(mint, maxt).unwrap();
    let series = querier.select(&[]).unwrap();
    let mut lines = BTreeSet::new();
    for index in 0..series.len() {
        let mut batch = SampleBatch::new();
        series.read(index, &mut batch).unwrap();
        let labels = series.labels(index);
        for (place, time) in batch.timestamps().iter().enumerate() {
            let value = match batch.histogram(place) {
                Some(histogram) => histogram.to_string(),
                None => batch.values()[place].to_bits().to_string(),
            };
            lines.insert(format!("{labels} {time} {} {value}", batch.start_timestamp(place)));
        }
    }
    let all = [[Matcher::new(MatchOp::Regex, "__name__", ".+").unwrap()]];
    for of in db.exemplars(&all, mint, maxt).unwrap() {
        let exemplars = of.exemplars.iter();
        lines.extend(exemplars.map(|exemplar| format!("{} # {exemplar:?}", of.labels)));
    }
    for of in db.metadata(None).unwrap() {
        lines.insert(format!("{} is {:?}", of.metric, of.metadata));
    }
    lines
}

fn open(dir: &Path) -> Arc<Db> {
    Arc::new(Db::open(dir, Options::default()).unwrap())
}

/// Fails so many of the next requests.
async fn fail(State(left): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    match left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(left) if left % 3 == 0 => {
            (StatusCode::TOO_MANY_REQUESTS, [("Retry-After", "0")]).into_response()
        }
        Ok(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => next.run(request).await,
    }
}

/// A server over `db`, the first requests of which fail.
async fn serve(db: Arc<Db>, failures: usize) -> (String, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(failures));
    let state = ApiState::builder(db.clone()).store(db).enable_remote_write(true).build();
    let router: Router = router(state).layer(from_fn_with_state(left.clone(), fail));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, left)
}

fn config(dir: &Path, url: &str, more: &str) -> ScrapeFile {
    let file = dir.join("scrape.yml");
    let text = format!(
        "scrape_configs: [{{job_name: a}}]
remote_write:
- url: {url}
  name: test
  send_exemplars: true
  send_native_histograms: true
  queue_config: {{batch_send_deadline: 50ms, min_backoff: 10ms, max_backoff: 50ms, max_samples_per_send: 7}}
{more}"
    );
    std::fs::write(&file, text).unwrap();
    ScrapeFile::read(&file).unwrap()
}

fn start(file: &ScrapeFile, data: &Path) -> Senders {
    let places = &file.remote_write;
    Senders::start(places, &file.external_labels, data, &Registry::new()).unwrap()
}

async fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not come to that");
}

/// Appends the sample number `n` of many series.
fn append(db: &Db, n: i64) {
    let mut batch = db.appender();
    for series in 0..50 {
        let pairs = [("__name__", "load".to_owned()), ("series", format!("{series}"))];
        let labels = Labels::from_pairs(pairs).unwrap();
        batch.append(&labels, NOW + n * 1000, n as f64).unwrap();
    }
    batch.commit().unwrap();
}

async fn everything_arrives(version: Version) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [source, target] = [open(dirs[0].path()), open(dirs[1].path())];
    append(&source, -10);
    let (url, failures) = serve(target.clone(), 7).await;
    let file = config(dirs[0].path(), &url, &format!("  protobuf_message: {}", version.message()));
    let senders = start(&file, dirs[0].path());
    let receiver = Receiver::new(source.clone() as Arc<dyn Store>, &Registry::new());
    let golden = match version {
        Version::V1 => &include_bytes!("data/remote_write/v1/request.snappy")[..],
        _ => &include_bytes!("data/remote_write/v2/request.snappy")[..],
    };
    receiver.receive(version, golden, NOW).unwrap();
    for n in 2..10 {
        append(&source, n);
    }
    // What was there before the first start is not sent.
    let mut expected = stored(&source);
    expected.retain(|line| !line.contains(&format!(" {} ", NOW - 10_000)));
    wait_until(|| stored(&target) == expected).await;
    assert_eq!(failures.load(Ordering::SeqCst), 0);

    // While it is stopped the log keeps what comes; and what comes while nobody answers.
    senders.stop().await;
    for n in 10..20 {
        append(&source, n);
    }
    failures.store(usize::MAX, Ordering::SeqCst);
    let senders = start(&file, dirs[0].path());
    for n in 20..30 {
        append(&source, n);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    senders.stop().await;
    failures.store(0, Ordering::SeqCst);
    assert_eq!(stored(&target), expected);
    let senders = start(&file, dirs[0].path());
    let mut expected = stored(&source);
    expected.retain(|line| !line.contains(&format!(" {} ", NOW - 10_000)));
    wait_until(|| stored(&target) == expected).await;
    senders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_by_1() {
    everything_arrives(Version::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_by_2() {
    everything_arrives(Version::V2).await;
}

/// Serves one handler at the path of remote write; returns the address.
async fn serve_handler(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_does_not_keep_it_from_ending() {
    let router = Router::new().fallback(async || pending::<()>().await);
    let url = serve_handler(router).await;
    let dir = tempfile::tempdir().unwrap();
    let source = open(dir.path());
    let file = config(dir.path(), &url, "  remote_timeout: 10m\n");
    let senders = start(&file, dir.path());
    // More than what is under way and what waits: the log is not read any further.
    for n in 0..1500 {
        append(&source, n);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), senders.stop()).await;
    assert!(ended.is_ok(), "it waits for an answer");
}

/// A redirect that makes a `GET` of a request is none of what was sent, whatever it is answered with.
#[tokio::test(flavor = "multi_thread")]
async fn only_redirects_that_keep_the_request_are_followed() {
    for status in [301, 302, 307, 308] {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [source, target] = [open(dirs[0].path()), open(dirs[1].path())];
        let (url, _) = serve(target.clone(), 0).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, elsewhere) = (asked.clone(), url);
        let router = Router::new().fallback(async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            (StatusCode::from_u16(status).unwrap(), [("Location", elsewhere)])
        });
        let url = serve_handler(router).await;
        let registry = Registry::new();
        let file = config(dirs[0].path(), &url, "");
        let places = &file.remote_write;
        let senders =
            Senders::start(places, &file.external_labels, dirs[0].path(), &registry).unwrap();
        append(&source, 1);
        wait_until(|| asked.load(Ordering::SeqCst) >= 4).await;
        if status > 302 {
            wait_until(|| stored(&target) == stored(&source)).await;
        }
        senders.stop().await;
        let page = String::from_utf8(registry.page()).unwrap();
        let is_refused = page.contains("samples_failed_total{remote_name=\"test\"} 50");
        assert_eq!(is_refused, status <= 302, "{status}: {page}");
    }
}

/// A body that goes on and on.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
    }
}

/// What a refusal says is read no further than it is logged.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_an_end_is_read_up_to_what_is_logged() {
    let router = Router::new()
        .fallback(async || (StatusCode::BAD_REQUEST, Body::new(Endless)).into_response());
    let url = serve_handler(router).await;
    let dir = tempfile::tempdir().unwrap();
    let source = open(dir.path());
    let registry = Registry::new();
    let file = config(dir.path(), &url, "");
    let places = &file.remote_write;
    let senders = Senders::start(places, &file.external_labels, dir.path(), &registry).unwrap();
    append(&source, 1);
    let all = "samples_failed_total{remote_name=\"test\"} 50";
    wait_until(|| String::from_utf8(registry.page()).unwrap().contains(all)).await;
    senders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn series_are_relabelled_and_dropped() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [source, target] = [open(dirs[0].path()), open(dirs[1].path())];
    let (url, _) = serve(target.clone(), 0).await;
    let more = "  write_relabel_configs:
  - {source_labels: [series], regex: '.', action: drop}
  - {source_labels: [series], target_label: n, replacement: 'n$1'}
  - {regex: series, action: labeldrop}
global: {external_labels: {site: here}}
";
    let file = config(dirs[0].path(), &url, more);
    let senders = start(&file, dirs[0].path());
    append(&source, 1);
    append(&source, 2);
    wait_until(|| stored(&target).len() == 80).await;
    senders.stop().await;
    let lines = stored(&target);
    assert!(lines.iter().all(|line| line.starts_with(r#"{__name__="load", n="n"#)), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(r#"site="here"}"#)), "{lines:?}");
}

/// Counts the requests under way, and the most there were.
#[derive(Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
}

async fn slowly(State(count): State<Arc<UnderWay>>, request: Request, next: Next) -> Response {
    let now = count.now.fetch_add(1, Ordering::SeqCst) + 1;
    count.most.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let response = next.run(request).await;
    count.now.fetch_sub(1, Ordering::SeqCst);
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_are_under_way_where_one_is_too_slow() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [source, target] = [open(dirs[0].path()), open(dirs[1].path())];
    let count = Arc::<UnderWay>::default();
    let state = ApiState::builder(target.clone()).store(target.clone()).enable_remote_write(true);
    let router = router(state.build()).layer(from_fn_with_state(count.clone(), slowly));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let text = format!(
        "scrape_configs: [{{job_name: a}}]
remote_write: [{{url: '{url}', queue_config: {{batch_send_deadline: 50ms, max_samples_per_send: 1000}}}}]"
    );
    let file = ScrapeFile::parse(&text, Path::new("x.yml")).unwrap();
    let registry = Registry::new();
    let (places, external) = (&file.remote_write, &file.external_labels);
    let start = || Senders::start(places, external, dirs[0].path(), &registry).unwrap();
    let senders = start();
    let are_taken = |n: usize| {
        let page = String::from_utf8(registry.page()).unwrap();
        let is_counter = |line: &&str| line.starts_with("ferula_remote_storage_samples_total{");
        page.lines().find(is_counter).is_some_and(|line| line.ends_with(&format!(" {n}")))
    };
    append(&source, -1);
    wait_until(|| are_taken(50)).await;
    assert_eq!(count.most.load(Ordering::SeqCst), 1);
    senders.stop().await;
    for n in 0..1000 {
        append(&source, n);
    }
    // Those that overtook others would be refused.
    let senders = start();
    wait_until(|| are_taken(1001 * 50)).await;
    assert!(stored(&target) == stored(&source), "something is missing");
    let most = count.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most}");
    senders.stop().await;
}

/// A log with a gap is not read again and again without a break.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_followed_is_left_alone_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    for segment in ["00000000", "00000002"] {
        std::fs::write(dir.path().join("wal").join(segment), "").unwrap();
    }
    let registry = Registry::new();
    let file = config(dir.path(), "http://127.0.0.1:1/", "");
    let places = &file.remote_write;
    let senders = Senders::start(places, &file.external_labels, dir.path(), &registry).unwrap();
    let lost = || {
        let page = String::from_utf8(registry.page()).unwrap();
        let line = page.lines().find(|line| line.starts_with("ferula_remote_storage_log_lost"));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    wait_until(|| lost() > 0).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lost(), 1);
    senders.stop().await;
}
