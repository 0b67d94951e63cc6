//! The table of functions: names, argument and result types, and which are experimental.
//!
//! The functions are those of Prometheus 3.14. The table says only what the checker needs to know;
//! what a function computes is found in the sibling modules.

use std::cmp::Reverse;
use std::fmt;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A number for every step.
    Scalar,
    /// A text.
    String,
    /// One sample per series and step.
    Vector,
    /// A range of samples per series and step.
    Matrix,
}

impl ValueType {
    /// The name that Prometheus's API gives the type.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}

impl fmt::Display for ValueType {
    /// Writes the name that the documentation uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        })
    }
}

/// How many arguments a function takes beyond those it always needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// Exactly one per argument type.
    No,
    /// The last argument may be left out, or given up to this often.
    UpTo(usize),
    /// The last argument may be left out, or given any number of times.
    Any,
}

/// What the checker knows of a function.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// Name of the function.
    pub name: &'static str,
    /// Types of its arguments.
    pub args: &'static [ValueType],
    /// How often the last argument may be given.
    pub variadic: Variadic,
    /// Type of its result.
    pub returns: ValueType,
    /// Whether it must be enabled by [`ParseOptions`](crate::parser::ParseOptions).
    pub experimental: bool,
}

impl Signature {
    /// Fewest arguments that a call may have.
    pub const fn min_args(&self) -> usize {
        match self.variadic {
            Variadic::No => self.args.len(),
            Variadic::UpTo(_) | Variadic::Any => self.args.len() - 1,
        }
    }

    /// Most arguments that a call may have; `None` if there is no bound.
    pub const fn max_args(&self) -> Option<usize> {
        match self.variadic {
            Variadic::No => Some(self.args.len()),
            Variadic::UpTo(count) => Some(self.args.len() - 1 + count),
            Variadic::Any => None,
        }
    }
}

/// Finds a function by its name, which is case-sensitive.
pub fn find(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
}

/// All functions, in order of their names.
pub fn all() -> &'static [Signature] {
    FUNCTIONS
}

/// The known name nearest to `name`, if one is near enough to have been meant.
pub(crate) fn suggest(name: &str) -> Option<&'static str> {
    // No name is longer than this; comparing with more would only cost time.
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    FUNCTIONS
        .iter()
        // Among names equally near, the one that begins alike was meant.
        .map(|f| (edit_distance(&lower, f.name), Reverse(common_prefix(&lower, f.name)), f.name))
        .min()
        .filter(|(distance, _, found)| *distance <= (found.len() / 3).max(1))
        .map(|(_, _, found)| found)
}

/// Number of leading bytes that are the same.
fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count()
}

/// Levenshtein distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

use ValueType::{Matrix as M, Scalar as S, String as T, Vector as V};

const fn stable(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature { name, args, variadic: Variadic::No, returns, experimental: false }
}

const fn trial(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature { name, args, variadic: Variadic::No, returns, experimental: true }
}

const fn variadic(signature: Signature, variadic: Variadic) -> Signature {
    Signature { variadic, ..signature }
}

