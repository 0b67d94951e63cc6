//! A real Prometheus writes what is read here, and starts on what is written here.
//!
//! `FERULA_PROMETHEUS` names the binary, or `prometheus` is looked for in `PATH`; without one the
//! tests are skipped and say so. Each takes some seconds, most of them to have something scraped.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Entries, decode, encode};
use ferula_chunkenc::histogram::{Histogram, Span};
use ferula_index::{Labels, SeriesRef};
use ferula_wal::fs::StdFs;
use ferula_wal::record::RecordKind;
use ferula_wal::record::exemplars::RefExemplar;
use ferula_wal::record::metadata::{MetricType, RefMetadata};
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;
use ferula_wal::{Error, LogReader, LogTail, Options, TailStart, Wal};
use serde_json::Value;

/// A Prometheus and what of it differs between versions.
#[derive(Clone, Debug)]
struct Binary {
    path: PathBuf,
    version: Option<(u32, u32)>,
}

impl Binary {
    /// Where Prometheus is, or `None` with a line on why the test is skipped.
    fn find() -> Option<Self> {
        let path = env::var_os("FERULA_PROMETHEUS").map(PathBuf::from).or_else(|| {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file())
        });
        let Some(path) = path else {
            println!("skipped: no Prometheus in FERULA_PROMETHEUS or PATH");
            return None;
        };
        let output = Command::new(&path).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Of a build without a version nothing stands between these words.
        let number = text.split_once("version ").and_then(|(_, rest)| rest.split_once(" (branch"));
        let mut parts = number.map_or("", |(number, _)| number).split('.').map(str::parse);
        let version = match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
            _ => None,
        };
        Some(Self { path, version })
    }

    /// Whether it knows records with start timestamps. A build without a version is taken for new.
    fn knows_starts(&self) -> bool {
        self.version.is_none_or(|version| version >= (3, 14))
    }

    fn start(&self, dir: &Path, config: &str) -> Prometheus {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config_path = dir.join("prometheus.yml");
        std::fs::write(&config_path, config.replace("SELF", &address)).unwrap();
        let mut features = "exemplar-storage,native-histograms,metadata-wal-records".to_owned();
        if self.knows_starts() {
            features.push_str(",st-storage,xor2-encoding,histograms-st-encoding");
        }
        let log = std::fs::File::create(dir.join("prometheus.log")).unwrap();
        let child = Command::new(&self.path)
            .arg(format!("--config.file={}", config_path.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--enable-feature={features}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Prometheus { child, address, dir: dir.to_path_buf() };
        prometheus.wait("ready", || {
            get(&prometheus.address, "/-/ready").filter(|(status, _)| *status == 200)
        });
        prometheus
    }
}

/// A running Prometheus, killed when dropped.
struct Prometheus {
    child: Child,
    address: String,
    dir: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn wait<T>(&self, what: &str, mut step: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(done) = step() {
                return done;
            }
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.join("prometheus.log"));
                panic!("waiting for {what}\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The `data` of an API call.
    fn api(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let encoded: Vec<String> =
            params.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        let url = format!("/api/v1/{path}?{}", encoded.join("&"));
        let (status, body) = get(&self.address, &url).unwrap();
        assert_eq!(status, 200, "{url}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"].clone()
    }

    /// The value of an instant query of one series.
    fn value(&self, query: &str, time: &str) -> String {
        let data = self.api("query", &[("query", query), ("time", time)]);
        let result = data["result"].as_array().unwrap();
        assert_eq!(result.len(), 1, "{query}: {data}");
        result[0]["value"][1].as_str().unwrap().to_owned()
    }

    /// Checks that it took the log for whole.
    fn check_log_is_whole(&self) {
        let (_, metrics) = get(&self.address, "/metrics").unwrap();
        let corruptions = "prometheus_tsdb_wal_corruptions_total 0";
        assert!(metrics.lines().any(|line| line == corruptions), "{metrics}");
    }
}

fn percent(text: &str) -> String {
    let byte = |&byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.as_bytes().iter().map(byte).collect()
}

/// Status and body of a request; `None` if nobody answers.
fn get(address: &str, url: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {url} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Serves a page that changes with every scrape, until the process ends. Returns its address.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let n = AtomicU64::new(0);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let n = n.fetch_add(1, Ordering::Relaxed) + 1;
            let page = format!(
                "# TYPE shop_orders counter\n\
                 # UNIT shop_orders orders\n\
                 # HELP shop_orders Orders taken, größte zuerst.\n\
                 shop_orders_total{{kind=\"a\"}} {n} # {{trace_id=\"t{n}\"}} 0.5\n\
                 # TYPE shop_seconds histogram\n\
                 # HELP shop_seconds Time taken.\n\
                 shop_seconds_bucket{{le=\"0.5\"}} {n}\n\
                 shop_seconds_bucket{{le=\"2.0\"}} {two} # {{trace_id=\"h{n}\"}} 1.5\n\
                 shop_seconds_bucket{{le=\"+Inf\"}} {three}\n\
                 shop_seconds_count {three}\n\
                 shop_seconds_sum {two}.25\n\
                 # EOF\n",
                two = 2 * n,
                three = 3 * n
            );
            let length = page.len();
            let _ = write!(
                stream,
                "HTTP/1.0 200 OK\r\n\
                 Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
                 Content-Length: {length}\r\n\r\n{page}"
            );
        }
    });
    address
}

