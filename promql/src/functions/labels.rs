//! New labels from old ones: `label_replace`, `label_join`, and the order of `sort_by_label`.

use std::cmp::Ordering;

use ferula_index::matcher::CaptureRegex;
use ferula_index::{Labels, LabelsBuilder};

use crate::{Error, ParameterError};

/// A change of one label, made once per query and applied to each series.
#[derive(Clone, Debug)]
pub(crate) enum Relabel {
    Replace { target: String, replacement: String, source: String, regex: CaptureRegex },
    Join { target: String, separator: String, sources: Vec<String> },
}

impl Relabel {
    /// `label_replace` with its four texts.
    pub(crate) fn replace(
        target: &str,
        replacement: &str,
        source: &str,
        pattern: &str,
    ) -> Result<Self, Error> {
        let regex = CaptureRegex::new(pattern)
            .map_err(|_| Error::Parameter(ParameterError::Regex { pattern: pattern.to_owned() }))?;
        check_name(target, "invalid destination label name in label_replace(): ")?;
        Ok(Self::Replace {
            target: target.to_owned(),
            replacement: replacement.to_owned(),
            source: source.to_owned(),
            regex,
        })
    }

    /// `label_join` with its texts.
    pub(crate) fn join(target: &str, separator: &str, sources: &[&str]) -> Result<Self, Error> {
        for source in sources {
            check_name(source, "invalid source label name in label_join(): ")?;
        }
        check_name(target, "invalid destination label name in label_join(): ")?;
        Ok(Self::Join {
            target: target.to_owned(),
            separator: separator.to_owned(),
            sources: sources.iter().map(|&source| source.to_owned()).collect(),
        })
    }

    /// The labels after the change; `None` if it does not apply.
    pub(crate) fn apply(&self, labels: &Labels) -> Result<Option<Labels>, Error> {
        let value = match self {
            Self::Replace { replacement, source, regex, .. } => {
                let value = labels.get(source).unwrap_or_default();
                let Some(value) = regex.expand(value, replacement) else { return Ok(None) };
                value
            }
            Self::Join { separator, sources, .. } => {
                let values: Vec<&str> =
                    sources.iter().map(|name| labels.get(name).unwrap_or_default()).collect();
                values.join(separator)
            }
        };
        let labels = LabelsBuilder::from_labels(labels).set(self.target(), &value).build()?;
        Ok(Some(labels))
    }

    /// Name of the label that is set.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Replace { target, .. } | Self::Join { target, .. } => target,
        }
    }
}

/// Fails unless `name` can be the name of a label.
fn check_name(name: &str, what: &'static str) -> Result<(), Error> {
    if name.is_empty() {
        let error = ParameterError::LabelName { what, name: name.to_owned() };
        return Err(Error::Parameter(error));
    }
    Ok(())
}

/// Compares two series by the values of `names`, numbers in them by size, then by all labels.
pub(crate) fn compare_by(names: &[String], a: &Labels, b: &Labels) -> Ordering {
    names
        .iter()
        .map(|name| natural(a.get(name).unwrap_or_default(), b.get(name).unwrap_or_default()))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.cmp(b))
}

/// Compares texts chunk by chunk, digits as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut rest_a, mut rest_b) = (a, b);
    while !rest_a.is_empty() && !rest_b.is_empty() {
        let (chunk_a, chunk_b) = (take_chunk(&mut rest_a), take_chunk(&mut rest_b));
        let order = match (chunk_a.as_bytes()[0], chunk_b.as_bytes()[0]) {
            (x, y) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (chunk_a.trim_start_matches('0'), chunk_b.trim_start_matches('0'));
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            _ => chunk_a.cmp(chunk_b),
        };
        if order.is_ne() {
            return order;
        }
    }
    rest_a.len().cmp(&rest_b.len()).then_with(|| a.cmp(b))
}

/// Cuts off the longest start that is all digits or has none.
fn take_chunk<'a>(rest: &mut &'a str) -> &'a str {
    let digits = rest.as_bytes()[0].is_ascii_digit();
    let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
    let (chunk, behind) = rest.split_at(end);
    *rest = behind;
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn labels_are_replaced_where_the_whole_value_matches() {
        let change = Relabel::replace("dst", "$1-${word}", "src", "(.)(?P<word>.*)").unwrap();
        let before = labels(&[("src", "abc")]);
        assert_eq!(
            change.apply(&before).unwrap(),
            Some(labels(&[("dst", "a-bc"), ("src", "abc")]))
        );
        let change = Relabel::replace("dst", "x", "src", "b").unwrap();
        assert_eq!(change.apply(&before).unwrap(), None);
        assert!(Relabel::replace("dst", "x", "src", "(").is_err());
    }

    #[test]
    fn numbers_in_labels_are_compared_by_size() {
        let names = ["n".to_owned()];
        let order = |a, b| compare_by(&names, &labels(&[("n", a)]), &labels(&[("n", b)]));
        assert_eq!(order("cpu2", "cpu10"), Ordering::Less);
        assert_eq!(order("4k", "4m"), Ordering::Less);
        assert_eq!(order("10", "9"), Ordering::Greater);
    }
}
