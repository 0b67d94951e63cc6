//! The process that evaluates with Prometheus's engine.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::answer::Outcome;
use crate::case::Case;
use crate::data::Data;

/// How long an answer is waited for: longer than queries may take in the peer.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the answer of a query is waited for that may never end in the peer.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);

/// A running peer.
pub(crate) struct Peer {
    program: PathBuf,
    child: Child,
    input: Option<ChildStdin>,
    /// Lines that the peer writes.
    output: Receiver<String>,
}

impl Peer {
    /// Starts the program that `FERULA_PROMQL_PEER` names, or builds it if there is Go.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn start() -> Result<Self, String> {
        let program = match std::env::var_os("FERULA_PROMQL_PEER") {
            Some(path) => PathBuf::from(path),
            None => build()?,
        };
        Self::run(program)
    }

    fn run(program: PathBuf) -> Result<Self, String> {
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, output) = mpsc::channel();
        // Ends with the peer.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { program, child, input, output })
    }

    fn send(&mut self, request: &Json) {
        let input = self.input.as_mut().expect("closed by drop only");
        writeln!(input, "{request}").expect("the peer reads");
        input.flush().expect("the peer reads");
    }

    fn receive(&mut self) -> Json {
        self.receive_within(PATIENCE).expect("the peer answers in time")
    }

    /// What the peer answers; `None` if that takes too long.
    fn receive_within(&mut self, patience: Duration) -> Option<Json> {
        match self.output.recv_timeout(patience) {
            Ok(line) => Some(serde_json::from_str(&line).expect("the peer answers with JSON")),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the peer has ended"),
        }
    }

    /// Replaces the samples of the peer.
    pub(crate) fn load(&mut self, data: &Data) {
        let series = data
            .series
            .iter()
            .map(|series| json!({ "line": series.line(), "starts": series.starts }));
        let series: Vec<Json> = series.collect();
        self.send(&json!({ "load": { "step_ms": data.step_ms, "series": series } }));
        let answer = self.receive();
        assert!(answer["error"].is_null(), "{}: {answer}", data.script());
    }

    /// Has a query evaluated; the answer is waited for by [`outcome`](Self::outcome).
    pub(crate) fn ask(&mut self, case: &Case) {
        let (start, end, step) = case.time.bounds();
        self.send(&json!({
            "query": case.query, "start": start, "end": end, "step": step, "flags": case.flags,
        }));
    }

    /// What came of the query asked for; `None` if it is one that may never end in the peer, and did not. The
    /// peer is another one then, without samples.
    pub(crate) fn outcome(&mut self, case: &Case) -> Option<Outcome> {
        if !may_never_end(case) {
            return Some(Outcome::theirs(&self.receive()));
        }
        if let Some(answer) = self.receive_within(SHORT_PATIENCE) {
            return Some(Outcome::theirs(&answer));
        }
        self.child.kill().expect("the peer can be killed");
        *self = Self::run(self.program.clone()).expect("it was started before");
        None
    }

    /// The canonical text of an expression, or the error that it has.
    pub(crate) fn parse(&mut self, text: &str) -> Result<String, String> {
        self.send(&json!({ "parse": text }));
        let answer = self.receive();
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["text"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its input, and cleans up after itself then.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Prometheus's loop over the samples of a window does not move on where a float and a histogram are at the
/// same time, as those of a subquery may be.
fn may_never_end(case: &Case) -> bool {
    ["resets", "changes"].iter().any(|function| case.query.contains(function))
}

fn build() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/peer");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promql-peer");
    let output = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .output()
        .map_err(|error| format!("go: {error}"))?;
    if !output.status.success() {
        return Err(format!("go build: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(program)
}
