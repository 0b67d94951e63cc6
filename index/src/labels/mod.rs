//! Immutable label sets, sorted and unique by construction.
//!
//! A [`Labels`] is one shared allocation: names and values one after the other, each behind its
//! length. Lengths are written in base 128, so the whole stays valid UTF-8 and is sliced without
//! copies or unsafe code. Cloning shares the allocation.

mod builder;
mod name;
mod quote;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use builder::LabelsBuilder;
pub use name::{is_legacy_label_name, is_legacy_metric_name};
pub use quote::{Quoted, quoted};

use crate::Error;

/// Name of the label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// Longest label name or value, in bytes.
pub const MAX_LABEL_BYTES: usize = (1 << 28) - 1;

/// Lengths below this take one byte; others are marked by it and take four more.
const LONG: u8 = 0x7f;

/// A set of labels, sorted by name, each name once, no value empty.
///
/// A label with an empty value means the same as no label at all, so such labels are dropped when
/// a set is made.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels {
    packed: Arc<str>,
}

impl Labels {
    /// Makes the empty label set.
    pub fn empty() -> Self {
        Self { packed: Arc::from("") }
    }

    /// Makes a label set from name and value pairs in any order; pairs with an empty value are
    /// dropped.
    ///
    /// # Errors
    /// [`Error::DuplicateLabel`] if a name occurs twice, [`Error::LabelTooLong`] beyond
    /// [`MAX_LABEL_BYTES`].
    ///
    /// ```
    /// use ferula_index::Labels;
    ///
    /// let labels = Labels::from_pairs([("job", "api"), ("__name__", "up"), ("zone", "")])?;
    /// assert_eq!(labels.to_string(), r#"{__name__="up", job="api"}"#);
    /// # Ok::<(), ferula_index::Error>(())
    /// ```
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Error> {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        if let Some(twice) = pairs.windows(2).find(|w| w[0].0.as_ref() == w[1].0.as_ref()) {
            return Err(Error::DuplicateLabel { name: twice[0].0.as_ref().to_owned() });
        }
        Self::from_sorted(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())))
    }

    /// Packs pairs that are known to be sorted by name and unique.
    pub(crate) fn from_sorted<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut packed = String::new();
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            push_packed(&mut packed, name)?;
            push_packed(&mut packed, value)?;
        }
        Ok(Self { packed: packed.into() })
    }

    /// Value of the label called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Names are sorted, so the search may stop early.
        self.iter().take_while(|(n, _)| *n <= name).find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Value of the metric name label, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// Iterates over names and values in name order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.packed }
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Tells whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Size of the packed form, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.packed.len()
    }

    /// A hash of the label set that stays the same over processes and releases.
    pub fn stable_hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.packed.as_bytes())
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.packed.hash(state);
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Labels {
    /// Writes `{name="value", …}`, with names quoted where they are not plain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(name) {
                write!(f, "{name}={}", quoted(value))?;
            } else {
                write!(f, "{}={}", quoted(name), quoted(value))?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterator over the names and values of a [`Labels`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = take_packed(&mut self.rest);
        let value = take_packed(&mut self.rest);
        Some((name, value))
    }
}

fn push_packed(packed: &mut String, text: &str) -> Result<(), Error> {
    let len = text.len();
    if len > MAX_LABEL_BYTES {
        return Err(Error::LabelTooLong { len, limit: MAX_LABEL_BYTES });
    }
    match u8::try_from(len) {
        Ok(short) if short < LONG => packed.push(char::from(short)),
        _ => {
            packed.push(char::from(LONG));
            for shift in [21, 14, 7, 0] {
                let digit = u8::try_from(len >> shift & 0x7f).expect("seven bits fit a byte");
                packed.push(char::from(digit));
            }
        }
    }
    packed.push_str(text);
    Ok(())
}

fn take_packed<'a>(rest: &mut &'a str) -> &'a str {
    let bytes = rest.as_bytes();
    let (len, start) = if bytes[0] < LONG {
        (usize::from(bytes[0]), 1)
    } else {
        (bytes[1..5].iter().fold(0, |len, digit| len << 7 | usize::from(*digit)), 5)
    };
    let text = &rest[start..start + len];
    *rest = &rest[start + len..];
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_pairs_and_not_by_packed_bytes() {
        let long = Labels::from_pairs([("a", "x".repeat(200))]).unwrap();
        let short = Labels::from_pairs([("a", "y")]).unwrap();
        assert!(long < short);
        assert!(Labels::empty() < short);
        assert_eq!(long.get("a").map(str::len), Some(200));
    }

    #[test]
    fn duplicate_names_are_refused() {
        let twice = Labels::from_pairs([("a", "1"), ("b", "2"), ("a", "3")]);
        assert!(matches!(twice, Err(Error::DuplicateLabel { name }) if name == "a"));
    }

    #[test]
    fn lengths_around_the_marker_survive() {
        for len in [1, 126, 127, 128, 16_383, 16_384, 70_000] {
            let value = "v".repeat(len);
            let labels = Labels::from_pairs([("name", value.as_str()), ("zz", "last")]).unwrap();
            assert_eq!(labels.get("name"), Some(value.as_str()));
            assert_eq!(labels.get("zz"), Some("last"));
            assert_eq!(labels.len(), 2);
        }
    }
}
