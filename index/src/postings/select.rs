//! From matchers to postings, with the semantics of Prometheus.
//!
//! A label that a series does not have counts as one with the empty value. So a matcher that
//! rejects the empty value selects the series that carry one of the values it accepts, and a
//! matcher that accepts it removes the series that carry one of the values it rejects. Both are
//! unions of the postings of some label pairs: looked up where the values are known, else found by
//! a scan of the label's values. What is cheap comes first, and nothing is looked at any more once
//! no series is left. Where fewer series are left than a label has values, as with `pod=~".+"` beside
//! the name of a metric, their labels are looked at instead.

use crate::matcher::{MatchOp, Matcher};
use crate::pace::Pace;
use crate::postings::Postings;

/// What matchers are answered from: the head's index or that of a block.
pub(crate) trait PostingsSource {
    /// What can go wrong on reading.
    type Error;

    /// All series.
    fn all(&self) -> Result<Postings, Self::Error>;

    /// Calls `read` with the series that have the label `name` with `value`, if there are any.
    fn with_pair(
        &self,
        name: &str,
        value: &str,
        read: &mut dyn FnMut(&Postings),
    ) -> Result<(), Self::Error>;

    /// Adds to `into` the series whose label `name` has a value that starts with `prefix` and
    /// that `accept` accepts.
    fn unite_matching(
        &self,
        name: &str,
        prefix: &str,
        accept: &dyn Fn(&str) -> bool,
        into: &mut Postings,
    ) -> Result<(), Self::Error>;

    /// Keeps those of `selected` whose label `name` has such a value, or if `subtracts`, those whose
    /// label has not.
    fn apply_matching(
        &self,
        name: &str,
        prefix: &str,
        accept: &dyn Fn(&str) -> bool,
        subtracts: bool,
        selected: &mut Postings,
    ) -> Result<(), Self::Error> {
        let mut found = Postings::new();
        self.unite_matching(name, prefix, accept, &mut found)?;
        if subtracts {
            selected.subtract(&found);
        } else {
            selected.intersect(&found);
        }
        Ok(())
    }

    /// Number of values of the label `name`, about.
    fn n_values(&self, name: &str) -> usize;

    /// Keeps those of `selected` whose label passes, by looking at the labels of each. What is kept is any if
    /// `pace` ends on the way.
    fn retain_matching(
        &self,
        matcher: &Matcher,
        selected: &mut Postings,
        pace: &Pace<'_>,
    ) -> Result<(), Self::Error>;
}

/// Selects the series that pass all `matchers`; without matchers, all of them. `None` if it was stopped.
pub(crate) fn select<S: PostingsSource + ?Sized>(
    source: &S,
    matchers: &[Matcher],
    pace: &Pace<'_>,
) -> Result<Option<Postings>, S::Error> {
    let mut terms: Vec<Term<'_>> = matchers.iter().map(Term::new).collect();
    // Those that look at many values come last if others tell which series to keep: there may be few
    // left to look at instead.
    let has_lookup = terms.iter().any(|term| !term.is_scan() && !term.subtracts);
    terms.sort_by_key(|term| (has_lookup && term.is_scan(), term.subtracts, term.cost()));

    let mut selected: Option<Postings> = None;
    for term in terms {
        match &mut selected {
            None if term.subtracts => {
                let mut all = source.all()?;
                term.apply(source, &mut all, pace)?;
                selected = Some(all);
            }
            None => selected = Some(term.series(source, pace)?),
            Some(selected) => term.apply(source, selected, pace)?,
        }
        if selected.as_ref().is_some_and(Postings::is_empty) {
            return Ok(pace.found(Postings::new()));
        }
    }
    Ok(pace.found(match selected {
        Some(selected) => selected,
        None => source.all()?,
    }))
}

/// A matcher as a set of series to keep or to remove.
struct Term<'a> {
    matcher: &'a Matcher,
    /// The series found are removed; else only they are kept.
    subtracts: bool,
    values: Values<'a>,
}

/// Which values of the label lead to the series.
enum Values<'a> {
    One(&'a str),
    Many(&'a [Box<str>]),
    Scan { prefix: &'a str },
}

impl<'a> Term<'a> {
    fn new(matcher: &'a Matcher) -> Self {
        let subtracts = matcher.matches_empty();
        let values = match (matcher.op(), subtracts) {
            (MatchOp::Equal, false) | (MatchOp::NotEqual, true) => Values::One(matcher.value()),
            (MatchOp::Regex, false) | (MatchOp::NotRegex, true) => match matcher.set_values() {
                Some(values) => Values::Many(values),
                None => Values::Scan { prefix: matcher.prefix() },
            },
            // Every value but those that the pattern names.
            _ if matcher.matches_everything() => Values::Many(&[]),
            _ => Values::Scan { prefix: "" },
        };
        Self { matcher, subtracts, values }
    }

    /// Tells whether series with this value are found; of none once it was stopped.
    fn accepts(&self, value: &str, pace: &Pace<'_>) -> bool {
        pace.goes_on() && self.matcher.matches(value) != self.subtracts
    }

    fn is_scan(&self) -> bool {
        matches!(self.values, Values::Scan { .. })
    }

    fn cost(&self) -> usize {
        match &self.values {
            Values::One(_) => 1,
            Values::Many(values) => values.len(),
            Values::Scan { prefix: "" } => usize::MAX,
            Values::Scan { .. } => usize::MAX - 1,
        }
    }

    /// Keeps or removes the series of this term in `selected`.
    fn apply<S: PostingsSource + ?Sized>(
        &self,
        source: &S,
        selected: &mut Postings,
        pace: &Pace<'_>,
    ) -> Result<(), S::Error> {
        if let (Values::One(value), false) = (&self.values, self.subtracts) {
            let mut found = false;
            source.with_pair(self.matcher.name(), value, &mut |series| {
                selected.intersect(series);
                found = true;
            })?;
            if !found {
                *selected = Postings::new();
            }
            return Ok(());
        }
        if self.is_scan() && selected.len() < source.n_values(self.matcher.name()) as u64 {
            return source.retain_matching(self.matcher, selected, pace);
        }
        if let Values::Scan { prefix } = &self.values {
            let accept = |value: &str| self.accepts(value, pace);
            let name = self.matcher.name();
            return source.apply_matching(name, prefix, &accept, self.subtracts, selected);
        }
        let series = self.series(source, pace)?;
        if self.subtracts {
            selected.subtract(&series);
        } else {
            selected.intersect(&series);
        }
        Ok(())
    }

    /// The series that are kept or removed.
    fn series<S: PostingsSource + ?Sized>(
        &self,
        source: &S,
        pace: &Pace<'_>,
    ) -> Result<Postings, S::Error> {
        let name = self.matcher.name();
        let mut found = Postings::new();
        let mut add = |series: &Postings| {
            if found.is_empty() {
                found = series.clone();
            } else {
                found.unite(series);
            }
        };
        match &self.values {
            Values::One(value) => source.with_pair(name, value, &mut add)?,
            Values::Many(values) => {
                let values = values.iter().filter(|value| !value.is_empty());
                for value in values.take_while(|_| pace.goes_on()) {
                    source.with_pair(name, value, &mut add)?;
                }
            }
            Values::Scan { prefix } => {
                let accept = |value: &str| self.accepts(value, pace);
                source.unite_matching(name, prefix, &accept, &mut found)?;
            }
        }
        Ok(found)
    }
}
