//! Regular expressions whose groups are put into a template: relabelling and `label_replace`.

use std::fmt;

use regex_automata::meta;
use regex_automata::util::captures::Captures;

use super::regex::{anchored, compile};
use super::syntax;
use crate::Error;

/// A regular expression of RE2's language that must match a whole value, and whose groups
/// capture.
///
/// ```
/// use ferula_index::matcher::CaptureRegex;
///
/// let regex = CaptureRegex::new("(?P<host>.+):(\\d+)")?;
/// assert_eq!(regex.expand("db-1:9100", "${host}, port $2").as_deref(), Some("db-1, port 9100"));
/// assert_eq!(regex.expand("db-1", "$host"), None);
/// # Ok::<(), ferula_index::Error>(())
/// ```
#[derive(Clone)]
pub struct CaptureRegex {
    pattern: Box<str>,
    regex: meta::Regex,
    /// The names of the groups, from group 1 on.
    groups: Box<[Option<Box<str>>]>,
}

impl CaptureRegex {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`Error::Regex`] if `pattern` is none or is too large.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Regex { pattern: pattern.to_owned(), reason };
        let parsed = syntax::parse(pattern, true).map_err(|error| invalid(error.to_string()))?;
        let regex = compile(parsed.hir).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { pattern: pattern.into(), regex, groups: parsed.groups.into() })
    }

    /// The expression as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Tells whether the whole of `value` matches.
    pub fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(anchored(value))
    }

    /// Fills `template` with what the groups captured, if `value` matches.
    ///
    /// `$1` or `${1}` stands for the first group, `$0` for the whole value, `$name` or `${name}`
    /// for a group by name, `$$` for a dollar sign. A name takes in as many letters, digits and
    /// underscores as there are. Groups that are not there or captured nothing are empty; a dollar
    /// sign before anything else stands for itself.
    pub fn expand(&self, value: &str, template: &str) -> Option<String> {
        let mut captures = self.regex.create_captures();
        self.regex.captures(anchored(value), &mut captures);
        if !captures.is_match() {
            return None;
        }
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('$') {
            out.push_str(text);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = split_name(rest) {
                out.push_str(self.captured(&captures, value, name));
                rest = after;
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// What the group with this number or name captured.
    fn captured<'a>(&self, captures: &Captures, value: &'a str, name: &str) -> &'a str {
        let text = |group| captures.get_group(group).map(|span| &value[span.range()]);
        let is_number =
            name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
        let found = if is_number {
            name.parse().ok().and_then(text)
        } else {
            // A name may occur twice; the first group that captured anything counts.
            let named = self.groups.iter().enumerate();
            let mut named = named.filter(|(_, group)| group.as_deref() == Some(name));
            named.find_map(|(i, _)| text(i + 1))
        };
        found.unwrap_or_default()
    }
}

impl fmt::Debug for CaptureRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CaptureRegex").field(&self.pattern).finish()
    }
}

/// Splits the name of a group from what follows it.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    let (name, rest) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len())),
    };
    (!name.is_empty() && name.chars().all(is_part)).then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_as_in_go() {
        // From Go 1.26 with the regexp package of Prometheus 3.14: ExpandString.
        let template = "$$1 $1x ${1}x $ ${ ${1 $- ${-} ${} $01 $é";
        let cases = [
            ("(.*)-(.*)", "a-b-c", "$2/$1", Some("c/a-b")),
            ("(.*?)-(.*)", "a-b-c", "$2/$1", Some("b-c/a")),
            ("(?U)(.*)-(.*)", "a-b-c", "$2/$1", Some("b-c/a")),
            ("(?U)(.*?)-(.*)", "a-b-c", "$2/$1", Some("c/a-b")),
            ("(?P<host>[^:]+):(?P<port>\\d+)", "h:80", "${port}@$host", Some("80@h")),
            ("(?<n>a)|(?<n>b)", "b", "<$n>", Some("<b>")),
            ("(a)|(b)", "b", "[$1][$2][$3]", Some("[][b][]")),
            ("(a)(b)?", "a", "$2$1$0", Some("aa")),
            ("a(b)c", "abc", template, Some("$1  bx $ ${ ${1 $- ${-} ${}  ")),
            ("(a|ab)(c|bcd)(d*)", "abcd", "$1,$2,$3", Some("a,bcd,")),
            ("((a)|b)+", "ab", "$1,$2", Some("b,a")),
            ("(x)?.*", "abc", "[$1]", Some("[]")),
            ("nope", "yes", "$0", None),
            ("(a{2}|a)(a*)", "aaa", "$1|$2", Some("aa|a")),
            (".+", "é\nb", "$0", Some("é\nb")),
            ("(?:a)(b)", "ab", "$1", Some("b")),
            ("(a)(?i:B)(c)", "abc", "$2$1", Some("ca")),
            ("(a*)+", "aa", "<$1>", Some("<aa>")),
            ("(é)(.)", "éż", "$2$1", Some("żé")),
            ("", "", "x$0y", Some("x")),
            ("()", "", "$1", Some("")),
            ("(a)", "a", "$1_2 ${1}_2 $1-2", Some(" a_2 a-2")),
            ("(?P<a1>x)", "x", "$a1 $a $a1b", Some("x  ")),
        ];
        for (pattern, value, template, expected) in cases {
            let regex = CaptureRegex::new(pattern).unwrap();
            assert_eq!(regex.expand(value, template).as_deref(), expected, "{pattern} {template}");
            assert_eq!(regex.is_match(value), expected.is_some(), "{pattern}");
        }
    }
}
