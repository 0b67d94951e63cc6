//! Synthetic pods with node_exporter and application metrics, about a hundred series in a turn, of
//! which 42 belong to classic histograms.
//!
//! The models of values are those of the load generator that databases are compared with, for
//! sizes that compare: counters of Poisson-like events with bursts, seconds with two decimals,
//! random walks of a fixed number of decimals, constants, and histograms of eleven bounds, of
//! which all buckets count the same events. [`fleet`](crate::fleet) computes its samples
//! instead, for stores of millions of series.

use ferula_chunkenc::Sample;

use crate::{Random, START_MS, STEP_MS, Series};

const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Share of the time that a processor spends in each mode.
const CPU_MODES: [(&str, f64); 8] = [
    ("idle", 0.8),
    ("user", 0.12),
    ("system", 0.05),
    ("iowait", 0.01),
    ("softirq", 0.008),
    ("steal", 0.002),
    ("irq", 0.0),
    ("nice", 0.0),
];
/// Status codes with the share of the requests that end so.
const STATUSES: [(&str, f64); 5] =
    [("200", 1.0), ("201", 0.2), ("404", 0.02), ("400", 0.005), ("500", 0.001)];
const MEMORY_FIELDS: [&str; 8] =
    ["MemFree", "MemAvailable", "Cached", "Buffers", "Active", "Inactive", "Slab", "Dirty"];
const STEP_S: f64 = STEP_MS as f64 / 1000.0;
/// How often, per target and scrape, a process restarts and its counters reset.
const RESTART: f64 = 0.1 * STEP_S / 3600.0;

