//! One database at a time owns a data directory.

mod common;

use common::{all, commit, labels, open, options, sample};
use ferula_tsdb::{Db, Error};

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
