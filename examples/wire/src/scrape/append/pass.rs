//! One page on its way into a batch, sample by sample.

use ferula_index::{Labels, SeriesRef};
use ferula_tsdb::{AppendError, Exemplar};

use super::super::cache::SeriesCache;
use super::super::cardinality::LabelValues;
use super::super::error::{Place, ScrapeError};
use super::super::fetch::Page;
use super::super::metadata::{Descriptions, Escapes, Family};
use super::super::target::Target;
use super::{Counts, histogram, labels};
use crate::exposition::protobuf::{HistogramOptions, ProtobufParser};
use crate::exposition::text::{Entry, TextParser};
use crate::exposition::{
    Collected, Collector, Format, ParseError, ParseProblem, Sample, SampleSource, SampleValue,
};
use crate::store::Batch;

/// How far a sample may lie in the future, in milliseconds.
const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// A page, and where its samples go.
pub(super) struct Pass<'a> {
    pub(super) target: &'a Target,
    pub(super) cache: &'a mut SeriesCache,
    pub(super) descriptions: &'a mut Descriptions,
    pub(super) label_values: &'a mut LabelValues,
    pub(super) batch: &'a mut dyn Batch,
    pub(super) timestamp: i64,
    pub(super) counts: &'a mut Counts,
    /// Whether it is stored since when series have been counting.
    pub(super) has_starts: bool,
    /// Whether a histogram had too many buckets.
    pub(super) is_over_buckets: bool,
}

