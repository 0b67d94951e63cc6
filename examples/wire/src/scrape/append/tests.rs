use std::path::Path;

use super::*;
use crate::config::ScrapeFile;
use crate::error::chain;
use crate::exposition::Format;
use crate::store::memory::MemoryStore;

const REPORT: [&str; 5] = [
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "scrape_samples_scraped",
    "scrape_series_added",
    "up",
];

fn text(page: &str) -> Page {
    Page { body: page.as_bytes().to_vec(), format: Format::Text }
}

/// An OpenMetrics text.
fn openmetrics(page: &str) -> Page {
    Page { body: page.as_bytes().to_vec(), format: Format::OpenMetrics }
}

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
        let target = Target::all_of(&Arc::new(file.jobs[0].clone()), &[]).0.remove(0);
        let appends = Appends::new(&target, false);
        Self { store: MemoryStore::new(), target, appends }
    }

    /// Scrapes `page`, and yields what was counted and why it failed.
    fn scrape(&mut self, timestamp: i64, page: &str) -> (Counts, Option<String>) {
        self.scrape_outcome(timestamp, Ok(text(page)))
    }

    fn scrape_outcome(
        &mut self,
        timestamp: i64,
        page: Result<Page, ScrapeError>,
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
    assert_eq!(
        counts,
        Counts { scraped: 3, added: 3, series_added: 3, refused: 0, ..Counts::default() }
    );
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
    let page = Ok(text("a 2\n"));
    let elapsed = || Duration::ZERO;
    let (_, _, committed) = bench.appends.scrape(&bench.store, &bench.target, page, 2000, elapsed);
    assert!(committed.is_err());
    bench.store.fail_commits(false);
    bench.scrape(3000, "a 3\n");
    assert_eq!(bench.stored(), [r#"{__name__="a"} 1000:1 3000:3"#]);
}

#[test]
fn openmetrics_pages_bring_exemplars_units_and_starts() {
    let mut bench = Bench::new("");
    bench.appends = Appends::new(&bench.target, true);
    let page = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Some \\\"A\\\".\n\
                a_seconds_total 2 # {trace=\"x\"} 0.5\na_seconds_created 1.5\n# EOF\n";
    let (counts, error) = bench.scrape_outcome(2000, Ok(openmetrics(page)));
    assert_eq!(error, None);
    assert_eq!((counts.scraped, counts.series_added), (1, 1));
    assert_eq!(bench.stored(), [r#"{__name__="a_seconds_total"} 2000:2"#]);
    let labels = r#"{__name__="a_seconds_total", instance="a:1", job="j", zone="z"}"#;
    assert_eq!(bench.store.starts(), [format!("{labels} 2000:1500")]);
    let (metadata, _) = bench.store.metadata();
    assert_eq!(metadata, [r#"a_seconds_total Counter seconds Some "A"."#]);
    let exemplars = bench.store.exemplars();
    assert_eq!(exemplars.len(), 1);
    assert!(exemplars[0].contains("trace") && exemplars[0].contains("2000"), "{exemplars:?}");
    // Lines that tell a start are series where starts are not stored.
    let mut bench = Bench::new("");
    let (counts, _) = bench.scrape_outcome(2000, Ok(openmetrics(page)));
    assert_eq!(counts.scraped, 2);
    assert!(bench.store.starts().is_empty());
}

#[test]
fn openmetrics_pages_must_end() {
    let mut bench = Bench::new("");
    for (page, message) in [
        ("a 1\n", "line 2: the text ends without # EOF"),
        ("a 1\n# EOF\na 2\n", "line 3: the text goes on behind # EOF"),
    ] {
        let (_, error) = bench.scrape_outcome(2000, Ok(openmetrics(page)));
        assert_eq!(error.as_deref(), Some(message));
    }
    let (_, error) = bench.scrape_outcome(3000, Ok(openmetrics("")));
    assert_eq!(error, None);
}

const HISTOGRAM: &str = "# TYPE h histogram\nh_bucket{le=\"1\"} 2 # {trace=\"x\"} 0.5 1\n\
                         h_bucket{le=\"+Inf\"} 3\nh_count 3\nh_sum 4.5\n\
                         h_bucket{a=\"b\",le=\"+Inf\"} 1\n# TYPE g gauge\ng 1\n# EOF\n";

#[test]
fn classic_histograms_become_native_ones() {
    let mut bench = Bench::new("convert_classic_histograms_to_nhcb: true,");
    for timestamp in [1000, 2000] {
        let (counts, error) = bench.scrape_outcome(timestamp, Ok(openmetrics(HISTOGRAM)));
        assert_eq!(error, None);
        let added = if timestamp == 1000 { 3 } else { 0 };
        assert_eq!((counts.scraped, counts.series_added), (3, added));
    }
    // The store tells histograms by their sums here.
    assert_eq!(
        bench.stored(),
        [
            r#"{__name__="g"} 1000:1 2000:1"#,
            r#"{__name__="h", a="b"} 1000:0 2000:0"#,
            r#"{__name__="h"} 1000:4.5 2000:4.5"#,
        ]
    );
    let histograms = bench.store.histograms();
    assert_eq!(histograms.len(), 4);
    assert_eq!(
        histograms[0],
        r#"{__name__="h", instance="a:1", job="j", zone="z"} 1000:0 {count:3, sum:4.5, [-Inf,1]:2, (1,+Inf]:1}"#
    );
    assert!(histograms[1].contains(r#"{__name__="h", a="b","#), "{histograms:?}");
    assert_eq!(bench.store.exemplars().len(), 2);
    // A page that has no histogram any more ends its series.
    let (_, error) = bench.scrape_outcome(3000, Ok(openmetrics("# TYPE g gauge\ng 1\n# EOF\n")));
    assert_eq!(error, None);
    let stored = bench.stored();
    let stale = stored.iter().filter(|line| line.ends_with("3000:stale")).count();
    assert_eq!(stale, 2, "{stored:?}");
}

#[test]
fn classic_series_stay_where_they_are_asked_for() {
    let mut bench = Bench::new(
        "convert_classic_histograms_to_nhcb: true, always_scrape_classic_histograms: true,",
    );
    let (counts, _) = bench.scrape_outcome(1000, Ok(openmetrics(HISTOGRAM)));
    assert_eq!(counts.scraped, 8);
    assert_eq!(bench.stored().len(), 8);
    assert_eq!(bench.store.histograms().len(), 2);
}

#[test]
fn histograms_with_too_many_buckets_fail_the_scrape() {
    let mut bench =
        Bench::new("convert_classic_histograms_to_nhcb: true, native_histogram_bucket_limit: 1,");
    let (_, error) = bench.scrape_outcome(1000, Ok(openmetrics(HISTOGRAM)));
    assert_eq!(error.as_deref(), Some("histogram bucket limit of 1 exceeded"));
    assert_eq!(bench.report("up"), "1000:0");
}

#[test]
fn finer_histograms_are_made_coarser() {
    // Two buckets of schema 0, next to each other; one of schema -1 has both.
    let histogram = [
        0x08, 5, // count
        0x28, 0, // schema
        0x62, 4, 0x08, 2, 0x10, 2, // span of two buckets from the first on
        0x6a, 2, 4, 2, // 2 and then 3
    ];
    let length = |message: &[u8]| u8::try_from(message.len()).unwrap();
    let mut metric = vec![0x3a, length(&histogram)];
    metric.extend(histogram);
    let mut family = vec![0x0a, 1, b'h', 0x18, 4, 0x22, length(&metric)];
    family.extend(metric);
    let mut body = vec![length(&family)];
    body.extend(family);
    for (options, expected) in [
        ("", "{count:5, sum:0, (1,2]:2, (2,4]:3}"),
        ("native_histogram_bucket_limit: 1,", "{count:5, sum:0, (1,4]:5}"),
        ("native_histogram_min_bucket_factor: 3,", "{count:5, sum:0, (1,4]:5}"),
    ] {
        let mut bench = Bench::new(&format!("scrape_native_histograms: true, {options}"));
        let page = Page { body: body.clone(), format: Format::Protobuf };
        let (_, error) = bench.scrape_outcome(1000, Ok(page));
        assert_eq!(error, None);
        let histograms = bench.store.histograms();
        assert_eq!(histograms.len(), 1);
        assert!(histograms[0].ends_with(expected), "{options}: {histograms:?}");
    }
}

#[test]
fn jobs_that_ask_for_them_get_three_more_reports() {
    let mut bench = Bench::new("extra_scrape_metrics: true, sample_limit: 7, scrape_timeout: 5s,");
    bench.scrape(1000, "a 1\n");
    let too_large = ScrapeError::BodySize { limit: 3 };
    bench.scrape_outcome(2000, Err(too_large));
    assert_eq!(bench.report("scrape_timeout_seconds"), "1000:5 2000:5");
    assert_eq!(bench.report("scrape_sample_limit"), "1000:7 2000:7");
    assert_eq!(bench.report("scrape_body_size_bytes"), "1000:4 2000:-1");
}

#[test]
fn names_in_utf8_fail_the_scrape_of_a_job_that_wants_legacy_ones() {
    let mut bench = Bench::new("metric_name_validation_scheme: legacy,");
    let (_, error) = bench.scrape(1000, "a 1\n{\"b.c\"} 1\n");
    let error = error.unwrap();
    assert!(error.starts_with("line 2: names that are not legacy ones in {"), "{error}");
}

#[test]
fn labels_with_too_many_values_are_limited() {
    let mut bench =
        Bench::new("label_cardinality: {max_values: 2, action: reassign}, sample_limit: 10,");
    let page = "a{p=\"1\"} 1\na{p=\"2\"} 2\na{p=\"3\"} 3\na{p=\"4\"} 4\n";
    for timestamp in [1000, 2000] {
        let (counts, error) = bench.scrape(timestamp, page);
        assert_eq!(error, None);
        assert_eq!(counts.limited, if timestamp == 1000 { 2 } else { 0 });
    }
    let stored = bench.stored();
    assert_eq!(stored.len(), 3, "{stored:?}");
    assert!(stored[2].starts_with("{__name__=\"a\""), "{stored:?}");
    assert!(stored.iter().any(|line| line.contains(r#"p="reassigned_high_cardinality""#)));
    assert_eq!(bench.appends.limited_labels(), ["p"]);
    assert_eq!(bench.report("scrape_samples_post_metric_relabeling"), "1000:4 2000:4");
    // A page without the series that became one ends it, and leaves the others.
    bench.scrape(3000, "a{p=\"1\"} 1\na{p=\"2\"} 2\n");
    let ended: Vec<_> =
        bench.stored().into_iter().filter(|line| line.ends_with("3000:stale")).collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(ended[0].contains("reassigned_high_cardinality"), "{ended:?}");
}
