//! Columns of native histograms: one for each number that a histogram has.
//!
//! The sums, counts and zero counts of a chunk are columns, and so is each bucket, whichever of the
//! histograms have it. What else there is to a histogram, its *layout*, is the same for long
//! runs: a list of layouts and a column that says which one each histogram has. Layouts of
//! one schema and the same custom bounds share their buckets, so that one that appears costs a
//! column and not all of them anew.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::ColumnField;
use super::chunk::ChunkContent;
use super::ints::{IntColumn, IntEncoder};
use super::pick::ValueEncoder;
use super::timestamps::{parse_ints, write_ints};
use super::values::{ValueColumn, ValueStats};
use crate::Error;
use crate::cursor::{Cursor, put_f64_be, put_u8, put_uvarint, put_varint};
use crate::histogram::{CounterResetHint, FloatHistogram, Histogram, Indexes, Side, Span};
use crate::histogram::{check_spans, to_counts, to_deltas};

/// Most buckets that the histograms of one chunk have together.
pub const MAX_BUCKETS: usize = 8192;

/// Most counts of one chunk: different buckets times histograms. Chunks of wide histograms are
/// shorter than others.
pub const MAX_COUNTS: usize = 1 << 22;

/// Histograms that columnar chunks hold: [`Histogram`] and [`FloatHistogram`].
#[expect(private_bounds, reason = "the bound is what keeps others from implementing it")]
pub trait ColumnarHistogram: Parts {}

impl ColumnarHistogram for Histogram {}
impl ColumnarHistogram for FloatHistogram {}

/// Numbers of a histogram: integers or floats.
pub(super) trait Number: Copy + Default + fmt::Debug {
    /// Appends a column.
    fn write(values: &[Self], encoders: &mut Encoders, out: &mut Vec<u8>);

    /// Decodes a part of a column of `n` numbers.
    fn read(data: &[u8], n: usize, range: Range<usize>, out: &mut [Self]) -> Result<(), Error>;
}

impl Number for i64 {
    fn write(values: &[Self], encoders: &mut Encoders, out: &mut Vec<u8>) {
        encoders.ints.plan(values);
        encoders.ints.write(out);
    }

    fn read(data: &[u8], n: usize, range: Range<usize>, out: &mut [Self]) -> Result<(), Error> {
        IntColumn::parse(&mut Cursor::new(data), n)?.decode(range, out)
    }
}

impl Number for f64 {
    fn write(values: &[Self], encoders: &mut Encoders, out: &mut Vec<u8>) {
        encoders.values.encode(values, &[], out);
    }

    fn read(data: &[u8], n: usize, range: Range<usize>, out: &mut [Self]) -> Result<(), Error> {
        parse_values(data, n)?.decode(range, out)
    }
}

fn parse_values(data: &[u8], n: usize) -> Result<ValueColumn<'_>, Error> {
    let column = ValueColumn::parse(&mut Cursor::new(data), n)?;
    if column.is_relative() {
        return Err(Error::Columnar { offset: 0, field: ColumnField::Reference, found: 0 });
    }
    Ok(column)
}

/// What histograms are taken apart into.
pub(super) trait Parts: Clone + Default {
    /// Stands in front of the columns.
    const TAG: u8;

    type Number: Number;

    fn layout(&self) -> (Family, Layout);

    fn hint(&self) -> CounterResetHint;

    fn sum(&self) -> f64;

    /// Count and zero count.
    fn totals(&self) -> [Self::Number; 2];

    /// Number of positive and of negative buckets.
    fn n_buckets(&self) -> [usize; 2];

    /// Counts of positive and of negative buckets.
    fn buckets(&self) -> [Vec<Self::Number>; 2];

    fn assemble(
        family: &Family,
        layout: &Layout,
        hint: CounterResetHint,
        sum: f64,
        totals: [Self::Number; 2],
        buckets: [Vec<Self::Number>; 2],
    ) -> Self;
}

impl Parts for Histogram {
    const TAG: u8 = 1;

    type Number = i64;

