//! The scraper with exporters as Debian packages them: node exporter, Alertmanager and Pushgateway.
//!
//! `PEERS_DIR` names the directory they are unpacked in, each below its package's name. One that is missing is
//! skipped, and said.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ferula_wire::testing::{self, Program};

const SCRAPER: &str = env!("CARGO_BIN_EXE_scraper");

/// What Alertmanager does not start without.
const TEMPLATE: &str = "/usr/share/prometheus/alertmanager/default.tmpl";

/// A running exporter, ended when it is dropped.
struct Exporter {
    child: Child,
    address: String,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program of a package, if it is there.
fn exporter(package: &str, flags: &[&str]) -> Option<Exporter> {
    let dir = std::env::var_os("PEERS_DIR").map(PathBuf::from);
    let binary = dir.map(|dir| dir.join(package).join("usr/bin").join(package));
    let Some(binary) = binary.filter(|binary| binary.exists()) else {
        println!("skipped: no {package} in PEERS_DIR");
        return None;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let child = Command::new(binary)
        .arg(format!("--web.listen-address={address}"))
        .args(flags)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    Some(Exporter { child, address })
}

/// Starts the scraper with one target, and waits until it is up.
fn scraped(exporter: &Exporter, dir: &Path) -> Program {
    let file = dir.join("scrape.yml");
    let text = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n\
         - job_name: real\n  honor_labels: true\n  scrape_native_histograms: true\n  \
           static_configs: [{{targets: ['{}']}}]\n",
        exporter.address
    );
    fs::write(&file, text).expect("the file can be written");
    let path = file.to_str().expect("a plain path");
    let scraper = Program::start(SCRAPER, &dir.join("data"), &["--config", path]);
    scraper.wait_for("max_over_time(up[1m])", 1.0);
    scraper
}

#[test]
fn a_node_exporter_is_scraped() {
    let Some(exporter) = exporter("prometheus-node-exporter", &[]) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let scraper = scraped(&exporter, dir.path());
    assert_eq!(scraper.value("count(node_uname_info)"), Some(1.0));
    assert!(scraper.value("count({__name__=~\"node_.*\"})").is_some_and(|n| n > 100.0));
    // Its metadata came along, in whichever format.
    let (_, metadata) = scraper.get("/api/v1/metadata?metric=node_cpu_seconds_total");
    assert!(metadata.contains("\"type\":\"counter\""), "{metadata}");
    scraper.terminate();
}

#[test]
fn an_alertmanager_is_scraped() {
    // Debian's reads this at its start, wherever it is unpacked.
    if !Path::new(TEMPLATE).exists() {
        println!("skipped: Alertmanager does not start without {TEMPLATE}");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("alertmanager.yml");
    fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").expect("written");
    let flags = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", dir.path().join("am").display()),
        "--cluster.listen-address=".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let Some(exporter) = exporter("prometheus-alertmanager", &flags) else { return };
    let scraper = scraped(&exporter, dir.path());
    assert_eq!(scraper.value("alertmanager_build_info"), Some(1.0));
    assert!(
        scraper
            .value("count(alertmanager_http_request_duration_seconds_bucket) or vector(0)")
            .is_some()
    );
    scraper.terminate();
}

#[test]
fn what_is_pushed_keeps_its_labels() {
    let Some(exporter) = exporter("prometheus-pushgateway", &[]) else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let scraper = scraped(&exporter, dir.path());
    let url = format!("http://{}/metrics/job/batch/instance/night", exporter.address);
    let pushed = testing::wait("the gateway takes it", || {
        let request =
            scraper.client.post(&url).body("# TYPE pushed_total counter\npushed_total 7\n");
        request.send().ok().map(|answer| answer.status().as_u16())
    });
    assert!((200..300).contains(&pushed), "{pushed}");
    scraper.wait_for(r#"pushed_total{job="batch",instance="night"}"#, 7.0);
    scraper.terminate();
}
