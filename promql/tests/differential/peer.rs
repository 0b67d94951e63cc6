//! The process that evaluates with Prometheus's engine.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::answer::Outcome;
use crate::case::Case;
use crate::data::Data;

/// A running peer.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
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
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Ok(Self { child, input, output })
    }

    fn send(&mut self, request: &Json) {
        let input = self.input.as_mut().expect("closed by drop only");
        writeln!(input, "{request}").expect("the peer reads");
        input.flush().expect("the peer reads");
    }

    fn receive(&mut self) -> Json {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the peer answers");
        serde_json::from_str(&line).expect("the peer answers with JSON")
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

    /// What came of the query asked for.
    pub(crate) fn outcome(&mut self) -> Outcome {
        Outcome::theirs(&self.receive())
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
