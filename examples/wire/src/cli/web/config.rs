//! The file as it is written, and what becomes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde::Deserialize;

use super::WebConfigError;
use crate::client::TlsError;
use crate::client::tls::{certificates, key, provider, read, roots, versions};
use crate::config::{Secret, TlsVersion, place_and_reason};

/// Headers that a file may set, in lower case.
const HEADERS: [&str; 5] = [
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];

/// A web configuration, checked.
#[derive(Debug)]
pub(super) struct WebConfig {
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Hashes of passwords, by user. Without any everybody may ask.
    pub(super) users: BTreeMap<String, Secret>,
    /// What every answer has in its head.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The files that it names.
    pub(super) files: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawWebConfig {
    tls_server_config: Option<RawTls>,
    http_server_config: RawHttp,
    basic_auth_users: BTreeMap<String, Secret>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTls {
    cert: Option<String>,
    cert_file: Option<PathBuf>,
    key: Option<Secret>,
    key_file: Option<PathBuf>,
    client_auth_type: ClientAuth,
    client_ca: Option<String>,
    client_ca_file: Option<PathBuf>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
}

/// Whether clients show certificates. Those that are not checked protect nothing, and are not asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum ClientAuth {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHttp {
    // There is no other protocol to choose.
    #[serde(rename = "http2")]
    _http2: bool,
    headers: BTreeMap<String, String>,
}

impl WebConfig {
    pub(super) fn read(path: &Path) -> Result<Self, WebConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| WebConfigError::Read { file: path.to_owned(), source })?;
        // An empty file asks for nothing.
        let raw: RawWebConfig = if text.trim().is_empty() {
            RawWebConfig::default()
        } else {
            let yaml = serde_yaml_ng::Deserializer::from_str(&text);
            serde_path_to_error::deserialize(yaml).map_err(|error| {
                let field = error.path().to_string();
                let (line, reason) = place_and_reason(error.inner());
                WebConfigError::Syntax { file: path.to_owned(), line, field, reason }
            })?
        };
        let senseless = |reason| WebConfigError::Senseless { file: path.to_owned(), reason };
        let headers: Result<Vec<_>, _> =
            raw.http_server_config.headers.iter().map(header).collect();
        let headers = headers.map_err(senseless)?;
        for (user, hash) in &raw.basic_auth_users {
            if bcrypt::HashParts::from_str(hash.expose()).is_err() {
                return Err(senseless(format!("the password of user {user:?} is no bcrypt hash")));
            }
        }
        let mut config =
            Self { tls: None, users: raw.basic_auth_users, headers, files: Vec::new() };
        if let Some(mut tls) = raw.tls_server_config {
            tls.check().map_err(senseless)?;
            let dir = path.parent().unwrap_or_else(|| Path::new(""));
            for file in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file] {
                if let Some(file) = file.as_mut() {
                    *file = dir.join(&*file);
                    config.files.push(file.clone());
                }
            }
            let made = tls
                .make()
                .map_err(|source| WebConfigError::Tls { file: path.to_owned(), source })?;
            config.tls = Some(Arc::new(made));
        }
        Ok(config)
    }
}

fn header((name, value): (&String, &String)) -> Result<(HeaderName, HeaderValue), String> {
    let lower = name.to_ascii_lowercase();
    if !HEADERS.contains(&lower.as_str()) {
        return Err(format!("HTTP header {name:?} can not be configured"));
    }
    let value = HeaderValue::from_str(value);
    let value = value.map_err(|_| format!("the value of HTTP header {name:?} is invalid"))?;
    Ok((HeaderName::from_str(&lower).map_err(|_| format!("{name:?} is no header"))?, value))
}

impl RawTls {
    fn check(&self) -> Result<(), String> {
        let has_ca = self.client_ca.is_some() || self.client_ca_file.is_some();
        for (name, n) in [
            ("cert", usize::from(self.cert.is_some()) + usize::from(self.cert_file.is_some())),
            ("key", usize::from(self.key.is_some()) + usize::from(self.key_file.is_some())),
        ] {
            if n != 1 {
                return Err(format!("exactly one of {name} and {name}_file must be configured"));
            }
        }
        if self.client_ca.is_some() && self.client_ca_file.is_some() {
            return Err("at most one of client_ca and client_ca_file must be configured".to_owned());
        }
        match (self.client_auth_type, has_ca) {
            (ClientAuth::NoClientCert, true) => {
                Err("client CA's have been configured without a Client Auth Policy".to_owned())
            }
            (ClientAuth::NoClientCert, false) | (_, true) => Ok(()),
            (_, false) => Err("client_auth_type needs client_ca or client_ca_file".to_owned()),
        }?;
        let (min, max) = (self.min_version, self.max_version);
        if max.is_some_and(|max| max < TlsVersion::Tls12 || min.is_some_and(|min| min > max)) {
            return Err("max_version is below min_version, or below TLS12".to_owned());
        }
        Ok(())
    }

    fn make(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(self.min_version, self.max_version))
            .map_err(TlsError::Certificate)?;
        let authorities = read(self.client_ca.as_deref(), self.client_ca_file.as_ref())?;
        let builder = match authorities {
            None => builder.with_no_client_auth(),
            Some(text) => {
                let trusted = Arc::new(roots(&text)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(trusted, provider());
                let verifier = match self.client_auth_type {
                    ClientAuth::VerifyClientCertIfGiven => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Verifier)?)
            }
        };
        let chain = read(self.cert.as_deref(), self.cert_file.as_ref())?.unwrap_or_default();
        let own_key = self.key.as_ref().map(|key| key.expose());
        let own_key = read(own_key, self.key_file.as_ref())?.unwrap_or_default();
        let mut config = builder
            .with_single_cert(certificates(&chain)?, key(&own_key)?)
            .map_err(TlsError::Certificate)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
