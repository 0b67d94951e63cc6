//! Who may ask a program, and over what: Prometheus's web configuration file.
//!
//! Fields and rules are those of `exporter-toolkit`. The file, and those that it names, are looked at once a
//! second and taken over when they have changed; one that is wrong leaves what there was. Whether TLS is
//! spoken at all is settled at the start, and where there were users there are some until the next one: a
//! file that is just being written does not let everybody in.

mod config;
mod guard;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use parking_lot::Mutex;
use rustls::ServerConfig;

use self::config::WebConfig;
use crate::client::TlsError;
use crate::error::chain;

pub(super) use guard::{Guard, guard};

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebConfigError {
    /// The file cannot be read.
    #[error("cannot read {file}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file does not have the form it must have.
    #[error("{file}:{line}: {field}: {reason}", file = file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1; 0 if it is not known.
        line: usize,
        /// The field, by its path from the top.
        field: String,
        /// What is wrong, in the words of the YAML parser.
        reason: String,
    },
    /// The file makes no sense.
    #[error("{file}: {reason}", file = file.display())]
    Senseless {
        /// The file.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Certificates cannot be used.
    #[error("{file}", file = file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: TlsError,
    },
}

/// A web configuration and the file that it comes from.
#[derive(Debug)]
pub(super) struct WebFile {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<WebConfig>,
    /// When each file was written, and how long it is.
    versions: Vec<Option<(SystemTime, u64)>>,
    looked_at: Instant,
}

impl WebFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it, or what it names, cannot be used.
    pub(super) fn read(path: &Path) -> Result<Self, WebConfigError> {
        let config = WebConfig::read(path)?;
        let versions = versions(path, &config);
        let loaded = Loaded { config: Arc::new(config), versions, looked_at: Instant::now() };
        Ok(Self { path: path.to_owned(), loaded: Mutex::new(loaded) })
    }

    /// The configuration as it is now.
    fn current(&self) -> Arc<WebConfig> {
        let mut loaded = self.loaded.lock();
        if loaded.looked_at.elapsed() >= LOOK_INTERVAL {
            loaded.looked_at = Instant::now();
            let found = versions(&self.path, &loaded.config);
            if found != loaded.versions {
                self.load_again(&mut loaded);
                // Those from before it was read: what was written meanwhile is read the next time.
                loaded.versions = found;
            }
        }
        loaded.config.clone()
    }

    fn load_again(&self, loaded: &mut Loaded) {
        match WebConfig::read(&self.path) {
            Ok(config) if config.users.is_empty() && !loaded.config.users.is_empty() => {
                let file = self.path.display();
                tracing::warn!(%file, "that everybody may ask is taken over at the next start only");
            }
            Ok(config) if config.tls.is_some() == loaded.config.tls.is_some() => {
                tracing::info!(file = %self.path.display(), "the web configuration was read again");
                loaded.config = Arc::new(config);
            }
            Ok(_) => {
                let file = self.path.display();
                tracing::warn!(%file, "whether TLS is spoken changes at the next start only");
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the web configuration stays as it was");
            }
        }
    }

    /// What connections are accepted with, if TLS is spoken.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current().tls.clone()
    }
}

fn versions(path: &Path, config: &WebConfig) -> Vec<Option<(SystemTime, u64)>> {
    let written = |file: &Path| {
        fs::metadata(file).and_then(|metadata| Ok((metadata.modified()?, metadata.len()))).ok()
    };
    let files = config.files.iter().map(PathBuf::as_path);
    std::iter::once(path).chain(files).map(written).collect()
}

#[cfg(test)]
mod tests;
