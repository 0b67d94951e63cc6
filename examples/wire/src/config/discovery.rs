//! Sources of targets: the fields of a job that end with `_sd_configs`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::field::Milliseconds;

const DEFAULT_FILE_REFRESH_MS: i64 = 5 * 60_000;

const DEFAULT_HTTP_REFRESH_MS: i64 = 60_000;

/// A source of targets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryConfig {
    /// Files.
    File(FileDiscovery),
    /// A server.
    Http(HttpDiscovery),
}

/// Files that list targets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FileDiscovery {
    /// Their paths; the last part of one may have asterisks.
    pub files: Vec<PathBuf>,
    /// Time after which they are read again although they seem unchanged, in milliseconds.
    pub refresh_ms: i64,
}

/// A server that lists targets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HttpDiscovery {
    /// Its address.
    pub url: String,
    /// Time between questions, in milliseconds.
    pub refresh_ms: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFileDiscovery {
    files: Vec<String>,
    #[serde(default)]
    refresh_interval: Milliseconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttpDiscovery {
    url: String,
    #[serde(default)]
    refresh_interval: Milliseconds,
}

impl<'de> Deserialize<'de> for FileDiscovery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawFileDiscovery::deserialize(deserializer)?;
        if raw.files.is_empty() {
            let message = "file service discovery config must contain at least one path name";
            return Err(serde::de::Error::custom(message));
        }
        if let Some(path) = raw.files.iter().find(|path| !is_path(path)) {
            let message = format!("path name {path:?} is not valid for file discovery");
            return Err(serde::de::Error::custom(message));
        }
        let files = raw.files.into_iter().map(PathBuf::from).collect();
        Ok(Self { files, refresh_ms: raw.refresh_interval.or(DEFAULT_FILE_REFRESH_MS) })
    }
}

/// Whether a path ends as lists of targets do, and has asterisks in its last part only.
fn is_path(path: &str) -> bool {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    !dir.contains('*') && matches!(end, "json" | "yml" | "yaml" | "JSON" | "YML" | "YAML")
}

impl<'de> Deserialize<'de> for HttpDiscovery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawHttpDiscovery { url, refresh_interval } = Deserialize::deserialize(deserializer)?;
        let parsed = reqwest::Url::parse(&url);
        let is_valid = parsed.is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|h| !h.is_empty())
        });
        if !is_valid {
            let message = format!("URL {url:?} must be one of http or https with a host");
            return Err(serde::de::Error::custom(message));
        }
        Ok(Self { url, refresh_ms: refresh_interval.or(DEFAULT_HTTP_REFRESH_MS) })
    }
}

impl DiscoveryConfig {
    /// Has relative paths start where the configuration file lies.
    pub(super) fn locate(&mut self, dir: &Path) {
        if let Self::File(config) = self {
            for file in &mut config.files {
                *file = dir.join(&*file);
            }
        }
    }
}
