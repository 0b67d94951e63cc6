//! Changing label sets: a base, and what is set or removed on top of it.

use super::Labels;
use crate::Error;

/// Makes a new label set from a base by setting and removing labels.
///
/// ```
/// use ferula_index::{Labels, LabelsBuilder};
///
/// let base = Labels::from_pairs([("__name__", "up"), ("job", "api")])?;
/// let labels = LabelsBuilder::from_labels(&base).remove("__name__").set("zone", "a").build()?;
/// assert_eq!(labels.to_string(), r#"{job="api", zone="a"}"#);
/// # Ok::<(), ferula_index::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name, unique.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Starts from no labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts from the labels of `base`.
    pub fn from_labels(base: &Labels) -> Self {
        Self { pairs: base.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Sets the label `name` to `value`, whether or not it was there; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.position(name) {
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes the label `name` if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(at) = self.position(name) {
            self.pairs.remove(at);
        }
        self
    }

    /// Keeps only the labels whose name `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> &mut Self {
        self.pairs.retain(|(name, _)| keep(name));
        self
    }

    /// Value that the label `name` would have.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).ok().map(|at| self.pairs[at].1.as_str()).filter(|v| !v.is_empty())
    }

    /// Makes the label set.
    ///
    /// # Errors
    /// [`Error::LabelTooLong`] if a name or value is too long.
    pub fn build(&self) -> Result<Labels, Error> {
        Labels::from_sorted(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }
}
