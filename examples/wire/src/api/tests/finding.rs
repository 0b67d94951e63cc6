//! Searching names, and what is known of targets.

use std::path::Path;

use super::*;
use crate::config::ScrapeFile;
use crate::scrape::Scraper;

const ALL: &str = "start=0&end=1000";

#[tokio::test]
async fn names_are_found_by_parts_of_them() {
    let api = api();
    for (path, lines) in [
        (
            format!("metric_names?{ALL}"),
            "{\"results\":[{\"name\":\"up\"},{\"name\":\"with.dot\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            format!("metric_names?{ALL}&search[]=wdt&include_score=true"),
            "{\"results\":[{\"name\":\"with.dot\",\"score\":0.263625}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            format!("metric_names?{ALL}&limit=1&sort_by=alpha&sort_dir=dsc"),
            "{\"results\":[{\"name\":\"with.dot\"}]}\n{\"status\":\"success\",\"has_more\":true}\n",
        ),
        (
            format!("label_names?{ALL}&batch_size=2"),
            "{\"results\":[{\"name\":\"__name__\"},{\"name\":\"job\"}]}\n{\"results\":[{\"name\":\"label.dot\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            format!(
                "label_values?{ALL}&label=job&search[]=A&search[]=C&case_sensitive=false&sort_by=score"
            ),
            "{\"results\":[{\"value\":\"a\"},{\"value\":\"b\\u003cc\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            format!("label_values?{ALL}&label=job&match[]=with"),
            "{\"results\":[]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
    ] {
        let (status, body) = get(&api, &format!("/api/v1/search/{path}")).await;
        assert_eq!((status, body.as_str()), (200, lines), "{path}");
    }
    let terms = "search[]=x&".repeat(33);
    for (path, problem) in [
        ("label_values?", r#"missing required parameter \"label\""#),
        ("label_names?limit=0", r#"invalid limit \"0\": must be a positive integer"#),
        ("label_names?limit=10001", "limit 10001 exceeds the configured maximum (10000)"),
        ("label_names?batch_size=-1", r#"invalid batch_size \"-1\": must be a positive integer"#),
        ("label_names?fuzz_threshold=101", r#"invalid fuzz_threshold \"101\": must be 0-100"#),
        (
            "label_names?fuzz_alg=x",
            r#"unsupported fuzz_alg \"x\": must be one of [subsequence jarowinkler]"#,
        ),
        ("label_names?case_sensitive=x", r#"invalid case_sensitive \"x\": must be boolean"#),
        (
            "label_names?sort_by=x",
            r#"invalid sort_by \"x\" for label_names: must be \"alpha\" or \"score\""#,
        ),
        ("label_names?sort_dir=asc", "sort_dir is only valid when sort_by is set"),
        (
            "label_names?sort_by=alpha&sort_dir=x",
            r#"invalid sort_dir \"x\": must be \"asc\" or \"dsc\""#,
        ),
        ("label_names?sort_by=score&sort_dir=asc", "sort_dir is not supported for sort_by=score"),
        ("label_names?sort_by=score", "sort_by=score requires search[] to be set"),
        ("label_names?start=2&end=1", "end timestamp must not be before start timestamp"),
        (&format!("label_names?{terms}"), "too many search[] terms: got 33, maximum is 32"),
    ] {
        let expected =
            format!(r#"{{"status":"error","errorType":"bad_data","error":"{problem}"}}"#);
        assert_eq!(get(&api, &format!("/api/v1/search/{path}")).await, (400, expected), "{path}");
    }
    let api = api_with(|builder| builder.enable_search(false));
    let (status, body) = get(&api, "/api/v1/search/label_names").await;
    assert!(
        status == 500
            && body.contains(r#""errorType":"unavailable","error":"search API disabled""#)
    );
}

#[tokio::test]
async fn pools_tell_their_configuration_and_try_their_rules() {
    let text = "scrape_configs:
- job_name: j
  static_configs: [{targets: ['127.0.0.1:1']}]
  relabel_configs:
  - {source_labels: [a, b], target_label: joined}
  - {source_labels: [a], regex: 'x<', action: drop}
  - {action: labeldrop, regex: b}
";
    let file = ScrapeFile::parse(text, Path::new("x")).unwrap();
    let store = Arc::new(MemoryStore::new());
    let scraper = Scraper::start(&file, store.clone(), &Default::default()).unwrap();
    let api = api_with(|builder| builder.targets(scraper.targets()).config_text(text));
    let rule = |rest: &str| format!(r#"{{"rule":{{"source_labels":{rest}"#);
    let first = rule(
        r#"["a","b"],"separator":";","regex":"(.*)","target_label":"joined","replacement":"$1","action":"replace"}"#,
    );
    let second =
        rule(r#"["a"],"separator":";","regex":"x\u003c","replacement":"$1","action":"drop"}"#);
    let third = r#"{"rule":{"separator":";","regex":"b","replacement":"$1","action":"labeldrop"}"#;
    let (path, expected) = (
        "/api/v1/targets/relabel_steps?scrapePool=j&labels=%7B%22a%22:%221%22,%22b%22:%222%22%7D",
        format!(
            r#"{{"status":"success","data":{{"steps":[{first},"output":{{"a":"1","b":"2","joined":"1;2"}},"keep":true}},{second},"output":{{"a":"1","b":"2","joined":"1;2"}},"keep":true}},{third},"output":{{"a":"1","joined":"1;2"}},"keep":true}}]}}}}"#
        ),
    );
    assert_eq!(get(&api, path).await, (200, expected));
    let (_, body) =
        get(&api, "/api/v1/targets/relabel_steps?scrapePool=j&labels=%7B%22a%22:%22x%3C%22%7D")
            .await;
    assert!(body.ends_with(r#""action":"labeldrop"},"output":{},"keep":false}]}}"#), "{body}");
    let (_, body) = get(&api, "/api/v1/scrape_pools/config?scrapePool=j").await;
    assert!(
        body.starts_with(r#"{"status":"success","data":{"yaml":"job_name: j\nstatic_configs:\n"#),
        "{body}"
    );
    for (path, problem) in [
        ("scrape_pools/config", "no scrapePool parameter provided"),
        ("targets/relabel_steps?labels=x", "no scrapePool parameter provided"),
        ("targets/relabel_steps?scrapePool=j", "no labels parameter provided"),
        ("targets/metadata?limit=x", "limit must be a number"),
        (
            "targets/metadata?match_target=(",
            r#"invalid parameter \"match_target\": 1:2: parse error"#,
        ),
        (
            "scrape_pools/config?scrapePool=k",
            r#"error retrieving scrape config: scrape pool \"k\" not found"#,
        ),
        ("targets/relabel_steps?scrapePool=j&labels=x", "error parsing labels: "),
    ] {
        let (status, body) = get(&api, &format!("/api/v1/{path}")).await;
        assert!(status == 400 && body.contains(problem), "{path} {body}");
    }
    let (_, body) = get(&api, "/api/v1/targets/metadata").await;
    assert_eq!(body, r#"{"status":"success","data":[]}"#);
    scraper.stop().await;
}
