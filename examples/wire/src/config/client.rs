//! How requests are made: the fields of a job that say who asks, and whom it trusts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Takes a text, and shows nothing of what it does not take.
struct SecretVisitor;

impl SecretVisitor {
    fn refuse<E: serde::de::Error>() -> Result<Secret, E> {
        Err(E::custom("a secret that is no text stands in quotes"))
    }
}

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret(text.to_owned()))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Secret, E> {
        Self::refuse()
    }
}

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A text, or the file that it is read from for each request.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The text.
    Text(Secret),
    /// The file.
    File(PathBuf),
}

/// How requests are made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Who asks.
    pub auth: Auth,
    /// Whom it trusts, and what it shows.
    pub tls: TlsConfig,
    /// Whether redirections are followed.
    pub follow_redirects: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { auth: Auth::None, tls: TlsConfig::default(), follow_redirects: true }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Auth {
    /// Nobody in particular.
    None,
    /// A user with a password.
    Basic {
        /// The user.
        username: Option<Source>,
        /// The password.
        password: Option<Source>,
    },
    /// Whoever has these credentials.
    Header {
        /// What they are, such as `Bearer`.
        kind: String,
        /// The credentials.
        credentials: Option<Source>,
    },
    /// Whoever a server gives a token.
    OAuth2(Box<OAuth2>),
}

/// A server that gives tokens for a client's own credentials.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OAuth2 {
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<Source>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Address of the server.
    pub token_url: String,
    /// More parameters of the request.
    pub params: BTreeMap<String, String>,
    /// Whom the request for a token trusts.
    pub tls: TlsConfig,
}

