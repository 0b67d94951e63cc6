//! Tokens for a client's own credentials (RFC 6749, section 4.4), kept until they expire.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{ClientError, ClientOptions, HttpClient, secret};
use crate::config::{ClientConfig, OAuth2, Secret};

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(10);

/// Longest time of a request for a token.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The server cannot be asked.
    #[error("cannot ask the server")]
    Request(#[source] reqwest::Error),
    /// The secret of the client cannot be read.
    #[error("the secret of the client cannot be read")]
    Secret(#[source] Box<super::AuthError>),
    /// The server refuses.
    #[error("server returned HTTP status {0}")]
    Status(StatusCode),
    /// The answer has no token.
    #[error("the answer has no token")]
    Answer,
}

/// Asks a server for tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    config: OAuth2,
    client: HttpClient,
    current: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Token {
    kind: String,
    text: Secret,
    ends: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    pub(super) fn new(config: &OAuth2) -> Result<Self, ClientError> {
        let own = ClientConfig { tls: config.tls.clone(), ..ClientConfig::default() };
        let options = ClientOptions { timeout: Some(TIMEOUT), ..ClientOptions::default() };
        let client = HttpClient::new(&own, options)?;
        Ok(Self { config: config.clone(), client, current: Mutex::default() })
    }

    /// The kind of a token, and the token. The first of several that ask at once asks the server.
    pub(super) async fn get(&self) -> Result<(String, String), TokenError> {
        let mut current = self.current.lock().await;
        let is_good = |token: &&Token| token.ends.is_none_or(|ends| Instant::now() + MARGIN < ends);
        if let Some(token) = current.as_ref().filter(is_good) {
            return Ok((token.kind.clone(), token.text.expose().to_owned()));
        }
        let token = match self.ask(true).await {
            // Some servers want the credentials in the form.
            Err(TokenError::Status(_)) => self.ask(false).await?,
            asked => asked?,
        };
        let known = (token.kind.clone(), token.text.expose().to_owned());
        *current = Some(token);
        Ok(known)
    }

    async fn ask(&self, in_header: bool) -> Result<Token, TokenError> {
        let OAuth2 { client_id, client_secret, scopes, token_url, params, .. } = &self.config;
        let secret = secret(client_secret.as_ref()).await;
        let secret = secret.map_err(|error| TokenError::Secret(Box::new(error)))?;
        let mut form: Vec<(&str, &str)> = vec![("grant_type", "client_credentials")];
        let scope = scopes.join(" ");
        if !scope.is_empty() {
            form.push(("scope", &scope));
        }
        form.extend(params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if !in_header {
            form.extend([("client_id", client_id.as_str()), ("client_secret", &secret)]);
        }
        let mut body = String::new();
        for (i, (name, value)) in form.iter().enumerate() {
            if i > 0 {
                body.push('&');
            }
            crate::scrape::push_encoded(&mut body, name);
            body.push('=');
            crate::scrape::push_encoded(&mut body, value);
        }
        let mut request = self
            .client
            .client()
            .post(token_url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        if in_header {
            request = request.basic_auth(client_id, Some(&secret));
        }
        let asked = Instant::now();
        let mut answer = request.send().await.map_err(TokenError::Request)?;
        if !answer.status().is_success() {
            return Err(TokenError::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(TokenError::Request)? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(TokenError::Answer);
            }
            body.extend_from_slice(&piece);
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| TokenError::Answer)?;
        let kind = match answer.token_type.as_str() {
            kind if kind.is_empty() || kind.eq_ignore_ascii_case("bearer") => "Bearer".to_owned(),
            kind => kind.to_owned(),
        };
        let ends = answer.expires_in.filter(|seconds| *seconds > 0);
        let ends = ends.and_then(|seconds| asked.checked_add(Duration::from_secs(seconds)));
        Ok(Token { kind, text: Secret::new(answer.access_token), ends })
    }
}
