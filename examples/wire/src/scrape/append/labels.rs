//! The labels that a series of a page is stored under.

use ferula_index::labels::{is_legacy_label_name, is_legacy_metric_name};
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME};

use super::super::error::{Place, ScrapeError};
use super::super::target::Target;
use crate::config::{Limits, Names};
use crate::exposition::SampleSource;
use crate::relabel;

/// Labels of a sample, joined with those of the target and put through the rules of its job. `None` if these
/// drop it.
pub(super) fn labels(
    target: &Target,
    source: &dyn SampleSource,
    place: Place,
) -> Result<Option<Labels>, ScrapeError> {
    let exposed = source.labels();
    if exposed.iter().any(|(name, _)| name.is_empty()) {
        return Err(ScrapeError::EmptyLabelName { place });
    }
    let invalid = |source| ScrapeError::Labels { place, source };
    let own = Labels::from_pairs(exposed.iter().map(|(n, v)| (n, v))).map_err(invalid)?;
    if own.metric_name().is_empty() {
        return Err(ScrapeError::NoMetricName { place });
    }
    let mut joined = LabelsBuilder::from_labels(&own);
    let mut renamed: Vec<(&str, &str)> = Vec::new();
    for (name, value) in target.labels() {
        if !target.job.honor_labels {
            renamed.extend(own.get(name).map(|value| (name, value)));
            joined.set(name, value);
        } else if !exposed.iter().any(|(own_name, _)| own_name == name) {
            // A label that the page has without a value keeps the target's one away, too.
            joined.set(name, value);
        }
    }
    renamed.sort_by_key(|(name, _)| name.len());
    for (name, value) in renamed {
        let mut name = format!("exported_{name}");
        while joined.get(&name).is_some() {
            name.insert_str(0, "exported_");
        }
        joined.set(&name, value);
    }
    let joined = joined.build().map_err(invalid)?;
    let relabeled = relabel::process(&joined, &target.job.metric_relabel).map_err(invalid)?;
    let Some(labels) = relabeled else { return Ok(None) };
    if labels.metric_name().is_empty() {
        return Err(ScrapeError::NoMetricName { place });
    }
    if target.job.names == Names::Legacy && !has_legacy_names(&labels) {
        return Err(ScrapeError::Names { place, labels: labels.to_string() });
    }
    check_limits(&target.job.limits, &labels, place)?;
    Ok(Some(labels))
}

fn has_legacy_names(labels: &Labels) -> bool {
    let is_legacy = |name: &str, value: &str| match name {
        METRIC_NAME => is_legacy_metric_name(value),
        name => is_legacy_label_name(name),
    };
    labels.iter().all(|(name, value)| is_legacy(name, value))
}

/// Fails if there are more labels, or longer ones, than the job allows.
fn check_limits(limits: &Limits, labels: &Labels, place: Place) -> Result<(), ScrapeError> {
    let exceeded = |what, limit: Option<usize>, found: usize| match limit {
        Some(limit) if found > limit => Err(ScrapeError::LabelLimit { place, what, limit, found }),
        _ => Ok(()),
    };
    exceeded("labels of a series", limits.labels, labels.len())?;
    for (name, value) in labels {
        exceeded("bytes of a label name", limits.label_name_bytes, name.len())?;
        exceeded("bytes of a label value", limits.label_value_bytes, value.len())?;
    }
    Ok(())
}
