//! Quoting of strings and numbers in canonical text and messages, as Go's `strconv` and `fmt`
//! write them, so that text and messages agree with Prometheus's.

use std::fmt::Write as _;

/// Quotes `text` with double quotes; what cannot be printed is escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_escaped(&mut quoted, c, '"');
    }
    quoted.push('"');
    quoted
}

/// Quotes one character with single quotes.
pub(crate) fn quote_char(c: char) -> String {
    let mut quoted = String::from("'");
    push_escaped(&mut quoted, c, '\'');
    quoted.push('\'');
    quoted
}

/// Writes a character as its code point, and itself if it can be printed.
pub(crate) fn code_point(c: char) -> String {
    if is_printable(c) {
        format!("U+{:04X} '{c}'", u32::from(c))
    } else {
        format!("U+{:04X}", u32::from(c))
    }
}

/// Writes a number with `digits` decimals; infinities have a sign.
pub(crate) fn fixed(number: f64, digits: usize) -> String {
    if number.is_infinite() {
        if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{number:.digits$}")
    }
}

fn push_escaped(out: &mut String, c: char, quote: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        _ if c == quote => {
            out.push('\\');
            out.push(c);
        }
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        _ if is_printable(c) => out.push(c),
        // Writing to a string cannot fail.
        '\0'..='\u{7f}' => _ = write!(out, "\\x{:02x}", u32::from(c)),
        '\u{80}'..='\u{ffff}' => _ = write!(out, "\\u{:04x}", u32::from(c)),
        _ => _ = write!(out, "\\U{:08x}", u32::from(c)),
    }
}

/// Tells whether a character is shown as it is. Combining marks are not, other than in Go.
fn is_printable(c: char) -> bool {
    match c {
        '\\' | '\'' | '"' => true,
        _ => c.escape_debug().len() == 1,
    }
}