    fn layout(&self) -> (Family, Layout) {
        split_layout(
            self.schema,
            &self.custom_values,
            self.zero_threshold,
            [&self.positive_spans, &self.negative_spans],
        )
    }

    fn hint(&self) -> CounterResetHint {
        self.counter_reset_hint
    }

    fn sum(&self) -> f64 {
        self.sum
    }

    fn totals(&self) -> [i64; 2] {
        [self.count.cast_signed(), self.zero_count.cast_signed()]
    }

    fn n_buckets(&self) -> [usize; 2] {
        [self.positive_buckets.len(), self.negative_buckets.len()]
    }

    fn buckets(&self) -> [Vec<i64>; 2] {
        [to_counts(&self.positive_buckets), to_counts(&self.negative_buckets)]
    }

    fn assemble(
        family: &Family,
        layout: &Layout,
        hint: CounterResetHint,
        sum: f64,
        totals: [i64; 2],
        buckets: [Vec<i64>; 2],
    ) -> Self {
        let [positive_spans, negative_spans] = layout.spans.clone();
        let [positive_buckets, negative_buckets] = buckets.map(|counts| to_deltas(&counts));
        Self {
            counter_reset_hint: hint,
            schema: family.schema,
            zero_threshold: f64::from_bits(layout.zero_threshold),
            zero_count: totals[1].cast_unsigned(),
            count: totals[0].cast_unsigned(),
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: Arc::clone(&family.custom_values),
        }
    }
}

impl Parts for FloatHistogram {
    const TAG: u8 = 2;

    type Number = f64;

    fn layout(&self) -> (Family, Layout) {
        split_layout(
            self.schema,
            &self.custom_values,
            self.zero_threshold,
            [&self.positive_spans, &self.negative_spans],
        )
    }

    fn hint(&self) -> CounterResetHint {
        self.counter_reset_hint
    }

    fn sum(&self) -> f64 {
        self.sum
    }

    fn totals(&self) -> [f64; 2] {
        [self.count, self.zero_count]
    }

    fn n_buckets(&self) -> [usize; 2] {
        [self.positive_buckets.len(), self.negative_buckets.len()]
    }

    fn buckets(&self) -> [Vec<f64>; 2] {
        [self.positive_buckets.clone(), self.negative_buckets.clone()]
    }

    fn assemble(
        family: &Family,
        layout: &Layout,
        hint: CounterResetHint,
        sum: f64,
        totals: [f64; 2],
        buckets: [Vec<f64>; 2],
    ) -> Self {
        let [positive_spans, negative_spans] = layout.spans.clone();
        let [positive_buckets, negative_buckets] = buckets;
        Self {
            counter_reset_hint: hint,
            schema: family.schema,
            zero_threshold: f64::from_bits(layout.zero_threshold),
            zero_count: totals[1],
            count: totals[0],
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: Arc::clone(&family.custom_values),
        }
    }
}

fn split_layout(
    schema: i32,
    custom_values: &Arc<[f64]>,
    zero_threshold: f64,
    spans: [&[Span]; 2],
) -> (Family, Layout) {
    let family = Family { schema, custom_values: Arc::clone(custom_values) };
    let spans = spans.map(<[Span]>::to_vec);
    (family, Layout { family: 0, zero_threshold: zero_threshold.to_bits(), spans })
}

/// What histograms have in common whose buckets have the same bounds.
#[derive(Clone, Debug)]
pub(super) struct Family {
    schema: i32,
    custom_values: Arc<[f64]>,
}

impl Family {
    fn is_same(&self, other: &Self) -> bool {
        let bits = |family: &Self| -> Vec<u64> {
            family.custom_values.iter().map(|value| value.to_bits()).collect()
        };
        self.schema == other.schema && bits(self) == bits(other)
    }
}

/// Which buckets a histogram has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    family: usize,
    zero_threshold: u64,
    spans: [Vec<Span>; 2],
}

/// Encoders that columns of histograms need.
#[derive(Clone, Debug, Default)]
pub(super) struct Encoders {
    pub(super) ints: IntEncoder,
    pub(super) values: ValueEncoder,
}

