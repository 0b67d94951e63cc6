//! Parameters of a request, from its address and its form, and what they mean.

use std::fmt;
use std::num::{IntErrorKind, ParseIntError};

use axum::Form;
use axum::extract::{FromRequest, Query, Request};
use axum::http::{Method, header};
use ferula_index::labels::quoted;

use super::reply::ApiError;
use crate::{calendar, duration};

const NANOS_PER_SECOND: f64 = 1e9;
const NANOS_PER_MS: i128 = 1_000_000;

/// Start of time where none is given, in milliseconds. Prometheus's value, which clients send.
pub(super) const MIN_TIME: i64 = (i64::MIN / 1000 + 62_135_596_801) * 1000;

/// End of time where none is given, in milliseconds.
pub(super) const MAX_TIME: i64 = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;

/// The parameters of a request. Those of a form come before those of the address.
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let problem =
            |e: &dyn fmt::Display| ApiError::bad_data(format!("error parsing form values: {e}"));
        let Query(query) =
            Query::<Vec<(String, String)>>::try_from_uri(request.uri()).map_err(|e| problem(&e))?;
        let is_form = request.method() == Method::POST
            && request
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        let mut pairs = Vec::new();
        if is_form {
            let form = Form::<Vec<(String, String)>>::from_request(request, state);
            Form(pairs) = form.await.map_err(|e| problem(&e))?;
        }
        pairs.extend(query);
        Ok(Self { pairs })
    }
}

impl Params {
    /// First value of `name`, or the empty string.
    pub(super) fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// All values of `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The time `name`, which must be given, in nanoseconds.
    pub(super) fn required_time(&self, name: &str) -> Result<i128, ApiError> {
        parse_time(self.get(name)).map_err(|e| ApiError::parameter(name, e))
    }

    /// The time `name` or else `default`, in milliseconds.
    pub(super) fn time_or(&self, name: &str, default: i64) -> Result<i64, ApiError> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_time(text).map(to_ms).map_err(|e| {
                ApiError::parameter(name, format!("invalid time value for '{name}': {e}"))
            }),
        }
    }

    /// The duration `name` in nanoseconds, if it is given.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, ParameterProblem> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_duration(text).map(Some),
        }
    }

    /// How many results are wanted; `None` means all.
    pub(super) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(None);
        }
        let limit: i64 = text.parse().map_err(|error: ParseIntError| {
            let problem = match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let text = quoted(text);
            ApiError::parameter("limit", format!("strconv.Atoi: parsing {text}: {problem}"))
        })?;
        if limit < 0 {
            return Err(ApiError::parameter("limit", "limit must be non-negative"));
        }
        Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0))
    }
}

/// Why a value of a parameter does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParameterProblem {
    Time(String),
    Duration(String),
    DurationOverflow(String),
}

impl fmt::Display for ParameterProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(text) => write!(f, "cannot parse {} to a valid timestamp", quoted(text)),
            Self::Duration(text) => write!(f, "cannot parse {} to a valid duration", quoted(text)),
            Self::DurationOverflow(text) => {
                write!(f, "cannot parse {} to a valid duration. It overflows int64", quoted(text))
            }
        }
    }
}

/// Reads a boolean as Go writes it.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        _ => None,
    }
}

/// Milliseconds, rounded down, of nanoseconds.
pub(crate) fn to_ms(nanos: i128) -> i64 {
    let ms = nanos.div_euclid(NANOS_PER_MS);
    i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
}

/// Reads seconds since the epoch, or a time in RFC 3339, as nanoseconds since the epoch.
pub(crate) fn parse_time(text: &str) -> Result<i128, ParameterProblem> {
    let problem = || ParameterProblem::Time(text.to_owned());
    if let Some(seconds) = parse_seconds(text) {
        // Seconds are rounded to milliseconds, so that a float's last bits do not matter.
        let fraction = (seconds.fract() * 1000.0).round() / 1000.0;
        let whole = whole_number(seconds.trunc()).ok_or_else(problem)?;
        let nanos = whole_number(fraction * NANOS_PER_SECOND).ok_or_else(problem)?;
        return Ok(i128::from(whole) * 1_000_000_000 + i128::from(nanos));
    }
    match text {
        "-292273086-05-16T16:47:06Z" => Ok(i128::from(MIN_TIME) * NANOS_PER_MS),
        "292277025-08-18T07:12:54.999999999Z" => Ok(i128::from(MAX_TIME) * NANOS_PER_MS + 999_999),
        _ => calendar::parse_rfc3339(text).ok_or_else(problem),
    }
}

/// Reads seconds or a duration with units, as nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Result<i64, ParameterProblem> {
    if let Some(seconds) = parse_seconds(text) {
        return whole_number((seconds * NANOS_PER_SECOND).trunc())
            .ok_or_else(|| ParameterProblem::DurationOverflow(text.to_owned()));
    }
    match duration::parse(text) {
        Ok(ms) => Ok(ms * 1_000_000),
        Err(_) => Err(ParameterProblem::Duration(text.to_owned())),
    }
}

/// Reads a finite number. Infinities and NaN are no times.
fn parse_seconds(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

/// The integer nearest to zero from `value`, if it fits.
fn whole_number(value: f64) -> Option<i64> {
    // 2^63 is a float; what is below it fits.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (-BOUND..BOUND).contains(&value).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_prometheus() {
        for (text, ms) in [
            ("0", 0),
            ("1435781451.781", 1_435_781_451_781),
            ("0.57", 570),
            ("1543578564.705", 1_543_578_564_705),
            ("-1.5", -1500),
            ("1e3", 1_000_000),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("-292273086-05-16T16:47:06Z", MIN_TIME),
            ("292277025-08-18T07:12:54.999999999Z", MAX_TIME),
        ] {
            assert_eq!(parse_time(text).map(to_ms), Ok(ms), "{text}");
        }
        for text in ["", "abc", "30s", "NaN", "Inf", "1e30", "2015-06-03"] {
            let problem = parse_time(text).expect_err(text).to_string();
            assert_eq!(problem, format!("cannot parse \"{text}\" to a valid timestamp"));
        }
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, nanos) in [
            ("1", 1_000_000_000),
            ("0.0005", 500_000),
            ("-5", -5_000_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        assert_eq!(
            parse_duration("1e20").unwrap_err().to_string(),
            "cannot parse \"1e20\" to a valid duration. It overflows int64"
        );
        for text in ["", "x", "5 m", "-5m", "NaN"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_of_time_are_those_of_go() {
        assert_eq!(MIN_TIME, -9_223_309_901_257_974_000);
        assert_eq!(MAX_TIME, 9_223_309_901_257_974_999);
    }
}
