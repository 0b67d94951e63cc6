//! What the functions of the language compute.
//!
//! [`signatures`] is the table the checker uses. The planner turns a name into a function of
//! vectors or one of windows; the sibling modules hold their arithmetic, free of anything that has
//! to do with storage.

pub(crate) mod date;
pub(crate) mod extrapolation;
pub(crate) mod histogram;
pub(crate) mod labels;
pub(crate) mod math;
pub(crate) mod native;
pub(crate) mod native_rate;
pub(crate) mod native_sum;
pub(crate) mod over_time;
pub(crate) mod rate;
pub mod signatures;
pub(crate) mod sliding;
pub(crate) mod starts;
pub(crate) mod sum;
pub(crate) mod trend;

use self::date::DateField;
use self::math::Math;
use self::native::Measure;
use self::signatures::ValueType;

/// A function of instant vectors and scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstantFunction {
    /// One number from one number.
    Math(Math),
    /// A field of a date; of the time of the step without an argument.
    Date(DateField),
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    MinOf,
    MaxOf,
    Time,
    Timestamp,
    StartTimestamp,
    Scalar,
    Vector,
    Absent,
    LabelReplace,
    LabelJoin,
    Sort {
        descending: bool,
    },
    SortByLabel {
        descending: bool,
    },
    HistogramQuantile,
    HistogramQuantiles,
    HistogramFraction,
    /// A number from one native histogram; floats yield nothing.
    OfNativeHistograms(Measure),
    Info,
    /// The one at this place of those that the host program added.
    Host(usize),
}

impl InstantFunction {
    /// Finds a function by name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        if let Some(math) = Math::find(name) {
            return Some(Self::Math(math));
        }
        if let Some(field) = DateField::find(name) {
            return Some(Self::Date(field));
        }
        Some(match name {
            "round" => Self::Round,
            "clamp" => Self::Clamp,
            "clamp_min" => Self::ClampMin,
            "clamp_max" => Self::ClampMax,
            "min_of" => Self::MinOf,
            "max_of" => Self::MaxOf,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "start_timestamp" => Self::StartTimestamp,
            "scalar" => Self::Scalar,
            "vector" => Self::Vector,
            "absent" => Self::Absent,
            "label_replace" => Self::LabelReplace,
            "label_join" => Self::LabelJoin,
            "sort" => Self::Sort { descending: false },
            "sort_desc" => Self::Sort { descending: true },
            "sort_by_label" => Self::SortByLabel { descending: false },
            "sort_by_label_desc" => Self::SortByLabel { descending: true },
            "histogram_quantile" => Self::HistogramQuantile,
            "histogram_quantiles" => Self::HistogramQuantiles,
            "histogram_fraction" => Self::HistogramFraction,
            "histogram_avg" => Self::OfNativeHistograms(Measure::Avg),
            "histogram_count" => Self::OfNativeHistograms(Measure::Count),
            "histogram_sum" => Self::OfNativeHistograms(Measure::Sum),
            "histogram_stddev" => Self::OfNativeHistograms(Measure::Stddev),
            "histogram_stdvar" => Self::OfNativeHistograms(Measure::Stdvar),
            "info" => Self::Info,
            _ => return None,
        })
    }

    /// The type of the value.
    pub(crate) fn returns(self) -> ValueType {
        match self {
            Self::Time | Self::Scalar | Self::MinOf | Self::MaxOf => ValueType::Scalar,
            _ => ValueType::Vector,
        }
    }

    /// Whether the value may change from step to step though the arguments do not.
    pub(crate) fn depends_on_time(self) -> bool {
        matches!(self, Self::Time | Self::Timestamp | Self::Date(_))
    }
}

/// A function of a window of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Resets,
    Changes,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    Avg,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
    Present,
    Absent,
    Stddev,
    Stdvar,
    Quantile,
    Mad,
    TsOfFirst,
    TsOfLast,
    TsOfMin,
    TsOfMax,
    /// The one at this place of those that the host program added.
    Host(usize),
}

impl RangeFunction {
    /// Finds a function by name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "irate" => Self::Irate,
            "idelta" => Self::Idelta,
            "resets" => Self::Resets,
            "changes" => Self::Changes,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "double_exponential_smoothing" => Self::DoubleExponentialSmoothing,
            "avg_over_time" => Self::Avg,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "sum_over_time" => Self::Sum,
            "count_over_time" => Self::Count,
            "first_over_time" => Self::First,
            "last_over_time" => Self::Last,
            "present_over_time" => Self::Present,
            "absent_over_time" => Self::Absent,
            "stddev_over_time" => Self::Stddev,
            "stdvar_over_time" => Self::Stdvar,
            "quantile_over_time" => Self::Quantile,
            "mad_over_time" => Self::Mad,
            "ts_of_first_over_time" => Self::TsOfFirst,
            "ts_of_last_over_time" => Self::TsOfLast,
            "ts_of_min_over_time" => Self::TsOfMin,
            "ts_of_max_over_time" => Self::TsOfMax,
            _ => return None,
        })
    }

    /// Whether the value may change from step to step though the window does not.
    pub(crate) fn depends_on_time(self) -> bool {
        self == Self::PredictLinear
    }

    /// Whether series keep their metric name.
    pub(crate) fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// Whether start timestamps tell it of counter resets.
    pub(crate) fn uses_start_timestamps(self) -> bool {
        matches!(self, Self::Rate | Self::Irate | Self::Increase | Self::Resets)
    }

    /// Whether the function is meant for counters only.
    pub(crate) fn wants_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }
}
