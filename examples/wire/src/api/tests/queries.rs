//! What queries are answered, and what those that fail.

use super::*;

#[tokio::test]
async fn queries_are_answered_in_the_form_of_their_type() {
    let api = api();
    for (query, data) in [
        (
            "query?query=up&time=120",
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[120,"1"]},{"metric":{"__name__":"up","job":"b<c"},"value":[120,"0.5"]}]}"#,
        ),
        ("query?query=none&time=120", r#"{"resultType":"vector","result":[]}"#),
        ("query?query=1e300/1e297&time=1.5", r#"{"resultType":"scalar","result":[1.5,"1000"]}"#),
        ("query?query=%22a%26b%22&time=1", r#"{"resultType":"string","result":[1,"a\u0026b"]}"#),
        (
            "query?query=up%7Bjob=%22a%22%7D%5B2m%5D&time=120",
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[60,"1"],[120,"1"]]}]}"#,
        ),
        (
            "query_range?query=up%7Bjob=%22a%22%7D&start=0&end=60&step=30",
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[0,"1"],[30,"1"],[60,"1"]]}]}"#,
        ),
        (
            "query_range?query=-Inf&start=0.5&end=1.5&step=1s",
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0.500,"-Inf"],[1.500,"-Inf"]]}]}"#,
        ),
        ("query_range?query=none&start=0&end=1&step=1", r#"{"resultType":"matrix","result":[]}"#),
        ("format_query?query=sum(up)by(job)", r#""sum by (job) (up)""#),
        ("query_exemplars?query=up", "[]"),
        ("series?match[]=up", r#"[{"__name__":"up","job":"a"},{"__name__":"up","job":"b<c"}]"#),
        (
            "series?match[]=up&match[]=%7Bjob=%22a%22%7D&match[]=%7B%22with.dot%22%7D",
            r#"[{"__name__":"up","job":"a"},{"__name__":"up","job":"b<c"},{"__name__":"with.dot","label.dot":"x"}]"#,
        ),
        ("labels?match[]=up", r#"["__name__","job"]"#),
        ("label/__name__/values?match[]=%7Bjob!=%22%22%7D", r#"["up"]"#),
    ] {
        let expected = format!(r#"{{"status":"success","data":{data}}}"#);
        assert_eq!(get(&api, &format!("/api/v1/{query}")).await, (200, expected), "{query}");
    }
    let (status, body) = get(&api, "/api/v1/query?query=up&time=120&limit=1").await;
    assert_eq!(status, 200);
    let end = r#""value":[120,"1"]}]},"warnings":["results truncated due to limit"]}"#;
    assert!(body.ends_with(end), "{body}");
    let (_, body) = get(&api, "/api/v1/query?query=up&time=120&stats=all").await;
    assert!(body.contains(r#"}],"stats":{"timings":{"evalTotalTime":"#), "{body}");
}

#[tokio::test]
async fn syntax_trees_are_those_of_prometheus() {
    let api = api();
    let (status, body) = get(
        &api,
        "/api/v1/parse_query?query=rate(up%7Bjob=%22%3Cx%22%7D[5m]%20offset%201m)%20%3E%201",
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        r#"{"status":"success","data":{"bool":false,"lhs":{"args":[{"anchored":false,"matchers":[{"name":"job","type":"=","value":"\u003cx"},{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":60000,"offsetExpr":null,"range":300000,"rangeExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"matrixSelector"}],"func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},"type":"call"},"matching":null,"op":"\u003e","rhs":{"type":"numberLiteral","val":"1"},"type":"binaryExpr"}}"#
    );
}

#[tokio::test]
async fn queries_that_fail_tell_why() {
    let api = api();
    for (path, status, kind, message) in [
        (
            "query?query=",
            400,
            "bad_data",
            r#"invalid parameter \"query\": unknown position: parse error: no expression found in input"#,
        ),
        (
            "query?query=sum(",
            400,
            "bad_data",
            r#"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"#,
        ),
        (
            "query?query=rat(up)",
            400,
            "bad_data",
            r#"invalid parameter \"query\": 1:1: parse error: unknown function with name \"rat\""#,
        ),
        (
            "query_range?query=up[1m]&start=0&end=1&step=1",
            400,
            "bad_data",
            r#"invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"#,
        ),
        (
            "query?query=sum(&timeout=-1s",
            400,
            "bad_data",
            r#"invalid parameter \"timeout\": cannot parse \"-1s\" to a valid duration"#,
        ),
        (
            "query?query=sum(&timeout=-1",
            400,
            "bad_data",
            r#"invalid parameter \"query\": context deadline exceeded"#,
        ),
        ("query?query=topk(NaN,up)&time=0", 422, "execution", "Parameter value is NaN"),
        (
            "query?query=broken_storage&time=0",
            500,
            "internal",
            "expanding series: cannot read block",
        ),
        (
            "format_query?query=sum(",
            400,
            "bad_data",
            r#"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"#,
        ),
        (
            "query_exemplars?query=sum(",
            400,
            "bad_data",
            "1:5: parse error: unclosed left parenthesis",
        ),
        (
            "series?match[]=sum(",
            400,
            "bad_data",
            r#"invalid parameter \"match[]\": 1:4: parse error: unexpected \"(\""#,
        ),
        (
            "series?match[]=%7B%7D",
            400,
            "bad_data",
            r#"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"#,
        ),
        ("labels?match[]=up%5B1m%5D", 400, "bad_data", r#"1:3: parse error: unexpected \"[\""#),
    ] {
        let expected = format!(r#"{{"status":"error","errorType":"{kind}","error":"{message}"}}"#);
        assert_eq!(get(&api, &format!("/api/v1/{path}")).await, (status, expected), "{path}");
    }
}

#[tokio::test]
async fn a_query_without_time_left_times_out() {
    let (status, body) = get(&api(), "/api/v1/query?query=up&time=120&timeout=0.0001").await;
    let expected = r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    assert_eq!((status, body.as_str()), (503, expected));
}

#[tokio::test]
async fn answers_that_are_sent_while_they_are_made_are_whole() {
    let store = Arc::new(MemoryStore::new());
    // The answer is longer than what is held back.
    let n_series = 300;
    for i in 0..n_series {
        store.put(&[("__name__", "many"), ("n", &format!("{i:04}"))], 0, f64::from(i));
    }
    let api = router(ApiState::builder(store).build());
    let path = "/api/v1/query_range?query=many&start=0&end=290&step=0.5&lookback_delta=10m&stats=1";
    let (status, body) = get(&api, path).await;
    assert!(status == 200 && body.len() > stream::HELD_BYTES);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let result = answer["data"]["result"].as_array().unwrap();
    assert_eq!(result.len(), usize::try_from(n_series).unwrap());
    for (i, series) in result.iter().enumerate() {
        let values = series["values"].as_array().unwrap();
        let value = i.to_string();
        assert!(values.len() == 581 && values.iter().all(|point| point[1] == value));
    }
    assert!(answer["data"]["stats"]["samples"]["peakSamples"].as_u64() > Some(0));
    assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn plans_are_told_with_or_without_a_run() {
    let api = api();
    let query = "query=sum(up)&start=0&end=120&step=60";
    let (status, body) = get(&api, &format!("/api/v1/query_analyze?{query}")).await;
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let parts = answer["data"]["parts"].as_array().unwrap();
    let told: Vec<_> = parts
        .iter()
        .map(|p| (p["depth"].as_u64(), p["text"].as_str(), p["series"].as_u64()))
        .collect();
    let expected = [(Some(0), Some("sum(up)"), Some(1)), (Some(1), Some("up"), Some(2))];
    assert_eq!((status, &told[..]), (200, &expected[..]), "{body}");
    assert!(parts[1]["samples"].as_u64() > Some(0), "{body}");
    let (_, body) = get(&api, &format!("/api/v1/query_analyze?{query}&run=false")).await;
    assert!(body.contains(r#""steps":3,"memoryBytes":"#), "{body}");
    let (status, body) = get(&api, "/api/v1/query_analyze?query=up&time=0&run=x").await;
    assert!(status == 400 && body.contains("must be boolean"), "{body}");
    let (status, body) = get(&api, "/api/v1/query_analyze?query=broken_storage&time=0").await;
    assert!(status == 500 && body.contains("cannot read block"), "{body}");
}
