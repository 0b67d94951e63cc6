use std::path::Path;

use super::*;
use crate::config::ScrapeFile;
use crate::error::chain;
use crate::store::memory::MemoryStore;

const REPORT: [&str; 5] = [
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "scrape_samples_scraped",
    "scrape_series_added",
    "up",
];

struct Bench {
    store: MemoryStore,
    target: Target,
    appends: Appends,
}

impl Bench {
    fn new(options: &str) -> Self {
        let text = format!(
            "scrape_configs: [{{job_name: j, {options} \
             static_configs: [{{targets: ['a:1'], labels: {{zone: z}}}}]}}]"
        );
        let file = ScrapeFile::parse(&text, Path::new("x.yml")).unwrap();
        let target = Target::all_of(&file.jobs[0]).0.remove(0);
        let appends = Appends::new(&target);
        Self { store: MemoryStore::new(), target, appends }
    }

    /// Scrapes `page`, and yields what was counted and why it failed.
    fn scrape(&mut self, timestamp: i64, page: &str) -> (Counts, Option<String>) {
        self.scrape_outcome(timestamp, Ok(page.as_bytes().to_vec()))
    }

    fn scrape_outcome(
        &mut self,
        timestamp: i64,
        page: Result<Vec<u8>, ScrapeError>,
    ) -> (Counts, Option<String>) {
        let elapsed = || Duration::from_millis(250);
        let (counts, error, committed) =
            self.appends.scrape(&self.store, &self.target, page, timestamp, elapsed);
        committed.unwrap();
        (counts, error.map(|error| chain(&error)))
    }

