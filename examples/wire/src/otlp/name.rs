//! Names of metrics, labels and units as Prometheus has them (`otlptranslator` 1.0).

use std::borrow::Cow;
use std::collections::HashMap;

use super::options::{OtlpOptions, Translation};

/// Label names of one request that are remembered; there are few, but in what is made to be costly.
const MAX_REMEMBERED: usize = 4096;

/// What a name tells of the type of its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedType {
    Gauge,
    Counter,
    Other,
}

/// The name of a metric, or why it has none.
pub(super) fn metric(
    name: &str,
    unit: &str,
    named_type: NamedType,
    translation: Translation,
) -> Result<String, String> {
    if translation.keeps_characters() {
        return Ok(if translation.adds_suffixes() {
            with_suffixes(name, unit, named_type)
        } else {
            name.to_owned()
        });
    }
    let translated = if translation.adds_suffixes() {
        from_tokens(name, unit, named_type)
    } else {
        let tokens = name.split(|c| !is_metric_char(c) && c != '_').filter(|part| !part.is_empty());
        not_a_digit_first(tokens.collect::<Vec<_>>().join("_"))
    };
    if translated.is_empty() {
        return Err(format!("normalization for metric {name:?} resulted in empty name"));
    }
    if translated != name && translated.chars().all(|c| c == '_') {
        return Err(format!(
            "normalization for metric {name:?} resulted in invalid name {translated:?}"
        ));
    }
    Ok(translated)
}

fn is_metric_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn not_a_digit_first(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// A name of classic characters, with what its unit and type add.
fn from_tokens(name: &str, unit: &str, named_type: NamedType) -> String {
    let mut tokens: Vec<Cow<'_, str>> = name
        .split(|c| !is_metric_char(c))
        .filter(|token| !token.is_empty())
        .map(Cow::Borrowed)
        .collect();
    let (main, per) = unit_suffixes(unit);
    let (mut main, per) = (clean_unit(&main), clean_unit(&per));
    let per = if per == "per_" { "" } else { per.strip_suffix('_').unwrap_or(&per) };
    let is_new = |tokens: &[Cow<'_, str>], unit: &str| !tokens.iter().any(|token| token == unit);
    if !is_new(&tokens, &main) {
        main.clear();
    }
    let is_per = !per.is_empty() && is_new(&tokens, per);
    let main = if is_per { main.strip_suffix('_').unwrap_or(&main) } else { &main };
    if !main.is_empty() {
        tokens.push(main.to_owned().into());
    }
    if is_per {
        tokens.push(per.to_owned().into());
    }
    if named_type == NamedType::Counter {
        tokens.retain(|token| token != "total");
        tokens.push("total".into());
    }
    // Others than gauges have this unit without being ratios.
    if unit == "1" && named_type == NamedType::Gauge {
        tokens.retain(|token| token != "ratio");
        tokens.push("ratio".into());
    }
    not_a_digit_first(tokens.join("_"))
}

/// A name as it is, with what its unit and type add.
fn with_suffixes(name: &str, unit: &str, named_type: NamedType) -> String {
    let (main, per) = unit_suffixes(unit);
    let ratio = if unit == "1" && named_type == NamedType::Gauge { "ratio" } else { "" };
    let total = if named_type == NamedType::Counter { "total" } else { "" };
    // From the outermost to the innermost. The unit is the innermost: it may stay where it is.
    let mut bare = name;
    for suffix in [ratio, total, &per].into_iter().filter(|suffix| !suffix.is_empty()) {
        bare = without_suffix(bare, suffix);
    }
    let main = if bare.ends_with(&main) { "" } else { &main };
    let mut full = bare.to_owned();
    for suffix in [main, &per, total, ratio].into_iter().filter(|suffix| !suffix.is_empty()) {
        full.push('_');
        full.push_str(suffix);
    }
    full
}

/// The name without a suffix and the one character before it, which is taken for a delimiter.
fn without_suffix<'a>(name: &'a str, suffix: &str) -> &'a str {
    match name.strip_suffix(suffix) {
        Some(rest) if rest.chars().count() > 1 => {
            let mut chars = rest.chars();
            chars.next_back();
            chars.as_str()
        }
        _ => name,
    }
}

