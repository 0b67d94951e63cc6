//! The configuration of a running program: what it is, and reading it again.
//!
//! SIGHUP and, where requests may end the program, `/-/reload` have the file read again. One that is wrong
//! leaves the configuration that there is.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::ApiState;
use crate::exposition::MetricType;
use crate::telemetry::Registry;

/// Requests that wait for the file to be read.
const MAX_WAITING: usize = 16;

/// The configuration that a program runs with; clones share it.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    loaded: Arc<Mutex<Loaded>>,
    requests: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
}

#[derive(Debug)]
struct Loaded {
    text: Arc<str>,
    /// When that was read.
    time: SystemTime,
    /// Whether the file was good when it was read last.
    is_good: bool,
}

/// What wants the configuration to be read again.
#[derive(Debug)]
pub struct Reloads {
    config: LiveConfig,
    requests: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl LiveConfig {
    /// Starts with the `text` of a file, and listens for SIGHUP from now on. Must be called inside a Tokio
    /// runtime.
    ///
    /// # Errors
    /// If the signal cannot be waited for.
    pub fn new(text: &str, registry: &Registry) -> io::Result<(Self, Reloads)> {
        let loaded = Loaded { text: text.into(), time: SystemTime::now(), is_good: true };
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        let config = Self { loaded: Arc::new(Mutex::new(loaded)), requests: sender };
        config.expose(registry);
        #[cfg(unix)]
        let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        let reloads = Reloads {
            config: config.clone(),
            requests,
            #[cfg(unix)]
            hangup,
        };
        Ok((config, reloads))
    }

    fn expose(&self, registry: &Registry) {
        let of = |read: fn(&Loaded) -> f64| {
            let loaded = self.loaded.clone();
            move || read(&loaded.lock())
        };
        let name = "ferula_config_last_reload_successful";
        let help = "Whether the configuration file was good when it was read last.";
        registry.read(name, help, MetricType::Gauge, of(|l| f64::from(u8::from(l.is_good))));
        let name = "ferula_config_last_reload_success_timestamp_seconds";
        let help = "When the configuration that is in force was read.";
        let seconds = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
        };
        let time = self.loaded.clone();
        registry.read(name, help, MetricType::Gauge, move || seconds(time.lock().time));
    }

    /// The text that is in force.
    pub(super) fn text(&self) -> Arc<str> {
        self.loaded.lock().text.clone()
    }

    /// Whether the file was good when it was read last, and when the text was read.
    pub(super) fn outcome(&self) -> (bool, SystemTime) {
        let loaded = self.loaded.lock();
        (loaded.is_good, loaded.time)
    }

    async fn reload(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the program is ending".to_owned();
        self.requests.send(answer).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Reloads {
    /// Calls `load` each time the file is to be read again. It yields the text that is in force then, or why
    /// everything stays as it was.
    pub async fn run(
        mut self,
        mut load: impl FnMut() -> Result<String, crate::Error>,
    ) -> Infallible {
        loop {
            let answer = self.next().await;
            let outcome = load().map_err(|error| crate::chain(&error));
            let mut loaded = self.config.loaded.lock();
            loaded.is_good = outcome.is_ok();
            let outcome = match outcome {
                Ok(text) => {
                    (loaded.text, loaded.time) = (text.into(), SystemTime::now());
                    tracing::info!("the configuration was read again");
                    Ok(())
                }
                Err(error) => {
                    tracing::error!(error, "the configuration stays as it was");
                    Err(error)
                }
            };
            drop(loaded);
            // Whoever asked may have gone.
            let _ = answer.map(|answer| answer.send(outcome));
        }
    }

    /// Waits for a request or a signal, which wants no answer.
    async fn next(&mut self) -> Option<oneshot::Sender<Result<(), String>>> {
        #[cfg(unix)]
        tokio::select! {
            answer = self.requests.recv() => answer,
            _ = self.hangup.recv() => None,
        }
        #[cfg(not(unix))]
        self.requests.recv().await
    }
}

/// Has the configuration read again, if the program lets requests do that.
pub(super) async fn reload(State(state): State<ApiState>) -> Response {
    let Some(config) = state.shared.config.as_ref().filter(|_| state.shared.quit.is_some()) else {
        return (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response();
    };
    match config.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            let text = format!("failed to reload config: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}