/// Certificates, and how they are checked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Authorities that are trusted, in PEM; those of the system without them.
    pub ca: Option<String>,
    /// The same in a file.
    pub ca_file: Option<PathBuf>,
    /// Certificate that is shown, in PEM.
    pub cert: Option<String>,
    /// The same in a file.
    pub cert_file: Option<PathBuf>,
    /// Key of that certificate.
    pub key: Option<Secret>,
    /// The same in a file.
    pub key_file: Option<PathBuf>,
    /// Name that the certificate of the other side must have; that of its address without it.
    pub server_name: Option<String>,
    /// Whether the certificate of the other side is not looked at.
    pub insecure_skip_verify: bool,
    /// Lowest version.
    pub min_version: Option<TlsVersion>,
    /// Highest version.
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS. Those below 1.2 are not spoken: the lowest may be one of them, the highest not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum TlsVersion {
    /// 1.0.
    #[serde(rename = "TLS10")]
    Tls10,
    /// 1.1.
    #[serde(rename = "TLS11")]
    Tls11,
    /// 1.2.
    #[serde(rename = "TLS12")]
    Tls12,
    /// 1.3.
    #[serde(rename = "TLS13")]
    Tls13,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawBasic {
    username: Option<Secret>,
    username_file: Option<PathBuf>,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAuthorization {
    #[serde(rename = "type")]
    kind: Option<String>,
    credentials: Option<Secret>,
    credentials_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOAuth2 {
    client_id: String,
    #[serde(default)]
    client_secret: Option<Secret>,
    #[serde(default)]
    client_secret_file: Option<PathBuf>,
    #[serde(default)]
    scopes: Vec<String>,
    token_url: String,
    #[serde(default)]
    endpoint_params: BTreeMap<String, String>,
    #[serde(default)]
    tls_config: TlsConfig,
}

/// The fields as they are written; those of other structures beside them are theirs.
#[derive(Default)]
pub(super) struct RawClient {
    pub(super) basic_auth: Option<Auth>,
    pub(super) authorization: Option<Auth>,
    pub(super) oauth2: Option<OAuth2>,
    pub(super) bearer_token: Option<Secret>,
    pub(super) bearer_token_file: Option<PathBuf>,
    pub(super) tls_config: TlsConfig,
    pub(super) follow_redirects: bool,
}

/// A text or a file, but not both.
fn source(
    text: Option<Secret>,
    file: Option<PathBuf>,
    name: &str,
) -> Result<Option<Source>, String> {
    match (text, file) {
        (Some(_), Some(_)) => {
            Err(format!("at most one of {name} & {name}_file must be configured"))
        }
        (Some(text), None) => Ok(Some(Source::Text(text))),
        (None, file) => Ok(file.map(Source::File)),
    }
}

/// Reads a `basic_auth`.
pub(super) fn basic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Auth>, D::Error> {
    let raw = RawBasic::deserialize(deserializer)?;
    let custom = serde::de::Error::custom;
    let username = source(raw.username, raw.username_file, "username").map_err(custom)?;
    let custom = serde::de::Error::custom;
    let password = source(raw.password, raw.password_file, "password").map_err(custom)?;
    Ok(Some(Auth::Basic { username, password }))
}

/// Reads an `authorization`.
pub(super) fn authorization<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Auth>, D::Error> {
    let raw = RawAuthorization::deserialize(deserializer)?;
    let kind = raw.kind.map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty());
    let kind = kind.unwrap_or_else(|| "Bearer".to_owned());
    if kind.eq_ignore_ascii_case("basic") {
        let message = "authorization type cannot be set to \"basic\", use \"basic_auth\" instead";
        return Err(serde::de::Error::custom(message));
    }
    let credentials = source(raw.credentials, raw.credentials_file, "credentials");
    let credentials = credentials.map_err(serde::de::Error::custom)?;
    Ok(Some(Auth::Header { kind, credentials }))
}

/// Reads an `oauth2`.
pub(super) fn oauth2<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OAuth2>, D::Error> {
    let raw = RawOAuth2::deserialize(deserializer)?;
    let client_secret = source(raw.client_secret, raw.client_secret_file, "client_secret");
    let client_secret = client_secret.map_err(serde::de::Error::custom)?;
    for (name, value) in [("client_id", &raw.client_id), ("token_url", &raw.token_url)] {
        if value.is_empty() {
            return Err(serde::de::Error::custom(format!("oauth2 {name} must be configured")));
        }
    }
    Ok(Some(OAuth2 {
        client_id: raw.client_id,
        client_secret,
        scopes: raw.scopes,
        token_url: raw.token_url,
        params: raw.endpoint_params,
        tls: raw.tls_config,
    }))
}

impl RawClient {
    /// Checks the fields together.
    pub(super) fn check(self) -> Result<ClientConfig, String> {
        let bearer = source(self.bearer_token, self.bearer_token_file, "bearer_token")?;
        let bearer = bearer
            .map(|token| Auth::Header { kind: "Bearer".to_owned(), credentials: Some(token) });
        let oauth2 = self.oauth2.map(|config| Auth::OAuth2(Box::new(config)));
        let mut ways = [self.basic_auth, self.authorization, oauth2, bearer].into_iter().flatten();
        let auth = ways.next().unwrap_or(Auth::None);
        if ways.next().is_some() {
            return Err("at most one of basic_auth, oauth2, authorization, bearer_token & \
                        bearer_token_file must be configured"
                .to_owned());
        }
        check_tls(&self.tls_config)?;
        if let Auth::OAuth2(config) = &auth {
            check_tls(&config.tls)?;
        }
        let follow_redirects = self.follow_redirects;
        Ok(ClientConfig { auth, tls: self.tls_config, follow_redirects })
    }
}

fn check_tls(tls: &TlsConfig) -> Result<(), String> {
    for (name, is_twice) in [
        ("ca", tls.ca.is_some() && tls.ca_file.is_some()),
        ("cert", tls.cert.is_some() && tls.cert_file.is_some()),
        ("key", tls.key.is_some() && tls.key_file.is_some()),
    ] {
        if is_twice {
            return Err(format!("at most one of {name} and {name}_file must be configured"));
        }
    }
    let has_cert = tls.cert.is_some() || tls.cert_file.is_some();
    let has_key = tls.key.is_some() || tls.key_file.is_some();
    if has_cert != has_key {
        return Err("exactly one of cert and cert_file, and one of key and key_file, must be \
                    configured for a client certificate"
            .to_owned());
    }
    let (min, max) = (tls.min_version, tls.max_version);
    if max.is_some_and(|max| max < TlsVersion::Tls12 || min.is_some_and(|min| min > max)) {
        return Err("max_version is below min_version, or below TLS12".to_owned());
    }
    Ok(())
}

impl ClientConfig {
    /// Has relative paths start where the configuration file lies.
    pub(super) fn locate(&mut self, dir: &Path) {
        let file = |source: &mut Option<Source>| {
            if let Some(Source::File(path)) = source {
                *path = dir.join(&*path);
            }
        };
        match &mut self.auth {
            Auth::None => {}
            Auth::Basic { username, password } => [username, password].into_iter().for_each(file),
            Auth::Header { credentials, .. } => file(credentials),
            Auth::OAuth2(config) => {
                file(&mut config.client_secret);
                config.tls.locate(dir);
            }
        }
        self.tls.locate(dir);
    }
}

impl TlsConfig {
    fn locate(&mut self, dir: &Path) {
        let files = [&mut self.ca_file, &mut self.cert_file, &mut self.key_file];
        for path in files.into_iter().flatten() {
            *path = dir.join(&*path);
        }
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten()
    }
}