/// What a log holds, record by record.
#[derive(Default)]
struct Content {
    kinds: BTreeSet<u8>,
    labels: BTreeMap<SeriesRef, Labels>,
    /// Times and values of samples with the metric name `shop_orders_total`.
    orders: Vec<(i64, f64)>,
    /// Times and counts of histograms with the metric name `shop_seconds`.
    seconds: Vec<(i64, u64)>,
}

impl Content {
    /// Takes a record, once it has been decoded, encoded and decoded to the same.
    fn add(&mut self, record: &[u8]) {
        self.kinds.insert(record[0]);
        let entries = decode(record).unwrap();
        let again = encode(&entries);
        assert_eq!(decode(&again).unwrap(), entries);
        // The entry that others are coded against may have gone into another record.
        if ![RecordKind::HISTOGRAMS.0, RecordKind::FLOAT_HISTOGRAMS.0].contains(&record[0]) {
            assert!(again == record, "{record:02x?}\n{again:02x?}");
        }
        match entries {
            Entries::Series(series) => self.labels.extend(series),
            Entries::Samples(samples) => {
                for RefSample { series, timestamp, value } in samples {
                    self.add_sample(series, timestamp, value);
                }
            }
            Entries::SamplesV2(samples) => {
                for RefStartedSample { series, timestamp, value, .. } in samples {
                    self.add_sample(series, timestamp, value);
                }
            }
            Entries::Histograms(_, histograms) => {
                for (series, _, timestamp, histogram) in histograms {
                    histogram.validate().unwrap();
                    if self.labels[&series].metric_name() == "shop_seconds" {
                        self.seconds.push((timestamp, histogram.count));
                    }
                }
            }
            Entries::Other => panic!("type {} is not decoded", record[0]),
            _ => {}
        }
    }

    fn add_sample(&mut self, series: SeriesRef, timestamp: i64, value: f64) {
        if self.labels[&series].metric_name() == "shop_orders_total" {
            self.orders.push((timestamp, value));
        }
    }
}

/// Reads the log in `dir` up to what its writer had not finished.
fn read_log(dir: &Path) -> Vec<Vec<u8>> {
    let mut reader = LogReader::open(Arc::new(StdFs), dir).unwrap();
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record.bytes.to_vec()),
            Ok(None) | Err(Error::Damaged { .. }) => return records,
            Err(error) => panic!("{error}"),
        }
    }
}

fn config(binary: &Binary, target: &str) -> String {
    let native = if binary.knows_starts() { "scrape_native_histograms: true" } else { "" };
    format!(
        "global:\n  scrape_interval: 200ms\n  evaluation_interval: 400ms\n\
         rule_files: [rules.yml]\n\
         scrape_configs:\n\
         - job_name: self\n  {native}\n  static_configs: [{{targets: ['SELF']}}]\n\
         - job_name: shop\n  convert_classic_histograms_to_nhcb: true\n  \
         static_configs: [{{targets: ['{target}']}}]\n"
    )
}

const RULES: &str = "groups:\n- name: rates\n  rules:\n  \
    - {record: 'shop:rate', expr: 'rate(shop_seconds[3s])'}\n  \
    - {record: 'self:rate', expr: 'rate(prometheus_http_request_duration_seconds[3s])'}\n";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn record(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = Vec::new();
    encode(&mut record);
    record
}

