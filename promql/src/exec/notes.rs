//! Annotations about one series: they name its metric and point at one place.

use super::Context;
use crate::{AnnotationKind, Span};

/// Where annotations about a series go.
#[derive(Clone, Copy)]
pub(crate) struct Notes<'a> {
    pub(crate) context: &'a Context,
    /// Name of the metric, or empty.
    pub(crate) metric: &'a str,
    pub(crate) span: Span,
}

impl Notes<'_> {
    /// Adds an annotation.
    pub(crate) fn add(&self, kind: AnnotationKind) {
        self.context.annotate(kind, self.span);
    }

    /// Adds all annotations of a list, and empties it.
    pub(crate) fn take(&self, kinds: &mut Vec<AnnotationKind>) {
        kinds.drain(..).for_each(|kind| self.add(kind));
    }

    pub(crate) fn metric(&self) -> String {
        self.metric.to_owned()
    }
}
