//! Fully anchored regular expressions, and the shortcuts that spare running them.
//!
//! Most expressions in queries are a word, a list of words, or words with `.*` between them. These
//! are compared as text; only the others are compiled.

use regex_automata::meta;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::literal::{Extractor, Seq};
use regex_syntax::hir::{Dot, Hir, HirKind, Look};

use super::syntax;
use crate::Error;

/// Most bytes that the compiled form of an expression may take.
const MAX_COMPILED_BYTES: usize = 10 << 20;

/// Most values that an expression which is more than a list of words is taken apart to.
const MAX_SET_VALUES: usize = 256;

/// A regular expression that must match a whole value.
#[derive(Clone)]
pub(super) struct AnchoredRegex {
    test: Test,
    prefix: Box<str>,
}

#[derive(Clone)]
enum Test {
    /// One of these values, which are sorted.
    Set(Box<[Box<str>]>),
    /// Any text that is not shorter than this: `.*` or `.+`.
    AnyOf { min_bytes: usize },
    /// One of these.
    Words(Box<[Words]>),
    /// Anything else.
    Compiled(Box<meta::Regex>),
}

/// These words in this order with anything in between, `first.*between.*last`, where each may be
/// empty.
#[derive(Clone)]
struct Words {
    first: Box<str>,
    between: Box<[Box<str>]>,
    last: Box<str>,
}

impl AnchoredRegex {
    pub(super) fn new(pattern: &str) -> Result<Self, Error> {
        if let Some(values) = plain_alternatives(pattern) {
            return Ok(Self::set(values));
        }
        let invalid = |reason: String| Error::Regex { pattern: pattern.to_owned(), reason };
        let parsed = syntax::parse(pattern, false).map_err(|error| invalid(error.to_string()))?;
        let hir = parsed.hir;
        if let Some(test) = any(&hir) {
            return Ok(Self { test, prefix: "".into() });
        }
        if let Some(words) = any_words(&hir) {
            return Ok(Self { prefix: common_prefix(&words).into(), test: Test::Words(words) });
        }
        let has_looks = !hir.properties().look_set().is_empty();
        let literals = Extractor::new().limit_total(MAX_SET_VALUES).extract(&hir);
        let values = exact_values(&literals);
        if let Some(values) = &values
            && !has_looks
        {
            return Ok(Self::set(values.clone()));
        }
        let compiled = compile(hir).map_err(|error| invalid(error.to_string()))?;
        if let Some(mut values) = values {
            // Extraction takes assertions for granted; what they forbid is left out here.
            values.retain(|value| compiled.is_match(anchored(value)));
            return Ok(Self::set(values));
        }
        let prefix = literals.longest_common_prefix().unwrap_or_default();
        // The words that values begin with may differ within a character.
        let prefix = prefix.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Ok(Self { test: Test::Compiled(Box::new(compiled)), prefix: prefix.into() })
    }

    fn set(mut values: Vec<Box<str>>) -> Self {
        values.sort_unstable();
        values.dedup();
        let prefix = match &*values {
            [value] => value.clone(),
            _ => "".into(),
        };
        Self { test: Test::Set(values.into()), prefix }
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        match &self.test {
            Test::Set(values) => values.binary_search_by(|v| (**v).cmp(value)).is_ok(),
            Test::AnyOf { min_bytes } => value.len() >= *min_bytes,
            Test::Words(words) => words.iter().any(|words| words.is_match(value)),
            Test::Compiled(regex) => regex.is_match(anchored(value)),
        }
    }

    /// Memory that it takes beside itself, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_words = |words: &[Box<str>]| {
            words.iter().map(|word| size_of::<Box<str>>() + word.len()).sum::<usize>()
        };
        let test = match &self.test {
            Test::Set(values) => of_words(values),
            Test::AnyOf { .. } => 0,
            Test::Words(all) => {
                let of = |w: &Words| w.first.len() + of_words(&w.between) + w.last.len();
                all.iter().map(|words| size_of::<Words>() + of(words)).sum()
            }
            Test::Compiled(regex) => regex.memory_usage(),
        };
        self.prefix.len() + test
    }

    /// The values that match, sorted, if these are known.
    pub(super) fn set_values(&self) -> Option<&[Box<str>]> {
        match &self.test {
            Test::Set(values) => Some(values),
            _ => None,
        }
    }

    /// What every matching value begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Tells whether it is known that every value matches.
    pub(super) fn matches_everything(&self) -> bool {
        matches!(self.test, Test::AnyOf { min_bytes: 0 })
    }
}

