//! Relabelling: rules of a configuration that change label sets, or drop what has them.
//!
//! Actions, defaults and what is refused are Prometheus's (`model/relabel`, release 3.14).

use ferula_index::matcher::CaptureRegex;
use ferula_index::{Labels, LabelsBuilder};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";
const DEFAULT_SEPARATOR: &str = ";";

/// One rule, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    regex: CaptureRegex,
    modulus: u64,
    target_label: String,
    replacement: String,
}

/// Rules are the same if their files say the same.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let texts = |rule: &Self| {
            let Self { separator, target_label, replacement, .. } = rule;
            [rule.regex.pattern(), separator, target_label, replacement].map(str::to_owned)
        };
        (self.action, self.modulus, &self.source_labels)
            == (other.action, other.modulus, &other.source_labels)
            && texts(self) == texts(other)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    /// Whether it sets or looks at the target label.
    fn has_target(self) -> bool {
        matches!(
            self,
            Self::Replace
                | Self::HashMod
                | Self::Lowercase
                | Self::Uppercase
                | Self::KeepEqual
                | Self::DropEqual
        )
    }
}

/// A rule as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(default)]
    source_labels: Option<Vec<String>>,
    #[serde(default = "default_separator")]
    separator: String,
    #[serde(default = "default_regex")]
    regex: String,
    #[serde(default)]
    modulus: u64,
    #[serde(default)]
    target_label: String,
    #[serde(default = "default_replacement")]
    replacement: String,
    #[serde(default = "default_action")]
    action: String,
}

/// A rule as it is shown.
#[derive(Serialize)]
struct RuleText<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    source_labels: &'a [String],
    separator: &'a str,
    regex: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    modulus: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    target_label: &'a str,
    replacement: &'a str,
    action: &'a str,
}

fn default_separator() -> String {
    DEFAULT_SEPARATOR.to_owned()
}

fn default_regex() -> String {
    DEFAULT_REGEX.to_owned()
}

fn default_replacement() -> String {
    DEFAULT_REPLACEMENT.to_owned()
}

fn default_action() -> String {
    Action::Replace.as_str().to_owned()
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawRule::deserialize(deserializer)?.check().map_err(serde::de::Error::custom)
    }
}

impl RawRule {
    fn check(self) -> Result<Rule, String> {
        let Self { separator, modulus, target_label, replacement, .. } = self;
        let name = self.action.to_lowercase();
        let action = Action::ALL.into_iter().find(|action| action.as_str() == name);
        let action = action.ok_or_else(|| format!("unknown relabel action {:?}", self.action))?;
        let regex = CaptureRegex::new(&self.regex).map_err(|error| error.to_string())?;
        let has_default_regex = self.regex == DEFAULT_REGEX;
        let has_default_replacement = replacement == DEFAULT_REPLACEMENT;
        if action == Action::HashMod && modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        if action.has_target() && target_label.is_empty() {
            return Err(format!(
                "relabel configuration for {name} action requires 'target_label' value"
            ));
        }
        // With names in UTF-8 all are valid; a `$` is for a part of what was found.
        let is_invalid = target_label.contains('$') && action != Action::Replace;
        if action.has_target() && is_invalid {
            return Err(format!("{target_label:?} is invalid 'target_label' for {name} action"));
        }
        if matches!(action, Action::Lowercase | Action::Uppercase) && !has_default_replacement {
            return Err(format!("'replacement' can not be set for {name} action"));
        }
        if action == Action::LabelMap && replacement.is_empty() {
            return Err(format!("{replacement:?} is invalid 'replacement' for {name} action"));
        }
        let has_default_texts = separator == DEFAULT_SEPARATOR && has_default_replacement;
        if matches!(action, Action::KeepEqual | Action::DropEqual)
            && !(has_default_regex && modulus == 0 && has_default_texts)
        {
            return Err(format!(
                "{name} action requires only 'source_labels' and `target_label`, and no other fields"
            ));
        }
        if matches!(action, Action::LabelDrop | Action::LabelKeep)
            && !(self.source_labels.is_none()
                && target_label.is_empty()
                && modulus == 0
                && has_default_texts)
        {
            return Err(format!("{name} action requires only 'regex', and no other fields"));
        }
        let source_labels = self.source_labels.unwrap_or_default();
        Ok(Rule { action, source_labels, separator, regex, modulus, target_label, replacement })
    }
}

