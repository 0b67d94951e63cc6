//! Where metrics come from: resources and scopes, and the labels they give to series.

use std::collections::BTreeMap;

use ferula_index::{Labels, LabelsBuilder, METRIC_NAME};

use super::name::LabelNames;
use super::options::OtlpOptions;
use super::point::to_ms;
use super::value::{Attribute, push_attribute};
use crate::protobuf::{DecodeError, Fields};

/// Samples of `target_info` beyond this many are not written; the last ones are. It is as many as the
/// points of a resource span half the time that a query looks back.
pub const MAX_TARGET_SAMPLES: usize = 1000;

/// Half of the time that a query looks back, in nanoseconds: so far from each other are the samples of
/// `target_info`.
const TARGET_INTERVAL: u64 = 150 * 1_000_000_000;

const NAMESPACE: &str = "service.namespace";
const NAME: &str = "service.name";
const INSTANCE: &str = "service.instance.id";

/// A resource, and what its series have of it.
#[derive(Debug, Default)]
pub(super) struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
    job: String,
    instance: String,
    promoted: BTreeMap<String, String>,
    /// Times of its points, the earliest and the latest, in nanoseconds.
    span: Option<(u64, u64)>,
}

impl<'a> Resource<'a> {
    /// Decodes a `Resource`: 1 attributes.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new("Resource", message);
        let mut attributes = Vec::new();
        while let Some(field) = fields.next_field()? {
            if field.number == 1 {
                push_attribute(&fields, &field, &mut attributes)?;
            }
        }
        Ok(Self { attributes, ..Self::default() })
    }

    /// Finds what its series have of it, or why they cannot.
    pub(super) fn promote(
        &mut self,
        options: &OtlpOptions,
        names: &mut LabelNames,
    ) -> Result<(), String> {
        let get = |name| self.attributes.iter().find(|(key, _)| *key == name);
        let service = |(_, name): &Attribute<'_>| match get(NAMESPACE) {
            Some((_, namespace)) => format!("{namespace}/{name}"),
            None => name.to_string(),
        };
        self.job = get(NAME).map(service).unwrap_or_default();
        self.instance = get(INSTANCE).map(|(_, id)| id.to_string()).unwrap_or_default();
        for (key, value) in &self.attributes {
            if options.promoted_attributes.contains(key) {
                self.promoted.insert(names.label(key)?, value.to_string());
            }
        }
        Ok(())
    }

    /// Notes that it has a point of this time.
    pub(super) fn note_time(&mut self, time: u64) {
        let (earliest, latest) = self.span.unwrap_or((time, time));
        self.span = Some((earliest.min(time), latest.max(time)));
    }

    /// Sets the labels that all its series have.
    pub(super) fn label(&self, labels: &mut LabelsBuilder) {
        for (name, value) in &self.promoted {
            if labels.get(name).is_none() {
                labels.set(name, value);
            }
        }
        self.identify(labels);
    }

    fn identify(&self, labels: &mut LabelsBuilder) {
        for (name, value) in [("job", &self.job), ("instance", &self.instance)] {
            if !value.is_empty() {
                labels.set(name, value);
            }
        }
    }

    /// The labels of its `target_info`, `None` if that would tell nothing, or why there is none.
    pub(super) fn target_info(
        &self,
        options: &OtlpOptions,
        names: &mut LabelNames,
    ) -> Result<Option<Labels>, String> {
        let is_identifying = |key: &str| [NAMESPACE, NAME, INSTANCE].contains(&key);
        if self.attributes.iter().all(|(key, _)| is_identifying(key)) {
            return Ok(None);
        }
        let is_kept = |key: &str| options.keep_identifying_attributes || !is_identifying(key);
        let kept = self.attributes.iter().filter(|(key, _)| is_kept(key));
        let mut labels = attribute_labels(kept, names)?.0;
        self.identify(&mut labels);
        if labels.get("job").is_none() && labels.get("instance").is_none() {
            return Ok(None);
        }
        labels.set(METRIC_NAME, "target_info");
        labels.build().map(Some).map_err(|error| error.to_string())
    }

    /// Times of the samples of its `target_info`, in milliseconds.
    pub(super) fn target_times(&self) -> Vec<i64> {
        let Some((earliest, latest)) = self.span else { return Vec::new() };
        let before = (latest - earliest).div_ceil(TARGET_INTERVAL);
        let skipped = before.saturating_sub(MAX_TARGET_SAMPLES as u64 - 1);
        let mut times: Vec<i64> =
            (skipped..before).map(|step| to_ms(earliest + step * TARGET_INTERVAL)).collect();
        times.push(to_ms(latest));
        times.dedup();
        times
    }
}

