//! Dates and times of day in RFC 3339, for an API whose clients send and read them.

use std::time::{SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A date and time of day in UTC.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Civil {
    /// Splits seconds since the Unix epoch. Algorithm `civil_from_days` of H. Hinnant's
    /// "chrono-Compatible Low-Level Date Algorithms".
    fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Years start in March here, so that the leap day is their last.
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            second_of_day: seconds.rem_euclid(SECONDS_PER_DAY),
        }
    }

    /// Days since the Unix epoch of a date, `days_from_civil` of the same source.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let march_month = (month + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes a time with as many digits of the second as it needs.
pub(crate) fn format_rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let civil = Civil::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let fraction = match since.subsec_nanos() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    let (hour, minute, second) = hour_minute_second(&civil);
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z",
        civil.year, civil.month, civil.day
    )
}

/// Writes a time without punctuation, `20060102T150405Z`.
pub(crate) fn format_compact(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let civil = Civil::from_unix(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let (hour, minute, second) = hour_minute_second(&civil);
    format!("{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z", civil.year, civil.month, civil.day)
}

fn hour_minute_second(civil: &Civil) -> (i64, i64, i64) {
    let seconds = civil.second_of_day;
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Reads a time with an offset, in nanoseconds since the Unix epoch.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = bytes.get(range)?;
        digits.iter().try_fold(0, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| bytes.get(*at) != Some(byte)) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut nanos: i128 = 0;
    if let Some(b'.' | b',') = bytes.get(at) {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for place in 0..9 {
            let digit = if place < digits { bytes[at + 1 + place] - b'0' } else { 0 };
            nanos = nanos * 10 + i128::from(digit);
        }
        at += 1 + digits;
    }
    let offset = match *bytes.get(at..)? {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            if hours > 24 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let days = Civil::days(year, month, day);
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * NANOS_PER_SECOND + nanos)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718, 555_000_000),
            ("2000-02-29T23:59:59.000000001Z", 951_868_799, 1),
            ("2026-11-20T05:00:00Z", 1_795_150_800, 0),
            ("2100-03-01T00:00:00Z", 4_107_542_400, 0),
        ] {
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            assert_eq!(format_rfc3339(time), text);
            let expected = i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos);
            assert_eq!(parse_rfc3339(text), Some(expected), "{text}");
        }
        let offset = parse_rfc3339("2015-06-03T14:21:58.555+01:00");
        assert_eq!(offset, parse_rfc3339("2015-06-03T13:21:58.555Z"));
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59Z"), Some(-NANOS_PER_SECOND));
        let day = UNIX_EPOCH + Duration::from_secs(1_795_150_801);
        assert_eq!(format_compact(day), "20261120T050001Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2015",
            "2015-06-03",
            "2015-06-03T13:21:58",
            "2015-13-03T13:21:58Z",
            "2015-02-29T13:21:58Z",
            "2015-06-03T24:21:58Z",
            "2015-06-03T13:21:60Z",
            "2015-06-03T13:21:58.Z",
            "2015-06-03T13:21:58+1:00",
            "2015-06-03T13:21:58Zx",
            "２015-06-03T13:21:58Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
