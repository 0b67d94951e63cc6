//! Exemplars of an OpenMetrics text: what stands behind `# ` on the line of a sample.

use std::borrow::Cow;
use std::ops::Range;

use super::scan::LABEL;
use super::{ParseError, TextParser};

/// An exemplar as its line gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarLine<'a> {
    /// Its labels, in the order of the page.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The observed value; every NaN is the normal one.
    pub value: f64,
    /// Time in milliseconds, if it has one.
    pub timestamp: Option<i64>,
}

/// Where an exemplar stands.
#[derive(Clone, Debug)]
pub(super) struct ExemplarPlace {
    pairs: Vec<(Range<usize>, Range<usize>)>,
    value: f64,
    timestamp: Option<i64>,
}

impl<'a> TextParser<'a> {
    /// The exemplar of the sample read last.
    pub fn exemplar_line(&self) -> Option<ExemplarLine<'a>> {
        let ExemplarPlace { pairs, value, timestamp } = self.exemplar.as_ref()?;
        let labels = pairs.iter().map(|(name, value)| (self.text(name), self.text(value)));
        Some(ExemplarLine { labels: labels.collect(), value: *value, timestamp: *timestamp })
    }

    /// Reads an exemplar up to the end of the line.
    pub(super) fn exemplar(&mut self) -> Result<(), ParseError> {
        if self.scan.peek() != Some(b'{') {
            return Err(self.scan.expected("the labels of an exemplar"));
        }
        self.scan.at += 1;
        let mut pairs = Vec::new();
        loop {
            self.scan.skip_blanks();
            let name = match self.scan.peek() {
                Some(b'}') => break,
                Some(b'"') => self.scan.quoted("label name")?,
                _ => self.scan.word(LABEL, "a label name")?,
            };
            self.scan.skip_blanks();
            let value = self.label_value(&name)?;
            pairs.push((name, value));
            match self.scan.peek() {
                Some(b',') => self.scan.at += 1,
                Some(b'}') => {}
                _ => return Err(self.scan.expected("a comma or the end of the labels")),
            }
        }
        self.scan.at += 1;
        self.scan.skip_blanks();
        let value = self.value()?;
        self.scan.skip_blanks();
        let timestamp = self.time()?;
        if !matches!(self.scan.peek(), None | Some(b'\n')) {
            return Err(self.scan.expected("the end of the line after the exemplar"));
        }
        self.exemplar = Some(ExemplarPlace { pairs, value, timestamp });
        Ok(())
    }
}
