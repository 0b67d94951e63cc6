//! Parts of a query that stand in it more than once: computed once, read from everywhere.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::batch::{Column, Grid, SeriesMeta};
use super::metas::Metas;
use super::{BoxOperator, Context, Operator};
use crate::plan::{Node, RepeatKey};
use crate::{AnnotationKind, Annotations, Error, Span};

/// What was made so far of parts that stand more than once, as long as somebody reads it.
#[derive(Default)]
pub(super) struct Made {
    list: Vec<Entry>,
}

struct Entry {
    key: RepeatKey,
    grid: Grid,
    part: Weak<SharedPart>,
}

/// A part, and where it stands in the query.
struct SharedPart {
    operator: Mutex<BoxOperator>,
    metas: Metas,
    places: Arc<Places>,
}

impl Made {
    fn find(&self, key: &RepeatKey, grid: Grid) -> Option<Arc<SharedPart>> {
        let mut equal = self.list.iter().filter(|entry| entry.key == *key && entry.grid == grid);
        equal.find_map(|entry| entry.part.upgrade())
    }
}

/// Makes the operator of a part that stands at several places with `make`, or takes the one that was made
/// for another place.
pub(super) fn build(
    node: &Node,
    key: RepeatKey,
    grid: Grid,
    context: &Context,
    make: impl FnOnce(&Context) -> Result<BoxOperator, Error>,
) -> Result<BoxOperator, Error> {
    let place = Place { start: node.span.start, around: context.places.clone() };
    if let Some(part) = context.with_made(|made| made.find(&key, grid)) {
        part.places.add(place, context);
        return Ok(Box::new(Reader(part)));
    }
    let places = Arc::new(Places::new(place));
    let mut context = context.clone();
    context.places = Some(Arc::clone(&places));
    let context = &context;
    let inner = make(context)?;
    let mut metas = Metas::builder(context, inner.series().len())?;
    inner.series().iter().try_for_each(|meta| metas.push_shared(meta.clone()))?;
    let part = SharedPart { operator: Mutex::new(inner), metas: metas.build(), places };
    let part = Arc::new(part);
    let entry = Entry { key, grid, part: Arc::downgrade(&part) };
    context.with_made(|made| made.list.push(entry));
    Ok(Box::new(Reader(part)))
}

struct Reader(Arc<SharedPart>);

impl Operator for Reader {
    fn series(&self) -> &[SeriesMeta] {
        &self.0.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.0.operator.lock().unwrap_or_else(PoisonError::into_inner).read(index, out)
    }

    fn metric_name(&self, index: usize) -> String {
        self.0.operator.lock().unwrap_or_else(PoisonError::into_inner).metric_name(index)
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

/// The places in the query at which a part stands. What is to be said of it is said of all of them.
pub(super) struct Places {
    /// Where the part begins that is evaluated.
    start: usize,
    state: Mutex<State>,
}

struct State {
    list: Vec<Place>,
    /// What was said so far, of the part that is evaluated.
    noted: Annotations,
}

/// One of these places.
struct Place {
    /// Where the part begins.
    start: usize,
    /// Those of a part around it that stands at several places, too.
    around: Option<Arc<Places>>,
}

impl Places {
    fn new(first: Place) -> Self {
        let start = first.start;
        let state = State { list: vec![first], noted: Annotations::default() };
        Self { start, state: Mutex::new(state) }
    }

    /// Says of the part, at each of its places, what `span` points to.
    pub(super) fn annotate(&self, kind: AnnotationKind, span: Span, context: &Context) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for place in &state.list {
            context.annotate_around(place.around.as_ref(), kind.clone(), self.moved(span, place));
        }
        state.noted.add(kind, span);
    }

    fn add(&self, place: Place, context: &Context) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for noted in state.noted.iter() {
            let (kind, span) = (noted.kind().clone(), self.moved(noted.span(), &place));
            context.annotate_around(place.around.as_ref(), kind, span);
        }
        state.list.push(place);
    }

    fn moved(&self, span: Span, place: &Place) -> Span {
        let moved = |at: usize| (at + place.start).saturating_sub(self.start);
        Span::new(moved(span.start), moved(span.end))
    }
}
