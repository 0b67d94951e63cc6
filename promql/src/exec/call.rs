//! Functions of instant vectors: which operator evaluates each.

use ferula_index::Labels;

use super::batch::{Column, Grid, SeriesMeta};
use super::metas::Metas;
use super::scan::Take;
use super::unary::{Naming, map_columns};
use super::{
    BoxOperator, Context, Operator, Overlap, Scalar, build as build_operator, histogram, info,
    matrix, merge_same, read_all, scalar, scan, sort,
};
use crate::functions::date::DateField;
use crate::functions::labels::Relabel;
use crate::functions::{InstantFunction, math};
use crate::host::{Computes, MAX_HOST_SCALARS};
use crate::plan::{Call, Node, NodeKind};
use crate::{Error, Span};

/// Makes the operator of a call that yields a vector.
pub(super) fn build(
    call: &Call,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    use InstantFunction as F;
    let args = Args { call, span, grid, context };
    match call.function {
        F::Math(function) => {
            args.map(Naming::Drop, move |column| column.map(|_, x| Some(function.apply(x))))
        }
        F::Date(field) if call.args.is_empty() => date_of_step(field, grid, context),
        F::Date(field) => {
            args.map(Naming::Drop, move |column| column.map(|_, x| Some(field.of(x))))
        }
        F::Round => {
            let nearest = args.optional_scalar(1, 1.0)?;
            args.map(Naming::Drop, move |column| {
                column.map(|step, x| Some(math::round(x, nearest.at(step))));
            })
        }
        F::Clamp | F::ClampMin | F::ClampMax => clamp(&args),
        F::Timestamp => timestamp(&args),
        F::StartTimestamp => start_timestamp(&args),
        F::Vector => Ok(Box::new(scalar::ScalarSeries::new(args.scalar(0)?, grid, context))),
        F::Absent => absent(&args),
        F::LabelReplace => {
            let change =
                Relabel::replace(args.text(1)?, args.text(2)?, args.text(3)?, args.text(4)?)?;
            relabel(&args, &change)
        }
        F::LabelJoin => {
            let sources: Vec<&str> =
                (3..call.args.len()).map(|at| args.text(at)).collect::<Result<_, _>>()?;
            let change = Relabel::join(args.text(1)?, args.text(2)?, &sources)?;
            relabel(&args, &change)
        }
        F::Sort { descending } => sort::by_value(args.vector(0)?, descending, span, grid, context),
        F::SortByLabel { descending } => {
            let names: Vec<String> = (1..call.args.len())
                .map(|at| args.text(at).map(str::to_owned))
                .collect::<Result<_, _>>()?;
            sort::by_labels(args.vector(0)?, &names, descending, span, grid, context)
        }
        F::HistogramQuantile => {
            let q = (args.scalar(0)?, args.node(0)?.place());
            histogram::quantile(q, args.vector(1)?, args.node(1)?.place(), grid, context)
        }
        F::HistogramQuantiles => {
            let qs = (2..call.args.len())
                .map(|at| Ok((args.scalar(at)?, args.node(at)?.place())))
                .collect::<Result<Vec<_>, Error>>()?;
            let (vector, span) = (args.vector(0)?, args.node(0)?.place());
            histogram::quantiles(qs, args.text(1)?, vector, span, grid, context)
        }
        F::HistogramFraction => {
            let bounds = (args.scalar(0)?, args.scalar(1)?);
            histogram::fraction(bounds, args.vector(2)?, args.node(2)?.place(), grid, context)
        }
        F::OfNativeHistograms(measure) => {
            map_columns(args.vector(0)?, Naming::Drop, context, move |column| {
                column.measure_histograms(|histogram| measure.of(histogram));
            })
        }
        F::Info => info::build(&call.args, grid, context),
        F::Host(place) => of_host(place, &args),
        F::Time | F::Scalar | F::MinOf | F::MaxOf => {
            Err(context.unsupported("a scalar here", span))
        }
    }
}

/// The arguments of a call.
struct Args<'a> {
    call: &'a Call,
    span: Span,
    grid: Grid,
    context: &'a Context,
}

impl<'a> Args<'a> {
    fn node(&self, index: usize) -> Result<&'a Node, Error> {
        let missing = || self.context.unsupported("a call with so few arguments", self.span);
        self.call.args.get(index).ok_or_else(missing)
    }

    fn vector(&self, index: usize) -> Result<BoxOperator, Error> {
        build_operator(self.node(index)?, self.grid, self.context)
    }

    fn scalar(&self, index: usize) -> Result<Scalar, Error> {
        Scalar::evaluate(self.node(index)?, self.grid, self.context)
    }

    fn optional_scalar(&self, index: usize, default: f64) -> Result<Scalar, Error> {
        match self.call.args.get(index) {
            Some(node) => Scalar::evaluate(node, self.grid, self.context),
            None => Ok(Scalar::Constant(default)),
        }
    }

    fn text(&self, index: usize) -> Result<&'a str, Error> {
        let node = self.node(index)?;
        match &node.kind {
            NodeKind::String(text) => Ok(text),
            _ => Err(self.context.unsupported("a computed string", node.span)),
        }
    }

    /// Changes the columns of the first argument, whose histograms are left out.
    fn map(
        &self,
        naming: Naming,
        apply: impl Fn(&mut Column) + Send + Sync + 'static,
    ) -> Result<BoxOperator, Error> {
        map_columns(self.vector(0)?, naming, self.context, move |column| {
            column.drop_histograms();
            apply(column);
        })
    }
}

