//! How OTLP is translated: the `otlp` section of Prometheus's configuration.

use std::str::FromStr;

/// What becomes of names that classic Prometheus would not take, and whether units and types are
/// appended to those of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Translation {
    /// Other characters become underscores, units and types are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Other characters become underscores, nothing is appended.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are, but that units and types are appended.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Translation {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::UnderscoreEscapingWithSuffixes,
        Self::UnderscoreEscapingWithoutSuffixes,
        Self::NoUtf8EscapingWithSuffixes,
        Self::NoTranslation,
    ];

    /// The name that Prometheus has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnderscoreEscapingWithSuffixes => "UnderscoreEscapingWithSuffixes",
            Self::UnderscoreEscapingWithoutSuffixes => "UnderscoreEscapingWithoutSuffixes",
            Self::NoUtf8EscapingWithSuffixes => "NoUTF8EscapingWithSuffixes",
            Self::NoTranslation => "NoTranslation",
        }
    }

    /// Tells whether names keep their characters.
    pub(super) const fn keeps_characters(self) -> bool {
        matches!(self, Self::NoUtf8EscapingWithSuffixes | Self::NoTranslation)
    }

    /// Tells whether names of metrics get their unit and type.
    pub(super) const fn adds_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

impl FromStr for Translation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|translation| translation.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("not one of {names}")
        })
    }
}

/// Attributes of a resource that become labels of all its series.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromotedAttributes {
    /// These.
    Only(Vec<String>),
    /// All but these.
    AllBut(Vec<String>),
}

impl Default for PromotedAttributes {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl PromotedAttributes {
    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|other| other == name),
            Self::AllBut(names) => !names.iter().any(|other| other == name),
        }
    }
}

/// What becomes of sums and histograms that tell what was added since the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deltas {
    /// They are refused.
    #[default]
    Refuse,
    /// They are stored as they are, with an unknown type, histograms as gauges.
    Keep,
}

/// How OTLP is translated. The defaults are Prometheus's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OtlpOptions {
    /// What becomes of names.
    pub translation: Translation,
    /// Attributes of a resource that become labels of all its series.
    pub promoted_attributes: PromotedAttributes,
    /// Whether `target_info` has the attributes that make `job` and `instance`, too.
    pub keep_identifying_attributes: bool,
    /// Whether histograms become native ones with custom buckets instead of classic ones.
    pub custom_buckets: bool,
    /// Whether name, version, schema and attributes of the scope become labels.
    pub promote_scope: bool,
    /// Whether `key` is put before label names that start with one underscore; on by default.
    pub underscore_key: bool,
    /// Whether several underscores in a row stay in label names; on by default.
    pub keep_underscores: bool,
    /// What becomes of deltas.
    pub deltas: Deltas,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self {
            translation: Translation::default(),
            promoted_attributes: PromotedAttributes::default(),
            keep_identifying_attributes: false,
            custom_buckets: false,
            promote_scope: false,
            underscore_key: true,
            keep_underscores: true,
            deltas: Deltas::default(),
        }
    }
}
