//! The querier over what another program wrote.

use ferula_index::Labels;
use ferula_tsdb::{Db, Options};
use ferula_wire::testing::{Program, failure};

const QUERIER: &str = env!("CARGO_BIN_EXE_querier");

fn append(db: &Db, timestamp: i64) {
    let labels =
        Labels::from_pairs([("__name__", "torches"), ("place", "gate")]).expect("valid labels");
    let mut appender = db.appender();
    appender.append(&labels, timestamp, 3.0).expect("the sample is accepted");
    appender.commit().expect("the log can be written");
}

#[test]
fn what_is_written_meanwhile_is_seen() {
    let data = tempfile::tempdir().expect("a directory");
    let db = Db::open(data.path(), Options::default()).expect("a new store");
    append(&db, 1_700_000_000_000);
    let querier = Program::start(QUERIER, data.path(), &["--reload-every", "1"]);
    let count = "count_over_time(torches[1h] @ 1700000060)";
    assert_eq!(querier.value(count), Some(1.0));
    append(&db, 1_700_000_001_000);
    querier.wait_for(count, 2.0);
    assert_ne!(
        querier
            .client
            .post(format!("{}/api/v1/write", querier.url))
            .send()
            .expect("an answer")
            .status(),
        204
    );
    db.close().expect("the log can be synced");
    assert_eq!(querier.terminate().0.code(), Some(0));
}

#[test]
fn a_missing_directory_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, messages) = failure(QUERIER, &dir.path().join("nothing"), &[]);
    assert_eq!(code, Some(1), "{messages}");
    assert!(messages.contains("nothing"), "{messages}");
    assert!(!dir.path().join("nothing").exists());
}