/// The series of `n_targets` pods of `series_per_target` series and `n_scrapes` scrapes each,
/// in the order of their labels.
pub fn series(n_targets: usize, series_per_target: usize, n_scrapes: usize) -> Vec<Series> {
    let mut all: Vec<Series> = (0..n_targets)
        .flat_map(|target| target_series(target, series_per_target, n_scrapes))
        .collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

fn target_series(target: usize, series_per_target: usize, n_scrapes: usize) -> Vec<Series> {
    let mut builder = Builder::new(target, series_per_target);
    builder.build();
    let Builder { mut random, mut instruments, .. } = builder;
    let offset_ms = i64::try_from(random.below(STEP_MS.cast_unsigned())).unwrap_or_default();
    let mut at = START_MS + offset_ms;
    for _ in 0..n_scrapes {
        // Prometheus evens out small delays itself; the large ones remain.
        let late = if random.chance(0.02) { 3 + random.below(37) } else { 0 };
        let timestamp = at + late.cast_signed();
        at += STEP_MS;
        let is_restart = random.chance(RESTART);
        for instrument in &mut instruments {
            if is_restart {
                instrument.model.restart(timestamp);
            }
            instrument.model.advance(&mut random);
            let series = &mut instrument.series;
            instrument.model.emit(|i, v| series[i].samples.push(Sample::new(timestamp, v)));
        }
    }
    instruments.into_iter().flat_map(|instrument| instrument.series).collect()
}

/// A metric of a target: one series, or the several ones of a histogram.
struct Instrument {
    series: Vec<Series>,
    model: Model,
}

enum Model {
    Constant(f64),
    /// Seconds since the epoch of the last restart.
    StartTime(f64),
    /// Events, or their sizes: those of one scrape have on average a size between the two given.
    Counter {
        total: u64,
        events: Events,
        size: (u64, u64),
    },
    /// Seconds with two decimals, kept in hundredths.
    Seconds {
        hundredths: u64,
        events: Events,
    },
    /// A random walk between bounds, in units of `1 / scale`.
    Walk {
        units: i64,
        bounds: (i64, i64),
        step: f64,
        moves: f64,
        scale: f64,
    },
    Histogram {
        events: Events,
        shares: [f64; 11],
        counts: [u64; 12],
        sum: f64,
    },
}

impl Model {
    fn restart(&mut self, timestamp: i64) {
        match self {
            Self::Constant(_) | Self::Walk { .. } => {}
            Self::StartTime(at) => *at = timestamp as f64 / 1000.0,
            Self::Counter { total, .. } => *total = 0,
            Self::Seconds { hundredths, .. } => *hundredths = 0,
            Self::Histogram { counts, sum, .. } => {
                *counts = [0; 12];
                *sum = 0.0;
            }
        }
    }

    fn advance(&mut self, random: &mut Random) {
        match self {
            Self::Constant(_) | Self::StartTime(_) => {}
            Self::Counter { total, events, size } => {
                *total += events.next(random) * (size.0 + random.below(size.1 - size.0 + 1));
            }
            Self::Seconds { hundredths, events } => *hundredths += events.next(random),
            Self::Walk { units, bounds, step, moves, .. } => {
                if random.chance(*moves) {
                    let moved = *units + rounded(random.gauss() * *step);
                    *units = moved.clamp(bounds.0, bounds.1);
                }
            }
            Self::Histogram { events, shares, counts, sum } => {
                observe(events.next(random), shares, counts, sum, random);
            }
        }
    }

    fn emit(&self, mut emit: impl FnMut(usize, f64)) {
        match self {
            Self::Constant(value) | Self::StartTime(value) => emit(0, *value),
            Self::Counter { total, .. } => emit(0, *total as f64),
            Self::Seconds { hundredths, .. } => emit(0, *hundredths as f64 / 100.0),
            Self::Walk { units, scale, .. } => emit(0, *units as f64 / scale),
            Self::Histogram { counts, sum, .. } => {
                let mut cumulative = 0;
                for (i, n) in counts.iter().enumerate() {
                    cumulative += n;
                    emit(i, cumulative as f64);
                }
                emit(counts.len(), *sum);
                emit(counts.len() + 1, cumulative as f64);
            }
        }
    }
}

/// Puts `n` observations into buckets, of which `shares` are cumulative shares.
fn observe(n: u64, shares: &[f64; 11], counts: &mut [u64; 12], sum: &mut f64, random: &mut Random) {
    let mut in_buckets = [0; 12];
    if n <= 16 {
        for _ in 0..n {
            let at = random.unit();
            in_buckets[shares.partition_point(|&share| share < at)] += 1;
        }
    } else {
        let (mut left, mut below) = (n, 0.0);
        for (bucket, &share) in shares.iter().enumerate() {
            in_buckets[bucket] = random.binomial(left, (share - below) / (1.0 - below));
            left -= in_buckets[bucket];
            below = share;
        }
        in_buckets[11] = left;
    }
    for (bucket, n) in in_buckets.into_iter().enumerate().filter(|&(_, n)| n > 0) {
        let low = if bucket == 0 { 0.0005 } else { BOUNDS[bucket - 1] };
        let high = BOUNDS.get(bucket).copied().unwrap_or(30.0);
        counts[bucket] += n;
        *sum += n as f64 * random.between(low, high);
    }
}

/// The number of events per scrape: Poisson-like, with bursts.
struct Events {
    mean: f64,
    burst_left: u64,
    burst_factor: f64,
}

impl Events {
    const fn new(mean: f64) -> Self {
        Self { mean, burst_left: 0, burst_factor: 1.0 }
    }

    fn next(&mut self, random: &mut Random) -> u64 {
        if self.mean == 0.0 {
            return 0;
        }
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return random.poisson(self.mean * self.burst_factor);
        }
        if random.chance(0.01) {
            self.burst_left = 4 + random.below(16);
            self.burst_factor = random.between(2.0, 15.0);
        }
        random.poisson(self.mean)
    }
}

fn rounded(value: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "the values of the models are small")]
    let rounded = value.round() as i64;
    rounded
}

impl Random {
    /// A number from 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Nearly normal, from four uniform 16-bit numbers.
    fn gauss(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xffff).sum();
        // The sum has mean 2 * 65535 and standard deviation 65535 / sqrt(3).
        (sum as f64 - 131_070.0) / 37_836.65
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 6.0 {
            return rounded(mean + mean.sqrt() * self.gauss()).max(0).cast_unsigned();
        }
        let limit = (-mean).exp();
        let (mut n, mut product) = (0, self.unit());
        while product > limit {
            n += 1;
            product *= self.unit();
        }
        n
    }

    fn binomial(&mut self, n: u64, share: f64) -> u64 {
        if n <= 16 {
            return (0..n).filter(|_| self.chance(share)).count() as u64;
        }
        let mean = n as f64 * share;
        let spread = (mean * (1.0 - share)).sqrt();
        rounded(mean + spread * self.gauss()).clamp(0, n.cast_signed()).cast_unsigned()
    }
}

