use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::ScrapeFile;

/// The client of a job with these options, whose relative paths start in `dir`.
fn client_of(options: &str, dir: &Path) -> Result<HttpClient, ClientError> {
    let text = format!("scrape_configs: [{{job_name: j, {options}}}]");
    let file = ScrapeFile::parse(&text, &dir.join("x.yml")).unwrap();
    HttpClient::new(&file.jobs[0].client, ClientOptions::default())
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn requests_say_who_asks() {
    let shown = get(async |headers: HeaderMap| {
        headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned()
    });
    let url = serve(Router::new().route("/", shown)).await;
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "first\n").unwrap();
    let ask = async |client: &HttpClient| {
        client.get(&url).await.unwrap().send().await.unwrap().text().await.unwrap()
    };
    for (options, header) in [
        ("", ""),
        ("basic_auth: {username: u, password: p}", "Basic dTpw"),
        ("authorization: {credentials: abc}", "Bearer abc"),
        ("authorization: {type: Token, credentials: abc}", "Token abc"),
        ("bearer_token: abc", "Bearer abc"),
    ] {
        let client = client_of(options, dir.path()).unwrap();
        assert_eq!(ask(&client).await, header, "{options}");
        assert!(!format!("{client:?}").contains("abc"), "a secret is shown");
    }
    // A file is read for each request.
    let client = client_of("authorization: {credentials_file: secret}", dir.path()).unwrap();
    assert_eq!(ask(&client).await, "Bearer first");
    fs::write(&secret, "second").unwrap();
    assert_eq!(ask(&client).await, "Bearer second");
    fs::remove_file(&secret).unwrap();
    let error = client.get(&url).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read the secret in "), "{error}");
}

#[tokio::test]
async fn what_is_sent_is_redirected_with_its_body_only() {
    let moved = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        post(async move || (status, [("location", "/end")]))
    };
    let end = post(async |body: String| body).get(async || "a page");
    let app = Router::new().route("/302", moved(302)).route("/307", moved(307)).route("/end", end);
    let url = serve(app).await;
    let options = ClientOptions { keep_body: true, ..ClientOptions::default() };
    let client = HttpClient::new(&ClientConfig::default(), options).unwrap();
    for (path, status, text) in [("307", 200, "samples"), ("302", 302, "")] {
        let request = client.post(&format!("{url}/{path}")).await.unwrap();
        let answer = request.body("samples").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.text().await.unwrap(), text);
    }
}

#[tokio::test]
async fn tokens_are_asked_for_once() {
    let token = post(async |headers: HeaderMap, body: Bytes| {
        // Like many servers it wants the credentials in one of two places.
        let body = String::from_utf8(body.to_vec()).unwrap();
        if headers.contains_key("authorization") {
            return axum::http::StatusCode::UNAUTHORIZED.into_response();
        }
        let expected =
            "grant_type=client_credentials&scope=a+b&x=%26&client_id=me&client_secret=s%3D";
        assert_eq!(body, expected);
        r#"{"access_token": "t1", "token_type": "bearer", "expires_in": 3600}"#.into_response()
    });
    let shown =
        get(async |headers: HeaderMap| headers["authorization"].to_str().unwrap().to_owned());
    let url = serve(Router::new().route("/token", token).route("/", shown)).await;
    let options = format!(
        "oauth2: {{client_id: me, client_secret: 's=', scopes: [a, b], endpoint_params: {{x: '&'}}, \
         token_url: '{url}/token'}}"
    );
    let client = client_of(&options, Path::new("")).unwrap();
    for _ in 0..2 {
        let answer = client.get(&url).await.unwrap().send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "Bearer t1");
    }
    assert!(!format!("{client:?}").contains("t1"), "a token is shown");
}

/// An authority, and a certificate with its key that it has signed.
pub(crate) struct Signed {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn signed(name: &str) -> Signed {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Signed { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

/// Answers each request over TLS, and wants a certificate of `clients` if there are any.
async fn serve_tls(own: &Signed, clients: Option<&str>) -> SocketAddr {
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let trusted = Arc::new(roots(authority.as_bytes()).unwrap());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(trusted, provider()).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(own.certificate.as_bytes()).unwrap();
    let config = builder.with_single_cert(chain, key(own.key.as_bytes()).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

#[tokio::test]
async fn certificates_are_checked_and_shown() {
    let (server, client) = (signed("server.example"), signed("client"));
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("ca.pem", &server.authority),
        ("other.pem", &client.authority),
        ("cert.pem", &client.certificate),
        ("key.pem", &client.key),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let open = serve_tls(&server, None).await;
    let closed = serve_tls(&server, Some(&client.authority)).await;
    let own = "cert_file: cert.pem, key_file: key.pem";
    for (address, tls, is_good) in [
        (open, "ca_file: ca.pem, server_name: server.example".to_owned(), true),
        (open, "ca_file: ca.pem, server_name: server.example, min_version: TLS13".to_owned(), true),
        (open, "ca_file: ca.pem, server_name: server.example, max_version: TLS12".to_owned(), true),
        // Another name, other authorities, and those of the system.
        (open, "ca_file: ca.pem".to_owned(), false),
        (open, "ca_file: other.pem, server_name: server.example".to_owned(), false),
        (open, "server_name: server.example".to_owned(), false),
        (open, "insecure_skip_verify: true".to_owned(), true),
        (closed, "insecure_skip_verify: true".to_owned(), false),
        (closed, format!("ca_file: ca.pem, server_name: server.example, {own}"), true),
    ] {
        let outcome = match client_of(&format!("tls_config: {{{tls}}}"), dir.path()) {
            Ok(client) => {
                let request = client.get(&format!("https://{address}/")).await.unwrap();
                request.send().await.is_ok_and(|answer| answer.status().is_success())
            }
            Err(error) => panic!("{tls}: {error}"),
        };
        assert_eq!(outcome, is_good, "{tls}");
    }
    let broken = dir.path().join("broken.pem");
    fs::write(&broken, "nothing").unwrap();
    for (tls, message) in [
        ("ca_file: missing.pem", "cannot read "),
        ("ca_file: broken.pem", "a certificate is not valid PEM, or empty"),
        ("ca_file: ca.pem, cert_file: cert.pem, key_file: broken.pem", "a key is not valid PEM"),
        ("ca_file: ca.pem, server_name: 'a b'", "\"a b\" is not a valid server name"),
    ] {
        let error = client_of(&format!("tls_config: {{{tls}}}"), dir.path()).unwrap_err();
        assert!(error.to_string().starts_with(message), "{tls}: {error}");
    }
}
