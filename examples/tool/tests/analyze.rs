//! `ferula analyze` counts what there is.

mod common;

use std::fs;

use common::{blocks, ferula, json, path, store};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};
use serde_json::Value;

#[test]
fn series_are_counted_once_over_blocks_and_head() {
    for format in [Ferula, Prometheus] {
        let dir = store(format);
        let found = json(0, &["analyze", path(&dir), "--json"]);
        let total = &found["total"];
        assert_eq!(total["series"], 21);
        assert_eq!(total["samples"], 660 + 10 * 660 + 10 * 420);
        // The pairs of two metrics, a job and 20 paths.
        assert_eq!(total["values"], 23);
        let names = |list: &str| -> Vec<(Value, Value)> {
            let list = found[list].as_array().expect("a list").iter();
            list.map(|one| (one["name"].clone(), one["series"].clone())).collect()
        };
        let metrics = [("requests".into(), 20.into()), ("up".into(), 1.into())];
        assert_eq!(names("metrics_by_series"), metrics);
        assert_eq!(names("metrics_by_bytes"), metrics);
        assert_eq!(found["labels_by_values"][0]["name"], "path");
        assert_eq!(found["labels_by_values"][0]["values"], 20);
        assert_eq!(found["labels_by_text"][0]["text_bytes"], 10 * 25 + 10 * 26);
        assert_eq!(found["pairs_by_series"][0]["value"], "gate");
        // Ten series begin after 240 of 660 samples.
        let churn = found["metrics_by_churn"][0]["churn"].as_f64().expect("a number");
        assert!((churn - 10.0 * 240.0 / 659.0).abs() < 1e-9, "{churn}");
        let churning = found["pairs_by_churn"][3]["value"].as_str().expect("text");
        assert!(churning.starts_with("/a/long/path/to/a/torch/1"), "{churning}");
    }
}

#[test]
fn the_bytes_of_a_block_are_those_of_its_chunks() {
    for format in [Ferula, Prometheus] {
        let dir = store(format);
        let block = &blocks(dir.path())[1];
        let ulid = block.file_name().and_then(|name| name.to_str()).expect("a name");
        let found = json(0, &["analyze", path(&dir), "--json", "--block", ulid]);
        let size = fs::metadata(block.join("chunks/000001")).expect("a segment").len();
        let counted = found["total"]["chunk_bytes"].as_u64().expect("a number");
        // The header, and the times that a segment has once.
        assert!(counted < size && size - counted < 200, "{counted} of {size}");
        assert_eq!(found["total"]["samples"], 240 * 21);
    }
}

#[test]
fn what_is_selected_is_counted() {
    let dir = store(Ferula);
    let arguments = ["analyze", path(&dir), "--json", "--match", "{path=~\".*/1.\"}", "--top", "3"];
    let found = json(0, &arguments);
    assert_eq!(found["total"]["series"], 10);
    assert_eq!(found["pairs_by_series"].as_array().expect("a list").len(), 3);
    let (code, out, err) = ferula(&["analyze", path(&dir)]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("21 series") && out.contains("job=\"gate\""), "{out}");
    for wrong in [&["--match", "sum(up)"][..], &["--block", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]] {
        let (code, _, err) = ferula(&[&["analyze", path(&dir)], wrong].concat());
        assert_eq!(code, Some(1), "{err}");
    }
}
