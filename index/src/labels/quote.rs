//! Strings in double quotes, escaped as Go's `strconv.Quote` does, which is how Prometheus prints
//! label values and PromQL strings.

use std::fmt::{self, Write};
use std::sync::LazyLock;

use regex_syntax::hir::ClassUnicode;

use crate::matcher::class;

/// What Go counts as printable beside the space: letters, marks, numbers, punctuation, symbols.
static GRAPHIC: LazyLock<ClassUnicode> = LazyLock::new(|| {
    let mut graphic = ClassUnicode::empty();
    for category in ["L", "M", "N", "P", "S"] {
        graphic.union(&class::unicode(category).expect("the Unicode tables are built in"));
    }
    graphic
});

/// Shows `text` in double quotes.
///
/// Printable characters stand as they are, beyond ASCII too; others are escaped as `\n`, `\x00` or
/// `\u200b`.
///
/// ```
/// use ferula_index::labels::quoted;
///
/// assert_eq!(quoted("zażółć\t\"x\"\0").to_string(), r#""zażółć\t\"x\"\x00""#);
/// ```
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted { text }
}

/// A string that is shown in double quotes; see [`quoted`].
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    text: &'a str,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.text.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\x0b' => f.write_str("\\v")?,
                ' '..='~' => f.write_char(c)?,
                '\0'..='\x7f' => write!(f, "\\x{:02x}", u32::from(c))?,
                c if is_graphic(c) => f.write_char(c)?,
                '\0'..='\u{ffff}' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "\\U{:08x}", u32::from(c))?,
            }
        }
        f.write_char('"')
    }
}

fn is_graphic(c: char) -> bool {
    let ranges = GRAPHIC.ranges();
    let after = ranges.partition_point(|range| range.start() <= c);
    after > 0 && c <= ranges[after - 1].end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_in_go() {
        // From Go 1.26: strconv.Quote.
        let cases = [
            ("", r#""""#),
            ("plain text", r#""plain text""#),
            ("\"\\'`", r#""\"\\'`""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x1b\x7f", r#""\x00\x1b\x7f""#),
            ("zażółć 日本 😀 e\u{301}", "\"zażółć 日本 😀 e\u{301}\""),
            ("\u{80}\u{a0}\u{ad}\u{200b}\u{2028}", r#""\u0080\u00a0\u00ad\u200b\u2028""#),
            ("\u{feff}\u{e000}\u{fffd}", "\"\\ufeff\\ue000\u{fffd}\""),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text).to_string(), expected);
        }
    }
}
