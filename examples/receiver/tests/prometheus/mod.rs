//! A real Prometheus beside the receiver.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use ferula_wire::testing::wait;
use reqwest::blocking::Client;

pub(crate) struct Prometheus {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it over the directory `dir` and waits until it says where it listens.
    pub(crate) fn start(
        binary: &Path,
        dir: &Path,
        address: &str,
        config: &str,
        flags: &[&str],
    ) -> Self {
        let file = dir.join("prometheus.yml");
        fs::write(&file, config).expect("written");
        let mut child = Command::new(binary)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Prometheus can be started");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = loop {
            let line = log.next().expect("Prometheus says where it listens").expect("text");
            // msg="Listening on" … address=127.0.0.1:41234
            if line.contains("Listening on")
                && let Some((_, address)) = line.split_once("address=")
            {
                break format!("http://{}", address.trim_matches('"'));
            }
        };
        // The pipe is drained at all times, or Prometheus would wait for its own log.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, url }
    }

    pub(crate) fn wait_until_ready(&self, client: &Client) {
        wait("Prometheus", || {
            let ready = client.get(format!("{}/-/ready", self.url)).send();
            ready.ok().filter(|answer| answer.status().is_success())
        });
    }
}

/// The program that `FERULA_PROMETHEUS` names, or that is in the path. Says so if there is none.
pub(crate) fn binary() -> Option<PathBuf> {
    let binary = file("FERULA_PROMETHEUS", in_path("prometheus"));
    if binary.is_none() {
        println!("skipped: no Prometheus in FERULA_PROMETHEUS or PATH");
    }
    binary
}

/// The file that an environment variable names, or else `default`, if it is there.
pub(crate) fn file(variable: &str, default: PathBuf) -> Option<PathBuf> {
    let path = env::var_os(variable).map_or(default, PathBuf::from);
    path.is_file().then_some(path)
}

fn in_path(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .unwrap_or_default()
}
