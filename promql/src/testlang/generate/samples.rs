//! Samples for the queries that are made at random.

use std::fmt::Write as _;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{FloatHistogram, Span};
use ferula_index::Labels;

use super::QueryGenerator;
use crate::storage::StorageError;
use crate::testlang::TestStorage;

/// Fills a storage with the series that the queries are about, `n_series` of each metric with
/// `n_samples` samples each, 15 seconds apart.
///
/// # Errors
/// Whatever keeps the storage from taking them.
pub fn fill(
    storage: &mut dyn TestStorage,
    n_series: u32,
    n_samples: u32,
) -> Result<(), StorageError> {
    let mut random = QueryGenerator::new(u64::from(n_series) << 32 | u64::from(n_samples));
    for series in 0..n_series {
        for metric in ["c_total", "g", "h", "b_bucket"] {
            let mut name = String::new();
            write!(name, "{series}")?;
            let mut pairs = vec![
                ("__name__", metric.to_owned()),
                ("a", (series % 3).to_string()),
                ("b", ["x", "y", "z", "w"][(series / 3 % 4) as usize].to_owned()),
                ("i", name),
            ];
            if metric == "b_bucket" {
                pairs[3].1 = (series / 4).to_string();
                let bound = ["0.1", "1", "10", "+Inf"][(series % 4) as usize];
                pairs[1].1 = (series / 4 % 3).to_string();
                pairs[2].1 = "x".to_owned();
                pairs.push(("le", bound.to_owned()));
            }
            let labels = Labels::from_pairs(pairs)?;
            storage.append(&labels, &samples(metric, series, n_samples, &mut random))?;
        }
    }
    storage.commit()
}

fn samples(metric: &str, series: u32, n_samples: u32, random: &mut QueryGenerator) -> SampleBatch {
    let mut batch = SampleBatch::new();
    let mut counter = 0_u32;
    for i in 0..n_samples {
        if random.below(20) == 0 {
            continue;
        }
        let step = u32::try_from(random.below(9)).unwrap_or(0);
        counter = if random.below(40) == 0 { 0 } else { counter + step };
        let (time, value) = (i64::from(i) * 15_000 + i64::from(series % 7), f64::from(counter));
        match metric {
            "h" if i % 16 != 15 => batch.push_histogram(time, histogram(counter).into()),
            "g" => batch.push(time, value * 1.7 - 12.0),
            _ => batch.push(time, value * f64::from(1 + series % 4)),
        }
    }
    batch
}

fn histogram(count: u32) -> FloatHistogram {
    let buckets: Vec<f64> = (0..12_u32).map(|bucket| f64::from(count * bucket)).collect();
    let total = buckets.iter().sum();
    FloatHistogram {
        count: total,
        sum: total * 1.5,
        positive_spans: vec![Span::new(-3, 12)],
        positive_buckets: buckets,
        ..FloatHistogram::default()
    }
}
