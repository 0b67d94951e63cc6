//! Calendar arithmetic in UTC, for the functions that take times apart.
//!
//! The conversion from days to dates is Howard Hinnant's `civil_from_days`, which counts in eras of
//! 400 years that begin on the first of March.

/// A moment, as the Gregorian calendar and a UTC clock show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// Day of the month, from 1.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    /// Days since the Unix epoch.
    days: i64,
}

/// A part of a date or time that a function yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateField {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

impl DateField {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day_of_week" => Self::DayOfWeek,
            "day_of_month" => Self::DayOfMonth,
            "day_of_year" => Self::DayOfYear,
            "days_in_month" => Self::DaysInMonth,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// The field's value at a number of seconds since the Unix epoch.
    #[expect(clippy::cast_precision_loss, reason = "all but years are small")]
    pub(crate) fn of(self, seconds: f64) -> f64 {
        let civil = Civil::from_seconds(whole_seconds(seconds));
        let field = match self {
            Self::Minute => civil.minute,
            Self::Hour => civil.hour,
            Self::DayOfWeek => civil.weekday(),
            Self::DayOfMonth => civil.day,
            Self::DayOfYear => civil.day_of_year(),
            Self::DaysInMonth => civil.days_in_month(),
            Self::Month => civil.month,
            Self::Year => civil.year,
        };
        field as f64
    }
}

/// Whole seconds, as Prometheus has them on the usual processors: what 64 bits do not hold, NaN
/// included, becomes the smallest number, and times before the first year of Go's calendar wrap
/// around to the far future.
fn whole_seconds(seconds: f64) -> i128 {
    const FIRST_OF_CALENDAR: i128 = -9_223_371_966_579_724_800;
    let limit = 2.0_f64.powi(63);
    #[expect(clippy::cast_possible_truncation, reason = "fractions do not matter, bounds hold")]
    let whole = if (-limit..limit).contains(&seconds) { seconds as i64 } else { i64::MIN };
    let whole = i128::from(whole);
    if whole < FIRST_OF_CALENDAR { whole + (1 << 64) } else { whole }
}

const SECONDS_PER_DAY: i64 = 86_400;
const DAYS_PER_ERA: i64 = 146_097;

impl Civil {
    /// Takes apart a number of seconds since the Unix epoch.
    pub(crate) fn from_unix(seconds: i64) -> Self {
        Self::from_seconds(seconds.into())
    }

    #[expect(clippy::cast_possible_truncation, reason = "days of 65 bits of seconds fit")]
    fn from_seconds(seconds: i128) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY.into()) as i64;
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY.into()) as i64;
        let shifted = days + 719_468;
        let era = shifted.div_euclid(DAYS_PER_ERA);
        let of_era = shifted.rem_euclid(DAYS_PER_ERA);
        let year_of_era =
            (of_era - of_era / 1460 + of_era / 36_524 - of_era / (DAYS_PER_ERA - 1)) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            days,
        }
    }

    /// Day of the week, Sunday being 0.
    pub(crate) fn weekday(self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    /// Day of the year, from 1.
    pub(crate) fn day_of_year(self) -> i64 {
        (1..self.month).map(|month| days_in_month(self.year, month)).sum::<i64>() + self.day
    }

    /// Number of days of the month.
    pub(crate) fn days_in_month(self) -> i64 {
        days_in_month(self.year, self.month)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_days_and_turns_of_the_year_are_right() {
        let leap = Civil::from_unix(951_782_400);
        assert_eq!((leap.year, leap.month, leap.day), (2000, 2, 29));
        assert_eq!((leap.weekday(), leap.day_of_year(), leap.days_in_month()), (2, 60, 29));
        let last = Civil::from_unix(-1);
        assert_eq!((last.year, last.month, last.day), (1969, 12, 31));
        assert_eq!((last.hour, last.minute, last.second), (23, 59, 59));
        assert_eq!(last.weekday(), 3);
    }

    #[test]
    fn times_past_the_calendar_are_those_of_prometheus() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30, -1e19] {
            assert_eq!(DateField::Year.of(seconds), 292_277_026_596.0);
            assert_eq!(
                (DateField::Month.of(seconds), DateField::DayOfMonth.of(seconds)),
                (12.0, 4.0)
            );
            assert_eq!((DateField::Hour.of(seconds), DateField::Minute.of(seconds)), (15.0, 30.0));
            assert_eq!(
                (DateField::DayOfWeek.of(seconds), DateField::DayOfYear.of(seconds)),
                (0.0, 339.0)
            );
        }
        assert_eq!(DateField::Year.of(-1.5), 1969.0);
    }
}
