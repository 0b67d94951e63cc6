//! Tests of one label: equal, not equal, and fully anchored regular expressions.

mod capture;
pub(crate) mod class;
mod regex;
mod syntax;

use std::fmt;

pub use self::capture::CaptureRegex;
use self::regex::AnchoredRegex;
use crate::Error;
use crate::labels::{is_legacy_label_name, quoted};

/// How a matcher compares the label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A test of one label's value. A label that is absent has the empty value.
#[derive(Clone)]
pub struct Matcher {
    name: Box<str>,
    op: MatchOp,
    value: Box<str>,
    regex: Option<AnchoredRegex>,
}

impl Matcher {
    /// Makes a matcher; regular expressions are RE2's and match the whole value.
    ///
    /// # Errors
    /// [`Error::Regex`] if `op` takes a regular expression and `value` is none.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Self, Error> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(AnchoredRegex::new(value)?),
        };
        Ok(Self { name: name.into(), op, value: value.into(), regex })
    }

    /// Makes the matcher `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Name of the label that is tested.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the value is compared.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The value or regular expression compared with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Tells whether a label with this `value` passes.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => *self.value == *value,
            (MatchOp::NotEqual, _) => *self.value != *value,
            (MatchOp::Regex, Some(regex)) => regex.is_match(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => unreachable!("made with its regex"),
        }
    }

    /// The values that the regular expression matches, if it can only match these.
    pub fn set_values(&self) -> Option<&[Box<str>]> {
        self.regex.as_ref().and_then(AnchoredRegex::set_values)
    }

    /// Text with which every value begins that the regular expression matches; may be empty.
    pub fn prefix(&self) -> &str {
        self.regex.as_ref().map_or("", AnchoredRegex::prefix)
    }

    /// Memory that it takes, in bytes. That of a regular expression may be a great many times its length.
    pub fn memory_bytes(&self) -> usize {
        let regex = self.regex.as_ref().map_or(0, AnchoredRegex::memory_bytes);
        size_of::<Self>() + self.name.len() + self.value.len() + regex
    }

    /// Tells whether it is known that every value passes.
    pub(crate) fn matches_everything(&self) -> bool {
        self.op == MatchOp::Regex
            && self.regex.as_ref().is_some_and(AnchoredRegex::matches_everything)
    }

    /// Tells whether series without the label pass.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_label_name(&self.name) {
            write!(f, "{}{}{}", self.name, self.op.as_str(), quoted(&self.value))
        } else {
            write!(f, "{}{}{}", quoted(&self.name), self.op.as_str(), quoted(&self.value))
        }
    }
}

impl fmt::Debug for Matcher {
    /// As PromQL writes it; the compiled form of an expression fills pages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
