//! Sources of targets: the fields of a job that end with `_sd_configs`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::client::{self, RawClient};
use super::field::Milliseconds;
use super::raw::yes;
use super::{Auth, ClientConfig, OAuth2, Secret, TlsConfig};

const DEFAULT_FILE_REFRESH_MS: i64 = 5 * 60_000;

const DEFAULT_HTTP_REFRESH_MS: i64 = 60_000;

/// A source of targets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryConfig {
    /// Files.
    File(FileDiscovery),
    /// A server.
    Http(Box<HttpDiscovery>),
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
    /// How it is asked.
    pub client: ClientConfig,
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
    #[serde(default, deserialize_with = "client::basic")]
    basic_auth: Option<Auth>,
    #[serde(default, deserialize_with = "client::authorization")]
    authorization: Option<Auth>,
    #[serde(default, deserialize_with = "client::oauth2")]
    oauth2: Option<OAuth2>,
    #[serde(default)]
    bearer_token: Option<Secret>,
    #[serde(default)]
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    tls_config: TlsConfig,
    #[serde(default = "yes")]
    follow_redirects: bool,
    // There is no other protocol to choose.
    #[serde(default, rename = "enable_http2")]
    _enable_http2: bool,
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
        let mut raw = RawHttpDiscovery::deserialize(deserializer)?;
        let client = RawClient {
            basic_auth: raw.basic_auth.take(),
            authorization: raw.authorization.take(),
            oauth2: raw.oauth2.take(),
            bearer_token: raw.bearer_token.take(),
            bearer_token_file: raw.bearer_token_file.take(),
            tls_config: std::mem::take(&mut raw.tls_config),
            follow_redirects: raw.follow_redirects,
        };
        let client = client.check().map_err(serde::de::Error::custom)?;
        let RawHttpDiscovery { url, refresh_interval, .. } = raw;
        let parsed = reqwest::Url::parse(&url);
        let is_valid = parsed.is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|h| !h.is_empty())
        });
        if !is_valid {
            let message = format!("URL {url:?} must be one of http or https with a host");
            return Err(serde::de::Error::custom(message));
        }
        Ok(Self { url, client, refresh_ms: refresh_interval.or(DEFAULT_HTTP_REFRESH_MS) })
    }
}

impl DiscoveryConfig {
    /// Has relative paths start where the configuration file lies.
    pub(super) fn locate(&mut self, dir: &Path) {
        match self {
            Self::File(config) => {
                for file in &mut config.files {
                    *file = dir.join(&*file);
                }
            }
            Self::Http(config) => config.client.locate(dir),
        }
    }
}
