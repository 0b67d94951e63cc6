//! The programs' own metrics: counters, gauges and histograms, and a registry that exposes them.
//!
//! Handles are cheap to clone and updated without locks; only exposing takes the registry's lock.
//! Process metrics have the names that Prometheus's client libraries give them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::exposition::MetricType;
use crate::exposition::write::PageWriter;

/// A value that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    value: Arc<AtomicU64>,
}

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.value.fetch_add(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// Counts observations per bucket, and adds them up.
#[derive(Clone)]
pub struct Histogram {
    shared: Arc<HistogramCells>,
}

struct HistogramCells {
    bounds: &'static [f64],
    /// One per bound and one above; each counts its own bucket only.
    buckets: Vec<AtomicU64>,
    /// Bits of a float.
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { shared: Arc::new(HistogramCells { bounds, buckets, sum: AtomicU64::new(0) }) }
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let cells = &*self.shared;
        let bucket = cells.bounds.partition_point(|bound| *bound < value);
        cells.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure always yields a value, so the update cannot fail.
        let _ = cells.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn read(&self) -> Reading {
        let cells = &*self.shared;
        let mut count = 0;
        let counts = cells.buckets.iter().map(|cell| {
            count += cell.load(Ordering::Relaxed);
            count
        });
        let counts = counts.collect();
        let sum = f64::from_bits(cells.sum.load(Ordering::Relaxed));
        Reading::Histogram { bounds: cells.bounds, counts, sum }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("bounds", &self.shared.bounds).finish_non_exhaustive()
    }
}

/// The metrics of one process.
#[derive(Debug)]
pub struct Registry {
    families: Mutex<BTreeMap<&'static str, Family>>,
    start_time_seconds: f64,
}

/// A metric and its series.
struct Family {
    help: &'static str,
    kind: MetricType,
    series: BTreeMap<Vec<(&'static str, String)>, Cell>,
}

/// What holds the value of one series.
enum Cell {
    Counter(Counter),
    Histogram(Histogram),
    /// Asked when the page is made.
    Read(Box<dyn Fn() -> f64 + Send + Sync>),
}

/// A metric as it was at one moment.
#[derive(Clone, Debug)]
pub(crate) struct FamilyReading {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: MetricType,
    pub(crate) series: Vec<(Vec<(&'static str, String)>, Reading)>,
}

/// The value of a series.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// Of anything but a histogram.
    Value(f64),
    /// Observations up to each bound, and at last all of them.
    Histogram { bounds: &'static [f64], counts: Vec<u64>, sum: f64 },
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("kind", &self.kind)
            .field("series", &self.series.keys())
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Makes a registry that exposes nothing but the process's own CPU time and memory.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { families: Mutex::default(), start_time_seconds: now.as_secs_f64() }
    }

    /// The counter with this name and these labels, which is made if it is new.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Counter {
        let mut families = self.families.lock();
        let cell = cell(&mut families, name, help, MetricType::Counter, labels, || {
            Cell::Counter(Counter::default())
        });
        match cell {
            Cell::Counter(counter) => counter.clone(),
            _ => panic!("metric {name} is not counted here but read elsewhere"),
        }
    }

    /// The histogram with this name and these labels, which is made if it is new.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: &[(&'static str, &str)],
    ) -> Histogram {
        let mut families = self.families.lock();
        let cell = cell(&mut families, name, help, MetricType::Histogram, labels, || {
            Cell::Histogram(Histogram::new(bounds))
        });
        match cell {
            Cell::Histogram(histogram) => histogram.clone(),
            _ => panic!("metric {name} is no histogram"),
        }
    }

    /// Exposes what `read` answers as a metric of this `kind`.
    pub fn read(
        &self,
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let mut families = self.families.lock();
        let new = Cell::Read(Box::new(read));
        let family =
            families.entry(name).or_insert_with(|| Family { help, kind, series: BTreeMap::new() });
        family.series.insert(Vec::new(), new);
    }

    /// Writes the page of all metrics, sorted by name but for those of the process.
    pub fn page(&self) -> Vec<u8> {
        let mut page = PageWriter::new();
        for family in self.read_all() {
            page.family(family.name, family.help, family.kind);
            for (labels, reading) in &family.series {
                let labels: Vec<_> = labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
                match reading {
                    Reading::Value(value) => page.sample(family.name, &labels, *value),
                    Reading::Histogram { bounds, counts, sum } => {
                        expose(&mut page, family.name, &labels, bounds, counts);
                        page.sample(&format!("{}_sum", family.name), &labels, *sum);
                        let count = counts.last().copied().unwrap_or_default();
                        page.sample(&format!("{}_count", family.name), &labels, to_float(count));
                    }
                }
            }
        }
        page.finish()
    }

    /// All metrics as they are now, in the order of the page.
    pub(crate) fn read_all(&self) -> Vec<FamilyReading> {
        let mut all = Vec::new();
        for (name, family) in &*self.families.lock() {
            let read = |cell: &Cell| match cell {
                Cell::Counter(counter) => Reading::Value(to_float(counter.get())),
                Cell::Histogram(histogram) => histogram.read(),
                Cell::Read(read) => Reading::Value(read()),
            };
            let series = family.series.iter();
            let series = series.map(|(labels, cell)| (labels.clone(), read(cell))).collect();
            all.push(FamilyReading { name, help: family.help, kind: family.kind, series });
        }
        let mut process = |name, help, kind, value| {
            let series = vec![(Vec::new(), Reading::Value(value))];
            all.push(FamilyReading { name, help, kind, series });
        };
        if let Some(usage) = ProcessUsage::of_self() {
            let help = "Total user and system CPU time spent in seconds.";
            process("process_cpu_seconds_total", help, MetricType::Counter, usage.cpu_seconds);
            let help = "Resident memory size in bytes.";
            process("process_resident_memory_bytes", help, MetricType::Gauge, usage.resident_bytes);
            let help = "Virtual memory size in bytes.";
            process("process_virtual_memory_bytes", help, MetricType::Gauge, usage.virtual_bytes);
        }
        let help = "Start time of the process since unix epoch in seconds.";
        let start = self.start_time_seconds;
        process("process_start_time_seconds", help, MetricType::Gauge, start);
        all
    }
}

fn expose(
    page: &mut PageWriter,
    name: &str,
    labels: &[(&str, &str)],
    bounds: &[f64],
    counts: &[u64],
) {
    let name = format!("{name}_bucket");
    for (bound, count) in bounds.iter().copied().chain([f64::INFINITY]).zip(counts) {
        let mut text = Vec::new();
        crate::number::push_text(&mut text, bound);
        let text = String::from_utf8_lossy(&text);
        let mut labels = labels.to_vec();
        labels.push(("le", &text));
        page.sample(&name, &labels, to_float(*count));
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

fn cell<'a>(
    families: &'a mut BTreeMap<&'static str, Family>,
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    labels: &[(&'static str, &str)],
    make: impl FnOnce() -> Cell,
) -> &'a Cell {
    let family =
        families.entry(name).or_insert_with(|| Family { help, kind, series: BTreeMap::new() });
    let labels = labels.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
    family.series.entry(labels).or_insert_with(make)
}

/// What the kernel says about this process.
struct ProcessUsage {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
}

impl ProcessUsage {
    /// Linux counts time in these for programs, whatever the kernel itself does.
    const TICKS_PER_SECOND: f64 = 100.0;

    fn of_self() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the name in parentheses, which may hold blanks; the state follows.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        // The sizes of the other file are not in pages, whose size differs between machines.
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
        };
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / Self::TICKS_PER_SECOND,
            virtual_bytes: bytes("VmSize:")?,
            resident_bytes: bytes("VmRSS:")?,
        })
    }
}

/// Counts beyond 2^53 lose their last digits, as all samples do.
fn to_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_share_a_family() {
        let registry = Registry::new();
        registry.counter("x_total", "X.", &[("code", "200")]).add(2);
        registry.counter("x_total", "X.", &[("code", "200")]).inc();
        registry.counter("x_total", "X.", &[("code", "400")]).inc();
        registry.read("g", "G.", MetricType::Gauge, || 1.5);
        let histogram = registry.histogram("h", "H.", &[0.5, 1.0], &[]);
        histogram.observe(0.5);
        histogram.observe(3.0);
        let page = String::from_utf8(registry.page()).unwrap();
        let expected = "# HELP g G.\n# TYPE g gauge\ng 1.5\n\
            # HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1\"} 1\n\
            h_bucket{le=\"+Inf\"} 2\nh_sum 3.5\nh_count 2\n\
            # HELP x_total X.\n# TYPE x_total counter\nx_total{code=\"200\"} 3\n\
            x_total{code=\"400\"} 1\n";
        assert!(page.starts_with(expected), "{page}");
        assert!(page.contains("\nprocess_resident_memory_bytes "), "{page}");
    }
}
