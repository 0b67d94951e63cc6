//! The querier over the directory of a real Prometheus that scrapes itself gives its answers.
//!
//! `FERULA_PROMETHEUS` names the binary, or `prometheus` is looked for in `PATH`; without one the
//! test is skipped and says so.

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use ferula_wire::testing::{Program, wait};

const QUERIER: &str = env!("CARGO_BIN_EXE_querier");

/// Killed when dropped.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_prometheus_and_the_querier_give_the_same_answers() {
    let path = env::var_os("FERULA_PROMETHEUS").map(PathBuf::from).or_else(|| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file())
    });
    let Some(binary) = path else {
        println!("skipped: no Prometheus in FERULA_PROMETHEUS or PATH");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let config = dir.path().join("prometheus.yml");
    let job = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\n\
         scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    );
    std::fs::write(&config, job).expect("it can be written");
    let child = Command::new(binary)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    let _prometheus = Prometheus(child);
    wait("the log of Prometheus", || data.join("wal/00000000").exists().then_some(()));
    let querier = Program::start(QUERIER, &data, &["--reload-every", "1"]);
    querier.wait_for("count_over_time(up[1m])", 6.0);
    // At a time that both have seen, once the querier has read what comes after it.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    wait("what was scraped after that", || {
        let newest = querier.value("timestamp(up)")?;
        (newest > seconds as f64 + 1.0).then_some(())
    });
    let theirs = format!("http://127.0.0.1:{port}");
    for expression in [
        "up",
        "count_over_time(up[1m])",
        "sum by (__name__) ({job=\"self\"})",
        "rate(prometheus_http_requests_total[1m])",
        "histogram_quantile(0.9, prometheus_http_request_duration_seconds_bucket)",
        "prometheus_build_info",
    ] {
        let get = |base: &str| {
            let (url, time) = (format!("{base}/api/v1/query"), seconds.to_string());
            let asked = querier.client.get(url).query(&[("query", expression), ("time", &time)]);
            let text = asked.send().and_then(|answer| answer.text()).expect("an answer");
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["data"].clone()
        };
        let (ours, theirs) = (get(&querier.url), get(&theirs));
        let n = theirs["result"].as_array().map_or(0, Vec::len);
        assert!(n > 0, "{expression}");
        assert_eq!(sorted(&ours), sorted(&theirs), "{expression}");
    }
}

fn sorted(data: &serde_json::Value) -> Vec<String> {
    let results = data["result"].as_array().into_iter().flatten();
    let mut results: Vec<String> = results.map(ToString::to_string).collect();
    results.sort();
    results
}