    /// Samples of the page's series: labels without those of the target, then `time:value`.
    fn stored(&self) -> Vec<String> {
        let series = self.store.dump().into_iter();
        let own = series.filter(|(labels, _)| {
            !REPORT.iter().any(|name| labels.contains(&format!("__name__=\"{name}\"")))
        });
        own.map(|(labels, samples)| {
            let labels = labels.replace(r#", instance="a:1", job="j", zone="z""#, "");
            format!("{labels} {}", points(&samples))
        })
        .collect()
    }

    fn report(&self, name: &str) -> String {
        let wanted = format!(r#"{{__name__="{name}", instance="a:1", job="j", zone="z"}}"#);
        let series = self.store.dump();
        let (_, samples) = series.iter().find(|(labels, _)| *labels == wanted).unwrap();
        points(samples)
    }
}

fn points(samples: &[ferula_chunkenc::Sample]) -> String {
    let point = |s: &ferula_chunkenc::Sample| {
        if ferula_chunkenc::stale::is_stale(s.value) {
            format!("{}:stale", s.timestamp)
        } else {
            format!("{}:{}", s.timestamp, s.value)
        }
    };
    samples.iter().map(point).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_scrape_stores_its_samples_and_its_report() {
    let mut bench = Bench::new("");
    let page = "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n";
    let (counts, error) = bench.scrape(1000, page);
    assert_eq!(error, None);
    assert_eq!(counts, Counts { scraped: 3, added: 3, series_added: 3, refused: 0 });
    bench.scrape(2000, page);
    assert_eq!(
        bench.stored(),
        [
            r#"{__name__="a", instance="a:1", job="j", x="1", zone="z"} 1000:1 2000:1"#,
            r#"{__name__="a", instance="a:1", job="j", x="2", zone="z"} 1000:2 2000:2"#,
            r#"{__name__="b"} 1000:3 2000:3"#,
        ]
    );
    assert_eq!(bench.report("up"), "1000:1 2000:1");
    assert_eq!(bench.report("scrape_duration_seconds"), "1000:0.25 2000:0.25");
    assert_eq!(bench.report("scrape_samples_scraped"), "1000:3 2000:3");
    assert_eq!(bench.report("scrape_samples_post_metric_relabeling"), "1000:3 2000:3");
    assert_eq!(bench.report("scrape_series_added"), "1000:3 2000:0");
    // Three series and five of the report, looked up in the first scrape only.
    assert_eq!(bench.store.lookups(), 8);
}

#[test]
fn rules_change_and_drop_series_before_they_are_stored() {
    let mut bench = Bench::new(
        "sample_limit: 2, metric_relabel_configs: [
            {source_labels: [__name__], regex: 'debug_.*', action: drop},
            {source_labels: [x], regex: '(.)', target_label: y},
            {regex: x, action: labeldrop}],",
    );
    let page = "debug_a 1\na{x=\"1\"} 1\nb 3\ndebug_b 1\n";
    for timestamp in [1000, 2000] {
        let (counts, error) = bench.scrape(timestamp, page);
        assert_eq!(error, None);
        assert_eq!((counts.scraped, counts.added), (4, 2));
    }
    let expected = [
        r#"{__name__="a", instance="a:1", job="j", y="1", zone="z"} 1000:1 2000:1"#,
        r#"{__name__="b"} 1000:3 2000:3"#,
    ];
    assert_eq!(bench.stored(), expected);
    assert_eq!(bench.report("scrape_samples_scraped"), "1000:4 2000:4");
    assert_eq!(bench.report("scrape_samples_post_metric_relabeling"), "1000:2 2000:2");
    // One more that is kept is one too many.
    let (_, error) = bench.scrape(3000, &format!("{page}c 4\n"));
    assert_eq!(error.unwrap(), "sample limit of 2 exceeded, the page has 3 samples");
}

#[test]
fn labels_beyond_the_limits_fail_the_scrape() {
    for (options, found) in [
        ("label_limit: 4,", "line 3: 5 labels of a series, the limit is 4"),
        ("label_name_length_limit: 8,", "line 3: 9 bytes of a label name, the limit is 8"),
        ("label_value_length_limit: 9,", "line 3: 10 bytes of a label value, the limit is 9"),
    ] {
        let mut bench = Bench::new(options);
        let (_, error) = bench.scrape(1000, "# a comment\n\na{long_name=\"long value\"} 1\n");
        assert_eq!(error.unwrap(), found);
        assert_eq!(bench.report("up"), "1000:0");
    }
}

#[test]
fn descriptions_are_noted() {
    let mut bench = Bench::new("");
    let page = "# HELP a An A.\n# TYPE a counter\na 1\n# TYPE b gauge\nb 1\n# HELP c A C.\n";
    bench.scrape(1000, page);
    let told = |bench: &Bench| bench.store.metadata();
    let said = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(told(&bench), (said(&["a Counter  An A.", "b Gauge  "]), 2));
    // Nothing changes, then a text, then a metric comes in between.
    bench.scrape(2000, page);
    assert_eq!(told(&bench).1, 2);
    let page = page.replace("An A.", r"Another\nA.");
    bench.scrape(3000, &page);
    assert_eq!(told(&bench), (said(&["a Counter  Another\nA.", "b Gauge  "]), 3));
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 1\nhh 1\n";
    let page = format!("{histogram}{page}");
    bench.scrape(4000, &page);
    let (all, n_told) = told(&bench);
    assert_eq!(all[2..], said(&["h_bucket Histogram  ", "h_count Histogram  "]));
    // Those that stand at another place are told once more.
    assert_eq!(n_told, 3 + 2 + 2);
    // A page that was not stored is as if it had not been.
    bench.scrape(
        5000, "a x
",
    );
    bench.scrape(6000, &page);
    assert_eq!(told(&bench).1, n_told + 4);
}

#[test]
fn series_that_vanish_are_marked_stale() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\nb 1\n");
    bench.scrape(2000, "a 1\n");
    bench.scrape(3000, "a 1\nb 1\n");
    assert_eq!(
        bench.stored(),
        [r#"{__name__="a"} 1000:1 2000:1 3000:1"#, r#"{__name__="b"} 1000:1 2000:stale 3000:1"#]
    );
}

#[test]
fn a_page_fails_as_a_whole() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\nb 1\n");
    let (counts, error) = bench.scrape(2000, "b 2\nc 2\na x\n");
    assert_eq!(error.as_deref(), Some("line 3: invalid value \"x\""));
    assert_eq!((counts.scraped, counts.added), (2, 2));
    bench.scrape(3000, "a 3\nc 3\n");
    assert_eq!(
        bench.stored(),
        [
            r#"{__name__="a"} 1000:1 2000:stale 3000:3"#,
            r#"{__name__="b"} 1000:1 2000:stale"#,
            r#"{__name__="c"} 3000:3"#,
        ]
    );
    assert_eq!(bench.report("up"), "1000:1 2000:0 3000:1");
}

#[test]
fn a_target_that_does_not_answer_is_down_and_its_series_end() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\n");
    let timeout = || Err(ScrapeError::Timeout { timeout: "10s".to_owned() });
    let (_, error) = bench.scrape_outcome(2000, timeout());
    assert_eq!(error.as_deref(), Some("the page did not arrive within 10s"));
    bench.scrape_outcome(3000, timeout());
    assert_eq!(bench.stored(), [r#"{__name__="a"} 1000:1 2000:stale"#]);
    assert_eq!(bench.report("up"), "1000:1 2000:0 3000:0");
    assert_eq!(bench.report("scrape_samples_scraped"), "1000:1 2000:0 3000:0");
}

#[test]
fn a_removed_target_ends_with_its_report() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\n");
    bench.appends.end(&bench.store, 2000).unwrap();
    assert_eq!(bench.stored(), [r#"{__name__="a"} 1000:1 2000:stale"#]);
    assert_eq!(bench.report("up"), "1000:1 2000:stale");
}

#[test]
fn labels_of_page_and_target_are_joined() {
    let page = "a{job=\"x\",zone=\"\",exported_job=\"y\"} 1\n";
    let mut bench = Bench::new("");
    assert_eq!(bench.scrape(1000, page).1, None);
    assert_eq!(
        bench.stored(),
        [r#"{__name__="a", exported_exported_job="x", exported_job="y"} 1000:1"#]
    );
    let mut bench = Bench::new("honor_labels: true,");
    assert_eq!(bench.scrape(1000, page).1, None);
    assert_eq!(
        bench.stored(),
        [r#"{__name__="a", exported_job="y", instance="a:1", job="x"} 1000:1"#]
    );
}

#[test]
fn timestamps_of_the_page_are_honored_or_not() {
    let page = "a 1 500\nb 2\n";
    let mut bench = Bench::new("");
    bench.scrape(1000, page);
    bench.scrape(2000, "b 2\n");
    // Series with timestamps of their own do not become stale.
    assert_eq!(bench.stored(), [r#"{__name__="a"} 500:1"#, r#"{__name__="b"} 1000:2 2000:2"#]);
    let mut bench = Bench::new("honor_timestamps: false,");
    bench.scrape(1000, page);
    bench.scrape(2000, "b 2\n");
    assert_eq!(
        bench.stored(),
        [r#"{__name__="a"} 1000:1 2000:stale"#, r#"{__name__="b"} 1000:2 2000:2"#]
    );
    let mut bench = Bench::new("track_timestamps_staleness: true,");
    bench.scrape(1000, page);
    bench.scrape(2000, "b 2\n");
    assert_eq!(bench.stored()[0], r#"{__name__="a"} 500:1 2000:stale"#);
}

#[test]
fn repeated_late_and_early_samples_are_refused_alone() {
    let mut bench = Bench::new("");
    let (counts, error) = bench.scrape(10_000, "a 1\na 2\nb 1 9000\n");
    assert_eq!((error, counts.refused, counts.added), (None, 1, 3));
    let (counts, error) = bench.scrape(11_000, "a 3\nb 1 8000\nc 1 999999999\n");
    assert_eq!((error, counts.refused), (None, 2));
    assert_eq!(bench.stored(), [r#"{__name__="a"} 10000:1 11000:3"#, r#"{__name__="b"} 9000:1"#]);
}

#[test]
fn too_many_samples_fail_the_scrape() {
    let mut bench = Bench::new("sample_limit: 2,");
    bench.scrape(1000, "a 1\nb 1\n");
    let (counts, error) = bench.scrape(2000, "a 1\nb 1\nc 1\nd 1\n");
    assert_eq!(error.as_deref(), Some("sample limit of 2 exceeded, the page has 4 samples"));
    assert_eq!((counts.scraped, counts.added), (4, 4));
    assert_eq!(
        bench.stored(),
        [r#"{__name__="a"} 1000:1 2000:stale"#, r#"{__name__="b"} 1000:1 2000:stale"#]
    );
}

#[test]
fn labels_that_cannot_be_stored_fail_the_scrape() {
    for (page, message) in [
        ("a 1\na{x=\"1\",x=\"2\"} 1", "line 2: invalid labels: label name \"x\" is not unique"),
        ("a 1\na{\"\"=\"1\"} 1", "line 2: empty label name"),
        ("a 1\n{\"\"} 1", "line 2: empty metric name"),
    ] {
        let mut bench = Bench::new("");
        assert_eq!(bench.scrape(1000, page).1.as_deref(), Some(message), "{page}");
        assert_eq!(bench.stored(), [""; 0]);
    }
}

#[test]
fn series_that_the_store_dropped_are_made_anew() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\nb 1\n");
    bench.store.forget_refs();
    assert_eq!(bench.scrape(2000, "a 2\nb 2\n").1, None);
    assert_eq!(
        bench.stored(),
        [r#"{__name__="a"} 1000:1 2000:2"#, r#"{__name__="b"} 1000:1 2000:2"#]
    );
    assert_eq!(bench.report("up"), "1000:1 2000:1");
}

#[test]
fn a_store_that_fails_loses_the_scrape_only() {
    let mut bench = Bench::new("");
    bench.scrape(1000, "a 1\n");
    bench.store.fail_commits(true);
    let page = Ok(b"a 2\n".to_vec());
    let elapsed = || Duration::ZERO;
    let (_, _, committed) = bench.appends.scrape(&bench.store, &bench.target, page, 2000, elapsed);
    assert!(committed.is_err());
    bench.store.fail_commits(false);
    bench.scrape(3000, "a 3\n");
    assert_eq!(bench.stored(), [r#"{__name__="a"} 1000:1 3000:3"#]);
}
