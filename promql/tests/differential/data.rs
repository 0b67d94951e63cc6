//! Samples made at random, as text that both engines read.

use ferula_promql::testlang::generate::QueryGenerator;
use ferula_promql::testlang::series::parse_series;

/// Metrics that queries ask for, as they stand in selectors.
pub(crate) const METRICS: &[&str] = &[
    "c_total", "c_total", "g", "g", "h", "h", "gh", "hc", "b_bucket", "mix", "mix", "s_total",
    "\"é.m\"",
];

/// A series of a load: one token a value.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Its name and labels.
    pub(crate) metric: String,
    /// Its values, `_` where there is none.
    pub(crate) values: Vec<String>,
    /// How far start timestamps lie from their samples, in milliseconds; empty if there are none.
    pub(crate) starts: Vec<Option<i64>>,
}

impl Series {
    /// The line of the series and its values.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.metric, self.values.join(" "))
    }
}

/// A load command.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) step_ms: i64,
    pub(crate) series: Vec<Series>,
}

impl Data {
    /// Makes samples that depend on the state of `random` only.
    pub(crate) fn random(random: &mut QueryGenerator) -> Self {
        let step_ms = [15_000, 30_000, 10_000, 7_000][at(random, 4)];
        let n_samples = 40 + at(random, 50);
        let mut series = Vec::new();
        for metric in ["c_total", "g", "h", "gh", "hc", "b_bucket", "mix", "s_total", "é.m"] {
            for i in 0..2 + at(random, 4) {
                series.push(one_series(metric, i, n_samples, random));
            }
        }
        for i in 0..3 {
            let (v, name) = (i % 2, if i == 2 { "build_info" } else { "target_info" });
            series.push(Series {
                metric: format!("{name}{{instance=\"{}\",job=\"j\",v=\"{v}\"}}", i % 2),
                values: vec!["1".to_owned(); n_samples],
                starts: Vec::new(),
            });
        }
        // In the order that the peer has them in then, so that `limitk` takes the same ones.
        series.sort_by_key(|series| {
            parse_series(&series.metric).unwrap_or_else(|e| panic!("{}: {e}", series.metric)).labels
        });
        series.dedup_by(|a, b| a.metric == b.metric);
        Self { step_ms, series }
    }

    /// The command in the language of scripts.
    pub(crate) fn script(&self) -> String {
        let mut text = format!("load {}ms\n", self.step_ms);
        for series in &self.series {
            if !series.starts.is_empty() {
                let start = |start: &Option<i64>| match start {
                    None => "_".to_owned(),
                    Some(ms) if *ms < 0 => format!("-{}ms", -ms),
                    Some(ms) => format!("{ms}ms"),
                };
                let starts: Vec<String> = series.starts.iter().map(start).collect();
                text.push_str(&format!("  {}@st {}\n", series.metric, starts.join(" ")));
            }
            text.push_str(&format!("  {}\n", series.line()));
        }
        text
    }
}

/// An index below `n`.
pub(crate) fn at(random: &mut QueryGenerator, n: usize) -> usize {
    usize::try_from(random.below(n as u64)).expect("below a usize")
}

fn one_series(metric: &str, i: usize, n_samples: usize, random: &mut QueryGenerator) -> Series {
    let (a, b) = (i % 3, ["x", "y"][i / 3 % 2]);
    let mut labels = format!("a=\"{a}\",b=\"{b}\",i=\"{i}\"");
    match metric {
        "b_bucket" => {
            let le =
                ["0.1", "1", "+Inf", "10", "bad"][if random.below(12) == 0 { 4 } else { i % 4 }];
            labels = format!("a=\"{}\",b=\"x\",i=\"{}\",le=\"{le}\"", i / 4, i / 4);
        }
        "c_total" => labels.push_str(&format!(",instance=\"{a}\",job=\"j\"")),
        "g" if i == 1 => labels.push_str(",\"é\"=\"1\""),
        _ => {}
    }
    let metric_text = match metric {
        "é.m" => format!("{{\"é.m\",{labels}}}"),
        _ => format!("{metric}{{{labels}}}"),
    };
    let mut state = State::new(random);
    let mut values = Vec::new();
    let mut starts = Vec::new();
    let mut since = -20_000;
    for _ in 0..n_samples {
        let absent = random.below(15);
        let text = match absent {
            0 => "_".to_owned(),
            1 if random.below(3) == 0 => "stale".to_owned(),
            _ => state.next(metric, random),
        };
        if metric == "s_total" || (metric == "h" && i == 1) {
            since -= 15_000;
            if random.below(8) == 0 {
                since = -[1, 1_000, 5_000, 15_000, 40_000][at(random, 5)];
            }
            starts.push((text != "_" && text != "stale" && random.below(10) != 0).then_some(since));
        }
        values.push(text);
    }
    Series { metric: metric_text, values, starts }
}

