//! What is scraped: `targets` and `scrape_pools`.

use axum::extract::State;
use axum::response::Response;

use super::params::Params;
use super::{ApiState, json, reply};

pub(super) async fn scrape_pools(State(_state): State<ApiState>) -> Response {
    reply::data(|out| {
        out.extend_from_slice(b"{\"scrapePools\":");
        json::push_strings(out, [""; 0]);
        out.push(b'}');
    })
}

pub(super) async fn targets(State(_state): State<ApiState>, _params: Params) -> Response {
    reply::data(|out| {
        out.extend_from_slice(
            b"{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":{}}",
        );
    })
}
