//! Administration: snapshots and deletion, where the program allows it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use ferula_index::labels::quoted;

use super::labels::MAX_SELECTORS;
use super::params::{MAX_TIME, MIN_TIME, Params, parse_bool};
use super::reply::{ApiError, ErrorKind, Success};
use super::{ApiState, json, selector, serve};
use crate::calendar;
use crate::error::chain;
use crate::store::Store;

pub(super) async fn snapshot(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    check_enabled(&state)?;
    match params.get("skip_head") {
        "" => {}
        text => match parse_bool(text) {
            Some(false) => {}
            Some(true) => {
                return Err(ApiError::parameter("skip_head", "snapshots always hold the head"));
            }
            None => {
                let parsing = quoted(text);
                let problem = format!(
                    "unable to parse boolean: strconv.ParseBool: parsing {parsing}: invalid syntax"
                );
                return Err(ApiError::parameter("skip_head", problem));
            }
        },
    }
    let (Some(store), Some(data_dir)) = (state.shared.store.clone(), state.shared.data_dir.clone())
    else {
        return Err(ApiError::new(ErrorKind::Unavailable, "there is no store to snapshot"));
    };
    serve::blocking(&state, move || {
        // Two snapshots within a second differ by a random part.
        let random = RandomState::new().hash_one(0_u64);
        let name = format!("{}-{random:016x}", calendar::format_compact(SystemTime::now()));
        let dir = data_dir.join("snapshots").join(&name);
        let failed = |doing: &str, cause: String| {
            ApiError::new(ErrorKind::Internal, format!("{doing}: {cause}"))
        };
        std::fs::create_dir_all(&dir)
            .map_err(|e| failed("create snapshot directory", e.to_string()))?;
        store.snapshot(&dir).map_err(|e| failed("create snapshot", chain(&e)))?;
        Ok(Success::default().encode(|out| {
            out.extend_from_slice(b"{\"name\":");
            json::push_string(out, &name);
            out.push(b'}');
        }))
    })
    .await
}

pub(super) async fn delete(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let store = store(&state)?;
    // All are read before the first deletes anything.
    let selectors = selector::parse_all(params.all("match[]").take(MAX_SELECTORS))
        .map_err(|e| ApiError::parameter("match[]", e))?;
    if selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    if params.all("match[]").nth(MAX_SELECTORS).is_some() {
        let problem = format!("more than {MAX_SELECTORS} selectors");
        return Err(ApiError::parameter("match[]", problem));
    }
    let (mint, maxt) = (params.time_or("start", MIN_TIME)?, params.time_or("end", MAX_TIME)?);
    let cache = state.shared.cache.clone();
    serve::blocking_silent(&state, move || {
        // Before, so that nothing is kept of what is being deleted, and after, so that nothing is that
        // was computed meanwhile.
        let forget = || cache.iter().for_each(|cache| cache.clear());
        forget();
        let mut selectors = selectors.iter();
        let deleted = selectors.try_for_each(|matchers| store.delete(matchers, mint, maxt));
        forget();
        deleted.map_err(|e| ApiError::internal(&e))
    })
    .await
}

pub(super) async fn clean(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let store = store(&state)?;
    serve::blocking_silent(&state, move || {
        store.clean_tombstones().map_err(|e| ApiError::internal(&e))
    })
    .await
}

fn check_enabled(state: &ApiState) -> Result<(), ApiError> {
    if state.shared.enable_admin {
        return Ok(());
    }
    Err(ApiError::new(ErrorKind::Unavailable, "admin APIs disabled"))
}

/// The store, if it may be administered.
fn store(state: &ApiState) -> Result<Arc<dyn Store>, ApiError> {
    check_enabled(state)?;
    let missing = || ApiError::new(ErrorKind::Unavailable, "there is no store to delete from");
    state.shared.store.clone().ok_or_else(missing)
}
