//! Queries made at random from the grammar, all of which pass the checker.
//!
//! For tests of what must hold for any query. The same seed makes the same queries.

mod samples;
mod wide;

pub use samples::fill;

/// Deepest nesting of a query.
const MAX_DEPTH: u32 = 4;

const WINDOWS: [&str; 5] = ["30s", "1m", "5m", "17m", "2h"];

const RANGE_FUNCTIONS: [&str; 24] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "changes",
    "deriv",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "first_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
];

const VECTOR_FUNCTIONS: [&str; 16] = [
    "abs",
    "ceil",
    "sqrt",
    "sgn",
    "exp",
    "hour",
    "timestamp",
    "absent",
    "sort",
    "sort_desc",
    "histogram_count",
    "histogram_sum",
    "histogram_avg",
    "histogram_stddev",
    "days_in_month",
    "-",
];

const AGGREGATIONS: [&str; 8] = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];

const OPERATORS: [&str; 16] = [
    "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<=", "> bool", "== bool", "and", "or",
    "unless",
];

/// Makes queries over the series of [`fill`], or over [others](Self::wide).
#[derive(Clone, Debug)]
pub struct QueryGenerator {
    state: u64,
    /// Selectors without matchers, if all of the language is wanted.
    wide: Option<&'static [&'static str]>,
}

