//! Administration: snapshots, where the program allows it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::Response;
use ferula_index::labels::quoted;

use super::params::Params;
use super::reply::{ApiError, ErrorKind, Success};
use super::{ApiState, json, serve};
use crate::calendar;
use crate::error::chain;

pub(super) async fn snapshot(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    if !state.shared.enable_admin {
        return Err(ApiError::new(ErrorKind::Unavailable, "admin APIs disabled"));
    }
    match params.get("skip_head") {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => {}
        "1" | "t" | "T" | "true" | "TRUE" | "True" => {
            return Err(ApiError::parameter("skip_head", "snapshots always hold the head"));
        }
        other => {
            let parsing = quoted(other);
            let problem = format!(
                "unable to parse boolean: strconv.ParseBool: parsing {parsing}: invalid syntax"
            );
            return Err(ApiError::parameter("skip_head", problem));
        }
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