/// Applies rules one after the other. `None` if one of them drops what has these labels.
///
/// # Errors
/// If the labels become more than a label set may hold.
pub fn process(labels: &Labels, rules: &[Rule]) -> Result<Option<Labels>, ferula_index::Error> {
    let mut labels = labels.clone();
    for rule in rules {
        let mut builder = LabelsBuilder::from_labels(&labels);
        if !rule.apply(&labels, &mut builder) {
            return Ok(None);
        }
        labels = builder.build()?;
    }
    Ok(Some(labels))
}

impl Rule {
    /// The rule as JSON, with its defaults.
    pub(crate) fn to_json(&self) -> String {
        let text = RuleText {
            source_labels: &self.source_labels,
            separator: &self.separator,
            regex: self.regex.pattern(),
            modulus: Some(self.modulus).filter(|modulus| *modulus > 0),
            target_label: &self.target_label,
            replacement: &self.replacement,
            action: self.action.as_str(),
        };
        serde_json::to_string(&text).expect("texts and numbers can be written")
    }

    /// Applies the rule. False if it drops what has these labels.
    fn apply(&self, labels: &Labels, builder: &mut LabelsBuilder) -> bool {
        let value = |name: &String| labels.get(name).unwrap_or_default();
        let joined: Vec<&str> = self.source_labels.iter().map(value).collect();
        let joined = joined.join(&self.separator);
        let target = self.target_label.as_str();
        match self.action {
            Action::Drop => return !self.regex.is_match(&joined),
            Action::Keep => return self.regex.is_match(&joined),
            Action::DropEqual => return value(&self.target_label) != joined,
            Action::KeepEqual => return value(&self.target_label) == joined,
            Action::Replace => self.replace(&joined, builder),
            Action::Lowercase => put(builder, target, &mapped(&joined, char::to_lowercase)),
            Action::Uppercase => put(builder, target, &mapped(&joined, char::to_uppercase)),
            Action::HashMod => {
                let hash: [u8; 16] = Md5::digest(joined.as_bytes()).into();
                let (_, low) = hash.split_at(8);
                let low = u64::from_be_bytes(low.try_into().expect("eight bytes"));
                put(builder, target, &(low % self.modulus).to_string());
            }
            Action::LabelMap => {
                for (name, value) in labels {
                    if let Some(name) = self.regex.expand(name, &self.replacement)
                        && !name.is_empty()
                    {
                        put(builder, &name, value);
                    }
                }
            }
            Action::LabelDrop | Action::LabelKeep => {
                let is_dropped = self.action == Action::LabelDrop;
                for (name, _) in labels {
                    if self.regex.is_match(name) == is_dropped {
                        builder.remove(name);
                    }
                }
            }
        }
        true
    }

    fn replace(&self, joined: &str, builder: &mut LabelsBuilder) {
        let Some(target) = self.regex.expand(joined, &self.target_label) else { return };
        let Some(value) = self.regex.expand(joined, &self.replacement) else { return };
        if !target.is_empty() {
            put(builder, &target, &value);
        }
    }
}

/// Maps characters one to one, as Go does: those that would become several stay what they are.
fn mapped<I: ExactSizeIterator<Item = char>>(text: &str, map: impl Fn(char) -> I) -> String {
    let one = |c: char| {
        let mut found = map(c);
        if found.len() == 1 { found.next().unwrap_or(c) } else { c }
    };
    text.chars().map(one).collect()
}

/// Sets a label; an empty value is none.
fn put(builder: &mut LabelsBuilder, name: &str, value: &str) {
    if value.is_empty() {
        builder.remove(name);
    } else {
        builder.set(name, value);
    }
}

#[cfg(test)]
mod tests;