/// Appends the columns of histograms, of which there is at least one.
pub(super) fn write<H: Parts>(
    histograms: &[H],
    encoders: &mut Encoders,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let (families, layouts, ids) = collect_layouts(histograms)?;
    let limit = MAX_BUCKETS.min(MAX_COUNTS / histograms.len().max(1));
    let buckets = layouts_to_buckets(&families, &layouts, limit)?;
    put_u8(out, H::TAG);
    let sums: Vec<f64> = histograms.iter().map(Parts::sum).collect();
    put_column(&sums, encoders, out);
    let hints: Vec<i64> =
        histograms.iter().map(|histogram| hint_to_int(histogram.hint())).collect();
    write_ints(&hints, &mut encoders.ints, out);
    write_ints(&ids, &mut encoders.ints, out);
    put_layouts(&families, &layouts, out);
    for total in 0..2 {
        let column: Vec<H::Number> =
            histograms.iter().map(|histogram| histogram.totals()[total]).collect();
        put_column(&column, encoders, out);
    }
    let layout_of = |id: &i64| &layouts[usize::try_from(*id).expect("an index")];
    for (family, sides) in buckets.iter().enumerate() {
        let members: Vec<(&Layout, [Vec<H::Number>; 2])> = histograms
            .iter()
            .zip(ids.iter().map(layout_of))
            .filter(|(_, layout)| layout.family == family)
            .map(|(histogram, layout)| (layout, histogram.buckets()))
            .collect();
        for (side, indexes) in sides.iter().enumerate() {
            put_indexes(indexes, out);
            let mut columns = vec![Vec::with_capacity(members.len()); indexes.len()];
            for (layout, counts) in &members {
                fill_columns(indexes, &layout.spans[side], &counts[side], &mut columns);
            }
            columns.iter().for_each(|column| put_column(column, encoders, out));
        }
    }
    Ok(())
}

/// Adds the counts of one histogram to the columns; a bucket that it lacks repeats its last count.
fn fill_columns<N: Number>(indexes: &[i64], spans: &[Span], counts: &[N], columns: &mut [Vec<N>]) {
    let mut own = Indexes::new(spans, counts.len()).zip(counts).peekable();
    for (index, column) in indexes.iter().zip(columns) {
        let count = own.next_if(|(at, _)| at == index).map(|(_, &count)| count);
        let repeated = column.last().copied().unwrap_or_default();
        column.push(count.unwrap_or(repeated));
    }
}

fn put_column<N: Number>(column: &[N], encoders: &mut Encoders, out: &mut Vec<u8>) {
    let mut data = Vec::new();
    N::write(column, encoders, &mut data);
    put_uvarint(out, data.len() as u64);
    out.extend_from_slice(&data);
}

/// Families, layouts, and the layout of each histogram.
type Layouts = (Vec<Family>, Vec<Layout>, Vec<i64>);

fn collect_layouts<H: Parts>(histograms: &[H]) -> Result<Layouts, Error> {
    let (mut families, mut layouts, mut ids) = (Vec::<Family>::new(), Vec::new(), Vec::new());
    for histogram in histograms {
        let (family, mut layout) = histogram.layout();
        let sides = [Side::Positive, Side::Negative];
        for ((spans, n), side) in layout.spans.iter().zip(histogram.n_buckets()).zip(sides) {
            check_spans(spans, n, side)?;
        }
        let known = families.iter().position(|other| other.is_same(&family));
        layout.family = known.unwrap_or_else(|| {
            families.push(family);
            families.len() - 1
        });
        let known = layouts.iter().rposition(|other| *other == layout);
        let id = known.unwrap_or_else(|| {
            layouts.push(layout);
            layouts.len() - 1
        });
        ids.push(id.cast_signed() as i64);
    }
    Ok((families, layouts, ids))
}

/// Indexes of the positive and negative buckets of a family.
type Buckets = [Vec<i64>; 2];

