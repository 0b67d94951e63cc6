//! What all operators of one running query share.

use std::sync::{Arc, Mutex, PoisonError};

use ferula_index::{Labels, METRIC_NAME, Matcher};

use super::BoxOperator;
use super::batch::{Column, Grid, SeriesMeta};
use super::metas::Metas;
use super::profile::{PartStats, Profile};
use super::repeats::{Made, Places};
use crate::host::HostFunctions;
use crate::ledger::{Charge, Site};
use crate::limits::Limits;
use crate::options::Features;
use crate::plan::{Node, RepeatKey, Repeats};
use crate::storage::{Querier, SelectHints, SeriesSet};
use crate::threads::Threads;
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
    /// Threads besides the one of the query.
    pub(crate) threads: Option<Arc<dyn Threads>>,
    /// Functions that the host program added.
    pub(crate) functions: HostFunctions,
    /// The steps that are being evaluated.
    pub(crate) n_steps: usize,
    /// The part of the query that is being evaluated.
    pub(crate) span: Span,
    /// Whoever reads the selector that this part is, or is a function of, does not care for the order of
    /// its series.
    pub(super) any_order: bool,
    /// What it does, if somebody asks.
    pub(super) stats: Option<Arc<PartStats>>,
    /// Where else it stands in the query, if it does.
    pub(super) places: Option<Arc<Places>>,
    shared: Arc<Shared>,
}

/// How queries of an engine are evaluated.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) lookback_ms: i64,
    pub(crate) features: Features,
    pub(crate) threads: Option<Arc<dyn Threads>>,
    pub(crate) functions: HostFunctions,
    pub(crate) profile: Option<Arc<Profile>>,
    /// Parts that the query asks for more than once.
    pub(crate) repeats: Repeats,
}

struct Shared {
    text: String,
    repeats: Repeats,
    made: Mutex<Made>,
    profile: Option<Arc<Profile>>,
    querier: Option<Box<dyn Querier>>,
    selections: Mutex<Selections>,
    annotations: Mutex<Noted>,
}

/// Warnings and infos, and what they take.
struct Noted {
    annotations: Annotations,
    charge: Charge,
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
        settings: Settings,
    ) -> Self {
        let Settings { lookback_ms, features, threads, functions, profile, repeats } = settings;
        let site = Site { what: "annotations", span: Span::default() };
        let charge = Charge::new(&limits, site);
        let noted = Noted { annotations: Annotations::default(), charge };
        let shared = Shared {
            text: text.to_owned(),
            repeats,
            made: Mutex::default(),
            profile,
            querier,
            selections: Mutex::default(),
            annotations: Mutex::new(noted),
        };
        Self {
            limits,
            lookback_ms,
            features,
            threads,
            functions,
            n_steps: 1,
            span: Span::default(),
            any_order: false,
            stats: None,
            places: None,
            shared: Arc::new(shared),
        }
    }

    /// A context without storage and bounds.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Self {
        use crate::limits::{Bounds, CancelHandle};
        let bounds = Bounds { timeout_ms: 0, max_samples: usize::MAX, max_bytes: usize::MAX };
        let limits = Arc::new(Limits::new("", CancelHandle::default(), None, bounds));
        Self::new("", None, limits, Settings { features: Features::ALL, ..Settings::default() })
    }

    /// The same for a part of the query, evaluated at the steps of `grid`.
    pub(crate) fn at(&self, node: &Node, grid: Grid) -> Self {
        let stats = self.shared.profile.as_ref().map(|profile| profile.part(node));
        Self { span: node.span, n_steps: grid.len, any_order: false, stats, ..self.clone() }
    }

    /// Makes the operator of a part of the query; what it does is noted if somebody asks.
    pub(super) fn measured(
        &self,
        node: &Node,
        make: impl FnOnce() -> Result<BoxOperator, Error>,
    ) -> Result<BoxOperator, Error> {
        match &self.shared.profile {
            Some(profile) => profile.measured(node, make),
            None => make(),
        }
    }

    /// Notes how many samples a selection of this part is likely to have.
    fn estimate(&self, set: &dyn SeriesSet) {
        if let (Some(profile), Some(stats)) = (&self.shared.profile, &self.stats) {
            profile.estimate(stats, set);
        }
    }

    /// A charge for `what` this part of the query keeps.
    pub(crate) fn charge(&self, what: &'static str) -> Charge {
        Charge::new(&self.limits, Site { what, span: self.span })
    }

    /// A column of this part of the query.
    pub(crate) fn column(&self) -> Column {
        Column::new(self.charge("values"))
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
            .find(|known| known.matchers == matchers && known.hints.answers(hints));
        if let Some(known) = known {
            self.estimate(&*known.set);
            return Ok(Arc::clone(&known.set));
        }
        let Some(querier) = &self.shared.querier else {
            return Err(Error::Storage("the query needs no storage".into()));
        };
        let set: Arc<dyn SeriesSet> =
            querier.select(matchers, hints).map_err(Error::of_storage)?.into();
        self.estimate(&*set);
        selections.n_series += set.len() as u64;
        selections.sets.push(Selection {
            matchers: matchers.to_vec(),
            hints: hints.clone(),
            set: Arc::clone(&set),
        });
        Ok(set)
    }

    /// What a part has in common with others that are the same, if there are any in the query.
    pub(super) fn repeat_key(&self, node: &Node) -> Option<RepeatKey> {
        self.shared.repeats.key(node, &self.shared.text)
    }

    /// Looks at what was made of parts that stand in the query more than once.
    pub(super) fn with_made<T>(&self, look: impl FnOnce(&mut Made) -> T) -> T {
        look(&mut self.shared.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a warning or info.
    pub(crate) fn annotate(&self, kind: AnnotationKind, span: Span) {
        self.annotate_around(self.places.as_ref(), kind, span);
    }

    /// Adds a warning or info about a part of what stands at these places.
    pub(super) fn annotate_around(
        &self,
        places: Option<&Arc<Places>>,
        kind: AnnotationKind,
        span: Span,
    ) {
        if let Some(places) = places {
            places.annotate(kind, span, self);
            return;
        }
        let mut noted = self.shared.annotations.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = noted.annotations.add(kind, span);
        noted.charge.owe(bytes);
    }

    /// Takes all warnings and infos.
    pub(crate) fn take_annotations(&self) -> Annotations {
        let mut noted = self.shared.annotations.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut noted.annotations)
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
        let mut metas = Metas::builder(self, series.len())?;
        for meta in series {
            if keep {
                metas.push_shared(SeriesMeta { labels: meta.labels.clone(), drop_name: true })?;
            } else {
                let labels = without_metadata(&meta.labels)?;
                metas.push_made(SeriesMeta { labels, drop_name: true })?;
            }
        }
        Ok(Unnamed { metas: metas.build(), may_clash })
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
    pub(crate) metas: Metas,
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