/// Makes the instruments of one target.
struct Builder {
    common: Vec<(String, String)>,
    random: Random,
    instruments: Vec<Instrument>,
    left: usize,
}

impl Builder {
    fn new(target: usize, series_per_target: usize) -> Self {
        let job = ["api", "cart", "checkout", "auth", "sessions", "search", "ingest", "ingress"]
            [target % 8];
        let common = [
            ("cluster", if target % 3 == 2 { "prod-us-2" } else { "prod-eu-1" }.to_owned()),
            ("namespace", "shop".to_owned()),
            ("job", job.to_owned()),
            ("instance", format!("10.0.{}.{}:8080", target / 250, target % 250)),
            ("pod", format!("{job}-7d9f{:04x}b", target / 8)),
        ];
        let common = common.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let random = Random::new(target as u64 + 1);
        Self { common, random, instruments: Vec::new(), left: series_per_target }
    }

    fn build(&mut self) {
        self.add("up", &[], Model::Constant(1.0));
        self.add("target_info", &[("version", "v1.2.0".to_owned())], Model::Constant(1.0));
        let started = Model::StartTime(START_MS as f64 / 1e3);
        self.add("process_start_time_seconds", &[], started);
        let usage = self.seconds(0.4);
        self.add("container_cpu_usage_seconds_total", &[], usage);
        let working_set = self.bytes(0.3);
        self.add("container_memory_working_set_bytes", &[], working_set);
        let goroutines = self.walk(10, 5000, 4.0, 0.9, 1.0);
        self.add("go_goroutines", &[], goroutines);
        let mut turn = 0;
        while self.left > 0 {
            (0..3).for_each(|i| self.http_duration(turn * 3 + i));
            (0..14).for_each(|i| self.http_requests(turn * 14 + i));
            (0..6).for_each(|i| self.rpc_handled(turn * 6 + i));
            (0..6).for_each(|i| self.device_bytes(turn * 6 + i));
            (0..10).for_each(|i| self.cpu_seconds(turn * 10 + i));
            (0..7).for_each(|i| self.byte_gauge(turn * 7 + i));
            (0..8).for_each(|i| self.decimal_gauge(turn * 8 + i));
            (0..7).for_each(|i| self.constant(turn * 7 + i));
            turn += 1;
        }
    }

    fn add(&mut self, name: &str, own: &[(&str, String)], model: Model) {
        if self.left > 0 {
            let series = vec![self.named(name, own)];
            self.push(series, model);
        }
    }

    fn push(&mut self, series: Vec<Series>, model: Model) {
        self.left -= series.len();
        self.instruments.push(Instrument { series, model });
    }

