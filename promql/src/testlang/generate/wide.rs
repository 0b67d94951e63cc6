//! What is rarer in queries, so that all of the language comes up.

use super::{QueryGenerator, WINDOWS};

const FUNCTIONS: [&str; 38] = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "sin",
    "sinh",
    "tan",
    "tanh",
    "deg",
    "rad",
    "ln",
    "log2",
    "log10",
    "floor",
    "round",
    "minute",
    "month",
    "year",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "hour",
    "histogram_stdvar",
    "histogram_stddev",
    "histogram_avg",
    "histogram_sum",
    "histogram_count",
    "start_timestamp",
    "timestamp",
    "abs",
    "ceil",
    "exp",
    "sqrt",
];

const EXTENDED: [&str; 8] = [
    "rate(S[W] anchored M)",
    "increase(S[W] anchored M)",
    "delta(S[W] anchored M)",
    "resets(S[W] anchored M)",
    "changes(S[W] anchored M)",
    "rate(S[W] smoothed M)",
    "increase(S[W] smoothed M)",
    "delta(S[W] smoothed M)",
];

impl QueryGenerator {
    pub(super) fn wide_selector(&mut self, metrics: &[&'static str]) -> String {
        let metric = self.one_of(metrics);
        let matchers = self.one_of(&[
            "",
            "",
            "",
            "",
            "a=\"1\"",
            "a!=\"1\"",
            "a=~\"1|2\"",
            "b!~\"x\"",
            "i=~\".*[0246]\"",
            "i=~\"0\", a=\"0\"",
            "le=\"\"",
            "le!=\"\"",
            "\"é\"=~\"1?\"",
        ]);
        if self.below(14) == 0 {
            return self
                .one_of(&[
                    "{__name__=~\"c_total|g|h\"}",
                    "{__name__=~\"g|mix|hc\"}",
                    "{__name__=~\"b.*\"}",
                    "{a=\"1\"}",
                ])
                .to_owned();
        }
        match (metric.starts_with('"'), matchers) {
            (true, "") => format!("{{{metric}}}"),
            (true, _) => format!("{{{metric}, {matchers}}}"),
            (false, "") => metric.to_owned(),
            (false, _) => format!("{metric}{{{matchers}}}"),
        }
    }

    pub(super) fn wide_modifiers(&mut self) -> &'static str {
        self.one_of(&[
            " @ start()",
            " @ 600 offset 1m",
            " offset 1m @ 1200",
            " offset (1m + 30s)",
            " offset -1m30s",
            " offset -(step() + 1)",
            " offset min_of(step(), 2m)",
            " offset range() / 10",
            " @ 0",
            " @ 5000",
        ])
    }

    pub(super) fn wide_matrix(&mut self, depth: u32) -> String {
        let modifiers = self.modifiers();
        if depth > 1 && self.below(3) == 0 {
            let inner = self.vector(depth - 1);
            let window = self.one_of(&["[5m:]", "[10m:1m30s]", "[7m:7m]", "[step() * 4:step()]"]);
            return format!("({inner}){window}{modifiers}");
        }
        let window =
            self.one_of(&["[1ms]", "[15s]", "[45s]", "[step() + 1m]", "[max_of(1m, 2 * 45s)]"]);
        format!("{}{window}{modifiers}", self.selector())
    }

