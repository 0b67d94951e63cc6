//! Targets that are broken or mean harm: the right state, a clear message, bounded memory.

use std::time::Instant;

use ferula_tsdb::{Db, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Sends `head` to whoever connects, and then `piece` again and again, with pauses between.
async fn endless(head: &'static str, piece: Vec<u8>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let piece: Arc<[u8]> = piece.into();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let piece = piece.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let mut sent = stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = stream.write_all(&piece).await;
                    tokio::time::sleep(pause).await;
                }
            });
        }
    });
    address
}

async fn fetch_from(address: &str, options: &str) -> ScrapeError {
    let file = file(address, options);
    let fetcher = Fetcher::new(&file.jobs[0], false).unwrap();
    fetcher.fetch(&target(&file.jobs[0])).await.unwrap_err()
}

#[tokio::test]
async fn targets_that_do_not_end_are_cut_off() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut piece = b"8000\r\n".to_vec();
    piece.resize(6 + 0x8000, b'a');
    piece.extend(b"\r\n");
    let pages = endless(head, piece, Duration::ZERO).await;
    let error = fetch_from(&pages, "body_size_limit: 1MB,").await;
    assert_eq!(error.state(), TargetState::OverLimit);
    assert_eq!(error.to_string(), "body size limit of 1048576 bytes exceeded");

    // A byte of the head now and then, and a byte of the page.
    for (head, piece) in [
        ("HTTP/1.1 200 OK\r\nX: ", b"a".to_vec()),
        (head, b"1\r\n#\r\n".to_vec()),
        ("", b"H".to_vec()),
    ] {
        let slow = endless(head, piece, Duration::from_millis(20)).await;
        let start = Instant::now();
        let error = fetch_from(&slow, "scrape_timeout: 200ms,").await;
        let is_timeout = error.state() == TargetState::Timeout;
        // What is no HTTP is told at once.
        assert!(is_timeout || error.state() == TargetState::Down, "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    // A head without end.
    let heads = endless("HTTP/1.1 200 OK\r\n", b"X-A: b\r\n".repeat(1000), Duration::ZERO).await;
    let error = fetch_from(&heads, "scrape_timeout: 5s,").await;
    assert_eq!(error.state(), TargetState::Down, "{error}");
}

#[tokio::test]
async fn redirections_in_a_circle_are_not_followed_for_ever() {
    let circle = get(async || (StatusCode::FOUND, [(header::LOCATION, "/metrics")]));
    let address = serve(Router::new().route("/metrics", circle)).await;
    assert_eq!(fetch_from(&address, "").await.state(), TargetState::Down);
    let error = fetch_from(&address, "follow_redirects: false,").await;
    assert_eq!(error.to_string(), "server returned HTTP status 302 Found");
}

#[tokio::test]
async fn pages_that_cannot_be_stored_leave_a_report() {
    let many: String = (0..5000).map(|i| format!("l{i}=\"v\",")).collect();
    let long = "x".repeat(3 << 20);
    for (page, message) in [
        (format!("a 1\nb{{{many}}} 1\n"), "line 2: series not accepted: "),
        (format!("a 1\nb{{c=\"{long}\"}} 1\n"), "line 2: series not accepted: "),
        ("a 1\nb{c=\"\u{0}\"} x\n".to_owned(), "line 2: invalid value \"x\""),
        ("a 1\nb{c=\"d\",c=\"e\"} 1\n".to_owned(), "line 2: invalid labels: "),
    ] {
        let app = Router::new().route("/metrics", get(async move || (TEXT, page)));
        let address = serve(app).await;
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
        let file = file(&address, "scrape_interval: 100ms,");
        let scraper = Scraper::start(&file, db.clone(), &Registry::new()).unwrap();
        let targets = scraper.targets();
        let outcome = || targets.jobs()[0].active[0].outcome();
        eventually("a scrape", || outcome().state != TargetState::Unknown).await;
        scraper.stop().await;
        assert_eq!(outcome().state, TargetState::ParseError);
        assert!(outcome().error.starts_with(message), "{}", outcome().error);
        assert!(outcome().error.len() < 10_000, "{} bytes of message", outcome().error.len());
        // The report, and nothing of the page.
        assert_eq!(db.stats().n_series, 5);
        db.close().unwrap();
    }
}

#[tokio::test]
async fn text_that_is_no_utf8_is_told_with_its_line() {
    let page: &[u8] = b"a 1\nb{c=\"\xff\"} 1\n";
    let address = serve(Router::new().route("/metrics", get(async move || (TEXT, page)))).await;
    let store = Arc::new(MemoryStore::new());
    let file = file(&address, "scrape_interval: 100ms,");
    let scraper = Scraper::start(&file, store.clone(), &Registry::new()).unwrap();
    let targets = scraper.targets();
    let outcome = || targets.jobs()[0].active[0].outcome();
    eventually("a scrape", || outcome().state != TargetState::Unknown).await;
    assert_eq!(outcome().error, "line 2: label value is not valid UTF-8: \"\\xff\"");
    scraper.stop().await;
    assert!(values(&store, "a").is_empty());
}
