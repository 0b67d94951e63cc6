//! One database at a time owns a data directory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{all, commit, labels, open, options, sample};
use ferula_tsdb::{Clock, Db, Error};

#[test]
fn a_directory_in_use_is_refused_with_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path());
    let refused = Db::open(dir.path(), options()).unwrap_err();
    let own = std::process::id();
    assert!(matches!(&refused, Error::Locked { pid: Some(pid), .. } if *pid == own), "{refused}");
    let expected = format!("{} is in use by process {own}", dir.path().display());
    assert_eq!(refused.to_string(), expected);
    // The one that holds it is not disturbed.
    commit(&db, &labels(&[("a", "b")]), &[sample(1, 1.0)]);
    assert_eq!(all(&db).len(), 1);
}

#[test]
fn the_lock_ends_with_the_database() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let db = open(dir.path());
    db.close().unwrap();
    let again = open(dir.path());
    drop(db);
    assert!(matches!(Db::open(dir.path(), options()), Err(Error::Locked { .. })));
    drop(again);
}

#[test]
fn a_lock_file_of_another_program_says_nothing_of_a_process() {
    let dir = tempfile::tempdir().unwrap();
    // Prometheus leaves the file empty.
    let file = std::fs::File::create(dir.path().join("lock")).unwrap();
    file.lock().unwrap();
    let refused = Db::open(dir.path(), options()).unwrap_err();
    assert!(matches!(refused, Error::Locked { pid: None, .. }));
    drop(file);
    drop(open(dir.path()));
}

/// A clock that stops whoever looks at it: somebody who makes a block.
#[derive(Debug)]
struct Gate {
    arrived: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Clock for Gate {
    fn now_ms(&self) -> u64 {
        self.arrived.send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        0
    }
}

#[test]
fn the_lock_is_held_while_a_block_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let ((arrived, at_gate), (open_gate, go_on)) = (channel(), channel());
    let mut options = options();
    options.clock = Arc::new(Gate { arrived, go_on: Mutex::new(go_on) });
    let db = Db::open(dir.path(), options.clone()).unwrap();
    commit(&db, &labels(&[("a", "b")]), &[sample(1, 1.0)]);
    thread::scope(|scope| {
        let cut = scope.spawn(|| db.compact_head().unwrap().len());
        at_gate.recv().unwrap();
        let closing = scope.spawn(|| db.close().unwrap());
        // Long enough for a close that does not wait to be done.
        thread::sleep(Duration::from_millis(100));
        let refused = Db::open(dir.path(), options.clone());
        open_gate.send(()).unwrap();
        assert!(matches!(refused, Err(Error::Locked { .. })));
        assert_eq!(cut.join().unwrap(), 1);
        closing.join().unwrap();
    });
    assert!(matches!(db.compact_head(), Err(Error::Closed)));
}
