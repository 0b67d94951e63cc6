//! What batches said of series beside their samples, and what may be found of it.
//!
//! Every exemplar has a time and a value of its own, which grow from commit to commit, so that none
//! is refused.

use std::collections::{BTreeMap, BTreeSet};

use ferula_index::Labels;
use ferula_tsdb::{Exemplar, Metadata, MetricType, SeriesExemplars};

use crate::model::{Content, Gap, ensure};

/// An exemplar that the workload made; its time and value are `serial`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotedExemplar {
    pub(crate) series: u16,
    pub(crate) serial: u32,
    /// The serial of a sample of the same batch, if that kept one.
    pub(crate) beside: Option<u32>,
    /// Whether it was acknowledged or found. If not, it may be found or not.
    pub(crate) is_certain: bool,
    /// Whether it must be found even after the power was cut.
    pub(crate) is_durable: bool,
}

/// The exemplars of all batches whose commit was called, in order, but for those that are known to
/// be gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exemplars {
    /// How many the database keeps.
    pub(crate) capacity: usize,
    pub(crate) noted: Vec<NotedExemplar>,
}

impl Exemplars {
    /// Everything acknowledged so far survives from now on.
    pub(crate) fn make_durable(&mut self) {
        for noted in self.noted.iter_mut().filter(|noted| noted.is_certain) {
            noted.is_durable = true;
        }
    }

    /// Checks what is found beside the samples in `content`, and takes it for what there is from now
    /// on. `expected` are the serials of samples that are there unless their batch is lost.
    pub(crate) fn check(
        &mut self,
        found: &[SeriesExemplars],
        content: &Content,
        expected: &BTreeSet<u32>,
        gap: Gap,
        labels_of: impl Fn(u16) -> Labels,
    ) -> Result<(), String> {
        let found = self.assign(found, labels_of)?;
        ensure!(found.len() <= self.capacity, "{} exemplars, too many", found.len());
        let samples: BTreeSet<u64> =
            content.iter().flat_map(|(_, samples)| samples).map(|s| s.value.to_bits()).collect();
        let has_sample = |serial: u32| samples.contains(&f64::from(serial).to_bits());
        for (at, noted) in self.noted.iter().enumerate() {
            let is_found = found.contains(&noted.serial);
            // What comes later and may have displaced it.
            let later = self.noted.len() - at - 1;
            let is_kept = noted.is_certain
                && (gap != Gap::Power || noted.is_durable || noted.beside.is_some_and(has_sample));
            ensure!(is_found || !is_kept || later >= self.capacity, "{noted:?} is lost");
            let is_lost = noted
                .beside
                .is_some_and(|serial| expected.contains(&serial) && !has_sample(serial));
            ensure!(!is_found || !is_lost, "{noted:?} is there without its batch");
        }
        let mut n_later = found.len();
        let capacity = self.capacity;
        self.noted.retain_mut(|noted| {
            let is_found = found.contains(&noted.serial);
            n_later -= usize::from(is_found);
            if is_found {
                noted.is_certain = true;
                // What was found after a power cut was on the disk.
                noted.is_durable |= gap == Gap::Power;
            } else if gap != Gap::None {
                // One that was displaced comes back if those that displaced it are lost.
                noted.is_certain = false;
                return n_later >= capacity;
            }
            true
        });
        Ok(())
    }

    /// The serials of what is found; fails if something was invented.
    fn assign(
        &self,
        found: &[SeriesExemplars],
        labels_of: impl Fn(u16) -> Labels,
    ) -> Result<BTreeSet<u32>, String> {
        let by_time: BTreeMap<i64, &NotedExemplar> =
            self.noted.iter().map(|noted| (i64::from(noted.serial), noted)).collect();
        let mut serials = BTreeSet::new();
        ensure!(found.is_sorted_by(|a, b| a.labels < b.labels), "series are not in order");
        for SeriesExemplars { labels, exemplars, .. } in found {
            ensure!(
                exemplars.is_sorted_by(|a, b| a.timestamp < b.timestamp),
                "exemplars of {labels} are not in order: {exemplars:?}"
            );
            for exemplar in exemplars {
                let noted = by_time.get(&exemplar.timestamp);
                let noted = noted.ok_or_else(|| format!("{exemplar:?} of {labels} is invented"))?;
                ensure!(
                    *exemplar == exemplar_of(noted.serial) && *labels == labels_of(noted.series),
                    "{exemplar:?} of {labels}, noted was {noted:?}"
                );
                serials.insert(noted.serial);
            }
        }
        Ok(serials)
    }
}

