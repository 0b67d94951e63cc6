//! What is scraped: `targets` and `scrape_pools`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::params::Params;
use super::reply;
use super::{ApiState, json};
use crate::calendar::format_rfc3339;
use crate::scrape::{JobTargets, Target};
use crate::{duration, number};

/// How Prometheus writes that there was no scrape yet.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The jobs and their targets at this time.
fn pools(state: &ApiState) -> Vec<Arc<JobTargets>> {
    state.shared.targets.as_ref().map(|targets| targets.jobs()).unwrap_or_default()
}

pub(super) async fn scrape_pools(State(state): State<ApiState>) -> Response {
    let pools = pools(&state);
    reply::data(|out| {
        out.extend_from_slice(b"{\"scrapePools\":");
        json::push_strings(out, pools.iter().map(|pool| pool.name.as_str()));
        out.push(b'}');
    })
}

pub(super) async fn targets(State(state): State<ApiState>, params: Params) -> Response {
    let pool = params.get("scrapePool");
    let wanted = params.get("state").to_lowercase();
    let shows = |kind| matches!(wanted.as_str(), "" | "any") || wanted == kind;
    let pools = pools(&state);
    let shown = |kind| {
        let is_shown = shows(kind);
        pools.iter().filter(move |of| is_shown && (pool.is_empty() || pool == of.name))
    };
    let active = shown("active").flat_map(|pool| &pool.active);
    let dropped = shown("dropped").flat_map(|of| of.dropped.iter().map(move |l| (l, &of.name)));
    reply::data(|out| {
        out.extend_from_slice(b"{\"activeTargets\":");
        json::push_list(out, active, |out, target| push_target(out, target));
        out.extend_from_slice(b",\"droppedTargets\":");
        json::push_list(out, dropped, |out, (discovered, pool)| {
            out.extend_from_slice(b"{\"discoveredLabels\":");
            json::push_labels(out, discovered);
            out.extend_from_slice(b",\"scrapePool\":");
            json::push_string(out, pool);
            out.push(b'}');
        });
        out.extend_from_slice(b",\"droppedTargetCounts\":");
        if shows("dropped") {
            out.push(b'{');
            for (i, pool) in pools.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                json::push_string(out, &pool.name);
                out.push(b':');
                number::push_unsigned(out, pool.dropped.len() as u64);
            }
            out.push(b'}');
        } else {
            out.extend_from_slice(b"null");
        }
        out.push(b'}');
    })
}

fn push_target(out: &mut Vec<u8>, target: &Target) {
    let outcome = target.outcome();
    let (interval, timeout) = target.interval_and_timeout();
    let start = outcome.start.map_or_else(|| NEVER.to_owned(), format_rfc3339);
    let string = |out: &mut Vec<u8>, name: &str, value: &str| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        json::push_string(out, value);
    };
    out.extend_from_slice(b"{\"discoveredLabels\":");
    json::push_labels(out, target.discovered());
    out.extend_from_slice(b",\"labels\":");
    json::push_labels(out, target.labels());
    string(out, "scrapePool", target.job_name());
    string(out, "scrapeUrl", target.url());
    string(out, "globalUrl", target.url());
    string(out, "lastError", &outcome.error);
    string(out, "lastScrape", &start);
    out.extend_from_slice(b",\"lastScrapeDuration\":");
    number::push_json(out, outcome.duration.as_secs_f64());
    string(out, "health", outcome.state.health());
    string(out, "scrapeInterval", &duration::format(interval));
    string(out, "scrapeTimeout", &duration::format(timeout));
    // Beyond what Prometheus tells.
    string(out, "state", outcome.state.as_str());
    if !outcome.limited_labels.is_empty() {
        out.extend_from_slice(b",\"limitedLabels\":");
        json::push_strings(out, outcome.limited_labels.iter().map(String::as_str));
    }
    out.push(b'}');
}
