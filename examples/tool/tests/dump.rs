//! `ferula dump` writes what the store holds.

mod common;

use common::{START_MS, blocks, ferula, flip, path, program, run, store};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};

#[test]
fn all_formats_hold_the_samples() {
    let dir = store(Ferula);
    let arguments = ["dump", path(&dir), "--match", "up", "--max-time", "1699999230"];
    let (code, out, err) = ferula(&arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        format!(
            "{{__name__=\"up\", job=\"gate\"}} 1 {START_MS}\n\
             {{__name__=\"up\", job=\"gate\"}} 1 {}\n",
            START_MS + 30_000
        )
    );
    let (_, out, _) = ferula(&[&arguments[..], &["--format", "openmetrics"]].concat());
    assert_eq!(out, "up{job=\"gate\"} 1 1699999200\nup{job=\"gate\"} 1 1699999230\n# EOF\n");
    let (_, out, _) = ferula(&[&arguments[..], &["--json"]].concat());
    assert_eq!(
        out,
        "{\"metric\":{\"__name__\":\"up\",\"job\":\"gate\"},\
         \"values\":[[1699999200,\"1\"],[1699999230,\"1\"]]}\n"
    );
}

#[test]
fn blocks_and_head_are_dumped_once_each_whatever_selectors_overlap() {
    let dir = store(Ferula);
    let (_, all, _) = ferula(&["dump", path(&dir)]);
    assert_eq!(all.lines().count(), 660 + 10 * 660 + 10 * 420);
    let (_, out, _) = ferula(&["dump", path(&dir), "--match", "up", "--match", "{job=\"gate\"}"]);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&out), sorted(&all));
}

#[test]
fn promtool_dumps_the_same() {
    let Some(promtool) = program("promtool", "FERULA_PROMTOOL") else { return };
    let dir = store(Prometheus);
    let (_, out, _) = ferula(&["dump", path(&dir)]);
    assert_eq!(out, run(&promtool, &["tsdb", "dump", path(&dir)]));
    // Ours says what it selects; theirs has no such lines either.
    let (_, out, _) = ferula(&["dump", path(&dir), "--format", "openmetrics"]);
    let theirs = run(&promtool, &["tsdb", "dump-openmetrics", path(&dir)]);
    let seconds = |text: &str| {
        let time = |line: &str| {
            line.rsplit_once(' ').map(|(rest, time)| (rest.to_owned(), time.parse::<f64>().ok()))
        };
        text.lines().map(time).collect::<Vec<_>>()
    };
    assert_eq!(seconds(&out), seconds(&theirs));
}

#[test]
fn a_block_that_does_not_open_is_left_out_with_a_word() {
    let dir = store(Ferula);
    let block = &blocks(dir.path())[0];
    flip(&block.join("meta.json"), 0);
    let (code, out, err) = ferula(&["dump", path(&dir), "--match", "up"]);
    assert_eq!(code, Some(3));
    assert_eq!(out.lines().count(), 420);
    assert!(err.contains(block.to_str().unwrap()), "{err}");
}

#[test]
fn damage_that_is_met_on_the_way_ends_the_dump() {
    let dir = store(Ferula);
    let file = blocks(dir.path())[0].join("index");
    flip(&file, 20);
    let (code, _, err) = ferula(&["dump", path(&dir), "--match", "up"]);
    assert_eq!(code, Some(1));
    assert!(err.contains(file.to_str().unwrap()), "{err}");
}