impl QueryGenerator {
    /// Makes a generator whose queries depend on `seed` only.
    pub fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(2).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { state, wide: None }
    }

    /// Makes a generator of queries over series with the labels `a`, `b`, `i` and `le` of other
    /// metrics, in all of the language. A name that is no identifier stands in quotes.
    pub fn wide(seed: u64, metrics: &'static [&'static str]) -> Self {
        Self { wide: Some(metrics), ..Self::new(seed) }
    }

    /// A number below `n`, which is above zero.
    pub fn below(&mut self, n: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % n
    }

    /// Makes the next query, a vector.
    pub fn query(&mut self) -> String {
        let depth = 1 + u32::try_from(self.below(u64::from(MAX_DEPTH))).unwrap_or(0);
        self.vector(depth)
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let at = self.below(of.len() as u64);
        usize::try_from(at).ok().and_then(|at| of.get(at)).copied().unwrap_or_default()
    }

    fn selector(&mut self) -> String {
        if let Some(metrics) = self.wide {
            return self.wide_selector(metrics);
        }
        let metric = self.one_of(&["c_total", "c_total", "g", "g", "h", "b_bucket"]);
        let matchers = self.one_of(&[
            "",
            "",
            "{a=\"1\"}",
            "{a!=\"1\"}",
            "{i=~\".*[02468]\"}",
            "{a=\"2\", b=~\"x|y\"}",
            "{nothing=\"here\"}",
        ]);
        if self.below(12) == 0 {
            return "{__name__=~\"c_total|g|h\"}".to_owned();
        }
        format!("{metric}{matchers}")
    }

    fn modifiers(&mut self) -> &'static str {
        if self.wide.is_some() && self.below(4) == 0 {
            return self.wide_modifiers();
        }
        self.one_of(&["", "", "", "", " offset 2m", " offset -30s", " @ 900", " @ end()"])
    }

    fn matrix(&mut self, depth: u32) -> String {
        if self.wide.is_some() && self.below(5) == 0 {
            return self.wide_matrix(depth);
        }
        let window = self.one_of(&WINDOWS);
        if depth > 1 && self.below(4) == 0 {
            let (inner, step) = (self.vector(depth - 1), self.one_of(&["15s", "1m", "100s"]));
            return format!("({inner})[{window}:{step}]{}", self.modifiers());
        }
        format!("{}[{window}]{}", self.selector(), self.modifiers())
    }

    fn scalar(&mut self, depth: u32) -> String {
        if self.wide.is_some() && self.below(4) == 0 {
            return self.wide_scalar(depth);
        }
        match self.below(8) {
            0 => "time()".to_owned(),
            1 if depth > 1 => format!("scalar({})", self.vector(depth - 1)),
            2 => "pi()".to_owned(),
            3 => "-(2 ^ 3)".to_owned(),
            _ => self.one_of(&["0", "1", "0.5", "3", "1e3", "NaN", "Inf"]).to_owned(),
        }
    }

    fn grouping(&mut self) -> &'static str {
        if self.wide.is_some() && self.below(6) == 0 {
            return self.one_of(&[
                "by ()",
                "without ()",
                "by (__name__)",
                "by (\"é\", a)",
                "without (le, i)",
            ]);
        }
        self.one_of(&["", "by (a)", "by (a, b)", "by (i)", "by (le)", "without (i)", "without (a)"])
    }

    fn matching(&mut self) -> &'static str {
        if self.wide.is_some() && self.below(2) == 0 {
            return self.wide_matching();
        }
        self.one_of(&[
            "",
            "",
            "on (a, b, i)",
            "ignoring (b)",
            "on (a) group_left ()",
            "on (i) group_right (b)",
            "ignoring (a) group_left (b)",
        ])
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return format!("{}{}", self.selector(), self.modifiers());
        }
        if self.wide.is_some() && self.below(3) == 0 {
            return self.wide_vector(depth);
        }
        let inner = depth - 1;
        match self.below(20) {
            0..5 => {
                let function = self.one_of(&RANGE_FUNCTIONS);
                format!("{function}({})", self.matrix(depth))
            }
            5 => match self.below(3) {
                0 => format!("predict_linear({}, 60)", self.matrix(depth)),
                1 => {
                    let q = self.one_of(&["0.5", "0.99", "2"]);
                    format!("quantile_over_time({q}, {})", self.matrix(depth))
                }
                _ => format!("double_exponential_smoothing({}, 0.3, 0.6)", self.matrix(depth)),
            },
            6 | 7 => {
                let function = self.one_of(&VECTOR_FUNCTIONS);
                format!("{function}({})", self.vector(inner))
            }
            8 => match self.below(5) {
                0 => format!("clamp({}, -5, {})", self.vector(inner), self.scalar(inner)),
                1 => format!("round({}, 5)", self.vector(inner)),
                2 => {
                    let target = self.one_of(&["a", "c", "__name__"]);
                    format!(
                        "label_replace({}, \"{target}\", \"n$1\", \"i\", \"(.).*\")",
                        self.vector(inner)
                    )
                }
                3 => format!("label_join({}, \"c\", \"-\", \"a\", \"b\")", self.vector(inner)),
                _ => format!("vector({})", self.scalar(depth)),
            },
            9 => {
                let q = self.one_of(&["0.9", "0", "1.5"]);
                let inner = self.vector(inner);
                match self.below(3) {
                    0 => format!("histogram_quantile({q}, {inner})"),
                    1 => format!("histogram_fraction(0, {q}, {inner})"),
                    _ => format!("histogram_quantiles({inner}, \"q\", 0.1, {q})"),
                }
            }
            10..14 => {
                let (name, by) = (self.one_of(&AGGREGATIONS), self.grouping());
                format!("{name} {by} ({})", self.vector(inner))
            }
            14 => {
                let by = self.grouping();
                match self.below(6) {
                    0 => format!("count_values {by} (\"v\", {})", self.vector(inner)),
                    1 => format!("quantile {by} (0.7, {})", self.vector(inner)),
                    2 => format!("limitk {by} (3, {})", self.vector(inner)),
                    3 => format!("limit_ratio {by} (0.4, {})", self.vector(inner)),
                    4 => format!("bottomk {by} (7, {})", self.vector(inner)),
                    _ => format!("topk {by} ({}, {})", self.scalar(0), self.vector(inner)),
                }
            }
            15 => {
                let op = self.one_of(&OPERATORS[..13]);
                let (vector, scalar) = (self.vector(inner), self.scalar(depth));
                if self.below(2) == 0 {
                    format!("({vector} {op} {scalar})")
                } else {
                    format!("({scalar} {op} {vector})")
                }
            }
            _ => {
                let op = self.one_of(&OPERATORS);
                let mut matching = self.matching();
                if matches!(op, "and" | "or" | "unless") && matching.contains("group") {
                    matching = "";
                }
                let (left, right) = (self.vector(inner), self.vector(inner));
                format!("({left} {op} {matching} {right})")
            }
        }
    }
}