fn layouts_to_buckets(
    families: &[Family],
    layouts: &[Layout],
    limit: usize,
) -> Result<Vec<Buckets>, Error> {
    let mut sets = vec![[BTreeSet::new(), BTreeSet::new()]; families.len()];
    let mut found = 0;
    for layout in layouts {
        for (set, spans) in sets[layout.family].iter_mut().zip(&layout.spans) {
            let before = set.len();
            set.extend(Indexes::new(spans, MAX_BUCKETS + 1));
            found += set.len() - before;
        }
        if found > limit {
            return Err(Error::ColumnLength { found, limit });
        }
    }
    Ok(sets.into_iter().map(|sides| sides.map(|set| set.into_iter().collect())).collect())
}

fn put_layouts(families: &[Family], layouts: &[Layout], out: &mut Vec<u8>) {
    put_uvarint(out, families.len() as u64);
    for Family { schema, custom_values } in families {
        put_varint(out, (*schema).into());
        put_uvarint(out, custom_values.len() as u64);
        custom_values.iter().for_each(|&value| put_f64_be(out, value));
    }
    put_uvarint(out, layouts.len() as u64);
    for Layout { family, zero_threshold, spans } in layouts {
        put_uvarint(out, *family as u64);
        put_f64_be(out, f64::from_bits(*zero_threshold));
        for spans in spans {
            put_uvarint(out, spans.len() as u64);
            for span in spans {
                put_varint(out, span.offset.into());
                put_uvarint(out, span.length.into());
            }
        }
    }
}

fn put_indexes(indexes: &[i64], out: &mut Vec<u8>) {
    put_uvarint(out, indexes.len() as u64);
    let mut last = 0;
    for &index in indexes {
        put_varint(out, index - last);
        last = index;
    }
}

fn hint_to_int(hint: CounterResetHint) -> i64 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    }
}

fn hint_from_int(int: i64) -> Result<CounterResetHint, Error> {
    Ok(match int {
        0 => CounterResetHint::Unknown,
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        found => return Err(invalid(0, found.cast_unsigned())),
    })
}

fn invalid(offset: usize, found: u64) -> Error {
    Error::Columnar { offset, field: ColumnField::Layout, found }
}

/// Columns of the buckets of one family, positive and negative ones.
#[derive(Clone, Debug, Default)]
struct BucketColumns<'a> {
    indexes: [Vec<i64>; 2],
    columns: [Vec<&'a [u8]>; 2],
}

/// Columns of histograms to be read.
#[derive(Clone, Debug)]
pub(super) struct HistogramColumns<'a> {
    n: usize,
    tag: u8,
    sums: ValueColumn<'a>,
    hints: IntColumn<'a>,
    ids: IntColumn<'a>,
    families: Vec<Family>,
    layouts: Vec<Layout>,
    totals: [&'a [u8]; 2],
    buckets: Vec<BucketColumns<'a>>,
}

impl<'a> HistogramColumns<'a> {
    /// Finds the columns of `n` histograms.
    pub(super) fn parse(cursor: &mut Cursor<'a>, n: usize) -> Result<Self, Error> {
        let offset = cursor.offset();
        let tag = cursor.u8()?;
        if tag != Histogram::TAG && tag != FloatHistogram::TAG {
            return Err(Error::Columnar { offset, field: ColumnField::Kind, found: tag.into() });
        }
        let sums = parse_values(cursor.prefixed_bytes()?, n)?;
        let hints = parse_ints(cursor, n)?;
        let ids = parse_ints(cursor, n)?;
        let families = read_families(cursor)?;
        let layouts = read_layouts(cursor, families.len())?;
        let totals = [cursor.prefixed_bytes()?, cursor.prefixed_bytes()?];
        let mut buckets = Vec::new();
        let mut left = MAX_BUCKETS.min(MAX_COUNTS / n.max(1));
        for _ in &families {
            let mut columns = BucketColumns::default();
            for side in 0..2 {
                let n = read_length(cursor, 2, left)?;
                left -= n;
                columns.indexes[side] = read_indexes(cursor, n)?;
                columns.columns[side] =
                    (0..n).map(|_| cursor.prefixed_bytes()).collect::<Result<_, _>>()?;
            }
            buckets.push(columns);
        }
        Ok(Self { n, tag, sums, hints, ids, families, layouts, totals, buckets })
    }

    pub(super) fn sums(&self) -> ValueStats {
        self.sums.stats()
    }

