use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::error::ScrapeError;
use super::*;
use crate::api::{self, ApiState};
use crate::config::Job;
use crate::error::chain;
use crate::store::memory::MemoryStore;

/// Serves `app` on a port of its own, and yields host and port.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

fn file(address: &str, options: &str) -> ScrapeFile {
    let text = format!(
        "scrape_configs: [{{job_name: j, {options} static_configs: [{{targets: ['{address}']}}]}}]"
    );
    ScrapeFile::parse(&text, Path::new("x.yml")).unwrap()
}

fn target(job: &Job) -> Target {
    Target::all_of(job).0.remove(0)
}

/// A thousand times `a 1` and a line feed, compressed.
const GZIP_PAGE: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 195, 49, 13, 0, 0, 8, 3, 176, 31, 21, 88, 64, 210, 252,
    155, 152, 12, 158, 54, 105, 246, 38, 170, 170, 170, 234, 235, 2, 82, 61, 210, 91, 160, 15, 0,
    0,
];

const TEXT: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];

#[tokio::test]
async fn pages_are_fetched_within_their_limits() {
    let app = Router::new()
        .route("/metrics", get(async || (TEXT, "a 1\n")))
        .route(
            "/gzip",
            get(async |headers: HeaderMap| {
                assert_eq!(headers[header::ACCEPT_ENCODING], "gzip");
                assert!(headers[header::ACCEPT].to_str().unwrap().contains("version=0.0.4"));
                assert_eq!(headers["x-prometheus-scrape-timeout-seconds"], "10");
                (TEXT, [(header::CONTENT_ENCODING, "gzip")], GZIP_PAGE)
            }),
        )
        .route("/missing", get(async || StatusCode::NOT_FOUND))
        .route("/json", get(async || ([(header::CONTENT_TYPE, "application/json")], "{}")))
        .route(
            "/hangs",
            get(async || {
                std::future::pending::<()>().await;
                "".into_response()
            }),
        );
    let address = serve(app).await;
    let fetcher = Fetcher::new(false).unwrap();
    let fetch = async |options: &str| {
        let file = file(&address, options);
        fetcher.fetch(&target(&file.jobs[0])).await
    };
    assert_eq!(fetch("").await.unwrap().body, b"a 1\n");
    assert_eq!(fetch("metrics_path: /gzip,").await.unwrap().body.len(), 4000);
    let plain = fetch(
        "enable_compression: false, fallback_scrape_protocol: PrometheusText0.0.4, \
                       metrics_path: /json,",
    );
    assert_eq!(plain.await.unwrap().body, b"{}");
    for (options, message) in [
        ("metrics_path: /gzip, body_size_limit: 3999B,", "body size limit of 3999 bytes exceeded"),
        ("metrics_path: /missing,", "server returned HTTP status 404 Not Found"),
        (
            "metrics_path: /json,",
            "unsupported content type \"application/json\" and no fallback_scrape_protocol",
        ),
        ("metrics_path: /hangs, scrape_timeout: 50ms,", "the page did not arrive within 50ms"),
    ] {
        let error: ScrapeError = fetch(options).await.unwrap_err();
        assert_eq!(chain(&error), message);
    }
    let file = file(&address, "target_limit: 1,");
    let target = target(&file.jobs[0]);
    target.set_over_limit(Some(3));
    let error = fetcher.fetch(&target).await.unwrap_err();
    assert_eq!(chain(&error), "target limit of 1 exceeded, the job has 3 targets");
    // Nothing listens on the port of a listener that is gone.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let file = self::file(&gone.to_string(), "");
    let error = fetcher.fetch(&self::target(&file.jobs[0])).await.unwrap_err();
    assert!(matches!(error, ScrapeError::Fetch(_)), "{error}");
}

#[tokio::test]
async fn a_scraper_scrapes_until_it_is_stopped() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let app = Router::new().route(
        "/metrics",
        get(async move || {
            let n = counted.fetch_add(1, Ordering::Relaxed);
            let _ = seen.send(());
            (
                TEXT,
                if n > 0 {
                    "a x\n".to_owned()
                } else {
                    format!("# HELP a An A.\n# TYPE a gauge\na {n}\n")
                },
            )
        }),
    );
    let address = serve(app).await;
    let store = Arc::new(MemoryStore::new());
    let file = file(&address, "scrape_interval: 400ms,");
    let scraper = Scraper::start(&file, store.clone(), &Registry::new()).unwrap();
    // A scrape is stored before the next one is begun.
    for _ in 0..3 {
        requests.recv().await.unwrap();
    }
    let targets = scraper.targets();
    let Pool { name, active: pool, .. } = targets.pools().next().unwrap();
    assert_eq!(name, "j");
    let outcome = pool[0].outcome();
    assert_eq!(outcome.health.as_str(), "down");
    assert_eq!(outcome.error, "line 1: invalid value \"x\"");
    let state = ApiState::builder(store.clone()).targets(targets.clone()).build();
    let api = api::router(state);
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = api.clone().oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(store.metadata().0, ["a Gauge  An A."]);
    assert!(get("/api/v1/scrape_pools").await.ends_with(r#"{"scrapePools":["j"]}}"#));
    let listed = get("/api/v1/targets?state=active").await;
    let start = format!(
        r#"{{"status":"success","data":{{"activeTargets":[{{"discoveredLabels":{{"__address__":"{address}","__metrics_path__":"/metrics","__scheme__":"http","__scrape_interval__":"400ms","__scrape_timeout__":"400ms","job":"j"}},"labels":{{"instance":"{address}","job":"j"}},"scrapePool":"j","scrapeUrl":"http://{address}/metrics","globalUrl":"http://{address}/metrics","lastError":""#
    );
    assert!(listed.starts_with(&start), "{listed}");
    let end = r#"","scrapeInterval":"400ms","scrapeTimeout":"400ms"}],"droppedTargets":[],"droppedTargetCounts":null}}"#;
    assert!(listed.ends_with(end), "{listed}");
    scraper.stop().await;

    let stored = store.dump();
    let values = |name: &str| {
        let wanted = format!(r#"{{__name__="{name}", instance="{address}", job="j"}}"#);
        let (_, samples) = stored.iter().find(|(labels, _)| *labels == wanted).unwrap();
        samples.iter().map(|s| (s.timestamp, s.value)).collect::<Vec<_>>()
    };
    let up = values("up");
    assert_eq!((up[0].1, up[1].1), (1.0, 0.0));
    let a = values("a");
    assert_eq!(a[0].1, 0.0);
    assert!(ferula_chunkenc::stale::is_stale(a[1].1));
    assert_eq!(a[1].0, up[1].0);
    // Stopping ends no series.
    assert!(!ferula_chunkenc::stale::is_stale(up.last().unwrap().1));
}

#[tokio::test]
async fn removed_targets_end() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/metrics",
        get(async move || {
            let _ = seen.send(());
            (TEXT, "a 1\n")
        }),
    );
    let address = serve(app).await;
    let store = Arc::new(MemoryStore::new());
    let file = file(&address, "scrape_interval: 400ms,");
    let scraper = Scraper::start(&file, store.clone(), &Registry::new()).unwrap();
    requests.recv().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), scraper.remove_targets()).await.unwrap();
    for (labels, samples) in store.dump() {
        let last = samples.last().unwrap();
        assert!(ferula_chunkenc::stale::is_stale(last.value), "{labels}");
    }
}
