//! TLS of clients: whom they trust, and what they show.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion, version,
};

use crate::config::{TlsConfig, TlsVersion};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {file}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A text is not what it must be in PEM.
    #[error("{what} is not valid PEM, or empty")]
    Pem {
        /// What it must be.
        what: &'static str,
        /// Why it is not, unless it is empty.
        #[source]
        source: Option<pem::Error>,
    },
    /// A name is none of a host.
    #[error("{name:?} is not a valid server name")]
    ServerName {
        /// The name.
        name: String,
    },
    /// Certificates of others cannot be checked.
    #[error("cannot check certificates")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// A certificate and its key do not fit, or an authority is none.
    #[error("unusable certificate")]
    Certificate(#[source] rustls::Error),
}

/// The versions from the lowest to the highest.
pub(crate) fn versions(
    min: Option<TlsVersion>,
    max: Option<TlsVersion>,
) -> &'static [&'static SupportedProtocolVersion] {
    const LOWER: &[&SupportedProtocolVersion] = &[&version::TLS12];
    const HIGHER: &[&SupportedProtocolVersion] = &[&version::TLS13];
    match (min, max) {
        (Some(TlsVersion::Tls13), _) => HIGHER,
        (_, Some(TlsVersion::Tls12)) => LOWER,
        _ => rustls::ALL_VERSIONS,
    }
}

/// A text, or what a file holds.
pub(crate) fn read(
    text: Option<&str>,
    file: Option<&PathBuf>,
) -> Result<Option<Vec<u8>>, TlsError> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(file)) => {
            fs::read(file).map(Some).map_err(|source| TlsError::Read { file: file.clone(), source })
        }
        (None, None) => Ok(None),
    }
}

/// The certificates of a text in PEM, one at least.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "a certificate";
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = read.map_err(|source| TlsError::Pem { what, source: Some(source) })?;
    if found.is_empty() { Err(TlsError::Pem { what, source: None }) } else { Ok(found) }
}

/// The key of a text in PEM.
pub(crate) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|source| TlsError::Pem { what: "a key", source: Some(source) })
}

/// Authorities of a text in PEM.
pub(crate) fn roots(text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        roots.add(certificate).map_err(TlsError::Certificate)?;
    }
    Ok(roots)
}

/// The cryptography that is used.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes what a client needs.
pub(crate) fn client(config: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let roots = match read(config.ca.as_deref(), config.ca_file.as_ref())? {
        Some(text) => roots(&text)?,
        None => system_roots(),
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(config.min_version, config.max_version))
        .map_err(TlsError::Certificate)?;
    let name = match &config.server_name {
        Some(name) => {
            let invalid = |_| TlsError::ServerName { name: name.clone() };
            Some(ServerName::try_from(name.clone()).map_err(invalid)?)
        }
        None => None,
    };
    let trusted = match config.insecure_skip_verify {
        true => Trusted::All,
        false if roots.is_empty() => Trusted::None,
        false => {
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            Trusted::Known(built.build().map_err(TlsError::Verifier)?)
        }
    };
    let verifier = Arc::new(Verifier { trusted, name, provider });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let certificate = read(config.cert.as_deref(), config.cert_file.as_ref())?;
    let own_key = config.key.as_ref().map(|key| key.expose());
    match (certificate, read(own_key, config.key_file.as_ref())?) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificates(&certificate)?, self::key(&key)?)
            .map_err(TlsError::Certificate),
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// The authorities that the system trusts; none if they cannot be read.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Which servers are trusted.
#[derive(Debug)]
enum Trusted {
    /// Whoever answers.
    All,
    /// Those with a certificate of known authorities.
    Known(Arc<WebPkiServerVerifier>),
    /// Nobody, for no authorities are known.
    None,
}

/// Checks the certificate of a server, perhaps for another name than that of its address, or not at all.
#[derive(Debug)]
struct Verifier {
    trusted: Trusted,
    name: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        match &self.trusted {
            Trusted::Known(trusted) => {
                trusted.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            }
            Trusted::All => Ok(ServerCertVerified::assertion()),
            Trusted::None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