/// The exemplar with this serial.
pub(crate) fn exemplar_of(serial: u32) -> Exemplar {
    let labels = Labels::from_pairs([("trace", serial.to_string())]).expect("one short label");
    Exemplar::new(i64::from(serial), f64::from(serial), labels)
}

/// Metadata that the workload made; its help is `serial`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotedMetadata {
    pub(crate) series: u16,
    pub(crate) serial: u32,
    /// The serial of a sample of the series in the same batch, if that kept one.
    pub(crate) beside: Option<u32>,
    /// Time of such a sample that is newer than those before it. One that came out of order leaves
    /// the head with the next cut, whatever its time, and its series with it if it has no others.
    pub(crate) in_order_at: Option<i64>,
    /// Whether it was acknowledged or found. If not, it may be found or not.
    pub(crate) is_certain: bool,
    /// Whether it must be found even after the power was cut.
    pub(crate) is_durable: bool,
}

/// The metadata of all batches whose commit was called, in order, but for what is known to be gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetadataNotes {
    pub(crate) noted: Vec<NotedMetadata>,
}

impl MetadataNotes {
    /// Everything acknowledged so far survives from now on.
    pub(crate) fn make_durable(&mut self) {
        for noted in self.noted.iter_mut().filter(|noted| noted.is_certain) {
            noted.is_durable = true;
        }
    }

    /// Checks what is found of each series beside the samples in `content`, and takes it for what
    /// there is from now on. A series with a sample in order from `valid_from` on is in the head.
    pub(crate) fn check(
        &mut self,
        found_of: impl Fn(u16) -> Result<Option<Metadata>, String>,
        content: &Content,
        gap: Gap,
        valid_from: i64,
    ) -> Result<(), String> {
        let samples: BTreeSet<u64> =
            content.iter().flat_map(|(_, samples)| samples).map(|s| s.value.to_bits()).collect();
        let has_sample = |serial: u32| samples.contains(&f64::from(serial).to_bits());
        let series: BTreeSet<u16> = self.noted.iter().map(|noted| noted.series).collect();
        for series in series {
            let of_series = || self.noted.iter().filter(|noted| noted.series == series);
            let is_kept = |noted: &&NotedMetadata| {
                let is_there = noted.beside.is_some_and(has_sample);
                noted.is_certain && (gap != Gap::Power || noted.is_durable || is_there)
            };
            let kept = of_series().rfind(is_kept);
            let Some(found) = found_of(series)? else {
                let is_in_head = |noted: &NotedMetadata| {
                    noted.in_order_at.is_some_and(|time| time >= valid_from)
                };
                ensure!(!of_series().filter(is_kept).any(is_in_head), "{kept:?} is lost");
                if gap != Gap::None {
                    // What the log has of a series that left the head may come back with it.
                    let of_series = self.noted.iter_mut().filter(|noted| noted.series == series);
                    of_series.for_each(|noted| noted.is_certain = false);
                }
                continue;
            };
            let noted = of_series().find(|noted| metadata_of(noted.serial) == found);
            let noted = *noted.ok_or_else(|| format!("{found:?} of {series} is invented"))?;
            ensure!(
                kept.is_none_or(|kept| kept.serial <= noted.serial),
                "{found:?} of {series}, though {kept:?} is newer"
            );
            self.noted.retain_mut(|other| {
                if other.serial == noted.serial {
                    other.is_certain = true;
                    // What was found after a power cut was on the disk.
                    other.is_durable |= gap == Gap::Power;
                }
                other.series != series || other.serial <= noted.serial || gap == Gap::None
            });
        }
        Ok(())
    }
}

/// The metadata with this serial.
pub(crate) fn metadata_of(serial: u32) -> Metadata {
    Metadata::new(MetricType::Gauge, "", serial.to_string())
}
