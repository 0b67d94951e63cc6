use super::*;
use crate::error::chain;

fn parse(text: &str) -> Result<ScrapeFile, String> {
    ScrapeFile::parse(text, Path::new("scrape.yml")).map_err(|e| chain(&e))
}

#[test]
fn a_whole_file_is_read() {
    let file = parse(
        "global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels: {site: x}
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ['localhost:9100', 'other:9100']
        labels: {zone: a}
  - job_name: slow
    scrape_interval: 1m
    scrape_timeout: 30s
    metrics_path: /probe
    params: {module: [http], target: [a, b]}
    honor_labels: true
    honor_timestamps: false
    sample_limit: 100
    body_size_limit: 10MB
    fallback_scrape_protocol: PrometheusText0.0.4
storage: {tsdb: {out_of_order_time_window: 30m}}
",
    )
    .unwrap();
    assert_eq!(file.external_labels["site"], "x");
    assert_eq!(file.out_of_order_window_ms, 30 * 60_000);
    let [node, slow] = file.jobs.as_slice() else { panic!("two jobs") };
    assert_eq!((node.interval_ms, node.timeout_ms), (15_000, 10_000));
    assert_eq!((node.metrics_path.as_str(), node.scheme.as_str()), ("/metrics", "http"));
    assert!(node.honor_timestamps && !node.honor_labels && node.enable_compression);
    assert_eq!(node.static_configs[0].targets, ["localhost:9100", "other:9100"]);
    assert_eq!((slow.interval_ms, slow.timeout_ms), (60_000, 30_000));
    assert_eq!(slow.params["target"], ["a", "b"]);
    assert_eq!((slow.limits.samples, slow.limits.body_bytes), (Some(100), 10 << 20));
    assert!(
        !slow.honor_timestamps
            && slow.honor_labels
            && slow.fallback_protocol == Some(Protocol::Text0)
    );
}

#[test]
fn formats_and_histograms_are_those_of_prometheus() {
    let file = parse(
        "global: {scrape_native_histograms: true, always_scrape_classic_histograms: true}
scrape_configs:
- job_name: a
- job_name: b
  scrape_native_histograms: false
  always_scrape_classic_histograms: false
  native_histogram_min_bucket_factor: 1.1
  metric_name_validation_scheme: legacy
- job_name: c
  scrape_protocols: [PrometheusText0.0.4, PrometheusProto]
  native_histogram_min_bucket_factor: 1e9
",
    )
    .unwrap();
    let [a, b, c] = file.jobs.as_slice() else { panic!("three jobs") };
    assert_eq!(a.protocols, Protocol::PROTOBUF_FIRST);
    assert!(a.histograms.native && a.histograms.always_classic && !a.has_own_protocols);
    assert_eq!(b.protocols, Protocol::DEFAULT);
    assert!(!b.histograms.native && !b.histograms.always_classic);
    assert_eq!((a.histograms.max_schema, b.histograms.max_schema), (None, Some(2)));
    assert_eq!((a.escaping, b.escaping), (Escaping::AllowUtf8, Escaping::Underscores));
    assert_eq!(c.protocols, [Protocol::Text0, Protocol::Protobuf]);
    assert_eq!((c.has_own_protocols, c.histograms.max_schema), (true, Some(-4)));
    for text in ["scrape_protocols: []", "scrape_protocols: [PrometheusProto, PrometheusProto]"] {
        let error = parse(&format!("scrape_configs: [{{job_name: a, {text}}}]")).unwrap_err();
        assert!(error.contains("scrape_protocols is empty or has a protocol twice"), "{error}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, message) in [
        ("", "scrape.yml: there are no scrape configs"),
        ("scrape_configs: []", "scrape.yml: there are no scrape configs"),
        ("scrape_configs: [{}]", "scrape.yml: scrape config 0 has no job name"),
        (
            "scrape_configs: [{job_name: a}, {job_name: a}]",
            "scrape.yml: found multiple scrape configs with job name \"a\"",
        ),
        (
            "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 6s}]",
            "scrape.yml: scrape timeout greater than scrape interval for scrape config with \
             job name \"a\"",
        ),
        (
            "global: {scrape_interval: 5s, scrape_timeout: 6s}\nscrape_configs: []",
            "scrape.yml: global scrape timeout greater than scrape interval",
        ),
        (
            "scrape_configs: [{job_name: a, scheme: ftp}]",
            "scrape.yml: scheme \"ftp\" is not supported in scrape config with job name \
             \"a\"",
        ),
        (
            "scrape_configs: [{job_name: a, static_configs: [{targets: ['http://x']}]}]",
            "scrape.yml: \"http://x\" is not a valid hostname in scrape config with job name \
             \"a\"",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err(), message, "{text}");
    }
    for (text, start, part) in [
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: []\n    label: x",
            "scrape.yml:5: scrape_configs[0].static_configs[0].label: ",
            "unknown field `label`",
        ),
        ("rule_files: [x]", "scrape.yml:1: rule_files: ", "unknown field `rule_files`"),
        (
            "global:\n  scrape_interval: 5x",
            "scrape.yml:2: global.scrape_interval: ",
            "not a valid duration string: \"5x\"",
        ),
        (
            "scrape_configs:\n- job_name: a\n  body_size_limit: 5\n",
            "scrape.yml:3: scrape_configs[0].body_size_limit: ",
            "not a valid size in bytes: \"5\"",
        ),
    ] {
        let message = parse(text).unwrap_err();
        assert!(message.starts_with(start) && message.contains(part), "{message}");
    }
    assert!(parse("scrape_configs: [").unwrap_err().starts_with("scrape.yml:"));
}

