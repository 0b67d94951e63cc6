//! How well a name fits what was typed: three ways to tell, each from 0 to 1.
//!
//! The numbers are those that Prometheus 3.14 gives (`util/strutil`, `web/api/v1/search_filters.go`).

/// What an exact match is above every other one.
const INEXACT: f64 = 0.999;

/// How a value is compared with the terms of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// The characters of the term occur in order.
    Subsequence,
    /// The term occurs, or is similar by Jaro and Winkler.
    JaroWinkler,
}

impl Algorithm {
    /// All, by the names of their parameter.
    pub(super) const ALL: [(&str, Self); 2] =
        [("subsequence", Self::Subsequence), ("jarowinkler", Self::JaroWinkler)];
}

/// What is searched for. Any of the terms is enough.
#[derive(Debug)]
pub(super) struct Filter {
    terms: Vec<Vec<char>>,
    algorithm: Algorithm,
    threshold: f64,
    is_case_sensitive: bool,
}

impl Filter {
    /// Makes a filter of terms, of which empty ones do not count. `threshold` is in percent.
    pub(super) fn new<'a>(
        terms: impl Iterator<Item = &'a str>,
        algorithm: Algorithm,
        threshold: u8,
        is_case_sensitive: bool,
    ) -> Self {
        let fold = |term: &str| {
            let folded = if is_case_sensitive { term.to_owned() } else { term.to_lowercase() };
            folded.chars().collect()
        };
        let terms = terms.filter(|term| !term.is_empty()).map(fold).collect();
        Self { terms, algorithm, threshold: f64::from(threshold) / 100.0, is_case_sensitive }
    }

    /// How well `value` fits; `None` if it does not.
    pub(super) fn score(&self, value: &str) -> Option<f64> {
        if self.terms.is_empty() {
            return Some(1.0);
        }
        let chars: Vec<char> = if self.is_case_sensitive {
            value.chars().collect()
        } else {
            value.to_lowercase().chars().collect()
        };
        self.terms.iter().filter_map(|term| self.score_of(term, &chars)).max_by(f64::total_cmp)
    }

    fn score_of(&self, term: &[char], value: &[char]) -> Option<f64> {
        match self.algorithm {
            Algorithm::Subsequence if value.starts_with(term) => Some(1.0),
            Algorithm::Subsequence => {
                let score = subsequence(term, value);
                (score > 0.0 && score >= self.threshold).then_some(score)
            }
            Algorithm::JaroWinkler => substring(term, value).or_else(|| {
                let score = (self.threshold > 0.0).then(|| jaro_winkler(term, value))?;
                (score >= self.threshold).then_some(score)
            }),
        }
    }
}

/// The earlier the term occurs, the better: from 1 at the start down to 0.1 at the end.
fn substring(term: &[char], value: &[char]) -> Option<f64> {
    let at = value.windows(term.len()).position(|window| window == term)?;
    let last = value.len() - term.len();
    Some(if at == 0 { 1.0 } else { 1.0 - 0.9 * at as f64 / last as f64 })
}

/// The best of the greedy matches from each place where the first character is.
///
/// A match gains the square of the length of each run of neighbours, and loses for each character
/// that it leaves out a share of the value's length, behind its end half of that.
fn subsequence(term: &[char], value: &[char]) -> f64 {
    if term.len() > value.len() {
        return 0.0;
    }
    let starts = 0..=value.len() - term.len();
    let starts = starts.filter(|at| Some(&value[*at]) == term.first());
    // From where one cannot be completed no later one can.
    let best = starts.map_while(|at| greedy(term, value, at)).max_by(f64::total_cmp);
    let length = (term.len() * term.len()) as f64;
    best.filter(|best| *best >= 0.0).map_or(0.0, |best| best / length * INEXACT)
}