/// The words for a unit such as `By/s`: `bytes` and `per_second`.
fn unit_suffixes(unit: &str) -> (String, String) {
    let (main, per) = match unit.split_once('/') {
        Some((main, per)) => (main.trim(), per.trim()),
        None => (unit.trim(), ""),
    };
    // Annotations are no units.
    let known = |unit: &str| !unit.is_empty() && !unit.contains(['{', '}']);
    let main = if known(main) { main_unit(main).to_owned() } else { String::new() };
    let per = if known(per) { format!("per_{}", per_unit(per)) } else { String::new() };
    (main, per)
}

fn main_unit(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// A unit of classic characters, without underscores in a row or at its start.
fn clean_unit(unit: &str) -> String {
    let mut clean = String::with_capacity(unit.len());
    for c in unit.chars() {
        if is_metric_char(c) {
            clean.push(c);
        } else if !clean.ends_with('_') {
            clean.push('_');
        }
    }
    if clean.starts_with('_') {
        clean.remove(0);
    }
    clean
}

/// The unit of a metric as metadata has it.
pub(super) fn unit(unit: &str) -> String {
    let (main, per) = unit_suffixes(unit);
    let (main, per) = (clean_unit(&main), clean_unit(&per));
    let unit = match (main.is_empty(), per.is_empty()) {
        (false, false) => format!("{main}_{per}"),
        (false, true) => main,
        (true, _) => per,
    };
    let unit = unit.strip_prefix('_').unwrap_or(&unit);
    unit.strip_suffix('_').unwrap_or(unit).to_owned()
}

/// Makes label names, and remembers those of a request.
#[derive(Debug)]
pub(super) struct LabelNames {
    keeps_characters: bool,
    underscore_key: bool,
    keep_underscores: bool,
    known: HashMap<String, Result<String, String>>,
}

impl LabelNames {
    pub(super) fn new(options: &OtlpOptions) -> Self {
        Self {
            keeps_characters: options.translation.keeps_characters(),
            underscore_key: options.underscore_key,
            keep_underscores: options.keep_underscores,
            known: HashMap::new(),
        }
    }

    /// Tells whether names stay as they are.
    pub(super) fn keeps_characters(&self) -> bool {
        self.keeps_characters
    }

    /// The label that an attribute becomes, or why it becomes none.
    pub(super) fn label(&mut self, attribute: &str) -> Result<String, String> {
        if let Some(known) = self.known.get(attribute) {
            return known.clone();
        }
        let made = self.make(attribute);
        if self.known.len() < MAX_REMEMBERED {
            self.known.insert(attribute.to_owned(), made.clone());
        }
        made
    }

    fn make(&self, attribute: &str) -> Result<String, String> {
        if attribute.is_empty() {
            return Err("label name is empty".to_owned());
        }
        let has_only_underscores = |name: &str| name.chars().all(|c| c == '_');
        if self.keeps_characters {
            return if has_only_underscores(attribute) {
                Err(format!("label name {attribute:?} contains only underscores"))
            } else {
                Ok(attribute.to_owned())
            };
        }
        let mut name = self.classic(attribute);
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert_str(0, "key_");
        } else if self.underscore_key && name.starts_with('_') && !name.starts_with("__") {
            name.insert_str(0, "key");
        }
        if has_only_underscores(&name) {
            return Err(format!(
                "normalization for label name {attribute:?} resulted in invalid name {name:?}"
            ));
        }
        Ok(name)
    }

    fn classic(&self, attribute: &str) -> String {
        let underscored = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        if self.keep_underscores {
            return attribute.chars().map(underscored).collect();
        }
        let reserved = attribute.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
        let mut name = String::with_capacity(attribute.len());
        for c in reserved.unwrap_or(attribute).chars().map(underscored) {
            if c != '_' || !name.ends_with('_') {
                name.push(c);
            }
        }
        if reserved.is_some() { format!("__{name}__") } else { name }
    }
}
