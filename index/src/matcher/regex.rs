//! Fully anchored regular expressions of RE2's language.

use crate::Error;

/// A regular expression that must match a whole value.
#[derive(Clone, Debug)]
pub(super) struct AnchoredRegex {
    regex: regex::Regex,
    set: Option<Box<[Box<str>]>>,
}

impl AnchoredRegex {
    pub(super) fn new(pattern: &str) -> Result<Self, Error> {
        match regex::Regex::new(&format!("^(?s:{pattern})$")) {
            Ok(regex) => Ok(Self { regex, set: literal_set(pattern) }),
            Err(error) => {
                Err(Error::Regex { pattern: pattern.to_owned(), reason: error.to_string() })
            }
        }
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// The values that can match, if only these can.
    pub(super) fn set_values(&self) -> Option<&[Box<str>]> {
        self.set.as_deref()
    }

    /// What every matching value begins with.
    pub(super) fn prefix(&self) -> &str {
        ""
    }
}

fn literal_set(pattern: &str) -> Option<Box<[Box<str>]>> {
    let plain = |c: char| c.is_alphanumeric() || "_-:/ @%,;=<>'\"|".contains(c);
    pattern.chars().all(plain).then(|| pattern.split('|').map(Box::from).collect())
}
