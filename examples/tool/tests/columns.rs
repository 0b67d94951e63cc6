//! `ferula dump` writes columns that another implementation reads: pyarrow.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{START_MS, ferula, labels, options, path, program, run, store};
use ferula_chunkenc::histogram::{FloatHistogram, Span};
use ferula_tsdb::{BlockFormat, Db};

/// Prints every row as JSON, in the order of the file.
const PRINT_ROWS: &str = r#"
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
def tables(path):
    if path == "-":
        return pa.ipc.open_stream(sys.stdin.buffer).read_all()
    if path.endswith(".parquet"):
        return pq.read_table(path)
    return pa.ipc.open_file(path).read_all()
table = tables(sys.argv[1])
print(table.schema.remove_metadata().to_string(), file=sys.stderr)
for row in table.to_pylist():
    row["timestamp"] = round(row["timestamp"].timestamp() * 1000)
    print(json.dumps(row, sort_keys=True))
"#;

/// A Python that has pyarrow, or nothing with a line on why the test is skipped.
fn python() -> Option<PathBuf> {
    let python = program("python3", "FERULA_PYTHON")?;
    let imported = Command::new(&python).args(["-c", "import pyarrow.parquet"]).output();
    if imported.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("skipped: {} has no pyarrow; set FERULA_PYTHON to one that has", python.display());
    None
}

fn rows(python: &Path, file: &Path) -> Vec<serde_json::Value> {
    let file = file.to_str().expect("a plain path");
    let printed = run(python, &["-c", PRINT_ROWS, file]);
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn pyarrow_reads_what_is_dumped() {
    let Some(python) = python() else { return };
    let dir = store(BlockFormat::Ferula);
    let db = Db::open(dir.path(), options(BlockFormat::Ferula)).expect("the store");
    let histogram = FloatHistogram {
        count: 3.0,
        sum: 4.5,
        positive_spans: vec![Span::new(1, 1)],
        positive_buckets: vec![3.0],
        ..FloatHistogram::default()
    };
    let later = START_MS + 3 * 7_200_000;
    let mut batch = db.appender();
    let sizes = labels(&[("__name__", "sizes"), ("job", "gate")]);
    batch.append_histogram(&sizes, later, histogram).expect("the sample is accepted");
    batch.commit().expect("the log can be written");
    db.close().expect("the log can be synced");

    let (_, text, _) = ferula(&["dump", path(&dir), "--json"]);
    let mut expected = Vec::new();
    for series in text.lines() {
        let series: serde_json::Value = serde_json::from_str(series).expect("JSON");
        for pair in series["values"].as_array().into_iter().flatten() {
            let value: f64 = pair[1].as_str().and_then(|v| v.parse().ok()).expect("a number");
            let time = pair[0].as_f64().expect("seconds") * 1000.0;
            expected.push((series["metric"].clone(), time, value));
        }
    }
    assert_eq!(expected.len(), 660 + 10 * 660 + 10 * 420);
    for format in ["arrow", "parquet"] {
        let file = dir.path().join(format!("all.{format}"));
        let to = file.to_str().expect("a plain path");
        let (code, out, err) = ferula(&["dump", path(&dir), "--format", format, "--output", to]);
        assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
        let rows = rows(&python, &file);
        assert_eq!(rows.len(), expected.len() + 1, "{format}");
        let (histograms, floats): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row["value"].is_null());
        for (row, (metric, time, value)) in floats.iter().zip(&expected) {
            for name in ["__name__", "job", "path"] {
                assert_eq!(row[name], metric.get(name).cloned().unwrap_or_default());
            }
            assert_eq!(
                (row["timestamp"].as_f64(), row["value"].as_f64()),
                (Some(*time), Some(*value))
            );
        }
        let bucket = serde_json::json!({"lower": 1.0, "upper": 2.0, "count": 3.0});
        let histogram = serde_json::json!({"count": 3.0, "sum": 4.5, "buckets": [bucket]});
        assert_eq!(histograms[0]["histogram"], histogram);
        assert_eq!(histograms[0]["timestamp"], later);
    }
}

#[test]
fn pyarrow_reads_a_stream() {
    let Some(python) = python() else { return };
    let dir = store(BlockFormat::Ferula);
    let mut dump = Command::new(env!("CARGO_BIN_EXE_ferula"))
        .args(["dump", path(&dir), "--format", "arrow", "--match", "up"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let stream = dump.stdout.take().expect("it is piped");
    let read = Command::new(python).args(["-c", PRINT_ROWS, "-"]).stdin(stream).output();
    let read = read.expect("python can be started");
    assert!(dump.wait().expect("it ends").success());
    let schema = String::from_utf8_lossy(&read.stderr);
    assert!(schema.contains("job: dictionary<values=string, indices=int32"), "{schema}");
    assert!(schema.contains("timestamp: timestamp[ms, tz=UTC] not null"), "{schema}");
    assert_eq!(String::from_utf8_lossy(&read.stdout).lines().count(), 660);
}
