//! The demo from its start to a crash and a second start.

use ferula_wire::testing::{Program, failure};

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

#[test]
fn what_was_scraped_survives_a_crash() {
    let data = tempfile::tempdir().expect("a directory");
    let demo = Program::start(DEMO, data.path(), &["--interval", "100ms"]);
    let (status, page) = demo.get("/");
    assert_eq!(status, 200);
    assert!(page.contains("scrape_duration_seconds"), "{page}");
    let (_, metrics) = demo.get("/metrics");
    for name in ["ferula_tsdb_head_series ", "ferula_tsdb_samples_appended_total "] {
        assert!(metrics.contains(name), "the page's status line needs {name}: {metrics}");
    }
    let seen = demo.wait_for("count_over_time(up[1h])", 10.0);
    demo.kill();

    let demo = Program::start(DEMO, data.path(), &["--interval", "100ms"]);
    // The port, and with it the instance, is another one now.
    demo.wait_for("count(count_over_time(up[1h]))", 2.0);
    let kept = demo.value("max(count_over_time(up[1h]))").expect("both are there");
    assert!(kept >= seen, "{seen} samples were seen, {kept} are left");
    assert_eq!(demo.value("min(up)"), Some(1.0));
    let (status, messages) = demo.terminate();
    assert_eq!(status.code(), Some(0), "{messages}");
    assert!(messages.contains("the store is open"), "{messages}");
    assert!(messages.contains("stopping"), "{messages}");
}

#[test]
fn a_second_demo_on_the_same_data_names_the_first() {
    let data = tempfile::tempdir().expect("a directory");
    let demo = Program::start(DEMO, data.path(), &[]);
    let (code, messages) = failure(DEMO, data.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(messages.contains(&format!("in use by process {}", demo.id())), "{messages}");
    assert_eq!(demo.terminate().0.code(), Some(0));
}

#[test]
fn what_is_no_target_is_a_wrong_command_line() {
    let data = tempfile::tempdir().expect("a directory");
    for target in ["localhost", "localhost:http", "a b:80", "x'y:80", ":80"] {
        let (code, messages) = failure(DEMO, data.path(), &["--scrape", target]);
        assert_eq!(code, Some(2), "{target}: {messages}");
        assert!(messages.contains("--scrape"), "{messages}");
    }
}

#[test]
fn what_is_no_interval_is_a_wrong_command_line() {
    let data = tempfile::tempdir().expect("a directory");
    for interval in ["soon", "5", "0s"] {
        let (code, messages) = failure(DEMO, data.path(), &["--interval", interval]);
        assert_eq!(code, Some(2), "{interval}: {messages}");
        assert!(messages.contains("--interval"), "{messages}");
    }
}