/// What the match from `start` on gains, if there is one.
fn greedy(term: &[char], value: &[char], start: usize) -> Option<f64> {
    let share = 1.0 / value.len() as f64;
    let (mut score, mut run, mut end) = (0.0, 0_usize, 0_usize);
    let mut at = start;
    for c in term {
        let next = at + value.get(at..)?.iter().position(|other| other == c)?;
        if next != end || run == 0 {
            score += (run * run) as f64;
            run = 0;
            score -= (next - end) as f64 * share;
        }
        run += 1;
        at = next + 1;
        end = at;
    }
    let behind = (value.len() - end) as f64;
    Some(score + (run * run) as f64 - behind * share * 0.5)
}

/// The similarity of Jaro, with what Winkler gives for up to four first characters in common.
fn jaro_winkler(a: &[char], b: &[char]) -> f64 {
    if a == b {
        return 1.0;
    }
    let (short, long) = if a.len() > b.len() { (b, a) } else { (a, b) };
    let reach = (long.len() / 2).saturating_sub(1);
    let mut is_taken = vec![false; long.len()];
    let mut matched = Vec::new();
    for (i, c) in short.iter().enumerate() {
        let near = i.saturating_sub(reach)..(i + reach + 1).min(long.len());
        if let Some(j) = near.into_iter().find(|j| !is_taken[*j] && long[*j] == *c) {
            is_taken[j] = true;
            matched.push(*c);
        }
    }
    if matched.is_empty() {
        return 0.0;
    }
    let others = long.iter().zip(&is_taken).filter(|(_, taken)| **taken).map(|(c, _)| c);
    let swapped = matched.iter().zip(others).filter(|(a, b)| a != b).count() as f64;
    let n = matched.len() as f64;
    let (of_short, of_long) = (n / short.len() as f64, n / long.len() as f64);
    let jaro = (of_short + of_long + (n - swapped * 0.5) / n) / 3.0;
    let common = short.iter().zip(long).take(4).take_while(|(a, b)| a == b).count() as f64;
    jaro + common * 0.1 * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(algorithm: Algorithm, threshold: u8, term: &str, value: &str) -> Option<f64> {
        let score = Filter::new([term].into_iter(), algorithm, threshold, true).score(value)?;
        Some((score * 1e6).round() / 1e6)
    }

    #[test]
    fn scores_are_those_of_the_definition() {
        use Algorithm::{JaroWinkler, Subsequence};
        for (algorithm, threshold, term, value, expected) in [
            (Subsequence, 0, "ab", "abc", Some(1.0)),
            (Subsequence, 0, "ab", "b", None),
            (Subsequence, 0, "ac", "abc", Some(0.41625)),
            // One character before, a run of two, one behind: (4 - 1/4 - 1/8) / 4.
            (Subsequence, 0, "bc", "abcd", Some(0.905344)),
            (Subsequence, 91, "bc", "abcd", None),
            (Subsequence, 0, "cb", "abcd", None),
            // The second start is better than the first.
            (Subsequence, 0, "ab", "xaxab", Some(0.849150)),
            (JaroWinkler, 0, "ab", "xab", Some(0.1)),
            (JaroWinkler, 0, "b", "abc", Some(0.55)),
            (JaroWinkler, 0, "martha", "marhta", None),
            (JaroWinkler, 90, "martha", "marhta", Some(0.961111)),
            (JaroWinkler, 50, "dixon", "dicksonx", Some(0.813333)),
            (JaroWinkler, 97, "martha", "marhta", None),
        ] {
            assert_eq!(score(algorithm, threshold, term, value), expected, "{term} in {value}");
        }
    }

    #[test]
    fn any_term_is_enough_and_case_counts_unless_it_does_not() {
        let terms = || ["", "zz", "UP"].into_iter();
        let filter = Filter::new(terms(), Algorithm::Subsequence, 0, true);
        assert_eq!((filter.score("up"), filter.score("UP_x")), (None, Some(1.0)));
        let filter = Filter::new(terms(), Algorithm::Subsequence, 0, false);
        assert_eq!(filter.score("Up"), Some(1.0));
        let filter = Filter::new([""].into_iter(), Algorithm::JaroWinkler, 0, true);
        assert_eq!(filter.score("anything"), Some(1.0));
    }
}
