//! A program under test as a child process, spoken to over loopback (feature `testing`).
//!
//! Everything here panics where a test would fail.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use serde_json::Value;

use crate::client::tls;
use crate::config::TlsConfig;

/// How long anything may take before a test gives up on it.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running program that serves HTTP.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// Where it serves, without a slash at the end.
    pub url: String,
    /// A client with a deadline.
    pub client: Client,
    messages: Option<JoinHandle<String>>,
}

impl Program {
    /// Starts `binary` on a free port over the directory `data`, and waits until it says where it
    /// listens.
    ///
    /// # Panics
    /// If it ends before.
    pub fn start(binary: &str, data: &Path, flags: &[&str]) -> Self {
        let mut child = command(binary, data, flags).spawn().expect("the program can be started");
        let mut stderr = child.stderr.take().expect("standard error is piped");
        // The pipe is drained at all times, or the program would wait for its own log.
        let messages = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("standard output is text");
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            let _ = child.kill();
            panic!("no address but {line:?}; {}", messages.join().expect("the reader ends"));
        };
        let tls = tls::client(&TlsConfig::default()).expect("nothing is asked of TLS");
        let client = Client::builder().timeout(DEADLINE).tls_backend_preconfigured(tls).build();
        let client = client.expect("a client needs nothing");
        Self { child, url: url.to_owned(), client, messages: Some(messages) }
    }

    /// Number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns status and text of the answer to a GET.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.url)).send().expect("an answer");
        (answer.status().as_u16(), answer.text().expect("text"))
    }

    /// Returns the `data` of an instant query.
    ///
    /// # Panics
    /// If it does not succeed.
    pub fn query(&self, expression: &str) -> Value {
        let request = self.client.get(format!("{}/api/v1/query", self.url));
        let text = request
            .query(&[("query", expression)])
            .send()
            .and_then(|answer| answer.text())
            .expect("an answer");
        let mut answer: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"].take()
    }

    /// Returns the value of the only series that an instant query has, if it has one.
    ///
    /// # Panics
    /// If the query does not succeed or has more series.
    pub fn value(&self, expression: &str) -> Option<f64> {
        let data = self.query(expression);
        let result = data["result"].as_array().expect("a vector");
        assert!(result.len() <= 1, "{expression}: {data}");
        let text = result.first()?["value"][1].as_str().expect("a number in a string");
        Some(text.parse().expect("a number"))
    }

    /// Asks until `expression` is at least `least`, and returns it.
    ///
    /// # Panics
    /// If it takes too long.
    pub fn wait_for(&self, expression: &str, least: f64) -> f64 {
        wait(expression, || self.value(expression).filter(|value| *value >= least))
    }

    /// Ends the program as a crash would: it runs no more instructions.
    ///
    /// # Panics
    /// If it has ended already.
    pub fn kill(mut self) {
        self.child.kill().expect("the program runs");
        self.child.wait().expect("it ends");
    }

    /// Asks the program to end with SIGTERM; returns how it ended and what it logged.
    ///
    /// # Panics
    /// If it cannot be sent the signal.
    pub fn terminate(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(sent.success());
        let status = self.child.wait().expect("it ends");
        let messages = self.messages.take().expect("taken only here");
        (status, messages.join().expect("the reader ends"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer to `what`.
///
/// # Panics
/// If it takes too long.
pub fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "still waiting for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program that must not come up; returns its exit code and what it wrote about it.
///
/// # Panics
/// If it cannot be started at all.
pub fn failure(binary: &str, data: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let mut child = command(binary, data, flags).spawn().expect("the program can be started");
    let mut messages = String::new();
    // The pipe closes with the process; killing one that came up all the same closes it, too.
    let mut stderr = child.stderr.take().expect("standard error is piped");
    let reader = thread::spawn(move || stderr.read_to_string(&mut messages).map(|_| messages));
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("the program was started") {
            Some(status) => break status,
            None if start.elapsed() < DEADLINE => thread::sleep(Duration::from_millis(20)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{binary} with {flags:?} came up");
            }
        }
    };
    let messages = reader.join().expect("the reader ends").expect("standard error is text");
    (status.code(), messages)
}

fn command(binary: &str, data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data).args(flags);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
