//! The receiver under load, killed, and started again.

mod message;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use ferula_wire::testing::{Program, failure, wait};

use crate::message::{Label, Sample, TimeSeries, WriteRequest, send};

const RECEIVER: &str = env!("CARGO_BIN_EXE_receiver");

/// Series of one request, all with a sample of the same time.
const SERIES: usize = 50;

/// The request with sample number `n` of every series of `writer`.
fn request(writer: usize, n: usize, start_ms: i64) -> Vec<u8> {
    let timestamp = start_ms + i64::try_from(n).expect("a small number");
    let timeseries = (0..SERIES).map(|series| TimeSeries {
        labels: vec![
            Label::new("__name__", "load"),
            Label::new("series", &series.to_string()),
            Label::new("writer", &writer.to_string()),
        ],
        samples: vec![Sample { value: n as f64, timestamp }],
    });
    WriteRequest { timeseries: timeseries.collect() }.to_body()
}

#[test]
fn everything_acknowledged_survives_a_crash_under_load() {
    for policy in ["always", "interval", "never"] {
        crash_under_load(policy);
    }
}

fn crash_under_load(policy: &str) {
    let data = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let start_ms = i64::try_from(now).expect("before the year 292 million") - 600_000;
    let receiver = Program::start(RECEIVER, data.path(), &["--wal-sync", policy]);

    let acknowledged: Arc<[AtomicUsize; 2]> = Arc::default();
    let (progress, progressed) = mpsc::channel();
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (client, url) = (receiver.client.clone(), receiver.url.clone());
            let (acknowledged, progress) = (acknowledged.clone(), progress.clone());
            thread::spawn(move || {
                for n in 0.. {
                    if !send(&client, &url, request(writer, n, start_ms)) {
                        return n;
                    }
                    acknowledged[writer].store(n + 1, Ordering::SeqCst);
                    let _ = progress.send(());
                }
                unreachable!("the receiver is killed before the numbers end")
            })
        })
        .collect();
    for _ in 0..300 {
        progressed.recv().expect("the writers go on until the receiver is killed");
    }
    receiver.kill();
    let unanswered: Vec<usize> =
        writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect();

    let receiver = Program::start(RECEIVER, data.path(), &[]);
    for (writer, unanswered) in unanswered.into_iter().enumerate() {
        let acknowledged = acknowledged[writer].load(Ordering::SeqCst);
        let count = |aggregation: &str| {
            let expression =
                format!(r#"{aggregation}(count_over_time(load{{writer="{writer}"}}[1h]))"#);
            receiver.value(&expression).expect("the series are there")
        };
        assert_eq!(count("count"), SERIES as f64);
        // A request is there whole or not at all, and the last one may be though it was not answered.
        let kept = count("min");
        assert_eq!(kept, count("max"), "a request is there in part");
        assert!(
            kept >= acknowledged as f64 && kept <= unanswered as f64 + 1.0,
            "{policy}: {acknowledged} requests were acknowledged, {kept} are left"
        );
    }

    // The store goes on where it was.
    assert!(send(&receiver.client, &receiver.url, request(2, 0, start_ms)));
    let (status, messages) = receiver.terminate();
    assert_eq!(status.code(), Some(0), "{messages}");
}

#[test]
fn a_clean_end_leaves_nothing_to_cut() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, data.path(), &["--wal-sync", "always"]);
    assert_eq!(receiver.get("/-/ready").0, 200);
    assert!(send(&receiver.client, &receiver.url, request(0, 0, 1_700_000_000_000)));
    assert_eq!(receiver.terminate().0.code(), Some(0));
    let receiver = Program::start(RECEIVER, data.path(), &[]);
    let series = receiver.value("count(load @ 1700000000)");
    assert_eq!(series, Some(SERIES as f64));
    let (_, messages) = receiver.terminate();
    assert!(!messages.contains("WARN"), "{messages}");
}

#[test]
fn a_full_head_keeps_senders_waiting_and_loses_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let start_ms = i64::try_from(now).expect("before the year 292 million") - 60_000;
    let receiver = Program::start(RECEIVER, data.path(), &["--max-series", "60"]);
    let status = |receiver: &Program, writer, n| {
        let url = format!("{}/api/v1/write", receiver.url);
        let answer = receiver.client.post(url).body(request(writer, n, start_ms)).send();
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.headers().contains_key("Retry-After"))
    };
    assert_eq!(status(&receiver, 0, 0), (204, false));
    assert_eq!(status(&receiver, 1, 0), (503, true));
    assert_eq!(status(&receiver, 0, 1), (204, false), "known series go on");
    assert_eq!(receiver.terminate().0.code(), Some(0));
    let receiver = Program::start(RECEIVER, data.path(), &["--max-series", "100"]);
    assert_eq!(status(&receiver, 1, 0), (204, false), "what was stored already is sent again");
    for (writer, samples) in [(0, 2.0), (1, 1.0)] {
        let count = format!(r#"sum(count_over_time(load{{writer="{writer}"}}[1h]))"#);
        assert_eq!(receiver.value(&count), Some(samples * SERIES as f64));
    }
}