    /// What the histograms count in.
    pub(super) fn content(&self) -> ChunkContent {
        if self.tag == Histogram::TAG {
            ChunkContent::Histograms
        } else {
            ChunkContent::FloatHistograms
        }
    }

    /// Appends the histograms whose indexes are in `range`, of which there are as many.
    pub(super) fn decode<H: Parts>(
        &self,
        range: Range<usize>,
        out: &mut Vec<H>,
    ) -> Result<(), Error> {
        if self.tag != H::TAG {
            let found = self.tag.into();
            return Err(Error::Columnar { offset: 0, field: ColumnField::Kind, found });
        }
        // What the histograms in front of the range are tells where their families' columns are.
        let mut ids = vec![0; range.end];
        self.ids.decode(0..range.end, &mut ids)?;
        let mut hints = vec![0; range.len()];
        self.hints.decode(range.clone(), &mut hints)?;
        let mut sums = vec![0.0; range.len()];
        self.sums.decode(range.clone(), &mut sums)?;
        let mut totals = [vec![H::Number::default(); range.len()], Vec::new()];
        totals[1] = totals[0].clone();
        for (data, total) in self.totals.iter().zip(&mut totals) {
            H::Number::read(data, self.n, range.clone(), total)?;
        }
        let layouts: Vec<&Layout> =
            ids.iter().map(|&id| self.layout(id)).collect::<Result<_, _>>()?;
        let members = self.members::<H>(&layouts, range.clone())?;
        let mut passed = vec![0; self.families.len()];
        for (i, layout) in layouts[range.start..].iter().enumerate() {
            let family = layout.family;
            let buckets = members[family].of(&self.buckets[family], layout, passed[family])?;
            passed[family] += 1;
            let hint = hint_from_int(hints[i])?;
            let totals = [totals[0][i], totals[1][i]];
            let family = &self.families[family];
            out.push(H::assemble(family, layout, hint, sums[i], totals, buckets));
        }
        Ok(())
    }

    fn layout(&self, id: i64) -> Result<&Layout, Error> {
        let layout = usize::try_from(id).ok().and_then(|id| self.layouts.get(id));
        layout.ok_or_else(|| invalid(0, id.cast_unsigned()))
    }

    /// Decodes the buckets of each family that the histograms in `range` need.
    fn members<H: Parts>(
        &self,
        layouts: &[&Layout],
        range: Range<usize>,
    ) -> Result<Vec<Members<H::Number>>, Error> {
        let mut decoded = Vec::new();
        let mut last = None;
        for (family, buckets) in self.buckets.iter().enumerate() {
            let count = |range: Range<usize>| {
                layouts[range].iter().filter(|layout| layout.family == family).count()
            };
            let start = count(0..range.start);
            let own = start..start + count(range.clone());
            let mut members = Members { columns: [Vec::new(), Vec::new()] };
            if !own.is_empty() {
                let n = self.n_members(family, layouts, &mut last)?;
                for (data, columns) in buckets.columns.iter().zip(&mut members.columns) {
                    for data in data {
                        let mut column = vec![H::Number::default(); own.len()];
                        H::Number::read(data, n, own.clone(), &mut column)?;
                        columns.push(column);
                    }
                }
            }
            decoded.push(members);
        }
        Ok(decoded)
    }

    /// Number of histograms of a family in the whole chunk; `rest` keeps the layouts behind
    /// those that are known.
    fn n_members(
        &self,
        family: usize,
        layouts: &[&Layout],
        rest: &mut Option<Vec<i64>>,
    ) -> Result<usize, Error> {
        if self.families.len() == 1 {
            return Ok(self.n);
        }
        if rest.is_none() {
            let mut ids = vec![0; self.n - layouts.len()];
            self.ids.decode(layouts.len()..self.n, &mut ids)?;
            *rest = Some(ids);
        }
        let mut n = layouts.iter().filter(|layout| layout.family == family).count();
        for &id in rest.iter().flatten() {
            n += usize::from(self.layout(id)?.family == family);
        }
        Ok(n)
    }
}

