//! The scraper with a small exporter, and with configurations that are wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use ferula_wire::testing::{Program, failure};
use tempfile::TempDir;

const SCRAPER: &str = env!("CARGO_BIN_EXE_scraper");

/// Serves one page of metrics to whoever asks, until the test ends.
fn exporter(metrics: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let mut part = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(n) if n > 0 => request.extend_from_slice(&part[..n]),
                    _ => break,
                }
            }
            let length = metrics.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{metrics}"
            );
        }
    });
    address
}

/// A data directory, and the path of a configuration in it.
fn configuration(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("scrape.yml");
    fs::write(&file, text).expect("the file can be written");
    (dir, file)
}

#[test]
fn targets_of_the_file_are_scraped() {
    let address = exporter("# TYPE torches gauge\ntorches{place=\"gate\"} 3\n");
    let (dir, file) = configuration(&format!(
        "global:\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\nscrape_configs:\n\
         - job_name: town\n  static_configs:\n  - targets: ['{address}']\n"
    ));
    let file = file.to_str().expect("a plain path");
    let scraper = Program::start(SCRAPER, &dir.path().join("data"), &["--config", file]);
    scraper.wait_for("count_over_time(torches[1h])", 2.0);
    assert_eq!(scraper.value(&format!(r#"torches{{instance="{address}",job="town"}}"#)), Some(3.0));
    let (status, targets) = scraper.get("/api/v1/targets");
    assert_eq!(status, 200);
    assert!(targets.contains(r#""health":"up""#), "{targets}");
    let (status, messages) = scraper.terminate();
    assert_eq!(status.code(), Some(0), "{messages}");
}

#[test]
fn the_file_is_read_again_and_a_wrong_one_changes_nothing() {
    let first = exporter("torches{place=\"gate\"} 3\n");
    let second = exporter("wells 1\n");
    let text = |targets: &str| {
        format!(
            "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\nscrape_configs:\n\
             - job_name: town\n  static_configs: [{{targets: [{targets}]}}]\n"
        )
    };
    let (dir, file) = configuration(&text(&format!("'{first}'")));
    let path = file.to_str().expect("a plain path");
    let flags = ["--config", path, "--enable-lifecycle"];
    let scraper = Program::start(SCRAPER, &dir.path().join("data"), &flags);
    scraper.wait_for("count_over_time(torches[1h])", 2.0);
    let reload = || {
        let answer = scraper.client.post(format!("{}/-/reload", scraper.url)).send();
        answer.expect("an answer").status().as_u16()
    };
    fs::write(&file, "scrape_configs: [{job_name: town, static_config: []}]").expect("written");
    assert_eq!(reload(), 500);
    let (_, metrics) = scraper.get("/metrics");
    assert!(metrics.contains("\nferula_config_last_reload_successful 0\n"), "{metrics}");
    let (_, config) = scraper.get("/api/v1/status/config");
    assert!(config.contains(&first.to_string()), "{config}");
    scraper.wait_for("torches", 3.0);

    fs::write(&file, text(&format!("'{first}', '{second}'"))).expect("written");
    assert_eq!(reload(), 200);
    scraper.wait_for("wells", 1.0);
    let (_, config) = scraper.get("/api/v1/status/config");
    assert!(config.contains(&second.to_string()), "{config}");

    // A signal does the same.
    fs::write(&file, text(&format!("'{second}'"))).expect("written");
    let id = scraper.id().to_string();
    let killed = Command::new("kill").args(["-HUP", &id]).status().expect("there is kill");
    assert!(killed.success());
    scraper.wait_for("count(up) or vector(0)", 1.0);
    let (status, messages) = scraper.terminate();
    assert_eq!(status.code(), Some(0), "{messages}");
    assert!(messages.contains("static_config"), "{messages}");
}

#[test]
fn a_wrong_file_is_told_with_file_line_and_field() {
    let (dir, file) = configuration(
        "global:\n  scrape_interval: 15s\nscrape_configs:\n- job_name: town\n  scrape_interval: soon\n",
    );
    let path = file.to_str().expect("a plain path");
    let (code, messages) = failure(SCRAPER, &dir.path().join("data"), &["--config", path]);
    assert_eq!(code, Some(1), "{messages}");
    for part in [path, "5", "scrape_interval"] {
        assert!(messages.contains(part), "{part}: {messages}");
    }
    assert!(!messages.contains("panicked"), "{messages}");
}

#[test]
fn a_missing_file_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, messages) = failure(SCRAPER, dir.path(), &["--config", "/nowhere/scrape.yml"]);
    assert_eq!(code, Some(1), "{messages}");
    assert!(messages.contains("cannot read /nowhere/scrape.yml"), "{messages}");
}