    fn named(&self, name: &str, own: &[(&str, String)]) -> Series {
        let mut labels = self.common.clone();
        labels.extend(own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        labels.push(("__name__".to_owned(), name.to_owned()));
        labels.sort();
        Series { labels, samples: Vec::new() }
    }

    /// A rate per second between 0.01 and 100; a quarter of all things never happen.
    fn busyness(&mut self) -> f64 {
        if self.random.chance(0.25) { 0.0 } else { 10_f64.powf(self.random.between(-2.0, 2.0)) }
    }

    /// A counter that has already run for a while.
    fn counter(&mut self, per_second: f64, size: (u64, u64)) -> Model {
        let events = rounded(per_second * self.random.between(0.0, 1e6)).cast_unsigned();
        Model::Counter { total: events * size.0, events: Events::new(per_second * STEP_S), size }
    }

    fn seconds(&mut self, share: f64) -> Model {
        let hundredths = rounded(share * self.random.between(0.0, 1e8)).cast_unsigned();
        Model::Seconds { hundredths, events: Events::new(share * 100.0 * STEP_S) }
    }

    fn walk(&mut self, low: i64, high: i64, step: f64, moves: f64, scale: f64) -> Model {
        let units = low + self.random.below((high - low + 1).cast_unsigned()).cast_signed();
        Model::Walk { units, bounds: (low, high), step, moves, scale }
    }

    /// A gauge of memory pages in bytes.
    fn bytes(&mut self, moves: f64) -> Model {
        self.walk(1 << 12, 1 << 22, 200.0, moves, 1.0 / 4096.0)
    }

    fn http_duration(&mut self, k: usize) {
        if self.left < BOUNDS.len() + 3 {
            return;
        }
        let name = "http_request_duration_seconds";
        let method = ["GET", "POST"][k % 2].to_owned();
        let own = [("handler", format!("/api/v1/resource{}", k / 2)), ("method", method)];
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut series: Vec<Series> = bounds
            .map(|le| {
                let [handler, method] = own.clone();
                self.named(&format!("{name}_bucket"), &[handler, method, ("le", le)])
            })
            .collect();
        series.push(self.named(&format!("{name}_sum"), &own));
        series.push(self.named(&format!("{name}_count"), &own));
        let events = Events::new(self.busyness() * STEP_S);
        let median_s = 10_f64.powf(self.random.between(-2.5, 0.0));
        // A logistic distribution over the logarithm of the latency.
        let shares = BOUNDS.map(|le| 1.0 / (1.0 + (-2.2 * (le / median_s).ln()).exp()));
        self.push(series, Model::Histogram { events, shares, counts: [0; 12], sum: 0.0 });
    }

    fn http_requests(&mut self, k: usize) {
        let (status, share) = STATUSES[k % 5];
        let method = ["GET", "POST", "PUT", "DELETE"][k / 5 % 4].to_owned();
        let handler = format!("/api/v1/resource{}", k / 20);
        let own = [("handler", handler), ("method", method), ("status", status.to_owned())];
        let rate = self.busyness() * share;
        let model = self.counter(rate, (1, 1));
        self.add("http_requests_total", &own, model);
    }

    fn rpc_handled(&mut self, k: usize) {
        let code = ["OK", "NotFound", "Unavailable"][k % 3];
        let own = [
            ("grpc_service", format!("fleet.v1.Service{}", k / 12)),
            ("grpc_method", format!("Call{}", k / 3 % 4)),
            ("grpc_code", code.to_owned()),
        ];
        let rate = self.busyness() * if code == "OK" { 1.0 } else { 0.01 };
        let model = self.counter(rate, (1, 1));
        self.add("grpc_server_handled_total", &own, model);
    }

    fn device_bytes(&mut self, k: usize) {
        let (name, size) = [
            ("node_network_receive_bytes_total", (100, 1400)),
            ("node_network_transmit_bytes_total", (100, 1400)),
            ("node_network_receive_packets_total", (1, 1)),
            ("node_network_transmit_packets_total", (1, 1)),
            ("node_disk_read_bytes_total", (4096, 4096)),
            ("node_disk_written_bytes_total", (4096, 4096)),
        ][k % 6];
        let rate = self.busyness();
        let model = self.counter(rate, size);
        self.add(name, &[("device", format!("dev{}", k / 6))], model);
    }

    fn cpu_seconds(&mut self, k: usize) {
        let (mode, share) = CPU_MODES[k % 8];
        let own = [("cpu", (k / 8).to_string()), ("mode", mode.to_owned())];
        let model = self.seconds(share);
        self.add("node_cpu_seconds_total", &own, model);
    }

    fn byte_gauge(&mut self, k: usize) {
        if let Some(field) = MEMORY_FIELDS.get(k) {
            let model = self.bytes(0.95);
            return self.add(&format!("node_memory_{field}_bytes"), &[], model);
        }
        let model = self.bytes(0.5);
        self.add("node_filesystem_avail_bytes", &[("device", format!("nvme{k}"))], model);
    }

    fn decimal_gauge(&mut self, k: usize) {
        let (name, model) = match k % 4 {
            0 => ("node_hwmon_temp_celsius", self.walk(2500, 9500, 60.0, 0.8, 100.0)),
            1 => ("cache_hit_ratio", self.walk(0, 1000, 5.0, 0.7, 1000.0)),
            2 => ("queue_depth", self.walk(0, 500, 6.0, 0.4, 1.0)),
            _ => ("worker_load", self.walk(0, 6400, 40.0, 0.9, 100.0)),
        };
        self.add(name, &[("sensor", (k / 4).to_string())], model);
    }

    fn constant(&mut self, k: usize) {
        let (name, value) = match k % 3 {
            0 => ("node_filesystem_size_bytes", 4096.0 * 4_194_304.0),
            1 => ("app_feature_enabled", if self.random.chance(0.3) { 1.0 } else { 0.0 }),
            _ => ("kube_pod_container_resource_limits", 0.25 * (k / 3 % 16) as f64),
        };
        self.add(name, &[("n", (k / 3).to_string())], Model::Constant(value));
    }
}
