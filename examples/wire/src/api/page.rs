//! The page for people: queries with graphs, a table and their plan, targets and the store, served from the binary.
//!
//! The files in `page/` are plain HTML, CSS and JavaScript modules without a build step. They speak
//! to the API of the same server by relative addresses, so a proxy may put a path in front of it.
//! Nothing is loaded from elsewhere, which the content security policy enforces: a label value
//! that holds markup stays text.

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;

/// What the page may load and do: its own files and the API, nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'";

const INDEX: &str = include_str!("page/index.html");

/// Addresses below which the page shows itself. `/query` is where newer Prometheus has it.
const PATHS: [&str; 5] = ["/", "/graph", "/query", "/targets", "/status"];

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, media type and content of the files that the page loads.
const ASSETS: [(&str, &str, &str); 14] = [
    ("/assets/api.js", JAVASCRIPT, include_str!("page/api.js")),
    ("/assets/app.js", JAVASCRIPT, include_str!("page/app.js")),
    ("/assets/chart.js", JAVASCRIPT, include_str!("page/chart.js")),
    ("/assets/dom.js", JAVASCRIPT, include_str!("page/dom.js")),
    ("/assets/editor.js", JAVASCRIPT, include_str!("page/editor.js")),
    ("/assets/format.js", JAVASCRIPT, include_str!("page/format.js")),
    ("/assets/panels.js", JAVASCRIPT, include_str!("page/panels.js")),
    ("/assets/plan.js", JAVASCRIPT, include_str!("page/plan.js")),
    ("/assets/series.js", JAVASCRIPT, include_str!("page/series.js")),
    ("/assets/store.js", JAVASCRIPT, include_str!("page/store.js")),
    ("/assets/theme.js", JAVASCRIPT, include_str!("page/theme.js")),
    ("/assets/views.js", JAVASCRIPT, include_str!("page/views.js")),
    ("/assets/mark.svg", "image/svg+xml", include_str!("page/mark.svg")),
    ("/assets/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
];

/// What the page shows when its address does not say.
#[derive(Clone, Debug, Default)]
pub struct Page {
    query: String,
    range: String,
    refresh: String,
}

impl Page {
    /// Starts a page that opens with an empty expression.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the expression shown at first.
    pub fn query(mut self, expression: impl Into<String>) -> Self {
        self.query = expression.into();
        self
    }

    /// Sets the range of the graph as a PromQL duration; an hour otherwise.
    pub fn range(mut self, duration: impl Into<String>) -> Self {
        self.range = duration.into();
        self
    }

    /// Makes the page ask again every `1s`, `2s`, `5s`, `15s` or `1m`; otherwise it does not.
    pub fn refresh(mut self, duration: impl Into<String>) -> Self {
        self.refresh = duration.into();
        self
    }

    /// Makes the routes of the page and its files, to be merged with those of the API.
    pub fn router(&self) -> Router {
        let index = INDEX
            .replace("{{query}}", &escape(&self.query))
            .replace("{{range}}", &escape(&self.range))
            .replace("{{refresh}}", &escape(&self.refresh));
        let mut router = Router::new();
        for path in PATHS {
            let index = index.clone();
            router = router.route(path, get(async move || page(index.clone())));
        }
        for (path, media_type, content) in ASSETS {
            router = router.route(path, get(async move || asset(media_type, content)));
        }
        router
    }
}

fn page(index: String) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(index))
}

fn asset(media_type: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A newer binary may come up at the same address at any time.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

/// Escapes `text` for a quoted attribute. Braces are escaped too, so that an expression cannot
/// name a placeholder that is filled in after it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '{' => escaped.push_str("&#123;"),
            '}' => escaped.push_str("&#125;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn the_page_is_served_with_its_query_and_its_policy() {
        let router = Page::new().query("up{a=\"b\"}").range("5m").refresh("1s").router();
        for path in PATHS {
            let request = Request::get(path).body(Body::empty()).expect("a plain path");
            let response = router.clone().oneshot(request).await.expect("infallible");
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["content-security-policy"], CONTENT_SECURITY_POLICY);
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("in memory");
            let text = std::str::from_utf8(&body).expect("HTML is text");
            assert!(text.contains(r#"content="up&#123;a=&quot;b&quot;&#125;""#), "{text}");
            assert!(!text.contains("{{"), "{text}");
        }
    }

    #[test]
    fn attribute_text_cannot_leave_its_attribute() {
        assert_eq!(
            escape(r#"a{b="<&>"}{{range}}"#),
            "a&#123;b=&quot;&lt;&amp;&gt;&quot;&#125;&#123;&#123;range&#125;&#125;"
        );
    }

    #[test]
    fn every_file_that_is_named_is_served() {
        let served: BTreeSet<&str> =
            ASSETS.iter().map(|(path, ..)| path.trim_start_matches("/assets/")).collect();
        let mut named = BTreeSet::new();
        for (_, _, text) in ASSETS.iter().chain([&("", "", INDEX)]) {
            for (before, after) in [("'./", "'"), ("assets/", "\"")] {
                for part in text.split(before).skip(1) {
                    named.insert(part.split_once(after).expect("a closed string").0);
                }
            }
        }
        assert_eq!(served, named);
    }

    #[test]
    fn nothing_is_inline_or_from_elsewhere() {
        for (path, _, text) in ASSETS.iter().chain([&("index.html", "", INDEX)]) {
            for forbidden in ["innerHTML", "insertAdjacentHTML", "eval(", "style=\"", " onclick="] {
                assert!(!text.contains(forbidden), "{path} contains {forbidden}");
            }
            let elsewhere =
                text.matches("://").count() - text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(elsewhere, 0, "{path} names another server");
        }
    }
}