/// The labels of attributes, and whether several of these became one.
///
/// Attributes are taken in the order of their names, so that what becomes of several does not depend on
/// how they were sent.
pub(super) fn attribute_labels<'a>(
    attributes: impl Iterator<Item = &'a Attribute<'a>>,
    names: &mut LabelNames,
) -> Result<(LabelsBuilder, bool), String> {
    let mut sorted: Vec<&Attribute<'_>> = attributes.collect();
    sorted.sort_by_key(|(key, _)| *key);
    let mut labels = LabelsBuilder::new();
    let mut has_collided = false;
    for (key, value) in sorted {
        if names.keeps_characters() {
            labels.set(key, value);
            continue;
        }
        let name = names.label(key)?;
        let joined = labels.get(&name).map(|others| format!("{others};{value}"));
        has_collided |= joined.is_some();
        labels.set(&name, joined.as_deref().unwrap_or(value));
    }
    Ok((labels, has_collided))
}

/// The scope of metrics, and what their series have of it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    labels: BTreeMap<String, String>,
}

impl Scope {
    /// Decodes an `InstrumentationScope`: 1 name, 2 version, 3 attributes. The inner error tells why its
    /// series cannot have what they should.
    pub(super) fn read(
        message: &[u8],
        schema: &str,
        options: &OtlpOptions,
        names: &mut LabelNames,
    ) -> Result<Result<Self, String>, DecodeError> {
        let mut fields = Fields::new("InstrumentationScope", message);
        let (mut name, mut version, mut attributes) = ("", "", Vec::new());
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => name = fields.text(&field)?,
                2 => version = fields.text(&field)?,
                3 => push_attribute(&fields, &field, &mut attributes)?,
                _ => {}
            }
        }
        let mut labels = BTreeMap::new();
        if options.promote_scope && !name.is_empty() {
            for (key, value) in attributes {
                match names.label(&format!("otel_scope_{key}")) {
                    Ok(label) => labels.insert(label, value.into_owned()),
                    Err(reason) => return Ok(Err(reason)),
                };
            }
            for (label, value) in [("name", name), ("version", version), ("schema_url", schema)] {
                labels.insert(format!("otel_scope_{label}"), value.to_owned());
            }
        }
        Ok(Ok(Self { labels }))
    }

    /// Sets the labels that all its series have.
    pub(super) fn label(&self, labels: &mut LabelsBuilder) {
        for (name, value) in &self.labels {
            labels.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_info_covers_the_time_of_the_points() {
        let mut resource = Resource::default();
        assert!(resource.target_times().is_empty());
        let second = 1_000_000_000;
        resource.note_time(1000 * second);
        assert_eq!(resource.target_times(), [1_000_000]);
        resource.note_time(700 * second);
        resource.note_time(800 * second);
        assert_eq!(resource.target_times(), [700_000, 850_000, 1_000_000]);
        resource.note_time(1001 * second);
        assert_eq!(resource.target_times(), [700_000, 850_000, 1_000_000, 1_001_000]);
        resource.note_time(0);
        resource.note_time(u64::MAX);
        let times = resource.target_times();
        assert_eq!(times.len(), MAX_TARGET_SAMPLES);
        assert_eq!(times.last(), Some(&to_ms(u64::MAX)));
        assert_eq!(times[998] - times[997], 150_000);
    }
}
