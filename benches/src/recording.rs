//! Recorded scrapes of real targets, as series.
//!
//! A recording is a zstd file of scrapes one behind the other: a line with time in milliseconds,
//! job, instance and size of the body, then the body in the text exposition format and a line
//! feed. A scrape that failed has an empty body.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use ferula_chunkenc::Sample;
use ferula_chunkenc::stale::STALE_NAN;

use crate::Series;

/// Reads all series of a recording, in the order of their labels, with the staleness markers that
/// a scraping Prometheus adds.
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn read(path: &Path) -> io::Result<Vec<Series>> {
    let mut reader = open(path)?;
    let mut targets: HashMap<(String, String), Target> = HashMap::new();
    let mut header = String::new();
    while reader.read_line(&mut header)? > 0 {
        let fields: Vec<&str> = header.split_whitespace().collect();
        let [timestamp, job, instance, size] = fields[..] else { return Err(malformed()) };
        let timestamp = timestamp.parse().map_err(|_| malformed())?;
        let size: usize = size.parse().map_err(|_| malformed())?;
        let mut body = vec![0; size + 1];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(|_| malformed())?;
        let target = targets.entry((job.to_owned(), instance.to_owned())).or_default();
        target.scrape(timestamp, body.trim_end());
        header.clear();
    }
    let mut series: Vec<Series> = targets
        .into_iter()
        .flat_map(|((job, instance), target)| target.into_series(job, instance))
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

/// Reads the pages of a recording until they have `max_bytes` together.
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn pages(path: &Path, max_bytes: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut reader = open(path)?;
    let (mut pages, mut n_bytes) = (Vec::new(), 0);
    let mut header = String::new();
    while n_bytes < max_bytes && reader.read_line(&mut header)? > 0 {
        let size = header.split_whitespace().nth(3).and_then(|size| size.parse::<usize>().ok());
        let mut page = vec![0; size.ok_or_else(malformed)? + 1];
        reader.read_exact(&mut page)?;
        n_bytes += page.len();
        pages.push(page);
        header.clear();
    }
    Ok(pages)
}

fn open(path: &Path) -> io::Result<impl BufRead> {
    let mut decoder = zstd::Decoder::new(File::open(path)?)?;
    // `zstd --long` uses windows beyond what a decoder accepts unasked.
    decoder.window_log_max(31)?;
    Ok(BufReader::new(decoder))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a recording")
}

#[derive(Default)]
struct Target {
    scrapes: usize,
    series: HashMap<String, Scraped>,
    up: Vec<Sample>,
}

struct Scraped {
    samples: Vec<Sample>,
    /// The ordinal of the last scrape that had this series.
    seen: usize,
    is_stale: bool,
}

impl Target {
    fn scrape(&mut self, timestamp: i64, body: &str) {
        let ordinal = self.scrapes;
        self.scrapes += 1;
        for (name, value) in body.lines().filter_map(sample_line) {
            if !self.series.contains_key(name) {
                let series = Scraped { samples: Vec::new(), seen: ordinal, is_stale: false };
                self.series.insert(name.to_owned(), series);
            }
            if let Some(series) = self.series.get_mut(name) {
                series.samples.push(Sample::new(timestamp, value));
                series.seen = ordinal;
                series.is_stale = false;
            }
        }
        for series in self.series.values_mut() {
            if series.seen != ordinal && !series.is_stale {
                series.is_stale = true;
                series.samples.push(Sample::new(timestamp, STALE_NAN));
            }
        }
        self.up.push(Sample::new(timestamp, if body.is_empty() { 0.0 } else { 1.0 }));
    }

    fn into_series(self, job: String, instance: String) -> impl Iterator<Item = Series> {
        let target = [("instance".to_owned(), instance), ("job".to_owned(), job)];
        let scraped = self.series.into_iter().map(|(name, series)| (name, series.samples));
        scraped.chain([("up".to_owned(), self.up)]).map(move |(name, samples)| {
            let mut labels = parse_labels(&name);
            labels.extend(target.clone());
            labels.sort();
            Series { labels, samples }
        })
    }
}

/// The text that identifies a series, and its value.
fn sample_line(line: &str) -> Option<(&str, f64)> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.rfind('}').map_or_else(|| line.find(' '), |brace| Some(brace + 1))?;
    let (name, rest) = line.split_at(end);
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, value))
}

fn parse_labels(name: &str) -> Vec<(String, String)> {
    let (metric, rest) = name.split_once('{').unwrap_or((name, ""));
    let mut labels = vec![("__name__".to_owned(), metric.to_owned())];
    // Values keep their escapes: only their order matters here.
    for pair in rest.trim_end_matches('}').split("\",") {
        if let Some((label, value)) = pair.split_once("=\"") {
            labels.push((label.trim_start_matches(',').to_owned(), value.to_owned()));
        }
    }
    labels
}
