//! `ferula repair` rescues what can be read, and removes nothing.

mod common;

use common::{blocks, content, ferula, flip, json, path, store};
use ferula_tsdb::BlockFormat::{Ferula, Prometheus};

#[test]
fn the_readable_chunks_of_a_block_are_rescued() {
    for (format, at) in [(Ferula, 0), (Prometheus, 0), (Ferula, 1), (Prometheus, 1)] {
        let dir = store(format);
        ferula(&["delete", path(&dir), "--match", "up", "--max-time", "1700002800"]);
        let (_, before, _) = ferula(&["dump", path(&dir)]);
        let damaged = blocks(dir.path())[at].clone();
        let name = damaged.file_name().expect("a name").to_owned();
        flip(&damaged.join("chunks/000001"), 100);
        let as_it_was = content(&damaged);
        let report = json(3, &["repair", path(&dir), "--json"]);
        let repaired = report["repaired"].as_array().expect("a list");
        assert_eq!(repaired.len(), 1);
        assert!(repaired[0]["damage"][0]["offset"].is_u64(), "{report}");
        let moved = dir.path().join("damaged").join(&name);
        assert_eq!(repaired[0]["moved_to"], moved.to_str().expect("a plain path"));
        let bytes = |files: &[(std::path::PathBuf, Vec<u8>)]| -> Vec<Vec<u8>> {
            files.iter().map(|(_, bytes)| bytes.clone()).collect()
        };
        assert_eq!(bytes(&content(&moved)), bytes(&as_it_was), "nothing is removed");
        // What is left is a part of what there was, deletions included, and intact.
        json(0, &["verify", path(&dir), "--json"]);
        let (code, after, err) = ferula(&["dump", path(&dir)]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let mut lines = before.lines();
        assert!(after.lines().all(|line| lines.any(|other| other == line)), "in the same order");
        let n_lost = before.lines().count() - after.lines().count();
        match (format, at) {
            // The log has it all.
            (_, 1) => assert_eq!(n_lost, 0),
            // A chunk of 120 samples; a page of many series has them all.
            (Prometheus, _) => assert_eq!(n_lost, 120),
            _ => {
                let n_rescued = repaired[0]["rescued"].as_u64().unwrap_or(0);
                assert_eq!(n_lost as u64 + n_rescued, 240 * 10 + 119);
            }
        }
        let (code, out, _) = ferula(&["repair", path(&dir)]);
        assert_eq!((code, out.as_str()), (Some(0), "no block is damaged\n"));
    }
}

#[test]
fn a_block_that_does_not_open_is_moved_aside() {
    let dir = store(Ferula);
    let damaged = blocks(dir.path())[0].clone();
    flip(&damaged.join("meta.json"), 0);
    let (code, out, _) = ferula(&["repair", path(&dir)]);
    assert_eq!(code, Some(3));
    assert!(out.contains("nothing can be read of it"), "{out}");
    assert!(!damaged.exists());
    assert_eq!(blocks(&dir.path().join("damaged")).len(), 1);
    let (code, _, err) = ferula(&["dump", path(&dir)]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}
