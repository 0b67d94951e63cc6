//! The document that describes the API: `openapi.yaml`.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!("openapi.yaml");

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/yaml; charset=utf-8")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The operations of the router's own text, as `get /path`.
    fn routed() -> BTreeSet<String> {
        let text = include_str!("mod.rs");
        let v1 = text.split_once("let v1").expect("the router of the API").1;
        let v1 = v1.split_once("Router::new()\n        .nest").expect("the router around it").0;
        let mut found = BTreeSet::new();
        for route in v1.split(".route(\"").skip(1) {
            let (path, handlers) = route.split_once("\",").expect("a path and its handlers");
            for method in ["get", "post", "put"] {
                let is_there = [" ", "."].iter().any(|before| {
                    handlers
                        .lines()
                        .next()
                        .is_some_and(|h| h.contains(&format!("{before}{method}(")))
                });
                if is_there {
                    found.insert(format!("{method} {path}"));
                }
            }
        }
        found
    }

    #[test]
    fn every_route_is_described_and_every_description_is_served() {
        let document: serde_yaml_ng::Value = serde_yaml_ng::from_str(DOCUMENT).expect("YAML");
        let paths = document["paths"].as_mapping().expect("paths by name");
        let mut described = BTreeSet::new();
        for (path, operations) in paths {
            for (method, operation) in operations.as_mapping().expect("operations by method") {
                let path = path.as_str().expect("a name");
                described.insert(format!("{} {path}", method.as_str().expect("a name")));
                assert!(operation["responses"].as_mapping().is_some_and(|all| !all.is_empty()));
            }
        }
        assert_eq!(described, routed());
    }
}
