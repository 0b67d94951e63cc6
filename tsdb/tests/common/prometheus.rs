//! A real Prometheus that tests start, write to and ask.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The binary that `FERULA_PROMETHEUS` names, or one in `PATH`; says so if there is none.
pub(crate) fn binary() -> Option<PathBuf> {
    let path = env::var_os("FERULA_PROMETHEUS").map(PathBuf::from).or_else(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file())
    });
    if path.is_none() {
        println!("skipped: no Prometheus in FERULA_PROMETHEUS or PATH");
    }
    path
}

/// A running Prometheus, killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one on the directory `data` in `dir` that takes samples out of order within `window`, with
    /// further arguments.
    pub(crate) fn start(binary: &Path, dir: &Path, window: &str, args: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (config, log) = (dir.join("prometheus.yml"), dir.join("prometheus.log"));
        let window = format!("storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n");
        std::fs::write(&config, window).unwrap();
        let _ = std::fs::remove_file(dir.join("data/lock"));
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver"])
            .args(args)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let prometheus = Self { child, port, log };
        for _ in 0..600 {
            if prometheus.request("GET", "/-/ready", &[]).is_some_and(|(status, _)| status == 200) {
                return prometheus;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("not ready: {}", prometheus.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Encoding: snappy\r\n\
             Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Writes samples of series `{__name__="m", n=…}` in one request.
    pub(crate) fn write(&self, all: &[(&str, &[(i64, f64)])]) {
        let mut request = Vec::new();
        for (n, samples) in all {
            let mut series = Vec::new();
            for (name, value) in [("__name__", "m"), ("n", *n)] {
                let label = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
                series.extend(field(1, &label));
            }
            for (time, value) in *samples {
                let mut sample = vec![1 << 3 | 1];
                sample.extend_from_slice(&value.to_le_bytes());
                sample.push(2 << 3);
                sample.extend(uvarint(time.cast_unsigned()));
                series.extend(field(2, &sample));
            }
            request.extend(field(1, &series));
        }
        // Snappy, all of it literal.
        let mut body = uvarint(request.len() as u64);
        for literal in request.chunks(60) {
            body.push(u8::try_from(literal.len() - 1).unwrap() << 2);
            body.extend_from_slice(literal);
        }
        let answer = self.request("POST", "/api/v1/write", &body);
        assert!(answer.as_ref().is_some_and(|(status, _)| *status / 100 == 2), "{answer:?}");
    }

    /// The series that a query answers with.
    pub(crate) fn query(&self, query: &str, time: i64) -> Vec<Value> {
        let query = format!("/api/v1/query?query={query}&time={time}");
        let (status, body) = self.request("GET", &query, &[]).unwrap();
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"]["result"].as_array().unwrap().clone()
    }
}

/// The time of a sample in an answer, in milliseconds.
pub(crate) fn time_of(sample: &Value) -> i64 {
    // Seconds with up to three digits behind the point.
    format!("{:.3}", sample[0].as_f64().unwrap()).replace('.', "").parse().unwrap()
}

fn uvarint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value % 0x80).unwrap() | 0x80);
        value /= 0x80;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], uvarint(bytes.len() as u64), bytes.to_vec()].concat()
}