    pub(super) fn wide_scalar(&mut self, depth: u32) -> String {
        match self.below(4) {
            0 => self
                .one_of(&[
                    "start()", "end()", "step()", "range()", "-Inf", "-1", "0x1F", "5m", "1e-3",
                ])
                .to_owned(),
            1 if depth > 1 => {
                let op = self.one_of(&["+", "-", "*", "/", "%", "^", "> bool", "== bool", "atan2"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            2 => {
                let name = self.one_of(&["min_of", "max_of"]);
                format!("{name}({}, {})", self.scalar(0), self.scalar(0))
            }
            _ if depth > 1 => format!("scalar({})", self.vector(depth - 1)),
            _ => "-time()".to_owned(),
        }
    }

    pub(super) fn wide_matching(&mut self) -> &'static str {
        self.one_of(&[
            "on ()",
            "on (a, b)",
            "on (i)",
            "on (a, b, i, le)",
            "ignoring (le)",
            "ignoring (b, le, __name__)",
            "on (a, i) group_left (b, le)",
            "on (a) group_right ()",
            "ignoring (le) group_left ()",
            "on (i) fill (0)",
            "on (a, b, i) fill_left (1)",
            "on (a, b, i) fill_right (NaN)",
            "ignoring (le) fill_left (-1) fill_right (1e6)",
            "on (i) group_left (b) fill (3)",
        ])
    }

    /// A vector that is made of others, or of scalars.
    pub(super) fn wide_vector(&mut self, depth: u32) -> String {
        let inner = depth - 1;
        match self.below(14) {
            0 | 1 => {
                let function = self.one_of(&FUNCTIONS);
                format!("{function}({})", self.vector(inner))
            }
            2 | 3 => {
                let (selector, window) = (self.selector(), self.one_of(&WINDOWS));
                let modifiers = self.modifiers();
                self.one_of(&EXTENDED)
                    .replace('M', modifiers)
                    .replace('W', window)
                    .replace('S', &selector)
            }
            4 => format!("{} smoothed{}", self.selector(), self.modifiers()),
            5 => {
                let op = self.one_of(&["</", ">/"]);
                if self.below(3) == 0 {
                    let matching = self.one_of(&["", "on (a)", "on (i) group_left ()"]);
                    format!("({} {op} {matching} {})", self.vector(inner), self.vector(inner))
                } else {
                    format!("({} {op} {})", self.vector(inner), self.scalar(inner))
                }
            }
            6 => {
                let selector = self.one_of(&[
                    "",
                    ", {__name__=\"target_info\"}",
                    ", {__name__=~\".*_info\"}",
                    ", {v=~\".+\"}",
                    ", {v=\"1\"}",
                ]);
                format!("info({}{selector})", self.vector(inner))
            }
            7 => {
                let (name, label) = (
                    self.one_of(&["sort_by_label", "sort_by_label_desc"]),
                    self.one_of(&["\"i\"", "\"a\", \"b\"", "\"le\""]),
                );
                format!("{name}({}, {label})", self.vector(inner))
            }
            8 => {
                let (name, by) = (self.one_of(&["topk", "bottomk", "limitk"]), self.grouping());
                let k = self.one_of(&["1", "2", "0", "1.9", "100", "-1"]);
                format!("{name} {by} ({k}, {})", self.vector(inner))
            }
            9 => {
                let (name, by) = (self.one_of(&["quantile", "limit_ratio"]), self.grouping());
                let q = self.one_of(&["0", "0.5", "1", "-0.5", "1.5", "-1.1"]);
                format!("{name} {by} ({q}, {})", self.vector(inner))
            }
            10 => {
                let function = self.one_of(&["histogram_quantile", "histogram_fraction"]);
                let vector = self.vector(inner);
                let by = self.one_of(&["", "sum by (le)", "sum by (le, a)", "sum without (i)"]);
                let bounds = if function == "histogram_fraction" { "-1, " } else { "" };
                let q = self.one_of(&["0.5", "1", "0.001", "-1", "NaN", "2"]);
                format!("{function}({bounds}{q}, {by} ({vector}))")
            }
            11 => {
                let q = self.scalar(inner);
                let matrix = self.matrix(depth);
                match self.below(3) {
                    0 => format!("quantile_over_time({q}, {matrix})"),
                    1 => format!("predict_linear({matrix}, {q})"),
                    _ => format!("clamp_max(clamp_min({}, {q}), 7)", self.vector(inner)),
                }
            }
            12 => {
                let target = self.one_of(&["le", "__name__", "é", "i", "a"]);
                let replacement = self.one_of(&["", "$1", "x$1y", "${n}z", "1"]);
                let source = self.one_of(&["i", "__name__", "b", "none"]);
                let regex = self.one_of(&["(.*)", "(?P<n>.).*", "x|y", "", "(c|g).*"]);
                format!(
                    "label_replace({}, \"{target}\", \"{replacement}\", \"{source}\", \"{regex}\")",
                    self.vector(inner)
                )
            }
            _ => {
                let op = self
                    .one_of(&["+", "-", "*", "/", "==", "!=", ">= bool", "and", "or", "unless"]);
                let on = match op {
                    "and" | "or" | "unless" => {
                        self.one_of(&["", "on ()", "on (a)", "ignoring (le)"])
                    }
                    _ => self.matching(),
                };
                // Both sides alike, so that many have partners.
                let (function, window) = (
                    self.one_of(&["rate", "sum_over_time", "last_over_time"]),
                    self.one_of(&WINDOWS),
                );
                let (left, right) = (self.selector(), self.selector());
                format!("({function}({left}[{window}]) {op} {on} {function}({right}[{window}]))")
            }
        }
    }
}