#[test]
fn ways_to_say_who_asks_exclude_each_other_and_show_no_secret() {
    for (options, message) in [
        (
            "bearer_token: a, bearer_token_file: b",
            "at most one of bearer_token & bearer_token_file",
        ),
        ("bearer_token: a, basic_auth: {username: u}", "at most one of basic_auth, oauth2"),
        ("authorization: {type: Basic}", "use \"basic_auth\" instead"),
        ("basic_auth: {password: a, password_file: b}", "at most one of password & password_file"),
        ("oauth2: {client_id: '', token_url: x}", "oauth2 client_id must be configured"),
        ("tls_config: {cert_file: a}", "exactly one of cert and cert_file"),
        ("tls_config: {ca: a, ca_file: b}", "at most one of ca and ca_file"),
        ("tls_config: {max_version: TLS11}", "max_version is below min_version, or below TLS12"),
        ("tls_config: {min_version: SSL3}", "unknown variant `SSL3`"),
        ("proxy_url: 'http://a'", "unknown field `proxy_url`"),
        ("bearer_token: 4711", "a secret that is no text stands in quotes"),
        ("basic_auth: {password: 4711}", "a secret that is no text stands in quotes"),
        ("basic_auth: {password: [4711]}", "invalid type: sequence, expected a secret"),
        ("http_sd_configs: [{url: 'ftp://a'}]", "must be one of http or https with a host"),
        ("file_sd_configs: [{files: ['a*/b.json']}]", "is not valid for file discovery"),
        ("file_sd_configs: [{files: [a.txt]}]", "is not valid for file discovery"),
        ("label_cardinality: {max_values: 5}", "missing field `action`"),
        ("label_cardinality: {action: hide}", "unknown variant `hide`"),
        ("file_sd_configs: [{files: []}]", "at least one path name"),
    ] {
        let error = parse(&format!("scrape_configs: [{{job_name: j, {options}}}]")).unwrap_err();
        assert!(error.contains(message), "{options}: {error}");
        assert!(!error.contains("4711"), "{error}");
    }
}

#[test]
fn places_to_send_to_are_checked_and_show_no_secret() {
    for (fields, message) in [
        ("url: 'ftp://a'", "only addresses with http:// and https://"),
        ("url: a", "remote write to a: "),
        ("url: 'http://u:4711@:b'", "remote write to <secret>: "),
        ("url: 'http://u:4711@a', name: a/b", "remote write to http://u:xxxxx@a/: a name is"),
        ("url: 'http://u@a', bearer_token: '4711'", "the address and another field say who sends"),
        ("url: 'http://a', bearer_token: '4711', basic_auth: {}", "at most one of basic_auth"),
        ("url: 'http://a', headers: {Authorization: '4711'}", "Authorization is a reserved header"),
        ("url: 'http://a', headers: {X-Key: 4711}", "a secret that is no text stands in quotes"),
        ("url: 'http://a', headers: {X-Key: \"4711\\n\"}", "\"X-Key\" cannot be a header, or its"),
        ("url: 'http://a', tls_config: {cert_file: a}", "exactly one of cert and cert_file"),
        ("url: 'http://a'}, {url: 'http://a'", "is there twice"),
    ] {
        let text = format!("scrape_configs: [{{job_name: j}}]\nremote_write: [{{{fields}}}]");
        let error = parse(&text).unwrap_err();
        assert!(error.contains(message), "{fields}: {error}");
        assert!(!error.contains("4711"), "{error}");
    }
}