impl Pass<'_> {
    /// Appends all samples of a page.
    pub(super) fn page(&mut self, page: &Page) -> Result<(), ScrapeError> {
        match page.format {
            // A page of nothing is one without samples in any format.
            _ if page.body.is_empty() => {}
            Format::Text => self.text(TextParser::new(&page.body), Escapes::Text)?,
            Format::OpenMetrics => {
                let parser = TextParser::openmetrics(&page.body, self.has_starts);
                self.text(parser, Escapes::OpenMetrics)?;
            }
            Format::Protobuf => self.protobuf(&page.body)?,
        }
        let limits = &self.target.job.limits;
        match limits.samples {
            Some(limit) if self.counts.added > limit => {
                return Err(ScrapeError::SampleLimit { limit, found: self.counts.added });
            }
            _ => {}
        }
        match limits.histogram_buckets {
            Some(limit) if self.is_over_buckets => Err(ScrapeError::BucketLimit { limit }),
            _ => Ok(()),
        }
    }

    fn text(&mut self, mut parser: TextParser<'_>, escapes: Escapes) -> Result<(), ScrapeError> {
        let histograms = &self.target.job.histograms;
        let mut collector = histograms.convert.then(Collector::default);
        let mut family = Family::default();
        let mut is_ended = false;
        while let Some(entry) = parser.next_entry()? {
            let place = Place::Line(parser.entry_line());
            if is_ended {
                let line = parser.entry_line();
                return Err(ParseError { line, problem: ParseProblem::BehindEnd }.into());
            }
            let Entry::Sample(line) = entry else {
                let done = collector.as_mut().and_then(Collector::finish);
                self.collected(done.as_ref(), place, &mut family)?;
                match entry {
                    Entry::Help { metric, text } => family.help(metric, text, escapes),
                    Entry::Type { metric, kind } => family.kind(metric, kind),
                    Entry::Unit { metric, unit } => family.unit(metric, unit),
                    Entry::End => is_ended = true,
                    Entry::Sample(_) => {}
                }
                continue;
            };
            let start = if self.has_starts { parser.created() } else { 0 };
            let value = SampleValue::Float(line.value);
            let sample = Sample { series: line.series, value, timestamp: line.timestamp, start };
            if let Some(collector) = &mut collector {
                let (labels, exemplar) = (parser.labels(), parser.exemplar_line());
                let (family_name, kind) = (parser.family(), parser.kind());
                let (is_part, done) = collector.take(family_name, kind, labels, &sample, exemplar);
                self.collected(done.as_ref(), place, &mut family)?;
                if is_part && !histograms.always_classic {
                    continue;
                }
            }
            self.sample(&sample, &parser, place, &mut family)?;
        }
        let place = Place::Line(parser.line());
        if escapes == Escapes::OpenMetrics && !is_ended {
            let line = parser.line();
            return Err(ParseError { line, problem: ParseProblem::NoEnd }.into());
        }
        let done = collector.as_mut().and_then(Collector::finish);
        self.collected(done.as_ref(), place, &mut family)
    }

    /// Appends a classic histogram that was gathered; one that makes no native histogram is left out.
    fn collected(
        &mut self,
        done: Option<&Collected<'_>>,
        place: Place,
        family: &mut Family<'_>,
    ) -> Result<(), ScrapeError> {
        match done.and_then(|done| Some((done.sample()?, done))) {
            Some((sample, source)) => self.sample(&sample, source, place, family),
            None => Ok(()),
        }
    }

    fn protobuf(&mut self, body: &[u8]) -> Result<(), ScrapeError> {
        let histograms = &self.target.job.histograms;
        let options = HistogramOptions {
            native: histograms.native,
            always_classic: histograms.always_classic,
            convert: histograms.convert,
        };
        let mut parser = ProtobufParser::new(body, options);
        while let Some(read) = parser.next_family()? {
            let place = Place::Family(parser.place());
            let mut family = Family::default();
            family.help(read.metric, read.help, Escapes::None);
            family.kind(read.metric, read.kind);
            family.unit(read.metric, read.unit);
            read.each_sample(&mut |sample, source| {
                self.sample(sample, source, place, &mut family)
            })?;
        }
        Ok(())
    }

    fn sample(
        &mut self,
        sample: &Sample<'_>,
        source: &dyn SampleSource,
        place: Place,
        family: &mut Family<'_>,
    ) -> Result<(), ScrapeError> {
        self.counts.scraped += 1;
        if self.cache.is_dropped(sample.series) {
            return Ok(());
        }
        self.counts.added += 1;
        let job = &self.target.job;
        // Beyond the limit samples are only counted; the scrape fails at its end.
        if job.limits.samples.is_some_and(|limit| self.counts.added > limit) {
            if !job.metric_relabel.is_empty()
                && labels::labels(self.target, source, place)?.is_none()
            {
                self.drop_series(sample);
            }
            return Ok(());
        }
        let own_timestamp = sample.timestamp.filter(|_| job.honor_timestamps);
        let timestamp = own_timestamp.unwrap_or(self.timestamp);
        let hit = self.cache.get(sample.series);
        if hit.is_some_and(|hit| hit.is_repeated && own_timestamp.is_none())
            || timestamp > self.timestamp.saturating_add(MAX_AHEAD_MS)
        {
            // Of a series that is twice on a page the first sample counts.
            self.counts.refused += 1;
            return Ok(());
        }
        let Some(value) = histogram::limited(job, &sample.value)
            .map_err(|source| ScrapeError::Histogram { place, source })?
        else {
            self.is_over_buckets = true;
            return Ok(());
        };
        let Sample { series, timestamp: own, start, .. } = *sample;
        let sample = Sample { series, value, timestamp: own, start };
        let by_ref = hit.map(|hit| self.append(hit.series, &sample, timestamp));
        let appended = match by_ref {
            Some(Ok(series)) => Ok((series, false)),
            None | Some(Err(AppendError::UnknownSeries { .. })) => {
                let Some(labels) = labels::labels(self.target, source, place)? else {
                    self.drop_series(&sample);
                    return Ok(());
                };
                let (labels, is_limited) = self.limited(labels, place)?;
                let appended = match is_limited {
                    true => self.append_limited(labels, &sample, timestamp),
                    false => self.append_new(&labels, &sample, timestamp),
                };
                self.counts.series_added += usize::from(hit.is_none() && appended.is_ok());
                appended.map(|series| (series, true))
            }
            Some(Err(error)) => Err(error),
        };
        match appended {
            Ok((series, is_new)) => {
                self.exemplars(&sample, source, series, timestamp);
                if self.descriptions.is_due(family, is_new) {
                    let labels = source.labels();
                    let name = labels.first().map_or("", |(_, name)| &**name);
                    self.descriptions.tell(self.batch, family, name, series);
                }
                if own_timestamp.is_none() || job.track_timestamps_staleness {
                    self.cache.track(sample.series);
                }
                Ok(())
            }
            Err(
                AppendError::OutOfOrder { .. }
                | AppendError::DuplicateTimestamp { .. }
                | AppendError::TooOld { .. }
                | AppendError::TimeOutOfRange { .. },
            ) => {
                self.counts.refused += 1;
                Ok(())
            }
            Err(source) => Err(ScrapeError::Append { place, source }),
        }
    }

    /// The labels of a new series, without too many values of any of them.
    fn limited(&mut self, labels: Labels, place: Place) -> Result<(Labels, bool), ScrapeError> {
        let Some(config) = &self.target.job.cardinality else { return Ok((labels, false)) };
        let limited = self.label_values.limit(config, labels);
        let (labels, is_limited) =
            limited.map_err(|source| ScrapeError::Labels { place, source })?;
        self.counts.limited += usize::from(is_limited);
        Ok((labels, is_limited))
    }

    /// Appends to a series that several lines of the page may have become. Each of them is known by its own
    /// text from then on, whether or not its sample is the one that is stored.
    fn append_limited(
        &mut self,
        labels: Labels,
        sample: &Sample<'_>,
        timestamp: i64,
    ) -> Result<SeriesRef, AppendError> {
        if let Some(series) = self.label_values.shared(&labels) {
            match self.append(series, sample, timestamp) {
                Err(AppendError::UnknownSeries { .. }) => {}
                appended => {
                    self.cache.insert(sample.series, series);
                    return appended;
                }
            }
        }
        let series = self.append_new(&labels, sample, timestamp)?;
        self.label_values.share(labels, series);
        Ok(series)
    }

    /// Appends to a series that is known.
    fn append(
        &mut self,
        series: SeriesRef,
        sample: &Sample<'_>,
        timestamp: i64,
    ) -> Result<SeriesRef, AppendError> {
        let start = self.start(sample);
        let batch = &mut self.batch;
        match &sample.value {
            SampleValue::Float(value) if start == 0 => batch.append_ref(series, timestamp, *value),
            SampleValue::Float(value) => {
                batch.append_ref_with_start(series, start, timestamp, *value)
            }
            SampleValue::Histogram(histogram) => {
                let histogram = (**histogram).clone();
                batch.append_histogram_ref(series, start, timestamp, histogram)
            }
        }
        .map(|()| series)
    }

    /// Appends to the series with these labels, and notes what it is called on the page.
    fn append_new(
        &mut self,
        labels: &Labels,
        sample: &Sample<'_>,
        timestamp: i64,
    ) -> Result<SeriesRef, AppendError> {
        let start = self.start(sample);
        let series = match &sample.value {
            SampleValue::Float(value) if start == 0 => self.batch.append(labels, timestamp, *value),
            SampleValue::Float(value) => {
                self.batch.append_with_start(labels, start, timestamp, *value)
            }
            SampleValue::Histogram(histogram) => {
                let histogram = (**histogram).clone();
                self.batch.append_histogram(labels, start, timestamp, histogram)
            }
        }?;
        self.cache.insert(sample.series, series);
        Ok(series)
    }

    /// Since when a series has been counting, if that is to be stored.
    fn start(&self, sample: &Sample<'_>) -> i64 {
        if self.has_starts { sample.start } else { 0 }
    }

    /// Adds the exemplars of a sample. Those of a native histogram that have no time are passed over, for
    /// they could not be told from those of the scrape before.
    fn exemplars(
        &mut self,
        sample: &Sample<'_>,
        source: &dyn SampleSource,
        series: SeriesRef,
        timestamp: i64,
    ) {
        let is_float = matches!(sample.value, SampleValue::Float(_));
        for exemplar in source.exemplars() {
            let Some(timestamp) = exemplar.timestamp.or(is_float.then_some(timestamp)) else {
                continue;
            };
            let labels = Labels::from_pairs(exemplar.labels.iter().map(|(n, v)| (n, v)));
            let appended = labels.ok().map(|labels| {
                let exemplar = Exemplar::new(timestamp, exemplar.value, labels);
                self.batch.append_exemplar_ref(series, exemplar)
            });
            // No sample is given up for an exemplar.
            self.counts.refused_exemplars += usize::from(!matches!(appended, Some(Ok(()))));
        }
    }

    /// Notes that the rules of the job drop a series.
    fn drop_series(&mut self, sample: &Sample<'_>) {
        self.cache.drop_series(sample.series);
        self.counts.added -= 1;
    }
}
