//! Parsing without evaluating: selectors of series, and the canonical text of a query.

use ferula_index::Matcher;
use ferula_promql::ParseErrorKind;
use ferula_promql::ast::{Expr, ExprKind, Modifiers};
use ferula_promql::parser::MAX_MATCHER_BYTES;
use ferula_promql::visit::for_each;

use super::tree;

/// What is said of a selector that every series would pass.
pub(super) const TOO_BROAD: &str = "match[] must contain at least one non-empty matcher";

/// Reads a selector without modifiers and yields its matchers.
pub(crate) fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let expr = ferula_promql::parse(text).map_err(|error| match error.kind() {
        ParseErrorKind::EmptySelector => TOO_BROAD.to_owned(),
        _ => unexpected_bracket(text).unwrap_or_else(|| error.to_string()),
    })?;
    match expr.kind {
        ExprKind::Selector(selector)
            if selector.modifiers == Modifiers::default() && selector.boundary.is_none() =>
        {
            Ok(selector.matchers)
        }
        _ => Err(unexpected_bracket(text).unwrap_or_else(|| {
            "1:1: parse error: expected a series selector and nothing else".to_owned()
        })),
    }
}

/// Reads selectors, whose matchers may take as much memory together as those of a query.
pub(super) fn parse_all<'a>(
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<Vec<Matcher>>, String> {
    let mut bytes = 0;
    let parsed = texts.map(|text| {
        let matchers = parse(text)?;
        bytes += matchers.iter().map(Matcher::memory_bytes).sum::<usize>();
        if bytes > MAX_MATCHER_BYTES {
            return Err(format!("selectors take more than {MAX_MATCHER_BYTES} bytes of memory"));
        }
        Ok(matchers)
    });
    parsed.collect()
}

/// What Prometheus says of a bracket behind the name of a metric: where only a selector is taken
/// there are no calls and no ranges.
fn unexpected_bracket(text: &str) -> Option<String> {
    let name = text.trim_start();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let rest = name.trim_start_matches(is_name);
    let bracket = rest.trim_start().chars().next()?;
    if name.len() == rest.len() || !matches!(bracket, '(' | '[') {
        return None;
    }
    let before = &text[..text.len() - rest.trim_start().len()];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).len() + 1;
    Some(format!("{line}:{column}: parse error: unexpected \"{bracket}\""))
}

/// The text of a query in canonical form, broken into lines where it is long.
pub(super) fn canonical(text: &str) -> Result<String, String> {
    parse_query(text).map(|expr| expr.pretty())
}

/// The syntax tree of a query, as JSON.
pub(super) fn syntax_tree(text: &str) -> Result<String, String> {
    parse_query(text).map(|expr| html_safe(&tree::tree(&expr).to_string()))
}

/// Escapes in JSON what the API escapes everywhere; these characters stand in strings only.
pub(super) fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The matchers of each selector of a query.
pub(super) fn selectors(text: &str) -> Result<Vec<Vec<Matcher>>, String> {
    let mut found = Vec::new();
    for_each(&parse_query(text)?, |expr| match &expr.kind {
        ExprKind::Selector(selector) => found.push(selector.matchers.clone()),
        ExprKind::Matrix(matrix) => found.push(matrix.selector.matchers.clone()),
        _ => {}
    });
    Ok(found)
}

fn parse_query(text: &str) -> Result<Expr, String> {
    ferula_promql::parse(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_selectors_is_bounded() {
        let text = r#"{a=~"\\pL{100}x+"}"#;
        assert_eq!(parse_all([text; 2].into_iter()).unwrap().len(), 2);
        assert!(parse_all([text; 200].into_iter()).unwrap_err().contains("bytes of memory"));
    }
}
