use axum::Router;
use axum::routing::get;
use ferula_index::Labels;
use ferula_tsdb::{Db, Options};

use super::super::server::Server;
use super::*;
use crate::api::{ApiState, router};
use crate::cli::ServerFlags;
use crate::client::tests::signed;
use crate::client::{ClientOptions, HttpClient};
use crate::config::ScrapeFile;
use crate::send::Senders;
use crate::telemetry::Registry;

/// Status and head of the answer to a client of a job with these options.
async fn ask(url: &str, options: &str, dir: &Path) -> Result<(u16, String), String> {
    let text = format!("scrape_configs: [{{job_name: j, {options}}}]");
    let file = ScrapeFile::parse(&text, &dir.join("x.yml")).unwrap();
    let client = HttpClient::new(&file.jobs[0].client, ClientOptions::default()).unwrap();
    let answer = client.get(url).await.unwrap().send().await.map_err(|error| chain(&error))?;
    Ok((answer.status().as_u16(), format!("{:?}", answer.headers())))
}

async fn serve(file: &Path) -> (String, Server) {
    serve_router(file, Router::new().route("/", get(async || "hello"))).await
}

async fn serve_router(file: &Path, router: Router) -> (String, Server) {
    let flags = ServerFlags {
        listen: "127.0.0.1:0".to_owned(),
        log_level: crate::cli::LogLevel::Error,
        enable_lifecycle: false,
        cors_origin: None,
        web_config: Some(file.to_owned()),
    };
    let server = Server::bind(&flags).await.expect("a free port");
    server.set_router(router);
    (server.local_address().to_string(), server)
}

#[tokio::test]
async fn users_are_let_in_with_their_passwords_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    let hash = bcrypt::hash("right", 4).unwrap();
    let text = format!(
        "basic_auth_users: {{me: '{hash}'}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}"
    );
    fs::write(&path, text).unwrap();
    let (address, _server) = serve(&path).await;
    let url = format!("http://{address}/");
    for (options, status) in [
        ("basic_auth: {username: me, password: right}", 200),
        ("basic_auth: {username: me, password: right}", 200),
        ("basic_auth: {username: me, password: wrong}", 401),
        ("basic_auth: {username: you, password: right}", 401),
        ("basic_auth: {username: me}", 401),
        ("authorization: {credentials: right}", 401),
        ("", 401),
    ] {
        let (found, head) = ask(&url, options, dir.path()).await.unwrap();
        assert_eq!(found, status, "{options}");
        assert!(head.contains("\"x-frame-options\": \"deny\""), "{head}");
        assert_eq!(head.contains("www-authenticate"), status == 401, "{head}");
    }
}

#[test]
fn a_file_that_is_just_being_written_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    let user = |name: &str| {
        format!("basic_auth_users: {{{name}: '{}'}}", "$2b$04$".to_owned() + &"a".repeat(53))
    };
    fs::write(&path, user("one")).unwrap();
    let file = WebFile::read(&path).unwrap();
    let users_with = |text: &str| {
        fs::write(&path, text).unwrap();
        let mut loaded = file.loaded.lock();
        loaded.looked_at = loaded.looked_at.checked_sub(LOOK_INTERVAL).unwrap();
        drop(loaded);
        file.current().users.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    for (text, users) in [
        ("", "one"),
        ("basic_auth_users:", "one"),
        ("basic_auth_users: {", "one"),
        ("http_server_config: {http2: true}", "one"),
        (&user("another"), "another"),
        (&user("yet_another"), "yet_another"),
    ] {
        assert_eq!(users_with(text), users, "{text}");
    }
}