#[test]
fn a_log_that_prometheus_writes_is_read_record_by_record_while_it_does() {
    let Some(binary) = Binary::find() else { return };
    let tmp = tempfile::tempdir().unwrap();
    let wal_dir = tmp.path().join("data/wal");
    std::fs::write(tmp.path().join("rules.yml"), RULES).unwrap();
    let config = config(&binary, &serve());
    let prometheus = binary.start(tmp.path(), &config);
    let mut tail = LogTail::open(Arc::new(StdFs), &wal_dir, TailStart::Beginning).unwrap();
    let (mut content, mut followed) = (Content::default(), Vec::new());
    // With start timestamps 3.14 logs no metadata.
    let mut wanted = BTreeSet::from([1, 4]);
    wanted.extend(if binary.knows_starts() { &[11, 12, 13][..] } else { &[2, 6, 7, 8, 9, 10] });
    prometheus.wait("records of all types", || {
        while let Some(record) = tail.next_record().unwrap() {
            content.add(record.bytes);
            followed.push(record.bytes.to_vec());
        }
        // Now and then another tail takes over.
        let position = tail.position().unwrap();
        tail = LogTail::open(Arc::new(StdFs), &wal_dir, TailStart::At(position)).unwrap();
        get(&prometheus.address, "/api/v1/query?query=up");
        (content.kinds.is_superset(&wanted) && content.seconds.len() > 10).then_some(())
    });
    // What Prometheus answers is what it wrote.
    let at = now();
    let data =
        prometheus.api("query", &[("query", "shop_orders_total[1h]"), ("time", &seconds(at))]);
    let orders = data["result"][0]["values"].as_array().unwrap().clone();
    let data = prometheus.api("query", &[("query", "shop_seconds[1h]"), ("time", &seconds(at))]);
    let histograms = data["result"][0]["histograms"].as_array().unwrap().clone();
    drop(prometheus);
    while let Some(record) = tail.next_record().unwrap() {
        content.add(record.bytes);
        followed.push(record.bytes.to_vec());
    }
    // Times of answers are seconds, as numbers; values and counts are strings.
    let same = |t: i64, value: String, time: &Value, answer: &Value| {
        time.as_f64() == Some(t as f64 / 1000.0) && answer.as_str() == Some(&value)
    };
    assert!(content.orders.len() >= orders.len() && orders.len() > 10);
    for ((t, value), answer) in content.orders.iter().zip(&orders) {
        assert!(same(*t, value.to_string(), &answer[0], &answer[1]), "{t} {value}: {answer}");
    }
    assert!(content.seconds.len() >= histograms.len() && histograms.len() > 10);
    for ((t, count), answer) in content.seconds.iter().zip(&histograms) {
        assert!(same(*t, count.to_string(), &answer[0], &answer[1]["count"]), "{count}: {answer}");
    }
    // Nothing was missed or read twice.
    assert!(followed == read_log(&wal_dir));

    // Then a log is written on here, and Prometheus goes on with that.
    let (wal, mut recovery) = Wal::open(Arc::new(StdFs), &wal_dir, Options::default()).unwrap();
    let mut n_replayed = 0;
    while recovery.next_record().unwrap().is_some() {
        n_replayed += 1;
    }
    assert_eq!(n_replayed, followed.len());
    let series = SeriesRef(content.labels.keys().last().unwrap().0 + 1);
    let labels = Labels::from_pairs([("__name__", "written_on")]).unwrap();
    let added = [
        encode(&Entries::Series(vec![(series, labels)])),
        encode(&Entries::Samples(vec![RefSample { series, timestamp: at, value: 4.25 }])),
    ];
    wal.append(&[&added[0], &added[1]]).unwrap();
    wal.close().unwrap();
    let prometheus = binary.start(tmp.path(), "");
    prometheus.check_log_is_whole();
    assert_eq!(prometheus.value("written_on", &seconds(at + 1)), "4.25");
    let count = prometheus.value("count_over_time(shop_orders_total[1h])", &seconds(at));
    assert_eq!(count, orders.len().to_string());
}

