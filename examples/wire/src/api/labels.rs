//! What series there are: `labels`, `label/…/values`, `series`.

use std::collections::BTreeSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use ferula_index::labels::quoted;
use ferula_index::{Labels, Matcher};
use ferula_promql::storage::{Querier, SelectHints, StorageError, TimeRange};

use super::params::{MAX_TIME, MIN_TIME, Params};
use super::reply::{ApiError, ErrorKind, Success};
use super::{ApiState, json, selector, serve};
use crate::error::chain;

/// Most selectors of one look-up, each of which goes over the index.
pub(super) const MAX_SELECTORS: usize = 1000;

pub(super) async fn names(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    let lookup = Lookup::new(&params, ApiError::bad_data)?;
    serve::blocking(&state.clone(), move || {
        let names = lookup.union(&state, ErrorKind::Execution, |querier, matchers| {
            querier.label_names(matchers)
        })?;
        Ok(lookup.answer(names, |out, name: String| json::push_string(out, &name)))
    })
    .await
}

pub(super) async fn values(
    State(state): State<ApiState>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    params: Params,
) -> Result<Response, ApiError> {
    // What is no text is refused with its bytes, which only the address has.
    let Path(name) = name.map_err(|_| {
        let name = uri.path().rsplit('/').nth(1).unwrap_or_default();
        ApiError::bad_data(format!("invalid label name: {}", quoted_bytes(name)))
    })?;
    let name = unescape_name(&name).unwrap_or(name);
    if name.is_empty() {
        return Err(ApiError::bad_data("invalid label name: \"\""));
    }
    let lookup = Lookup::new(&params, ApiError::bad_data)?;
    serve::blocking(&state.clone(), move || {
        let values = lookup.union(&state, ErrorKind::Execution, |querier, matchers| {
            querier.label_values(&name, matchers)
        })?;
        Ok(lookup.answer(values, |out, value: String| json::push_string(out, &value)))
    })
    .await
}

pub(super) async fn series(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let lookup = Lookup::new(&params, |problem| ApiError::parameter("match[]", problem))?;
    serve::blocking(&state.clone(), move || {
        let hints = lookup.range.map(SelectHints::new);
        let found = lookup.union(&state, ErrorKind::Internal, |querier, matchers| {
            let Some(hints) = &hints else { return Ok(Vec::new()) };
            let set = querier.select(matchers, hints)?;
            Ok((0..set.len()).map(|index| set.labels(index)).collect())
        })?;
        Ok(lookup.answer(found, |out, labels: Labels| json::push_labels(out, &labels)))
    })
    .await
}

/// Which series are looked at, and how many results are wanted.
pub(super) struct Lookup {
    /// `None` if the end lies before the start, where nothing is.
    range: Option<TimeRange>,
    /// Sets of matchers, of which a series has to pass one; none means all series.
    matcher_sets: Vec<Vec<Matcher>>,
    limit: Option<usize>,
}

impl Lookup {
    fn new(params: &Params, problem: fn(String) -> ApiError) -> Result<Self, ApiError> {
        let limit = params.limit()?;
        let start = params.time_or("start", MIN_TIME)?;
        let end = params.time_or("end", MAX_TIME)?;
        Ok(Self { limit, ..Self::of(params, start, end, problem)? })
    }

    /// Looks from `start` to `end`, and takes all results.
    pub(super) fn of(
        params: &Params,
        start: i64,
        end: i64,
        problem: fn(String) -> ApiError,
    ) -> Result<Self, ApiError> {
        if params.all("match[]").nth(MAX_SELECTORS).is_some() {
            return Err(problem(format!("more than {MAX_SELECTORS} selectors")));
        }
        let matcher_sets = selector::parse_all(params.all("match[]")).map_err(problem)?;
        if matcher_sets.iter().any(|set| set.iter().all(Matcher::matches_empty)) {
            return Err(problem(selector::TOO_BROAD.to_owned()));
        }
        Ok(Self { range: TimeRange::new(start, end), matcher_sets, limit: None })
    }

    /// What `find` finds for any of the matcher sets, sorted and each once.
    pub(super) fn union<T: Ord>(
        &self,
        state: &ApiState,
        kind: ErrorKind,
        find: impl Fn(&dyn Querier, &[Matcher]) -> Result<Vec<T>, StorageError>,
    ) -> Result<Vec<T>, ApiError> {
        let Some(range) = self.range else { return Ok(Vec::new()) };
        let failed = |error: StorageError| ApiError::new(kind, chain(&*error));
        let querier = state.shared.storage.querier(range).map_err(failed)?;
        match self.matcher_sets.as_slice() {
            [] => find(&*querier, &[]).map_err(failed),
            [matchers] => find(&*querier, matchers).map_err(failed),
            sets => {
                let mut union = BTreeSet::new();
                for matchers in sets {
                    union.extend(find(&*querier, matchers).map_err(failed)?);
                }
                Ok(union.into_iter().collect())
            }
        }
    }

    /// Encodes the results, at most as many as are wanted.
    fn answer<T>(&self, mut found: Vec<T>, push: impl FnMut(&mut Vec<u8>, T)) -> Vec<u8> {
        let mut success = Success::default();
        if let Some(limit) = self.limit.filter(|limit| found.len() > *limit) {
            found.truncate(limit);
            success.warnings.push("results truncated due to limit".to_owned());
        }
        success.encode(|out| json::push_list(out, found, push))
    }
}

/// A part of an address in quotes, with what is no UTF-8 as escapes.
fn quoted_bytes(encoded: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = quoted(chunk.valid()).to_string();
        text.push_str(&valid[1..valid.len() - 1]);
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text.push('"');
    text
}

/// Undoes the escaping of label names that do not fit into a path: `U__`, with `_xx_` for a
/// character and `__` for an underscore. Names that are not escaped that way yield nothing.
fn unescape_name(escaped: &str) -> Option<String> {
    let mut rest = escaped.strip_prefix("U__")?;
    let mut name = String::with_capacity(rest.len());
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        let (code, after) = rest[at + 1..].split_once('_')?;
        name.push(match code {
            "" => '_',
            // Longer codes than those of the last character are none.
            code if code.len() <= 6 => char::from_u32(u32::from_str_radix(code, 16).ok()?)?,
            _ => return None,
        });
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        for (escaped, name) in [
            ("U__", Some("")),
            ("U__http_2e_status", Some("http.status")),
            ("U__a__b", Some("a_b")),
            ("U___1f600_x", Some("😀x")),
            ("http_status", None),
            ("U__a_", None),
            ("U__a_zz_", None),
            ("U__a_d800_", None),
            ("U__a_0000041_", None),
        ] {
            assert_eq!(unescape_name(escaped).as_deref(), name, "{escaped}");
        }
    }
}