#[tokio::test]
async fn tls_wants_certificates_where_it_is_told_to() {
    let (own, client) = (signed("server.example"), signed("client"));
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("ca.pem", &own.authority);
    write("cert.pem", &own.certificate);
    write("key.pem", &own.key);
    write("clients.pem", &client.authority);
    write("client.pem", &client.certificate);
    write("client_key.pem", &client.key);
    write(
        "web.yml",
        "tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS13, \
         client_auth_type: RequireAndVerifyClientCert, client_ca_file: clients.pem}",
    );
    let (address, _server) = serve(&dir.path().join("web.yml")).await;
    let url = format!("https://{address}/");
    let trusts = "ca_file: ca.pem, server_name: server.example";
    let shows = "cert_file: client.pem, key_file: client_key.pem";
    for (tls, is_let_in) in [
        (format!("{trusts}, {shows}"), true),
        (trusts.to_owned(), false),
        (format!("{trusts}, {shows}, max_version: TLS12"), false),
        (format!("{trusts}, cert_file: cert.pem, key_file: key.pem"), false),
    ] {
        let answer = ask(&url, &format!("tls_config: {{{tls}}}"), dir.path()).await;
        assert_eq!(answer.is_ok_and(|(status, _)| status == 200), is_let_in, "{tls}");
    }
    // Who speaks no TLS gets no answer.
    assert!(ask(&format!("http://{address}/"), "", dir.path()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_sent_over_tls_with_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let own = signed("server.example");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("ca.pem", &own.authority);
    write("cert.pem", &own.certificate);
    write("key.pem", &own.key);
    write("password", "right\n");
    let hash = bcrypt::hash("right", 4).unwrap();
    let tls = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}";
    write("web.yml", &format!("{tls}\nbasic_auth_users: {{me: '{hash}'}}"));
    let open = |name| Arc::new(Db::open(dir.path().join(name), Options::default()).unwrap());
    let (source, target) = (open("source"), open("target"));
    let state = ApiState::builder(target.clone()).store(target.clone()).enable_remote_write(true);
    let (address, _server) = serve_router(&dir.path().join("web.yml"), router(state.build())).await;

    // The one with a wrong password is refused; that is told, and nothing arrives by it.
    let trusts = "tls_config: {ca_file: ca.pem, server_name: server.example}";
    let queue = "queue_config: {batch_send_deadline: 10ms}, metadata_config: {send: false}";
    let place = |name: &str, auth: &str| {
        let relabel = format!("write_relabel_configs: [{{target_label: by, replacement: {name}}}]");
        let url = format!("url: 'https://{address}/api/v1/write'");
        format!("{{name: {name}, {url}, {trusts}, {queue}, {relabel}, {auth}}}")
    };
    let text = format!(
        "scrape_configs: [{{job_name: j}}]\nremote_write: [{}, {}]",
        place("good", "basic_auth: {username: me, password_file: password}"),
        place("bad", "basic_auth: {username: me, password: hunter2}"),
    );
    let file = ScrapeFile::parse(&text, &dir.path().join("x.yml")).unwrap();
    assert!(!format!("{file:?}").contains("hunter2"), "a secret is shown");
    let registry = Registry::new();
    let data = dir.path().join("source");
    let senders = Senders::start(&file.remote_write, &file.external_labels, &data, &registry);
    let mut batch = source.appender();
    let labels = Labels::from_pairs([("__name__", "up")]).unwrap();
    batch.append(&labels, 1_700_000_000_000, 1.0).unwrap();
    batch.commit().unwrap();
    let refused = r#"ferula_remote_storage_samples_failed_total{remote_name="bad"} 1"#;
    let taken = r#"ferula_remote_storage_samples_total{remote_name="good"} 1"#;
    let is_done = || {
        let page = String::from_utf8(registry.page()).unwrap();
        page.contains(refused) && page.contains(taken)
    };
    for _ in 0..500 {
        if is_done() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_done(), "{}", String::from_utf8_lossy(&registry.page()));
    senders.unwrap().stop().await;
    let querier = target.querier(0, i64::MAX).unwrap();
    let series = querier.select(&[]).unwrap();
    assert_eq!(series.len(), 1);
    assert_eq!(series.labels(0).to_string(), r#"{__name__="up", by="good"}"#);
}

#[test]
fn a_changed_file_is_taken_over_unless_it_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    let hash = bcrypt::hash("x", 4).unwrap();
    fs::write(&path, format!("basic_auth_users: {{a: '{hash}'}}")).unwrap();
    let web = WebFile::read(&path).unwrap();
    let users = || web.current().users.keys().cloned().collect::<Vec<_>>();
    let change = |text: &str| {
        fs::write(&path, text).unwrap();
        let mut loaded = web.loaded.lock();
        // As if some time had gone by.
        loaded.versions.clear();
        loaded.looked_at = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
    };
    assert_eq!(users(), ["a"]);
    change("basic_auth_users: {b: plain}");
    assert_eq!(users(), ["a"]);
    change(&format!("basic_auth_users: {{b: '{hash}'}}"));
    assert_eq!(users(), ["b"]);
}

#[test]
fn what_is_wrong_is_told_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.yml");
    for (text, message) in [
        ("basic_auth_users: {a: hunter2}", "the password of user \"a\" is no bcrypt hash"),
        ("basic_auth_users: {a: 4711}", ":1: basic_auth_users.a: a secret that is no text stands"),
        ("tls_server_config: {cert_file: a}", "exactly one of key and key_file"),
        ("tls_server_config: {}", "exactly one of cert and cert_file"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}",
            "client CA's have been configured without a Client Auth Policy",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}",
            "unknown variant `RequireAnyClientCert`",
        ),
        ("tls_server_config: {cert_file: a, key_file: b}", "cannot read "),
        (
            "http_server_config: {headers: {Server: x}}",
            "HTTP header \"Server\" can not be configured",
        ),
        ("tls_config: {}", "unknown field `tls_config`"),
    ] {
        fs::write(&path, text).unwrap();
        let error = chain(&WebFile::read(&path).unwrap_err());
        assert!(error.contains(message), "{text}: {error}");
        assert!(error.contains("web.yml"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("4711"), "{error}");
    }
}
