//! Parsing without evaluating: selectors of series, and the canonical text of a query.

use ferula_index::Matcher;
use ferula_promql::ast::{ExprKind, Modifiers};

/// Reads a selector without modifiers and yields its matchers.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let expr = ferula_promql::parse(text).map_err(|e| e.to_string())?;
    match expr.kind {
        ExprKind::Selector(selector)
            if selector.modifiers == Modifiers::default() && selector.boundary.is_none() =>
        {
            Ok(selector.matchers)
        }
        _ => Err("1:1: parse error: expected a series selector and nothing else".to_owned()),
    }
}

/// The text of a query in canonical form, broken into lines where it is long.
pub(super) fn canonical(text: &str) -> Result<String, String> {
    ferula_promql::parse(text).map(|expr| expr.pretty()).map_err(|e| e.to_string())
}
