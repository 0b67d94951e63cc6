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

/// What is set aside for packing: more than most label sets take, so that few are moved.
const PACKED_BYTES: usize = 512;

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
        Self::from_sorted_in(&mut String::with_capacity(PACKED_BYTES), pairs)
    }

    /// Packs pairs that are known to be sorted by name and unique, in a buffer that many label
    /// sets share.
    pub(crate) fn from_sorted_in<'a>(
        buffer: &mut String,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        buffer.clear();
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            push_packed(buffer, name)?;
            push_packed(buffer, value)?;
        }
        Ok(Self { packed: Arc::from(buffer.as_str()) })
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
    /// Compares label by label, name before value.
    ///
    /// Sorting the series of a query spends its time here, so whatever is equal at the start is
    /// passed over as bytes; only the first difference is looked at as what it is.
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.packed.as_bytes(), other.packed.as_bytes());
        let Some(difference) = first_difference(a, b) else { return a.len().cmp(&b.len()) };
        let mut at = 0;
        loop {
            let (len, start) = unpack_len(&a[at..]);
            let (start, end) = (at + start, at + start + len);
            if difference < start {
                // The lengths differ, and with them the texts.
                let (other_len, other_start) = unpack_len(&b[at..]);
                let other_start = at + other_start;
                return a[start..end].cmp(&b[other_start..other_start + other_len]);
            }
            if difference < end {
                return a[difference].cmp(&b[difference]);
            }
            at = end;
        }
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
        let name = packed_text(&mut self.rest);
        let value = packed_text(&mut self.rest);
        Some((name, value))
    }
}

/// Appends a text behind its length.
pub(crate) fn push_packed(packed: &mut String, text: &str) -> Result<(), Error> {
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

/// Bytes that the length of a text takes in front of it.
pub(crate) const fn packed_len(len: usize) -> usize {
    if len < LONG as usize { 1 } else { 5 }
}

/// Takes the text that `packed` begins with from its front.
pub(crate) fn packed_text<'a>(packed: &mut &'a str) -> &'a str {
    let (len, start) = unpack_len(packed.as_bytes());
    let text = &packed[start..start + len];
    *packed = &packed[start + len..];
    text
}

/// Length of the text whose packed form begins here, and where in it the text begins.
fn unpack_len(packed: &[u8]) -> (usize, usize) {
    if packed[0] < LONG {
        return (usize::from(packed[0]), 1);
    }
    (packed[1..5].iter().fold(0, |len, digit| len << 7 | usize::from(*digit)), 5)
}

/// Where two runs of bytes begin to differ, if they do before one of them ends.
fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let equal = 8 * words.take_while(|(a, b)| a == b).count();
    let rest = a[equal..].iter().zip(&b[equal..]);
    rest.into_iter().position(|(a, b)| a != b).map(|at| equal + at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn order_is_that_of_the_pairs(a in pairs(), b in pairs()) {
            let [x, y] = [&a, &b].map(|pairs| Labels::from_pairs(pairs).unwrap());
            prop_assert_eq!(x.cmp(&y), x.iter().cmp(y.iter()));
            prop_assert_eq!(x == y, x.cmp(&y).is_eq());
        }
    }

    fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
        let text = prop_oneof![4 => "[ab]{1,3}", 1 => "a{125,130}b?", 1 => "[aé]{1,4}"];
        prop::collection::btree_map(text.clone(), text, 0..5)
    }
}