/// A function of the host program.
fn of_host(place: usize, args: &Args<'_>) -> Result<BoxOperator, Error> {
    let missing = || args.context.unsupported("this function", args.span);
    let function = args.context.functions.get(place).ok_or_else(missing)?;
    let Computes::Samples(apply) = function.computes().clone() else { return Err(missing()) };
    let scalars: Vec<Scalar> =
        (1..args.call.args.len()).map(|at| args.scalar(at)).collect::<Result<_, _>>()?;
    args.map(Naming::Drop, move |column| {
        let mut of_step = [0.0; MAX_HOST_SCALARS];
        column.map(|step, value| {
            of_step.iter_mut().zip(&scalars).for_each(|(to, scalar)| *to = scalar.at(step));
            apply(value, &of_step[..scalars.len()])
        });
    })
}

#[expect(clippy::cast_precision_loss, reason = "times are given in seconds")]
fn date_of_step(field: DateField, grid: Grid, context: &Context) -> Result<BoxOperator, Error> {
    let dates = Scalar::steps(grid, context, |step| field.of((grid.time(step) / 1000) as f64))?;
    Ok(Box::new(scalar::ScalarSeries::new(dates, grid, context)))
}

fn clamp(args: &Args<'_>) -> Result<BoxOperator, Error> {
    let (low, high) = match args.call.function {
        InstantFunction::ClampMin => (args.scalar(1)?, Scalar::Constant(f64::INFINITY)),
        InstantFunction::ClampMax => (Scalar::Constant(f64::NEG_INFINITY), args.scalar(1)?),
        _ => (args.scalar(1)?, args.scalar(2)?),
    };
    args.map(Naming::Drop, move |column| {
        column.map(|step, x| {
            let (low, high) = (low.at(step), high.at(step));
            if high < low { None } else { Some(math::max(low, math::min(high, x))) }
        });
    })
}

/// Of a selector, the times of its samples; of anything else, those of the steps.
fn timestamp(args: &Args<'_>) -> Result<BoxOperator, Error> {
    let node = args.node(0)?;
    if let NodeKind::Selector(selector) = &node.kind {
        let inner = scan::timestamps(selector, Take::Timestamp, args.grid, args.context)?;
        return map_columns(inner, Naming::Drop, args.context, |_| {});
    }
    let grid = args.grid;
    #[expect(clippy::cast_precision_loss, reason = "times are given in seconds")]
    map_columns(args.vector(0)?, Naming::Drop, args.context, move |column| {
        let steps = column.presence().into_owned();
        column.drop_histograms();
        for step in steps.iter_ones() {
            column.set(step, grid.time(step) as f64 / 1e3);
        }
    })
}

/// Of a selector, since when its samples have been counting, if start timestamps are used; of
/// anything else, nothing.
fn start_timestamp(args: &Args<'_>) -> Result<BoxOperator, Error> {
    let used = args.context.features.use_start_timestamps;
    if let NodeKind::Selector(selector) = &args.node(0)?.kind {
        let inner = scan::timestamps(selector, Take::StartTimestamp, args.grid, args.context)?;
        return map_columns(inner, Naming::Drop, args.context, move |column| {
            if !used {
                column.retain(|_| false);
            }
        });
    }
    map_columns(args.vector(0)?, Naming::Drop, args.context, |column| {
        column.drop_histograms();
        column.retain(|_| false);
    })
}

/// Changes a label of each series.
fn relabel(args: &Args<'_>, change: &Relabel) -> Result<BoxOperator, Error> {
    let inner = args.vector(0)?;
    let names_metric = change.target() == ferula_index::METRIC_NAME;
    let mut metas = Metas::builder(args.context, inner.series().len())?;
    for meta in inner.series() {
        match change.apply(&meta.labels)? {
            None => metas.push_shared(meta.clone())?,
            Some(labels) => {
                let drop_name = meta.drop_name && !names_metric;
                metas.push_made(SeriesMeta { labels, drop_name })?;
            }
        }
    }
    let metas = metas.build();
    merge_same(Box::new(Renamed { inner, metas }), Overlap::AtSameStep, args.context)
}

/// The same columns under other labels.
pub(crate) struct Renamed {
    pub(crate) inner: BoxOperator,
    pub(crate) metas: Metas,
}

impl Operator for Renamed {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.inner.read(index, out)
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self { inner: self.inner.fork()?, metas: self.metas.clone() }))
    }
}

/// Makes the operator that is 1 where a vector is empty.
fn absent(args: &Args<'_>) -> Result<BoxOperator, Error> {
    let node = args.node(0)?;
    let asked = match &node.kind {
        NodeKind::Invariant(inner) => &inner.kind,
        kind => kind,
    };
    let labels = match asked {
        NodeKind::Selector(selector) => matrix::absent_labels(&selector.matchers)?,
        _ => Labels::empty(),
    };
    Ok(Box::new(Absent {
        inner: args.vector(0)?,
        metas: Metas::few(args.context, vec![SeriesMeta::new(labels)]),
        grid: args.grid,
        context: args.context.clone(),
    }))
}

struct Absent {
    inner: BoxOperator,
    metas: Metas,
    grid: Grid,
    context: Context,
}

impl Operator for Absent {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, _index: usize, out: &mut Column) -> Result<(), Error> {
        out.fill(self.grid.len, |_| 1.0)?;
        read_all(&mut *self.inner, &self.context, |_, column| {
            column.presence().iter_ones().for_each(|step| out.unset(step));
            Ok(())
        })
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}
