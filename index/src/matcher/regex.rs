//! Fully anchored regular expressions of RE2's language.

use crate::Error;

/// A regular expression that must match a whole value.
#[derive(Clone, Debug)]
pub(super) struct AnchoredRegex {
    regex: regex::Regex,
}

impl AnchoredRegex {
    pub(super) fn new(pattern: &str) -> Result<Self, Error> {
        match regex::Regex::new(&format!("^(?s:{pattern})$")) {
            Ok(regex) => Ok(Self { regex }),
            Err(error) => {
                Err(Error::Regex { pattern: pattern.to_owned(), reason: error.to_string() })
            }
        }
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }
}
