//! Moving over the bytes of a page: blanks, names, quoted texts, the place of errors.

use std::ops::Range;
use std::str;

use super::super::error::quote;
use super::super::{ParseError, ParseProblem};

/// A place in a page.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    pub(super) page: &'a [u8],
    pub(super) at: usize,
    /// The line of that place, counted from 1.
    pub(super) line: usize,
    /// Whether the page is known to be UTF-8 as a whole, so that its parts need not be looked at.
    is_utf8: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(page: &'a [u8], line: usize) -> Self {
        Self { page, at: 0, line, is_utf8: str::from_utf8(page).is_ok() }
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.page.get(self.at).copied()
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.page[self.at..]
    }

    pub(super) fn rest_of_line(&self) -> &'a [u8] {
        let rest = self.rest();
        &rest[..rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())]
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes the line feed, if the page does not end here.
    #[inline]
    pub(super) fn end_line(&mut self) {
        if self.at < self.page.len() {
            self.at += 1;
            self.line += 1;
        }
    }

    /// Reads an unquoted name, whose bytes are of `class`.
    #[inline]
    pub(super) fn word(
        &mut self,
        class: u8,
        expected: &'static str,
    ) -> Result<Range<usize>, ParseError> {
        let start = self.at;
        let is_start = |b: u8| CLASSES[usize::from(b)] & class != 0 && !b.is_ascii_digit();
        if !self.peek().is_some_and(is_start) {
            return Err(self.expected(expected));
        }
        let is_part = |b: &&u8| CLASSES[usize::from(**b)] & class != 0;
        self.at += self.rest().iter().take_while(is_part).count();
        Ok(start..self.at)
    }

    /// Reads a quoted text, whose opening quote is known to be there, and yields what is inside.
    #[inline]
    pub(super) fn quoted(&mut self, what: &'static str) -> Result<Range<usize>, ParseError> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            let is_plain = |b: &&u8| CLASSES[usize::from(**b)] & IN_QUOTES != 0;
            at += self.page[at..].iter().take_while(is_plain).count();
            match self.page.get(at) {
                Some(b'"') => break,
                // A line feed cannot be escaped, but it may stand in quotes as it is.
                Some(b'\\') if !matches!(self.page.get(at + 1), None | Some(b'\n')) => at += 2,
                Some(b'\n') => {
                    self.line += 1;
                    at += 1;
                }
                _ => {
                    // The error is where the text begins.
                    let text = &self.page[start - 1..at];
                    self.line -= text.iter().filter(|b| **b == b'\n').count();
                    let found = quote(text);
                    return Err(self.error(ParseProblem::Unclosed { what, found }));
                }
            }
        }
        self.at = at + 1;
        Ok(start..at)
    }

    /// Checks that a part of the page is text.
    #[inline]
    pub(super) fn check_utf8(
        &self,
        range: &Range<usize>,
        what: &'static str,
    ) -> Result<(), ParseError> {
        if self.is_utf8 { Ok(()) } else { self.utf8(range, what).map(|_| ()) }
    }

    pub(super) fn utf8(
        &self,
        range: &Range<usize>,
        what: &'static str,
    ) -> Result<&'a str, ParseError> {
        let bytes = &self.page[range.clone()];
        str::from_utf8(bytes)
            .map_err(|_| self.error(ParseProblem::Utf8 { what, found: quote(bytes) }))
    }

    #[cold]
    pub(super) fn error(&self, problem: ParseProblem) -> ParseError {
        ParseError { line: self.line, problem }
    }

    #[cold]
    pub(super) fn expected(&self, expected: &'static str) -> ParseError {
        let found = match self.rest_of_line() {
            [] => "the end of the line".to_owned(),
            rest => quote(rest),
        };
        self.error(ParseProblem::Expected { expected, found })
    }
}

/// Bytes of label names, digits included.
pub(super) const LABEL: u8 = 1;

/// Bytes of metric names, digits included.
pub(super) const METRIC: u8 = 2;

/// Bytes of quoted texts that stand for themselves and need no further look.
const IN_QUOTES: u8 = 4;

/// Bytes of values and timestamps: what does not end them.
pub(super) const NUMBER: u8 = 8;

/// What each byte may be part of.
pub(super) const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte: u8 = 0;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            class |= LABEL | METRIC;
        }
        if byte == b':' {
            class |= METRIC;
        }
        if !matches!(byte, b'"' | b'\\' | b'\n') {
            class |= IN_QUOTES;
        }
        if !matches!(byte, b'{' | b' ' | b'\t' | b'\n') {
            class |= NUMBER;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};