/// Sorted by name.
static FUNCTIONS: &[Signature] = &[
    stable("abs", &[V], V),
    stable("absent", &[V], V),
    stable("absent_over_time", &[M], V),
    stable("acos", &[V], V),
    stable("acosh", &[V], V),
    stable("asin", &[V], V),
    stable("asinh", &[V], V),
    stable("atan", &[V], V),
    stable("atanh", &[V], V),
    stable("avg_over_time", &[M], V),
    stable("ceil", &[V], V),
    stable("changes", &[M], V),
    stable("clamp", &[V, S, S], V),
    stable("clamp_max", &[V, S], V),
    stable("clamp_min", &[V, S], V),
    stable("cos", &[V], V),
    stable("cosh", &[V], V),
    stable("count_over_time", &[M], V),
    variadic(stable("day_of_month", &[V], V), Variadic::UpTo(1)),
    variadic(stable("day_of_week", &[V], V), Variadic::UpTo(1)),
    variadic(stable("day_of_year", &[V], V), Variadic::UpTo(1)),
    variadic(stable("days_in_month", &[V], V), Variadic::UpTo(1)),
    stable("deg", &[V], V),
    stable("delta", &[M], V),
    stable("deriv", &[M], V),
    trial("double_exponential_smoothing", &[M, S, S], V),
    trial("end", &[], S),
    stable("exp", &[V], V),
    stable("first_over_time", &[M], V),
    stable("floor", &[V], V),
    stable("histogram_avg", &[V], V),
    stable("histogram_count", &[V], V),
    stable("histogram_fraction", &[S, S, V], V),
    stable("histogram_quantile", &[S, V], V),
    variadic(trial("histogram_quantiles", &[V, T, S, S], V), Variadic::UpTo(9)),
    stable("histogram_stddev", &[V], V),
    stable("histogram_stdvar", &[V], V),
    stable("histogram_sum", &[V], V),
    variadic(stable("hour", &[V], V), Variadic::UpTo(1)),
    stable("idelta", &[M], V),
    stable("increase", &[M], V),
    variadic(trial("info", &[V, V], V), Variadic::UpTo(1)),
    stable("irate", &[M], V),
    variadic(stable("label_join", &[V, T, T, T], V), Variadic::Any),
    stable("label_replace", &[V, T, T, T, T], V),
    stable("last_over_time", &[M], V),
    stable("ln", &[V], V),
    stable("log10", &[V], V),
    stable("log2", &[V], V),
    trial("mad_over_time", &[M], V),
    trial("max_of", &[S, S], S),
    stable("max_over_time", &[M], V),
    trial("min_of", &[S, S], S),
    stable("min_over_time", &[M], V),
    variadic(stable("minute", &[V], V), Variadic::UpTo(1)),
    variadic(stable("month", &[V], V), Variadic::UpTo(1)),
    stable("pi", &[], S),
    stable("predict_linear", &[M, S], V),
    stable("present_over_time", &[M], V),
    stable("quantile_over_time", &[S, M], V),
    stable("rad", &[V], V),
    trial("range", &[], S),
    stable("rate", &[M], V),
    stable("resets", &[M], V),
    variadic(stable("round", &[V, S], V), Variadic::UpTo(1)),
    stable("scalar", &[V], S),
    stable("sgn", &[V], V),
    stable("sin", &[V], V),
    stable("sinh", &[V], V),
    stable("sort", &[V], V),
    variadic(trial("sort_by_label", &[V, T], V), Variadic::Any),
    variadic(trial("sort_by_label_desc", &[V, T], V), Variadic::Any),
    stable("sort_desc", &[V], V),
    stable("sqrt", &[V], V),
    trial("start", &[], S),
    trial("start_timestamp", &[V], V),
    stable("stddev_over_time", &[M], V),
    stable("stdvar_over_time", &[M], V),
    trial("step", &[], S),
    stable("sum_over_time", &[M], V),
    stable("tan", &[V], V),
    stable("tanh", &[V], V),
    stable("time", &[], S),
    stable("timestamp", &[V], V),
    trial("ts_of_first_over_time", &[M], V),
    trial("ts_of_last_over_time", &[M], V),
    trial("ts_of_max_over_time", &[M], V),
    trial("ts_of_min_over_time", &[M], V),
    stable("vector", &[S], V),
    variadic(stable("year", &[V], V), Variadic::UpTo(1)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_complete() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(FUNCTIONS.len(), 90);
        assert_eq!(FUNCTIONS.iter().filter(|f| f.experimental).count(), 17);
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(suggest("histogram_quantil"), Some("histogram_quantile"));
        assert_eq!(suggest("RATE"), Some("rate"));
        assert_eq!(suggest("frobnicate"), None);
    }
}
