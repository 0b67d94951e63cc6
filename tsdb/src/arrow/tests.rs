//! Arrays say what the store holds.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampMillisecondType};
use ferula_chunkenc::histogram::{FloatHistogram, Span};
use ferula_chunkenc::stale;
use ferula_wal::fs::FaultFs;

use super::*;
use crate::{Db, Options};

fn db() -> Db {
    let options = Options::builder().maintenance_interval(None).build().unwrap();
    Db::open_with(Arc::new(FaultFs::new()), "/data", options).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn scan(db: &Db, options: ArrowOptions) -> Vec<RecordBatch> {
    let set = db.querier(i64::MIN, i64::MAX).unwrap().select(&[]).unwrap();
    set.into_record_batches(options).unwrap().collect::<Result<_, _>>().unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let found = batch[column].as_dictionary::<Int32Type>();
    let found = found.downcast_dict::<arrow_array::StringArray>().unwrap();
    found.into_iter().map(|text| text.map(str::to_owned)).collect()
}

fn rows(batch: &RecordBatch) -> Vec<(i64, u64)> {
    let times = batch["timestamp"].as_primitive::<TimestampMillisecondType>();
    let values = batch["value"].as_primitive::<Float64Type>();
    times.values().iter().zip(values.values()).map(|(t, v)| (*t, v.to_bits())).collect()
}

#[test]
fn rows_are_samples_by_series_and_labels_are_columns() {
    let db = db();
    let mut batch = db.appender();
    // A label may have the name of a column, and another one the name that this gets.
    let odd = labels(&[("__name__", "a"), ("value", "v"), ("exported_value", "w")]);
    let plain = labels(&[("__name__", "b"), ("job", "api")]);
    for (time, value) in [(1, 1.5), (2, f64::from_bits(stale::STALE_NAN.to_bits())), (3, -0.0)] {
        batch.append(&odd, time, value).unwrap();
        batch.append(&plain, time * 10, value + 1.0).unwrap();
    }
    batch.commit().unwrap();
    let all = scan(&db, ArrowOptions::default());
    let [rows_of] = &all[..] else { panic!("{} batches", all.len()) };
    let schema = rows_of.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let labels = ["__name__", "exported_value", "job", "exported_exported_value"];
    assert_eq!(names, [&labels[..], &["timestamp", "value"]].concat());
    assert_eq!(texts(rows_of, "__name__").concat_all(), "aaabbb");
    assert_eq!(
        texts(rows_of, "exported_exported_value")[..4],
        [some("v"), some("v"), some("v"), None]
    );
    assert_eq!(texts(rows_of, "exported_value")[2..4], [some("w"), None]);
    assert_eq!(texts(rows_of, "job")[2..4], [None, some("api")]);
    let stale = stale::STALE_NAN.to_bits();
    let expected = [(1, 1.5_f64.to_bits()), (2, stale), (3, (-0.0_f64).to_bits())];
    assert_eq!(rows(rows_of)[..3], expected);
    assert_eq!(rows(rows_of)[3], (10, 2.5_f64.to_bits()));
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

trait ConcatAll {
    fn concat_all(&self) -> String;
}

impl ConcatAll for Vec<Option<String>> {
    fn concat_all(&self) -> String {
        self.iter().flatten().map(String::as_str).collect()
    }
}

#[test]
fn batches_are_bounded_and_share_their_dictionaries() {
    let db = db();
    let mut batch = db.appender();
    for n in 0..7 {
        let series = labels(&[("n", &n.to_string())]);
        for time in 0..(if n == 3 { 25 } else { 4 }) {
            batch.append(&series, time, f64::from(n)).unwrap();
        }
    }
    batch.commit().unwrap();
    let options = ArrowOptions { batch_rows: 10, ..ArrowOptions::default() };
    let all = scan(&db, options);
    assert!(all.iter().all(|batch| (1..=10).contains(&batch.num_rows())));
    let whole = scan(&db, ArrowOptions::default());
    let joined: Vec<_> = all.iter().flat_map(rows).collect();
    assert_eq!(joined, rows(&whole[0]));
    assert_eq!(joined.len(), 6 * 4 + 25);
    let joined: Vec<_> = all.iter().flat_map(|batch| texts(batch, "n")).collect();
    assert_eq!(joined, texts(&whole[0], "n"));
    let dictionary = |batch: &RecordBatch| {
        let values = Arc::clone(batch["n"].as_dictionary::<Int32Type>().values());
        values.as_string::<i32>().value_data().as_ptr()
    };
    assert!(all.iter().all(|batch| dictionary(batch) == dictionary(&all[0])));
}

#[test]
fn series_of_several_sets_come_once() {
    let db = db();
    let mut batch = db.appender();
    for n in ["1", "2", "3"] {
        batch.append(&labels(&[("n", n)]), 5, 1.0).unwrap();
    }
    batch.commit().unwrap();
    let select = |from: &str| {
        let matcher = ferula_index::Matcher::new(ferula_index::MatchOp::Regex, "n", from).unwrap();
        db.querier(0, 10).unwrap().select(&[matcher]).unwrap()
    };
    let sets = vec![select("2|3"), select("1|2"), select("none")];
    let batches = RecordBatches::new(sets, ArrowOptions::default()).unwrap();
    let all: Vec<_> = batches.collect::<Result<_, _>>().unwrap();
    assert_eq!(texts(&all[0], "n").concat_all(), "123");
    let none = RecordBatches::new(Vec::new(), ArrowOptions::default()).unwrap();
    assert_eq!(none.schema().fields().len(), 2);
    assert_eq!(none.count(), 0);
}

#[test]
fn histograms_have_a_column_or_are_refused() {
    let db = db();
    let series = labels(&[("n", "1")]);
    let histogram = FloatHistogram {
        count: 3.0,
        sum: 4.5,
        zero_threshold: 0.5,
        zero_count: 1.0,
        positive_spans: vec![Span::new(1, 1)],
        positive_buckets: vec![2.0],
        ..FloatHistogram::default()
    };
    let mut batch = db.appender();
    batch.append(&series, 1, 1.0).unwrap();
    batch.append_histogram(&series, 2, histogram).unwrap();
    batch.commit().unwrap();

    let set = db.querier(0, 10).unwrap().select(&[]).unwrap();
    let mut refused = set.into_record_batches(ArrowOptions::default()).unwrap();
    let Some(Err(ArrowError::ExternalError(error))) = refused.next() else { panic!("no error") };
    let error = error.downcast_ref::<Error>();
    let Some(Error::UnexpectedHistogram { labels, timestamp: 2 }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(*labels, series);
    assert!(refused.next().is_none());

    let all = scan(&db, ArrowOptions { histograms: true, ..ArrowOptions::default() });
    let [found] = &all[..] else { panic!("{} batches", all.len()) };
    let values = found["value"].as_primitive::<Float64Type>();
    assert_eq!((values.is_null(0), values.is_null(1), values.value(0)), (false, true, 1.0));
    let found = found["histogram"].as_struct();
    assert_eq!((found.is_null(0), found.is_null(1)), (true, false));
    let float = |name: &str| found[name].as_primitive::<Float64Type>().value(1);
    assert_eq!((float("count"), float("sum")), (3.0, 4.5));
    let buckets = found["buckets"].as_list::<i32>().value(1);
    let part =
        |name: &str| buckets.as_struct()[name].as_primitive::<Float64Type>().values().to_vec();
    assert_eq!(part("lower"), [-0.5, 1.0]);
    assert_eq!(part("upper"), [0.5, 2.0]);
    assert_eq!(part("count"), [1.0, 2.0]);
}
