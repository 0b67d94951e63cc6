mod hostile;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::error::{ScrapeError, TargetState};
use super::fetch::Fetcher;
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
    Target::all_of(&Arc::new(job.clone()), &[]).0.remove(0)
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
    let fetch = async |options: &str| {
        let file = file(&address, options);
        let fetcher = Fetcher::new(&file.jobs[0], false).unwrap();
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
    let fetcher = Fetcher::new(&file.jobs[0], false).unwrap();
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
async fn tasks_that_have_not_begun_end_too() {
    for is_removed in [false, true] {
        let file = file("127.0.0.1:1", "");
        // Nothing is awaited in between, so that no task has run.
        let scraper =
            Scraper::start(&file, Arc::new(MemoryStore::new()), &Default::default()).unwrap();
        if is_removed { scraper.remove_targets().await } else { scraper.stop().await }
    }
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
    let jobs = targets.jobs();
    let JobTargets { name, active: pool, .. } = &*jobs[0];
    assert_eq!(name, "j");
    let outcome = pool[0].outcome();
    assert_eq!(outcome.state, TargetState::ParseError);
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
    let end = r#"","scrapeInterval":"400ms","scrapeTimeout":"400ms","state":"PARSE_ERROR"}],"droppedTargets":[],"droppedTargetCounts":null}}"#;
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

/// Serves a page, and tells from where each request came.
async fn exporter(page: &'static str) -> (String, mpsc::UnboundedReceiver<SocketAddr>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/metrics",
        get(async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
            let _ = seen.send(peer);
            (TEXT, page)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, requests)
}

/// The values of all series of a metric, of all targets.
fn values(store: &MemoryStore, name: &str) -> Vec<Vec<f64>> {
    let wanted = format!("__name__=\"{name}\"");
    let series = store.dump().into_iter().filter(|(labels, _)| labels.contains(&wanted));
    series.map(|(_, samples)| samples.iter().map(|s| s.value).collect()).collect()
}

async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_true() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within half a minute: {what}");
}

#[tokio::test]
async fn a_reload_keeps_what_stays_and_ends_what_goes() {
    let (stays, mut kept) = exporter("a 1\nb 1\n").await;
    let (goes, mut gone) = exporter("c 1\n").await;
    let (comes, mut new) = exporter("d 1\n").await;
    let file = |targets: &str, options: &str| {
        let text = format!(
            "scrape_configs: [{{job_name: j, scrape_interval: 100ms, {options} \
             static_configs: [{{targets: [{targets}]}}]}}]"
        );
        ScrapeFile::parse(&text, Path::new("x.yml")).unwrap()
    };
    let store = Arc::new(MemoryStore::new());
    let first = file(&format!("'{stays}', '{goes}'"), "");
    let mut scraper = Scraper::start(&first, store.clone(), &Registry::new()).unwrap();
    let targets = scraper.targets();
    let peer = kept.recv().await.unwrap();
    gone.recv().await.unwrap();
    // Both are stored: a target that was not scraped has nothing to end.
    eventually("scrapes", || values(&store, "up").len() == 2).await;
    let before = store.lookups();

    scraper.reload(&file(&format!("'{stays}', '{comes}'"), "")).unwrap();
    new.recv().await.unwrap();
    for _ in 0..3 {
        assert_eq!(kept.recv().await.unwrap(), peer, "another connection");
    }
    assert_eq!(targets.jobs()[0].active.len(), 2);
    eventually("stale markers", || {
        values(&store, "c").iter().flatten().any(|v| ferula_chunkenc::stale::is_stale(*v))
    })
    .await;
    // Only the new target's series were looked up.
    assert_eq!(store.lookups(), before + 6);
    assert!(values(&store, "a").iter().flatten().all(|value| *value == 1.0));

    // Other rules: the same target and connection, other series.
    let rules = "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}],";
    scraper.reload(&file(&format!("'{stays}'"), rules)).unwrap();
    eventually("the dropped series ends", || {
        values(&store, "b").iter().flatten().any(|v| ferula_chunkenc::stale::is_stale(*v))
    })
    .await;
    assert_eq!(kept.recv().await.unwrap(), peer, "another connection");
    assert!(values(&store, "a").iter().flatten().all(|value| *value == 1.0));
    scraper.stop().await;
}

#[tokio::test]
async fn a_target_that_comes_back_goes_on() {
    let (address, mut requests) = exporter("a 1\n").await;
    let one = file(&address, "scrape_interval: 150ms,");
    let none = ScrapeFile::parse("scrape_configs: [{job_name: j}]", Path::new("x.yml")).unwrap();
    let store = Arc::new(MemoryStore::new());
    let mut scraper = Scraper::start(&one, store.clone(), &Registry::new()).unwrap();
    requests.recv().await.unwrap();
    eventually("a scrape", || !values(&store, "up").is_empty()).await;
    scraper.reload(&none).unwrap();
    assert_eq!(scraper.targets().jobs()[0].active.len(), 0);
    scraper.reload(&one).unwrap();
    for _ in 0..5 {
        requests.recv().await.unwrap();
    }
    let values = values(&store, "a");
    assert!(values.iter().flatten().all(|v| *v == 1.0), "{values:?}");
    scraper.stop().await;
}

#[tokio::test]
async fn targets_are_found_in_files_and_asked_of_servers() {
    let (in_file, mut of_file) = exporter("a 1\n").await;
    let (told, mut of_server) = exporter("b 1\n").await;
    let answer = format!(r#"[{{"targets": ["{told}"], "labels": {{"__meta_zone": "z"}}}}]"#);
    let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    let server = serve(Router::new().route("/sd", get(async move || (headers, answer)))).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("targets.json");
    let write = |targets: &str| std::fs::write(&path, format!("[{{\"targets\": [{targets}]}}]"));
    write(&format!("\"{in_file}\"")).unwrap();
    let text = format!(
        "scrape_configs:
- job_name: j
  scrape_interval: 100ms
  relabel_configs: [{{source_labels: [__meta_zone], target_label: zone}}]
  file_sd_configs: [{{files: ['*.json']}}]
  http_sd_configs: [{{url: 'http://{server}/sd', refresh_interval: 1s}}]
"
    );
    let file = ScrapeFile::parse(&text, &dir.path().join("x.yml")).unwrap();
    let store = Arc::new(MemoryStore::new());
    let scraper = Scraper::start(&file, store.clone(), &Registry::new()).unwrap();
    of_file.recv().await.unwrap();
    of_server.recv().await.unwrap();
    let targets = scraper.targets();
    let all =
        || targets.jobs()[0].active.iter().map(|t| t.labels().to_string()).collect::<Vec<_>>();
    assert_eq!(
        all(),
        [
            format!(r#"{{instance="{in_file}", job="j"}}"#),
            format!(r#"{{instance="{told}", job="j", zone="z"}}"#),
        ]
    );
    let discovered = targets.jobs()[0].active[1].discovered().to_string();
    assert!(discovered.contains(&format!("__meta_url=\"http://{server}/sd\"")), "{discovered}");
    // A file that is broken changes nothing, one that is changed does.
    std::fs::write(&path, "[").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(all().len(), 2);
    write("").unwrap();
    eventually("the target goes", || all().len() == 1).await;
    scraper.stop().await;
}

#[test]
fn each_target_belongs_to_one_of_several_scrapers() {
    let hashes = (0..3000_u64).map(|i| xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes()));
    let owner = |hash, count| {
        let has = |index: &u32| Shard { index: *index, count }.has(hash);
        let owners: Vec<u32> = (0..count).filter(has).collect();
        assert_eq!(owners.len(), 1);
        owners[0]
    };
    let mut counts = [0; 3];
    let mut n_moved = 0;
    for hash in hashes {
        let (of_three, of_four) = (owner(hash, 3), owner(hash, 4));
        counts[of_three as usize] += 1;
        if of_three != of_four {
            assert_eq!(of_four, 3, "moved between scrapers that there were");
            n_moved += 1;
        }
    }
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    assert!((650..850).contains(&n_moved), "{n_moved}");
}
