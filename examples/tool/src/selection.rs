//! Which series and which time a command is about.

use clap::Args;
use ferula_index::{Labels, Matcher};
use ferula_wire::cli;

/// Series and time.
#[derive(Args, Clone, Debug)]
pub(crate) struct Selection {
    /// Only series that pass this selector, such as 'up{job="api"}'; given several times, those that pass
    /// any of them.
    #[arg(long = "match", value_name = "SELECTOR", value_parser = parse_selector)]
    pub(crate) selectors: Vec<Selector>,

    /// Only samples from this time on, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = cli::parse_time)]
    pub(crate) min_time: Option<i64>,

    /// Only samples up to this time, inclusive, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = cli::parse_time)]
    pub(crate) max_time: Option<i64>,
}

/// Matchers of one selector.
#[derive(Clone, Debug)]
pub(crate) struct Selector(pub(crate) Vec<Matcher>);

fn parse_selector(text: &str) -> Result<Selector, String> {
    cli::parse_selector(text).map(Selector)
}

impl Selector {
    /// Tells whether a series passes.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        let value = |matcher: &Matcher| labels.get(matcher.name()).unwrap_or_default();
        self.0.iter().all(|matcher| matcher.matches(value(matcher)))
    }
}

impl Selection {
    /// The selectors; one that every series passes if none is given.
    pub(crate) fn selectors(&self) -> Vec<Selector> {
        match self.selectors.is_empty() {
            true => vec![Selector(Vec::new())],
            false => self.selectors.clone(),
        }
    }

    /// First and last time, both inclusive, in milliseconds.
    pub(crate) fn range(&self) -> (i64, i64) {
        (self.min_time.unwrap_or(i64::MIN), self.max_time.unwrap_or(i64::MAX))
    }
}