#[test]
fn a_process_without_memory_asks_senders_to_come_again() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, data.path(), &["--max-memory", "1MB"]);
    assert!(!send(&receiver.client, &receiver.url, request(0, 0, 1_700_000_000_000)));
    assert_eq!(receiver.get("/-/ready").0, 200, "it still answers queries");
    let (code, messages) = failure(RECEIVER, data.path(), &["--max-memory", "much"]);
    assert_eq!(code, Some(2), "{messages}");
}

#[test]
fn a_body_without_end_is_cut_off() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, data.path(), &[]);
    let address = receiver.url.strip_prefix("http://").expect("no TLS");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it reads");
    let chunk = [b"100000\r\n", vec![0; 1 << 20].as_slice(), b"\r\n"].concat();
    let taken = (0..1000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(taken < 100, "{taken} MiB were taken");
    assert!(send(&receiver.client, &receiver.url, request(0, 0, 1_700_000_000_000)));
}

#[test]
fn a_request_under_way_is_stored_after_a_signal_to_stop() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, data.path(), &[]);
    let address = receiver.url.strip_prefix("http://").expect("no TLS").to_owned();
    let mut stream = TcpStream::connect(&address).expect("it listens");
    let body = request(0, 0, 1_700_000_000_000);
    let (first, second) = body.split_at(body.len() / 2);
    write!(
        stream,
        "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .and_then(|()| stream.write_all(first))
    .expect("it reads");
    // Another request is answered after it: the first has been taken up by then.
    assert_eq!(receiver.get("/-/ready").0, 200);
    let stopping = thread::spawn(move || receiver.terminate());
    wait("the end of new connections", || TcpStream::connect(&address).err());
    stream.write_all(second).expect("it reads on");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 204");
    let (status, messages) = stopping.join().expect("it ends");
    assert_eq!(status.code(), Some(0), "{messages}");
    let receiver = Program::start(RECEIVER, data.path(), &[]);
    assert_eq!(receiver.value("count(load @ 1700000000)"), Some(SERIES as f64));
}

#[test]
fn the_admin_api_is_off_unless_asked_for() {
    let data = tempfile::tempdir().expect("a directory");
    for (flags, expected) in [(&[][..], false), (&["--enable-admin-api"], true)] {
        let receiver = Program::start(RECEIVER, data.path(), flags);
        assert!(send(&receiver.client, &receiver.url, request(0, 0, 1_700_000_000_000)));
        let snapshot = format!("{}/api/v1/admin/tsdb/snapshot", receiver.url);
        let answer = receiver.client.post(snapshot).send().expect("an answer");
        assert_eq!(answer.status().is_success(), expected);
        assert_eq!(data.path().join("snapshots").exists(), expected);
    }
}

#[test]
fn a_taken_port_is_told_before_the_store_is_opened() {
    let data = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let output = Command::new(RECEIVER)
        .args(["--listen", &address, "--data"])
        .arg(data.path().join("new"))
        .output()
        .expect("the program can be started");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{messages}");
    assert!(messages.contains(&format!("cannot listen on {address}")), "{messages}");
    assert!(!data.path().join("new").exists());
}

#[test]
fn a_data_directory_that_is_a_file_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("data");
    std::fs::write(&file, "no store").expect("the file can be written");
    let (code, messages) = failure(RECEIVER, &file, &[]);
    assert_eq!(code, Some(1), "{messages}");
    assert!(messages.contains("data") && !messages.contains("panicked"), "{messages}");
}

#[test]
fn a_full_request_is_visible_when_it_is_acknowledged() {
    let data = tempfile::tempdir().expect("a directory");
    let receiver = Program::start(RECEIVER, data.path(), &[]);
    assert!(send(&receiver.client, &receiver.url, request(0, 0, 1_700_000_000_000)));
    assert_eq!(receiver.value("count(load @ 1700000000)"), Some(SERIES as f64));
    wait("counts on /metrics", || receiver.get("/metrics").1.contains("ferula").then_some(()));
}
