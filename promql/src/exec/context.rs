//! What all operators of one running query share.

use std::sync::{Arc, Mutex, PoisonError};

use ferula_index::{Labels, METRIC_NAME, Matcher};

use super::batch::{Grid, SeriesMeta};
use crate::limits::Limits;
use crate::options::Features;
use crate::storage::{Querier, SelectHints, SeriesSet};
use crate::{AnnotationKind, Annotations, Error, Span};

/// Labels that describe the metric rather than the series, sorted.
pub(super) const METADATA_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// Tells whether a label describes the metric rather than the series.
pub(crate) fn is_metadata_label(name: &str) -> bool {
    METADATA_LABELS.contains(&name)
}

/// The state of a running query. Clones share it.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) limits: Arc<Limits>,
    pub(crate) lookback_ms: i64,
    pub(crate) features: Features,
    shared: Arc<Shared>,
}

struct Shared {
    text: String,
    querier: Option<Box<dyn Querier>>,
    selections: Mutex<Selections>,
    annotations: Mutex<Annotations>,
}

/// What was selected so far, so that equal selectors share a series set.
#[derive(Default)]
struct Selections {
    sets: Vec<Selection>,
    n_series: u64,
}

struct Selection {
    matchers: Vec<Matcher>,
    hints: SelectHints,
    set: Arc<dyn SeriesSet>,
}

impl Context {
    pub(crate) fn new(
        text: &str,
        querier: Option<Box<dyn Querier>>,
        limits: Arc<Limits>,
        lookback_ms: i64,
        features: Features,
    ) -> Self {
        let shared = Shared {
            text: text.to_owned(),
            querier,
            selections: Mutex::default(),
            annotations: Mutex::default(),
        };
        Self { limits, lookback_ms, features, shared: Arc::new(shared) }
    }

    /// Makes a grid, which must not have more steps than samples may be held.
    pub(crate) fn grid(&self, start: i64, end: i64, step: i64) -> Result<Grid, Error> {
        let grid = Grid::new(start, end, step);
        self.limits.check_size(grid.len)?;
        if grid.len == 0 && end >= start {
            // So many that they could not be counted.
            self.limits.check_size(usize::MAX)?;
        }
        Ok(grid)
    }

    /// Selects series, or takes those that an equal selector found.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Arc<dyn SeriesSet>, Error> {
        let mut selections = self.shared.selections.lock().unwrap_or_else(PoisonError::into_inner);
        let known = selections
            .sets
            .iter()
            .find(|known| known.matchers == matchers && known.hints.range == hints.range);
        if let Some(known) = known {
            return Ok(Arc::clone(&known.set));
        }
        let Some(querier) = &self.shared.querier else {
            return Err(Error::Storage("the query needs no storage".into()));
        };
        let set: Arc<dyn SeriesSet> =
            querier.select(matchers, hints).map_err(Error::Storage)?.into();
        selections.n_series += set.len() as u64;
        selections.sets.push(Selection {
            matchers: matchers.to_vec(),
            hints: hints.clone(),
            set: Arc::clone(&set),
        });
        Ok(set)
    }

    /// Adds a warning or info.
    pub(crate) fn annotate(&self, kind: AnnotationKind, span: Span) {
        let mut annotations =
            self.shared.annotations.lock().unwrap_or_else(PoisonError::into_inner);
        annotations.add(kind, span);
    }

    /// Takes all warnings and infos.
    pub(crate) fn take_annotations(&self) -> Annotations {
        let mut annotations =
            self.shared.annotations.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut annotations)
    }

    /// Number of series selected so far.
    pub(crate) fn n_series(&self) -> u64 {
        self.shared.selections.lock().unwrap_or_else(PoisonError::into_inner).n_series
    }

    pub(crate) fn unsupported(&self, what: &str, span: Span) -> Error {
        let (line, column) = span.line_column(&self.shared.text);
        Error::Unsupported { what: what.to_owned(), span, line, column }
    }

    /// The series after a change that makes other metrics of them: without their names, or marked
    /// to lose them when the query ends.
    pub(crate) fn drop_names(
        &self,
        series: &[SeriesMeta],
        reader: LabelReader<'_>,
    ) -> Result<Unnamed, Error> {
        let delayed = self.features.delayed_name_removal;
        let same = |pair: &[SeriesMeta]| {
            pair[0].labels == pair[1].labels || metadata(&pair[0]).eq(metadata(&pair[1]))
        };
        let may_clash = !delayed && !series.windows(2).all(same);
        let keep = delayed || (reader != LabelReader::Anyone && !may_clash);
        let drop_one = |meta: &SeriesMeta| {
            let labels = if keep { meta.labels.clone() } else { without_metadata(&meta.labels)? };
            Ok(SeriesMeta { labels, drop_name: true })
        };
        let metas = series.iter().map(drop_one).collect::<Result<_, Error>>()?;
        Ok(Unnamed { metas, may_clash })
    }
}

/// Who looks at the labels of the series that come out of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelReader<'a> {
    /// Someone may look at all of them.
    Anyone,
    /// An aggregation by the labels with these names, none of which describes the metric: others may
    /// be missing, and those that describe the metric may as well stay where they should go.
    Groups(&'a [&'a str]),
}

impl<'a> LabelReader<'a> {
    /// Names of the labels that are looked at, if not all are.
    pub(crate) fn needed(self) -> Option<&'a [&'a str]> {
        match self {
            Self::Anyone => None,
            Self::Groups(names) => Some(names),
        }
    }
}

/// Series that lost their names.
pub(crate) struct Unnamed {
    pub(crate) metas: Vec<SeriesMeta>,
    /// Some may be equal now. Series of one metric that differed before still do.
    pub(crate) may_clash: bool,
}

fn metadata(meta: &SeriesMeta) -> impl Iterator<Item = (&str, &str)> {
    // Labels are sorted, and these come early.
    let early = meta.labels.iter().take_while(|(name, _)| *name <= METADATA_LABELS[2]);
    early.filter(|(name, _)| is_metadata_label(name))
}

/// The labels without those that describe the metric.
pub(crate) fn without_metadata(labels: &Labels) -> Result<Labels, Error> {
    let mut early = labels.iter().take_while(|(name, _)| *name <= METADATA_LABELS[2]);
    if early.all(|(name, _)| !is_metadata_label(name)) {
        return Ok(labels.clone());
    }
    Ok(Labels::from_pairs(labels.iter().filter(|(name, _)| !is_metadata_label(name)))?)
}
