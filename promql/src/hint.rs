//! What a query that cannot be parsed was probably meant to be.
//!
//! A guess from the error and the text around it. There is none where nothing is likely.

use crate::ParseError;
use crate::error::ParseErrorKind;
use crate::functions::signatures::ValueType;

/// Longest text that a hint repeats, in bytes.
const MAX_TEXT: usize = 80;

impl ParseError {
    /// What was probably meant, as a phrase; `None` if nothing is likely.
    ///
    /// ```
    /// let error = ferula_promql::parser::parse("sum by job (up)").unwrap_err();
    /// assert_eq!(error.hint().as_deref(), Some("did you mean by (job)?"));
    /// ```
    pub fn hint(&self) -> Option<String> {
        match self.kind() {
            ParseErrorKind::UnknownFunction { suggestion, .. } => {
                suggestion.map(|name| format!("did you mean {name:?}?"))
            }
            ParseErrorKind::ArgumentType { expected, found, .. }
            | ParseErrorKind::WrongType { expected, found, .. } => {
                self.hint_of_type(*expected, *found)
            }
            ParseErrorKind::BinaryOperandType | ParseErrorKind::UnaryOperandType { .. } => {
                self.text().ends_with(']').then(|| self.reduced())
            }
            ParseErrorKind::Unexpected { context: Some(context), .. }
                if context.starts_with("grouping") =>
            {
                self.hint_of_grouping()
            }
            ParseErrorKind::ScalarComparisonWithoutBool => {
                Some(format!("did you mean \"{} bool\"?", self.text()))
            }
            ParseErrorKind::RangeOnNonSelector => Some(
                "a window of anything but a selector is a subquery, as in (a + b)[5m:1m]".into(),
            ),
            ParseErrorKind::OffsetBeforeRange | ParseErrorKind::AtBeforeRange => {
                Some("the range comes first, as in x[5m] offset 1h".into())
            }
            ParseErrorKind::UnexpectedInBraces { found: ':' } => {
                Some("labels are compared by =, !=, =~ or !~".into())
            }
            ParseErrorKind::EmptySelector => {
                Some("name a metric, or a label with a value that is not empty".into())
            }
            _ => None,
        }
    }

    /// The text that the error is about, if it is short.
    fn text(&self) -> &str {
        let span = self.span();
        let text = self.query().get(span.start..span.end).unwrap_or_default();
        if text.len() > MAX_TEXT { "" } else { text }
    }

    fn hint_of_type(&self, expected: ValueType, found: ValueType) -> Option<String> {
        let text = self.text();
        match (expected, found) {
            (ValueType::Matrix, ValueType::Vector) if is_selector(text) => {
                Some(format!("did you mean {text}[5m]?"))
            }
            (ValueType::Matrix, ValueType::Vector) => Some(
                "a window of anything but a selector is a subquery, as in (a + b)[5m:1m]".into(),
            ),
            (ValueType::Vector, ValueType::Matrix) => Some(self.reduced()),
            (ValueType::Vector, ValueType::Scalar) if !text.is_empty() => {
                Some(format!("did you mean vector({text})?"))
            }
            (ValueType::Scalar, ValueType::Vector) if !text.is_empty() => {
                Some(format!("did you mean scalar({text})?"))
            }
            (ValueType::String, ValueType::Vector) if is_selector(text) => {
                Some(format!("did you mean \"{text}\" in quotes?"))
            }
            _ => None,
        }
    }

    /// How a range becomes an instant vector.
    fn reduced(&self) -> String {
        match self.text().trim_start_matches(['-', '+', ' ']) {
            "" => "apply a function of ranges, such as rate".to_owned(),
            text => format!("did you mean rate({text}), or another function of ranges?"),
        }
    }

    /// Labels behind `by` and its like that stand there without parentheses.
    fn hint_of_grouping(&self) -> Option<String> {
        let (before, rest) = self.query().split_at_checked(self.span().start)?;
        let keyword = before.split_whitespace().next_back()?.to_ascii_lowercase();
        let known = ["by", "without", "on", "ignoring", "group_left", "group_right"];
        let names: Vec<&str> = rest
            .split(['(', ')', '{', '['])
            .next()?
            .split([',', ' '])
            .filter(|name| !name.is_empty())
            .take_while(|name| is_label_name(name))
            .collect();
        let is_likely = known.contains(&keyword.as_str()) && !names.is_empty();
        is_likely.then(|| format!("did you mean {keyword} ({})?", names.join(", ")))
    }
}

/// Tells whether a text is nothing but a selector without a window or modifiers.
fn is_selector(text: &str) -> bool {
    let name = text.split('{').next().unwrap_or_default();
    let is_named = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    !text.is_empty() && is_named && (name.len() == text.len() || text.ends_with('}'))
}

fn is_label_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use crate::parser::{ParseOptions, parse_with};

    fn hint(query: &str) -> Option<String> {
        parse_with(query, &ParseOptions::ALL).unwrap_err().hint()
    }

    #[test]
    fn likely_mistakes_are_guessed() {
        let cases = [
            ("rat(x[5m])", "did you mean \"rate\"?"),
            ("sum by job (x)", "did you mean by (job)?"),
            ("sum without job, pod (x)", "did you mean without (job, pod)?"),
            ("sum(x) by job", "did you mean by (job)?"),
            ("a + on job b", "did you mean on (job, b)?"),
            ("a * on (job) group_left pod (b)", ""),
            ("rate(x)", "did you mean x[5m]?"),
            ("rate(x{a=\"b\"})", "did you mean x{a=\"b\"}[5m]?"),
            (
                "rate(sum(x))",
                "a window of anything but a selector is a subquery, as in (a + b)[5m:1m]",
            ),
            ("sum(x[5m])", "did you mean rate(x[5m]), or another function of ranges?"),
            ("abs(x[5m])", "did you mean rate(x[5m]), or another function of ranges?"),
            ("x[5m] * 2", "did you mean rate(x[5m]), or another function of ranges?"),
            ("-x[5m]", "did you mean rate(x[5m]), or another function of ranges?"),
            ("abs(1)", "did you mean vector(1)?"),
            ("clamp_max(x, y)", "did you mean scalar(y)?"),
            ("1 > 2", "did you mean \"> bool\"?"),
            (
                "sum(x)[5m]",
                "a window of anything but a selector is a subquery, as in (a + b)[5m:1m]",
            ),
            ("x offset 1h [5m]", "the range comes first, as in x[5m] offset 1h"),
            ("x{a:\"b\"}", "labels are compared by =, !=, =~ or !~"),
            ("{a=\"\"}", "name a metric, or a label with a value that is not empty"),
            ("sum(x", ""),
            ("frobnicate(x)", ""),
        ];
        for (query, expected) in cases {
            assert_eq!(hint(query).unwrap_or_default(), expected, "{query}");
        }
    }

    #[test]
    fn hints_stand_under_the_place() {
        let error = parse_with("sum by job (x)", &ParseOptions::ALL).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.ends_with("\n  sum by job (x)\n         ^^^\n  did you mean by (job)?"),
            "{text}"
        );
    }
}