/// Decoded columns of the buckets of one family.
#[derive(Debug)]
struct Members<N> {
    columns: [Vec<Vec<N>>; 2],
}

impl<N: Number> Members<N> {
    /// The counts of the buckets that a layout has, of the histogram `at`.
    fn of(
        &self,
        buckets: &BucketColumns<'_>,
        layout: &Layout,
        at: usize,
    ) -> Result<[Vec<N>; 2], Error> {
        let mut counts = [Vec::new(), Vec::new()];
        for (side, counts) in counts.iter_mut().enumerate() {
            let mut own = buckets.indexes[side].iter().zip(&self.columns[side]);
            for index in Indexes::new(&layout.spans[side], MAX_BUCKETS) {
                let column = own.find(|(other, _)| **other == index);
                let count = column.and_then(|(_, column)| column.get(at));
                counts.push(*count.ok_or_else(|| invalid(0, index.cast_unsigned()))?);
            }
        }
        Ok(counts)
    }
}

/// Reads a number of things of at least `size` bytes each, `limit` at most.
fn read_length(cursor: &mut Cursor<'_>, size: usize, limit: usize) -> Result<usize, Error> {
    let offset = cursor.offset();
    let found = cursor.uvarint()?;
    let most = limit.min(cursor.remaining() / size);
    let length = usize::try_from(found).ok().filter(|&length| length <= most);
    length.ok_or_else(|| invalid(offset, found))
}

fn read_families(cursor: &mut Cursor<'_>) -> Result<Vec<Family>, Error> {
    let n = read_length(cursor, 2, usize::MAX)?;
    let mut families = Vec::new();
    for _ in 0..n {
        let offset = cursor.offset();
        let schema = cursor.varint()?;
        let schema = i32::try_from(schema).map_err(|_| invalid(offset, schema.cast_unsigned()))?;
        let n_custom = read_length(cursor, 8, MAX_BUCKETS)?;
        let custom_values = (0..n_custom).map(|_| cursor.f64_be()).collect::<Result<_, _>>()?;
        families.push(Family { schema, custom_values });
    }
    Ok(families)
}

fn read_layouts(cursor: &mut Cursor<'_>, n_families: usize) -> Result<Vec<Layout>, Error> {
    let n = read_length(cursor, 11, usize::MAX)?;
    let mut layouts = Vec::new();
    for _ in 0..n {
        let offset = cursor.offset();
        let found = cursor.uvarint()?;
        let family = usize::try_from(found).ok().filter(|&family| family < n_families);
        let family = family.ok_or_else(|| invalid(offset, found))?;
        let zero_threshold = cursor.u64_be()?;
        let spans = [read_spans(cursor)?, read_spans(cursor)?];
        layouts.push(Layout { family, zero_threshold, spans });
    }
    Ok(layouts)
}

fn read_spans(cursor: &mut Cursor<'_>) -> Result<Vec<Span>, Error> {
    let n = read_length(cursor, 2, usize::MAX)?;
    let mut spans = Vec::with_capacity(n);
    let mut n_buckets = 0;
    for _ in 0..n {
        let at = cursor.offset();
        let (offset, length) = (cursor.varint()?, cursor.uvarint()?);
        let span = i32::try_from(offset).ok().zip(u32::try_from(length).ok());
        let (offset, length) = span.ok_or_else(|| invalid(at, length))?;
        n_buckets += u64::from(length);
        if n_buckets > MAX_BUCKETS as u64 || (!spans.is_empty() && offset < 0) {
            return Err(invalid(at, n_buckets));
        }
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

/// Reads ascending indexes.
fn read_indexes(cursor: &mut Cursor<'_>, n: usize) -> Result<Vec<i64>, Error> {
    let mut indexes: Vec<i64> = Vec::with_capacity(n);
    for _ in 0..n {
        let offset = cursor.offset();
        let step = cursor.varint()?;
        let index = match indexes.last() {
            Some(_) if step <= 0 => return Err(invalid(offset, step.cast_unsigned())),
            Some(last) => last.wrapping_add(step),
            None => step,
        };
        indexes.push(index);
    }
    Ok(indexes)
}
