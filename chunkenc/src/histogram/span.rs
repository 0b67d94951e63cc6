//! Spans: which bucket indexes a list of buckets stands for.

/// A run of adjacent buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index of the first bucket in the first span; in later ones the number of buckets between
    /// this span and the one before.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

impl Span {
    /// Makes a span of `length` buckets behind a gap of `offset`.
    pub const fn new(offset: i32, length: u32) -> Self {
        Self { offset, length }
    }
}

/// Number of buckets that the spans cover.
pub fn bucket_count(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.length)).sum()
}

/// Tells whether two lists of spans stand for the same layout: spans without buckets count as
/// part of the gap in front of the next one. Adjacent spans are not joined.
pub fn spans_match(a: &[Span], b: &[Span]) -> bool {
    folded(a).eq(folded(b))
}

/// Spans with buckets, as offset and length.
fn folded(spans: &[Span]) -> impl Iterator<Item = (i64, u32)> {
    let mut gap = 0;
    spans.iter().filter_map(move |span| {
        let offset = gap + i64::from(span.offset);
        gap = if span.length == 0 { offset } else { 0 };
        (span.length > 0).then_some((offset, span.length))
    })
}

/// Bucket indexes that spans stand for, ascending; from both ends.
///
/// Indexes have more bits than those of valid histograms need, so that no span overflows them.
#[derive(Clone, Debug)]
pub(crate) struct Indexes<'a> {
    spans: &'a [Span],
    /// Index of the next bucket, and how many are left in the span it is in.
    front: i64,
    front_left: u32,
    /// Index behind the next bucket from the end, and how many are left in the span it is in.
    back: i64,
    back_left: u32,
    left: usize,
}

impl<'a> Indexes<'a> {
    /// The indexes of at most `limit` buckets.
    pub(crate) fn new(spans: &'a [Span], limit: usize) -> Self {
        let mut left = 0_usize;
        let mut back = 0;
        let mut back_left = 0;
        let mut used = 0;
        for span in spans {
            if left == limit {
                break;
            }
            let length = usize::try_from(span.length).unwrap_or(usize::MAX).min(limit - left);
            back_left = u32::try_from(length).unwrap_or(u32::MAX);
            back += i64::from(span.offset) + i64::from(back_left);
            left += length;
            used += 1;
        }
        let spans = &spans[..used];
        let mut indexes = Self { spans, front: 0, front_left: 0, back, back_left, left };
        if let Some(first) = spans.first() {
            indexes.front = i64::from(first.offset);
            indexes.front_left = first.length;
        }
        indexes
    }
}

impl Iterator for Indexes<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        while self.front_left == 0 {
            self.spans = &self.spans[1..];
            let span = self.spans.first()?;
            self.front += i64::from(span.offset);
            self.front_left = span.length;
        }
        self.front_left -= 1;
        self.front += 1;
        Some(self.front - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Indexes<'_> {
    fn next_back(&mut self) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        while self.back_left == 0 {
            let (span, rest) = self.spans.split_last()?;
            self.back -= i64::from(span.offset);
            self.spans = rest;
            self.back_left = rest.last()?.length;
        }
        self.back_left -= 1;
        self.back -= 1;
        Some(self.back)
    }
}

impl ExactSizeIterator for Indexes<'_> {}

/// Builds the fewest spans for ascending bucket indexes.
#[derive(Debug, Default)]
pub(crate) struct SpanBuilder {
    spans: Vec<Span>,
    end: i64,
}

impl SpanBuilder {
    /// Adds the bucket at `index`, which must exceed the last one.
    pub(crate) fn push(&mut self, index: i64) {
        match self.spans.last_mut() {
            Some(last) if index == self.end => last.length += 1,
            _ => self.spans.push(Span::new(narrow(index - self.end), 1)),
        }
        self.end = index + 1;
    }

    pub(crate) fn finish(self) -> Vec<Span> {
        self.spans
    }
}

/// An index or offset in the width that histograms have for it.
pub(crate) fn narrow(index: i64) -> i32 {
    i32::try_from(index).unwrap_or(if index < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let span = (0..4_i32, 0..4_u32).prop_map(|(offset, length)| Span::new(offset, length));
        (-9..9_i32, prop::collection::vec(span, 0..8)).prop_map(|(start, mut spans)| {
            if let Some(first) = spans.first_mut() {
                first.offset += start;
            }
            spans
        })
    }

    #[test]
    fn empty_spans_are_part_of_the_gap() {
        let plain = [Span::new(-2, 1), Span::new(5, 2)];
        let folded = [Span::new(-2, 1), Span::new(3, 0), Span::new(2, 2), Span::new(4, 0)];
        assert!(spans_match(&plain, &folded));
        assert!(spans_match(&folded, &plain));
        assert!(!spans_match(&plain, &plain[..1]));
        assert!(!spans_match(&[Span::new(0, 2)], &[Span::new(0, 1), Span::new(0, 1)]));
    }

    proptest! {
        #[test]
        fn indexes_are_those_of_the_spans(spans in spans(), limit in 0..20_usize, turns: Vec<bool>) {
            let mut expected = Vec::new();
            let mut index = 0;
            for span in &spans {
                index += i64::from(span.offset);
                for _ in 0..span.length {
                    expected.push(index);
                    index += 1;
                }
            }
            expected.truncate(limit);
            let indexes = Indexes::new(&spans, limit);
            prop_assert_eq!(indexes.clone().collect::<Vec<_>>(), expected.clone());
            let backwards: Vec<_> = indexes.clone().rev().collect();
            prop_assert!(backwards.iter().rev().eq(&expected));

            let mut indexes = indexes;
            let mut expected = std::collections::VecDeque::from(expected);
            for from_front in turns {
                prop_assert_eq!(indexes.len(), expected.len());
                if from_front {
                    prop_assert_eq!(indexes.next(), expected.pop_front());
                } else {
                    prop_assert_eq!(indexes.next_back(), expected.pop_back());
                }
            }
        }

        #[test]
        fn built_spans_stand_for_the_same_indexes(spans in spans()) {
            let mut builder = SpanBuilder::default();
            Indexes::new(&spans, usize::MAX).for_each(|index| builder.push(index));
            let built = builder.finish();
            let [a, b] = [&spans, &built].map(|s| Indexes::new(s, usize::MAX).collect::<Vec<_>>());
            prop_assert_eq!(a, b);
        }
    }
}