#[test]
fn prometheus_starts_on_a_log_written_here_and_answers_from_it() {
    let Some(binary) = Binary::find() else { return };
    let tmp = tempfile::tempdir().unwrap();
    let t = now() - 60_000;
    let names = [
        "floats",
        "ints",
        "custom",
        "int_floats",
        "custom_floats",
        "gone",
        "started",
        "ints_v2",
        "floats_v2",
    ];
    let series = |i: usize| SeriesRef(u64::try_from(10 + i).unwrap());
    let exponential = |n: u64| Histogram {
        count: 3 * n,
        sum: 4.5,
        positive_spans: vec![Span::new(0, 2)],
        positive_buckets: vec![i64::try_from(n).unwrap(), i64::try_from(n).unwrap()],
        ..Histogram::default()
    };
    let custom =
        |n: u64| Histogram { schema: -53, custom_values: [1.0, 2.0].into(), ..exponential(n) };
    let times = || (1..=4_u64).map(|n| (n, t + i64::try_from(n).unwrap() * 1000));
    let entries = |i: usize, start: i64, make: &dyn Fn(u64) -> Histogram| -> Vec<_> {
        times().map(|(n, t)| (series(i), start, t, make(n))).collect()
    };
    let floats = |kind, entries: Vec<(SeriesRef, i64, i64, Histogram)>| {
        let float = |(series, start, t, histogram): (_, _, _, Histogram)| {
            (series, start, t, histogram.to_float())
        };
        Entries::FloatHistograms(kind, entries.into_iter().map(float).collect())
    };
    let sample = |i: usize, n: u32, timestamp| RefSample {
        series: series(i),
        timestamp,
        value: f64::from(n) + 0.5,
    };
    let samples = |i: usize| -> Vec<_> {
        (1..).zip(times()).map(|(n, (_, timestamp))| sample(i, n, timestamp)).collect()
    };
    let mut all_series = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let labels = Labels::from_pairs([("__name__", *name), ("ü", "ß")]).unwrap();
        all_series.push((series(i), labels));
    }
    let mut records = vec![
        encode(&Entries::Series(all_series)),
        encode(&Entries::Samples([samples(0), samples(5)].concat())),
        encode(&Entries::Histograms(RecordKind::HISTOGRAMS, entries(1, 0, &exponential))),
        encode(&Entries::Histograms(RecordKind::CUSTOM_HISTOGRAMS, entries(2, 0, &custom))),
        encode(&floats(RecordKind::FLOAT_HISTOGRAMS, entries(3, 0, &exponential))),
        encode(&floats(RecordKind::CUSTOM_FLOAT_HISTOGRAMS, entries(4, 0, &custom))),
        encode(&Entries::Exemplars(vec![RefExemplar {
            series: series(0),
            timestamp: t + 2000,
            value: 0.25,
            labels: Labels::from_pairs([("trace_id", "abc")]).unwrap(),
        }])),
        encode(&Entries::Metadata(vec![RefMetadata {
            series: series(0),
            metric_type: MetricType::Gauge,
            unit: "seconds".into(),
            help: "Hilfe".into(),
        }])),
        encode(&Entries::Tombstones(vec![Tombstone {
            series: series(5),
            mint: 0,
            maxt: t + 3000,
        }])),
        // Of a type that it does not know either.
        record(|buf| buf.extend_from_slice(&[200, 1, 2, 3])),
    ];
    if binary.knows_starts() {
        let started = times().map(|(n, timestamp)| RefStartedSample {
            series: series(6),
            start_timestamp: t,
            timestamp,
            value: n as f64,
        });
        records.push(encode(&Entries::SamplesV2(started.collect())));
        let ints = entries(7, t, &exponential);
        records.push(encode(&Entries::Histograms(RecordKind::HISTOGRAMS_V2, ints)));
        let custom = entries(8, t, &custom);
        records.push(encode(&floats(RecordKind::FLOAT_HISTOGRAMS_V2, custom)));
    }
    let wal_dir = tmp.path().join("data/wal");
    let (wal, _) = Wal::open(Arc::new(StdFs), &wal_dir, Options::default()).unwrap();
    // A batch of all, then one of each, so that both ways of framing are read.
    let (whole, single) = records.split_at(records.len() / 2);
    wal.append(&whole.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    wal.rotate().unwrap();
    for record in single {
        wal.append(&[record]).unwrap();
    }
    wal.close().unwrap();

    for is_condensed in [false, true] {
        if is_condensed {
            // The same from a checkpoint.
            let (wal, _) = Wal::open(Arc::new(StdFs), &wal_dir, Options::default()).unwrap();
            let last = wal.current_segment() - 1;
            wal.checkpoint(last, i64::MIN, |_| true).unwrap();
            wal.close().unwrap();
        }
        let prometheus = binary.start(tmp.path(), "");
        prometheus.check_log_is_whole();
        let at = seconds(t + 4000);
        for (query, expected) in [
            ("floats", "4.5"),
            ("sum_over_time(floats[1m])", "12"),
            ("histogram_count(ints)", "12"),
            ("histogram_sum(custom)", "4.5"),
            ("histogram_count(int_floats)", "12"),
            ("count_over_time(custom_floats[1m])", "4"),
            ("histogram_fraction(0, 1, ints)", "0.3333333333333333"),
            ("histogram_fraction(1, 2, custom)", "0.6666666666666666"),
            // What was deleted does not come back.
            ("count_over_time(gone[1m])", "1"),
        ] {
            assert_eq!(prometheus.value(query, &at), expected, "{query}");
        }
        if binary.knows_starts() {
            assert_eq!(prometheus.value("sum_over_time(started[1m])", &at), "10");
            assert_eq!(prometheus.value("histogram_count(ints_v2)", &at), "12");
            assert_eq!(prometheus.value("histogram_count(floats_v2)", &at), "12");
        }
        let (start, end) = (seconds(t), seconds(t + 9000));
        let params = [("query", "floats"), ("start", start.as_str()), ("end", end.as_str())];
        let exemplars = prometheus.api("query_exemplars", &params);
        let exemplar = &exemplars[0]["exemplars"][0];
        assert_eq!(exemplar["labels"]["trace_id"], "abc", "{exemplars}");
        assert_eq!(exemplar["value"], "0.25");
    }
}
