//! HTTP clients that say who they are: certificates, passwords, tokens.
//!
//! Fields and rules are Prometheus's (`common/config`). Secrets of files are read for each request, and
//! certificates again when their files change. No secret is logged, or part of an error.

mod oauth2;
pub(crate) mod tls;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, RequestBuilder, StatusCode};

use self::oauth2::Tokens;
use crate::config::{Auth, ClientConfig, Source, TlsConfig};
use crate::error::chain;

pub use oauth2::TokenError;
pub use tls::TlsError;
#[cfg(test)]
use tls::{certificates, key, provider, roots};

/// How often files of certificates are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Largest secret that is read from a file, in bytes.
const MAX_SECRET_BYTES: u64 = 1 << 20;

/// How long a connection that nothing is sent on stays open.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The library refuses.
    #[error("the library refuses")]
    Library(#[source] reqwest::Error),
}

/// Why a request cannot say who asks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The file of a secret cannot be read.
    #[error("cannot read the secret in {file}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A secret cannot be part of a header.
    #[error("the credentials cannot be sent in a header")]
    Header,
    /// There is no token.
    #[error("cannot get a token")]
    Token(#[from] TokenError),
}

/// A client; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    options: ClientOptions,
    made: Mutex<Made>,
    /// Gives tokens, if that is how requests say who asks.
    tokens: Option<Tokens>,
}

/// What a client is asked for beside its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientOptions {
    /// Whether compressed answers are decompressed.
    pub(crate) gzip: bool,
    /// Longest time of a request; none if its maker watches it.
    pub(crate) timeout: Option<Duration>,
    /// Whether only those redirections are followed that keep the body: others would ask for a page in
    /// place of sending, and its status say nothing of what was to be sent.
    pub(crate) keep_body: bool,
}

/// Most redirections of a request.
const MAX_REDIRECTS: usize = 10;

#[derive(Debug)]
struct Made {
    client: Client,
    /// When each of the files of its certificates was written.
    versions: Vec<Option<SystemTime>>,
    looked_at: Instant,
}

impl HttpClient {
    /// Makes a client.
    ///
    /// # Errors
    /// If its certificates cannot be used.
    pub(crate) fn new(config: &ClientConfig, options: ClientOptions) -> Result<Self, ClientError> {
        let tokens = match &config.auth {
            Auth::OAuth2(oauth2) => Some(Tokens::new(oauth2)?),
            _ => None,
        };
        let versions = written_at(&config.tls);
        let client = make(config, options)?;
        let made = Mutex::new(Made { client, versions, looked_at: Instant::now() });
        Ok(Self { shared: Arc::new(Shared { config: config.clone(), options, made, tokens }) })
    }

    /// Whether two have the same connections.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Starts a request that says who asks.
    ///
    /// # Errors
    /// If a secret cannot be read, or there is no token.
    pub(crate) async fn get(&self, url: &str) -> Result<RequestBuilder, AuthError> {
        self.authorized(self.client().get(url)).await
    }

    /// Starts a request with a body that says who asks.
    ///
    /// # Errors
    /// As those of [`get`](Self::get).
    pub(crate) async fn post(&self, url: &str) -> Result<RequestBuilder, AuthError> {
        self.authorized(self.client().post(url)).await
    }

    async fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, AuthError> {
        match &self.shared.config.auth {
            Auth::None => Ok(request),
            Auth::Basic { username, password } => {
                let username = secret(username.as_ref()).await?;
                Ok(request.basic_auth(username, Some(secret(password.as_ref()).await?)))
            }
            Auth::Header { kind, credentials } => {
                let credentials = secret(credentials.as_ref()).await?;
                Ok(request.header(AUTHORIZATION, sensitive(kind, &credentials)?))
            }
            Auth::OAuth2(_) => {
                let Some(tokens) = &self.shared.tokens else { return Ok(request) };
                let (kind, token) = tokens.get().await?;
                Ok(request.header(AUTHORIZATION, sensitive(&kind, &token)?))
            }
        }
    }

    /// The client, made anew if the files of its certificates have changed.
    fn client(&self) -> Client {
        let Shared { config, options, made, .. } = &*self.shared;
        let mut made = made.lock();
        if made.versions.is_empty() || made.looked_at.elapsed() < LOOK_INTERVAL {
            return made.client.clone();
        }
        made.looked_at = Instant::now();
        let versions = written_at(&config.tls);
        if versions != made.versions {
            made.versions = versions;
            match make(config, *options) {
                Ok(client) => made.client = client,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "certificates stay as they were");
                }
            }
        }
        made.client.clone()
    }
}

fn make(config: &ClientConfig, options: ClientOptions) -> Result<Client, ClientError> {
    let mut builder =
        Client::builder().no_proxy().gzip(options.gzip).pool_idle_timeout(MAX_IDLE).redirect(
            match (config.follow_redirects, options.keep_body) {
                (false, _) => Policy::none(),
                (true, false) => Policy::limited(MAX_REDIRECTS),
                (true, true) => Policy::custom(redirect_with_body),
            },
        );
    if let Some(timeout) = options.timeout {
        builder = builder.timeout(timeout);
    }
    builder = builder.tls_backend_preconfigured(tls::client(&config.tls)?);
    builder.build().map_err(ClientError::Library)
}

/// Follows a redirection that keeps the body, and takes any other as the answer.
fn redirect_with_body(attempt: Attempt<'_>) -> Action {
    let keeps = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT];
    match keeps.contains(&attempt.status()) {
        true if attempt.previous().len() > MAX_REDIRECTS => attempt.error("too many redirects"),
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// When each of the files was written.
fn written_at(config: &TlsConfig) -> Vec<Option<SystemTime>> {
    let written = |file: &PathBuf| fs::metadata(file).and_then(|m| m.modified()).ok();
    config.files().map(written).collect()
}

/// A secret as it is now; empty if there is none.
async fn secret(source: Option<&Source>) -> Result<String, AuthError> {
    match source {
        None => Ok(String::new()),
        Some(Source::Text(text)) => Ok(text.expose().to_owned()),
        Some(Source::File(file)) => {
            let path = file.clone();
            let read = tokio::task::spawn_blocking(move || read_secret(&path)).await;
            read.unwrap_or_else(|panic| Err(io::Error::other(panic)))
                .map_err(|source| AuthError::Read { file: file.clone(), source })
        }
    }
}

fn read_secret(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > MAX_SECRET_BYTES {
        return Err(io::Error::other("the file is too large for a secret"));
    }
    Ok(fs::read_to_string(file)?.trim().to_owned())
}

/// A header that is not shown.
fn sensitive(kind: &str, credentials: &str) -> Result<HeaderValue, AuthError> {
    let mut value =
        HeaderValue::from_str(&format!("{kind} {credentials}")).map_err(|_| AuthError::Header)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
pub(crate) mod tests;
