//! Prometheus's HTTP API over any storage.

pub mod page;
mod state;

use axum::Router;

pub use state::{ApiBuilder, ApiState, BuildInformation, Readiness};

/// Makes the router of everything the state can serve.
pub fn router(state: ApiState) -> Router {
    Router::new().with_state(state)
}