impl Words {
    /// Takes an expression apart that consists of words and `.*` only.
    fn new(hir: &Hir) -> Option<Self> {
        let HirKind::Concat(parts) = hir.kind() else { return None };
        let mut words = vec![String::new()];
        for part in parts {
            match part.kind() {
                HirKind::Literal(literal) => {
                    words.last_mut()?.push_str(std::str::from_utf8(&literal.0).ok()?);
                }
                _ if is_any_text(part, 0) => words.push(String::new()),
                _ => return None,
            }
        }
        let last = words.pop()?;
        let mut words = words.into_iter().map(String::into_boxed_str);
        let first = words.next()?;
        Some(Self { first, between: words.collect(), last: last.into() })
    }

    fn is_match(&self, value: &str) -> bool {
        let Some(rest) = value.strip_prefix(&*self.first) else { return false };
        let Some(mut rest) = rest.strip_suffix(&*self.last) else { return false };
        for word in &self.between {
            let Some(at) = rest.find(&**word) else { return false };
            rest = &rest[at + word.len()..];
        }
        true
    }
}

/// Takes an expression apart that is words and `.*`, or a few such between bars.
fn any_words(hir: &Hir) -> Option<Box<[Words]>> {
    match hir.kind() {
        HirKind::Capture(group) => any_words(&group.sub),
        HirKind::Alternation(parts) if parts.len() <= MAX_SET_VALUES => {
            parts.iter().map(Words::new).collect()
        }
        _ => Some([Words::new(hir)?].into()),
    }
}

/// What all of these begin with.
fn common_prefix(words: &[Words]) -> &str {
    let mut firsts = words.iter().map(|words| &*words.first);
    let first = firsts.next().unwrap_or_default();
    let shared = |other: &str| {
        let same = first.chars().zip(other.chars()).take_while(|(a, b)| a == b);
        same.map(|(a, _)| a.len_utf8()).sum()
    };
    let len: usize = firsts.map(shared).min().unwrap_or(first.len());
    &first[..len]
}

/// Recognises `.*` and `.+`.
fn any(hir: &Hir) -> Option<Test> {
    let min_bytes = [0, 1].into_iter().find(|&min| is_any_text(hir, min))?;
    Some(Test::AnyOf { min_bytes: min_bytes as usize })
}

/// Tells whether this is any text of at least `min` characters.
fn is_any_text(hir: &Hir, min: u32) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            repetition.min == min
                && repetition.max.is_none()
                && *repetition.sub == Hir::dot(Dot::AnyChar)
        }
        _ => false,
    }
}

/// Splits an expression that is nothing but words between bars, maybe in parentheses.
///
/// Dashboards send such lists with thousands of words; they are not worth parsing.
fn plain_alternatives(pattern: &str) -> Option<Vec<Box<str>>> {
    let inner = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = inner.unwrap_or(pattern).chars();
    while let Some(c) = chars.next() {
        match c {
            '|' => words.push(std::mem::take(&mut word).into_boxed_str()),
            '\\' => word.push(chars.next().filter(char::is_ascii_punctuation)?),
            '.' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => word.push(c),
        }
    }
    words.push(word.into_boxed_str());
    Some(words)
}

/// The values of an expression that has only few.
fn exact_values(literals: &Seq) -> Option<Vec<Box<str>>> {
    if !literals.is_exact() {
        return None;
    }
    let values = literals.literals()?.iter();
    values.map(|value| Some(std::str::from_utf8(value.as_bytes()).ok()?.into())).collect()
}

pub(super) fn compile(hir: Hir) -> Result<meta::Regex, Box<meta::BuildError>> {
    let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    let config = meta::Config::new().nfa_size_limit(Some(MAX_COMPILED_BYTES));
    meta::Builder::new().configure(config).build_from_hir(&whole).map_err(Box::new)
}

pub(super) fn anchored(value: &str) -> Input<'_> {
    Input::new(value).anchored(Anchored::Yes)
}

#[cfg(test)]
mod tests;