/// What a series was at its last sample.
struct State {
    counter: f64,
    factor: f64,
    buckets: Vec<u64>,
    negative: Vec<u64>,
    zero: u64,
    schema: i64,
    offset: i64,
    bounds: &'static str,
}

const BOUNDS: [&str; 4] = ["1 5 10", "1 7 10", "-1 0 4", "5"];

impl State {
    fn new(random: &mut QueryGenerator) -> Self {
        Self {
            counter: random.below(50) as f64,
            factor: [1.0, 0.1, 1.7, 1e6, 0.3][at(random, 5)],
            buckets: vec![1; 1 + at(random, 6)],
            negative: vec![1; at(random, 3)],
            zero: 0,
            schema: [0, 0, 1, -1, 3, 2][at(random, 6)],
            offset: [0, 0, 1, -3, 5][at(random, 5)],
            bounds: BOUNDS[at(random, 4)],
        }
    }

    fn next(&mut self, metric: &str, random: &mut QueryGenerator) -> String {
        match metric {
            "g" | "é.m" => gauge(self.factor, random),
            "h" => self.exponential(false, random),
            "gh" => self.exponential(random.below(15) != 0, random),
            "hc" => self.custom(random),
            "mix" => match random.below(6) {
                0 => self.exponential(random.below(2) == 0, random),
                1 => self.exponential(false, random),
                2 => self.custom(random),
                _ => self.count(random),
            },
            _ => self.count(random),
        }
    }

    fn count(&mut self, random: &mut QueryGenerator) -> String {
        self.counter = match random.below(20) {
            0 => 0.0,
            1 => self.counter / 2.0,
            _ => self.counter + random.below(9) as f64,
        };
        format!("{}", self.counter * self.factor)
    }

    fn grow(&mut self, random: &mut QueryGenerator) {
        if random.below(15) == 0 {
            // A reset, with another layout from time to time; all buckets have one then, so that it shows in the
            // count. There are no empty ones, see "What differs" in docs/promql.md.
            if random.below(3) == 0 {
                *self = Self::new(random);
                return;
            }
            self.zero = 0;
            self.buckets.fill(1);
            self.negative.fill(1);
        }
        let grow = |count: &mut u64, random: &mut QueryGenerator| *count += random.below(4);
        self.buckets.iter_mut().for_each(|count| grow(count, random));
        self.negative.iter_mut().for_each(|count| grow(count, random));
        if random.below(2) == 0 {
            grow(&mut self.zero, random);
        }
    }

    fn total(&self) -> u64 {
        self.zero + self.buckets.iter().chain(&self.negative).sum::<u64>()
    }

    fn exponential(&mut self, is_gauge: bool, random: &mut QueryGenerator) -> String {
        self.grow(random);
        if is_gauge && random.below(2) == 0 {
            self.buckets.iter_mut().for_each(|count| *count = 1 + random.below(9));
        }
        let total = self.total();
        let sum = sum_of(total, random);
        let hint = if is_gauge { " counter_reset_hint:gauge" } else { "" };
        let negative = match self.negative.is_empty() {
            true => String::new(),
            false => format!(" n_offset:{} n_buckets:[{}]", self.offset, list(&self.negative)),
        };
        let zero = match self.zero {
            0 => String::new(),
            zero => format!(" z_bucket:{zero} z_bucket_w:0.01"),
        };
        format!(
            "{{{{schema:{} count:{total} sum:{sum}{hint}{zero} offset:{} buckets:[{}]{negative}}}}}",
            self.schema,
            self.offset,
            list(&self.buckets)
        )
    }

    fn custom(&mut self, random: &mut QueryGenerator) -> String {
        self.grow(random);
        if random.below(25) == 0 {
            self.bounds = BOUNDS[at(random, 4)];
        }
        self.buckets.truncate(self.bounds.split(' ').count() + 1);
        let total: u64 = self.buckets.iter().sum();
        let sum = sum_of(total, random);
        format!(
            "{{{{schema:-53 count:{total} sum:{sum} custom_values:[{}] buckets:[{}]}}}}",
            self.bounds,
            list(&self.buckets)
        )
    }
}

fn list(counts: &[u64]) -> String {
    let texts: Vec<String> = counts.iter().map(u64::to_string).collect();
    texts.join(" ")
}

fn sum_of(total: u64, random: &mut QueryGenerator) -> String {
    match random.below(40) {
        0 => "NaN".to_owned(),
        1 => "-3.5".to_owned(),
        _ => format!("{}", total as f64 * 1.3),
    }
}

fn gauge(factor: f64, random: &mut QueryGenerator) -> String {
    let value = random.below(200) as f64 - 100.0;
    match random.below(60) {
        0 => "NaN".to_owned(),
        1 => "Inf".to_owned(),
        2 => "-Inf".to_owned(),
        3 => "-0".to_owned(),
        4 => "1e300".to_owned(),
        5 => "-1e-300".to_owned(),
        6..9 => "0".to_owned(),
        _ => format!("{}", value * factor),
    }
}
