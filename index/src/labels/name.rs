//! Which names need no quotes.

/// Tells whether `name` is a label name of the classic character set, `[a-zA-Z_][a-zA-Z0-9_]*`,
/// which is written without quotes. Any other non-empty UTF-8 name is valid too, in quotes.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy(name, |_| false)
}

/// Tells whether `name` is a metric name of the classic character set, `[a-zA-Z_:][a-zA-Z0-9_:]*`,
/// which is written without quotes.
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_legacy(name, |c| c == b':')
}

fn is_legacy(name: &str, also: impl Fn(u8) -> bool) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|c| !c.is_ascii_digit())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || also(c))
}
