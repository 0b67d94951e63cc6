//! A fleet of scraped targets whose labels and values are computed, not kept.
//!
//! A store of ten million series is measured in the process that feeds it, so whatever the feeder
//! keeps would be taken for the store's. Everything here follows from the seed, the target and the
//! scrape: any sample can be had at any time, for appending it and for checking it later.
//!
//! A target looks like a pod with node and application metrics: counters of events, bytes and
//! seconds, histograms, gauges of few decimals, constants. Every series has ten labels.

use ferula_index::Labels;

/// Labels of every series, the metric name included.
pub const N_LABELS: usize = 10;

const JOBS: [(&str, &str); 8] = [
    ("api", "shop"),
    ("cart", "shop"),
    ("checkout", "shop"),
    ("auth", "identity"),
    ("sessions", "identity"),
    ("search", "discovery"),
    ("ingest", "data"),
    ("ingress", "kube-system"),
];

/// Labels that fill up series which have few of their own.
const FILLERS: [(&str, &str); 3] =
    [("tier", "backend"), ("managed_by", "fleet-operator"), ("monitor", "main")];

const BUCKETS: [&str; 12] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

const STATUSES: [&str; 5] = ["200", "201", "404", "400", "500"];

const CPU_MODES: [&str; 8] =
    ["idle", "user", "system", "iowait", "softirq", "steal", "irq", "nice"];

const MEMORY_FIELDS: [&str; 8] = [
    "MemFree_bytes",
    "MemAvailable_bytes",
    "Cached_bytes",
    "Buffers_bytes",
    "Active_bytes",
    "Inactive_bytes",
    "Slab_bytes",
    "Dirty_bytes",
];

/// Scrapes between two restarts of a target, which set its counters back.
const RESTART_ROUNDS: u64 = 2400;

/// What a fleet is made of.
#[derive(Clone, Copy, Debug)]
pub struct FleetOptions {
    /// Same seed, same fleet.
    pub seed: u64,
    /// Number of targets.
    pub n_targets: u32,
    /// Series of each target.
    pub series_per_target: u32,
    /// Time of the first round of scrapes, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Time between two scrapes of a target, in milliseconds.
    pub interval_ms: i64,
    /// Share of the targets that are replaced by others with new labels, per hour.
    pub churn_per_hour: f64,
}

/// A fleet of targets that are scraped in rounds.
#[derive(Debug)]
pub struct Fleet {
    options: FleetOptions,
    /// What every target exposes.
    shapes: Vec<Shape>,
    /// Events per scrape, by how busy a thing is; a quarter of all things never happen.
    rates: [Rate; 64],
}

/// How often something happens.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    mean: f64,
    /// How far two scrapes may differ: as much as for independent events, but not below zero.
    spread: f64,
}

/// One series of every target.
#[derive(Debug)]
struct Shape {
    name: String,
    own: Vec<(&'static str, String)>,
    model: Model,
    /// Series of one histogram share this.
    group: u32,
}

/// How the values of a series come about.
#[derive(Clone, Copy, Debug)]
enum Model {
    Constant(f64),
    /// Counts events, or their sizes, of this mean.
    Counter(f64),
    /// Counts seconds with two decimals; this many pass per second at most.
    Seconds(f64),
    /// Wanders about some place up to `high` by about `step` a scrape, in units of one `scale`th,
    /// and moves once in `hold` scrapes.
    Gauge {
        high: f64,
        step: f64,
        scale: f64,
        hold: u64,
    },
    /// Observations up to a bound: this share of all of them.
    Bucket(f64),
    /// Sum of what a histogram observed.
    Sum,
}

impl Fleet {
    /// Makes a fleet.
    pub fn new(options: FleetOptions) -> Self {
        let per_scrape = options.interval_ms as f64 / 1000.0;
        let rates = std::array::from_fn(|step| match step {
            0..16 => Rate::default(),
            // From one in a hundred seconds to a hundred a second.
            step => {
                let mean = 10_f64.powf((step as f64 - 16.0) / 47.0 * 4.0 - 2.0) * per_scrape;
                Rate { mean, spread: mean.min(2.45 * mean.sqrt()) }
            }
        });
        Self { options, shapes: shapes(options.series_per_target), rates }
    }

    /// What it was made of.
    pub fn options(&self) -> &FleetOptions {
        &self.options
    }

    /// When within each round a target is scraped, in milliseconds.
    pub fn offset_ms(&self, target: u32) -> i64 {
        let spread = mix(self.options.seed ^ u64::from(target) << 20) >> 1;
        spread.cast_signed() % self.options.interval_ms
    }

    /// Time of a scrape. A real scraper evens out small delays; the large ones remain.
    pub fn time_ms(&self, target: u32, round: u32) -> i64 {
        let on_time = self.options.start_ms
            + i64::from(round) * self.options.interval_ms
            + self.offset_ms(target);
        let luck = mix(self.options.seed ^ (u64::from(target) << 32 | u64::from(round)));
        if luck.is_multiple_of(50) { on_time + 3 + (luck >> 8 & 31).cast_signed() } else { on_time }
    }

    /// How often a target has been replaced before this round.
    pub fn generation(&self, target: u32, round: u32) -> u32 {
        let hours = f64::from(round) * self.options.interval_ms as f64 / 3_600_000.0;
        // Evenly spread over the fleet, and in no order.
        let phase = unit(mix(self.options.seed.wrapping_add(u64::from(target))));
        let replaced = (hours * self.options.churn_per_hour + phase).floor().max(0.0);
        #[expect(clippy::cast_possible_truncation, reason = "hours of a run times a share")]
        #[expect(clippy::cast_sign_loss, reason = "at least zero")]
        let generation = replaced as u32;
        generation
    }

    /// Labels of a series of a target.
    pub fn labels(&self, target: u32, generation: u32, series: u32) -> Labels {
        let Shape { name, own, .. } = &self.shapes[series as usize];
        let (job, namespace) = JOBS[target as usize % JOBS.len()];
        let unique = mix(self.options.seed ^ u64::from(target) << 32 ^ u64::from(generation));
        let mut pairs = vec![
            ("__name__", name.clone()),
            ("cluster", ["prod-eu-1", "prod-us-2"][usize::from(target % 3 == 2)].to_owned()),
            ("namespace", namespace.to_owned()),
            ("job", job.to_owned()),
            ("instance", format!("10.{}.{}.{}:8080", generation % 256, target / 250, target % 250)),
            ("pod", format!("{job}-7d9f{:04x}b-{:05x}", target / 8, unique & 0xf_ffff)),
            ("node", format!("node-{:04}", target / 10)),
        ];
        pairs.extend(own.iter().cloned());
        let missing = N_LABELS - pairs.len();
        pairs.extend(FILLERS[..missing].iter().map(|(name, value)| (*name, (*value).to_owned())));
        Labels::from_pairs(pairs).expect("names differ and are short")
    }

    /// Computes what a scrape of a target finds: one value per series, into `values`.
    pub fn scrape(&self, target: u32, generation: u32, round: u32, values: &mut Vec<f64>) {
        let of_target = mix(self.options.seed ^ (u64::from(target) << 32 | u64::from(generation)));
        let phase = of_target % RESTART_ROUNDS;
        let restarts = (u64::from(round) + phase) / RESTART_ROUNDS;
        let up_rounds = (u64::from(round) + phase) % RESTART_ROUNDS;
        values.clear();
        values.extend((0_u64..).zip(&self.shapes).map(|(series, shape)| {
            let group = mix(of_target.wrapping_add(u64::from(shape.group)));
            match shape.model {
                Model::Constant(value) => value,
                Model::Counter(size) => (self.events(group, up_rounds, restarts) * size).floor(),
                Model::Seconds(share) => {
                    let share = share * (0.2 + 0.8 * unit(group));
                    let mean = share * self.options.interval_ms as f64 / 10.0;
                    let spread = mean.min(2.45 * mean.sqrt());
                    let noise = spread * unit(mix(group ^ up_rounds));
                    (mean * up_rounds as f64 + noise).floor() / 100.0
                }
                Model::Gauge { high, step, scale, hold } => {
                    let round = u64::from(round) / hold;
                    let seed = of_target.wrapping_add(series << 40);
                    let away = 12.0 * slope(seed, round, 16) + 2.0 * unit(mix(!seed ^ round));
                    (high * unit(group) + step * away).floor() / scale
                }
                Model::Bucket(share) => {
                    // Observations near the bound fall to either side of it.
                    let share = share * (0.9 + 0.1 * unit(group.rotate_left(17)));
                    (self.events(group, up_rounds, restarts) * share).floor()
                }
                Model::Sum => self.events(group, up_rounds, restarts) * (0.05 + 0.2 * unit(group)),
            }
        }));
    }

    /// Events up to a scrape: never fewer than at the one before, unless the target restarted.
    fn events(&self, group: u64, up_rounds: u64, restarts: u64) -> f64 {
        let rate = &self.rates[usize::from((group >> 58) as u8)];
        // What it had counted when it was first seen.
        let before = if restarts == 0 { (group & 0xffff) as f64 } else { 0.0 };
        let noise = rate.spread * unit(mix(group ^ up_rounds));
        (rate.mean * (before + up_rounds as f64) + noise).floor()
    }
}

/// Builds what every target exposes: 42 % histograms, 37 % counters, 14 % gauges, 7 % constants.
fn shapes(n: u32) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut add = |name: &str, own: Vec<(&'static str, String)>, model, group: Option<u32>| {
        let group = group.unwrap_or(u32::MAX - u32::try_from(shapes.len()).unwrap_or(0));
        shapes.push(Shape { name: name.to_owned(), own, model, group });
    };
    add("up", vec![], Model::Constant(1.0), None);
    add("process_start_time_seconds", vec![], Model::Constant(1_699_990_000.25), None);
    // One turn makes 100 series.
    for turn in 0..n / 100 + 1 {
        for k in 0..3 {
            histogram(turn * 3 + k, &mut add);
        }
        for k in turn * 14..turn * 14 + 14 {
            let own = vec![
                ("handler", handler(k / 20)),
                ("method", METHODS[k as usize / 5 % 4].to_owned()),
                ("status", STATUSES[k as usize % 5].to_owned()),
            ];
            add("http_requests_total", own, Model::Counter(1.0), None);
        }
        for k in turn * 6..turn * 6 + 6 {
            let own = vec![
                ("grpc_service", format!("fleet.v1.Service{}", k / 12)),
                ("grpc_method", format!("Call{}", k / 3 % 4)),
                ("grpc_code", ["OK", "NotFound", "Unavailable"][k as usize % 3].to_owned()),
            ];
            add("grpc_server_handled_total", own, Model::Counter(1.0), None);
        }
        for (name, device, size) in [
            ("node_network_receive_bytes_total", "eth", 731.0),
            ("node_network_transmit_bytes_total", "eth", 412.0),
            ("node_network_receive_packets_total", "eth", 1.0),
            ("node_network_transmit_packets_total", "eth", 1.0),
            ("node_disk_read_bytes_total", "nvme", 4096.0),
            ("node_disk_written_bytes_total", "nvme", 4096.0),
        ] {
            let own = vec![("device", format!("{device}{turn}"))];
            add(name, own, Model::Counter(size), None);
        }
        for k in turn * 10..turn * 10 + 10 {
            let own =
                vec![("cpu", (k / 8).to_string()), ("mode", CPU_MODES[k as usize % 8].to_owned())];
            let share = [0.8, 0.12, 0.05, 0.01, 0.008, 0.002, 0.0, 0.0][k as usize % 8];
            add("node_cpu_seconds_total", own, Model::Seconds(share), None);
        }
        gauges(turn, &mut add);
        for k in 0..3 {
            let own = vec![
                ("resource", format!("pool_{turn}_{k}")),
                ("unit", ["core", "byte", "integer"][k as usize].to_owned()),
            ];
            let model = Model::Constant(0.25 * f64::from(k + 1));
            add("kube_pod_container_resource_limits", own, model, None);
        }
        for k in 0..4 {
            let own = vec![("feature", format!("flag_{turn}_{k}"))];
            add("app_feature_enabled", own, Model::Constant(f64::from(k % 2)), None);
        }
    }
    shapes.truncate(n as usize);
    shapes
}

/// Adds the 14 series of a histogram.
fn histogram(
    number: u32,
    add: &mut impl FnMut(&str, Vec<(&'static str, String)>, Model, Option<u32>),
) {
    let name = "http_request_duration_seconds";
    let own =
        vec![("handler", handler(number / 2)), ("method", METHODS[number as usize % 2].to_owned())];
    // A logistic distribution over the logarithm of the latency, of one median or another.
    let median = f64::from(number % 7 + 1);
    for (bucket, le) in (0_i32..).zip(BUCKETS) {
        let share =
            if le == "+Inf" { 1.0 } else { 1.0 / (1.0 + (median - f64::from(bucket)).exp()) };
        let model = Model::Bucket(share);
        let own = [own.clone(), vec![("le", le.to_owned())]].concat();
        add(&format!("{name}_bucket"), own, model, Some(number));
    }
    add(&format!("{name}_sum"), own.clone(), Model::Sum, Some(number));
    add(&format!("{name}_count"), own, Model::Bucket(1.0), Some(number));
}

/// Adds the 15 gauges of a turn.
fn gauges(turn: u32, add: &mut impl FnMut(&str, Vec<(&'static str, String)>, Model, Option<u32>)) {
    let pages = |hold| Model::Gauge { high: 4_194_304.0, step: 200.0, scale: 1.0 / 4096.0, hold };
    let memory = [("numa_node", turn.to_string())];
    for field in &MEMORY_FIELDS[..5] {
        add(&format!("node_memory_{field}"), memory.to_vec(), pages(1), None);
    }
    for k in 0..2 {
        let own = vec![
            ("device", format!("/dev/nvme{turn}n{k}p1")),
            ("fstype", "ext4".to_owned()),
            ("mountpoint", format!("/data/volume{turn}_{k}")),
        ];
        add("node_filesystem_avail_bytes", own, pages(2), None);
    }
    for (name, label, high, step, scale, hold) in [
        ("node_hwmon_temp_celsius", "sensor", 9500.0, 40.0, 100.0, 1),
        ("cache_hit_ratio", "cache", 1000.0, 4.0, 1000.0, 1),
        ("queue_depth", "queue", 500.0, 4.0, 1.0, 3),
        ("worker_load", "worker", 6400.0, 30.0, 100.0, 1),
        ("go_goroutines", "pool", 5000.0, 4.0, 1.0, 1),
        ("connections_open", "listener", 200.0, 2.0, 1.0, 2),
        ("lag_seconds", "partition", 90_000.0, 100.0, 1000.0, 1),
        ("replicas_ready", "set", 6.0, 0.1, 1.0, 30),
    ] {
        let own = vec![(label, turn.to_string())];
        add(name, own, Model::Gauge { high, step, scale, hold }, None);
    }
}

fn handler(n: u32) -> String {
    format!("/api/v1/resource{n}")
}

/// A number from 0 to 1 that changes slowly: straight between random heights every `width` rounds.
fn slope(seed: u64, round: u64, width: u64) -> f64 {
    let (at, within) = (round / width, (round % width) as f64 / width as f64);
    let height = |at: u64| unit(mix(seed ^ at));
    height(at) * (1.0 - within) + height(at + 1) * within
}

/// Scatters the bits of a number (the finish of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from 0 to below 1 from the upper bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ferula_chunkenc::XorAppender;

    use super::*;

    fn fleet(n_targets: u32, churn_per_hour: f64) -> Fleet {
        Fleet::new(FleetOptions {
            seed: 1,
            n_targets,
            series_per_target: 1000,
            start_ms: 1_700_000_000_000,
            interval_ms: 15_000,
            churn_per_hour,
        })
    }

    #[test]
    fn series_have_ten_labels_and_differ() {
        let fleet = fleet(3, 0.05);
        let mut all = BTreeSet::new();
        for (target, generation) in [(0, 0), (1, 0), (2, 0), (2, 1)] {
            for series in 0..1000 {
                let labels = fleet.labels(target, generation, series);
                assert_eq!(labels.len(), N_LABELS, "{labels}");
                assert!(all.insert(labels.to_string()), "{labels} twice");
            }
        }
    }

    #[test]
    fn counters_only_fall_when_their_target_restarts() {
        let fleet = fleet(1, 0.0);
        let (mut before, mut now) = (Vec::new(), Vec::new());
        let mut rounds_with_falls = 0;
        fleet.scrape(0, 0, 0, &mut before);
        for round in 1..2400 {
            fleet.scrape(0, 0, round, &mut now);
            let counters = fleet.shapes.iter().zip(before.iter().zip(&now)).filter(|(shape, _)| {
                matches!(
                    shape.model,
                    Model::Counter(_) | Model::Seconds(_) | Model::Bucket(_) | Model::Sum
                )
            });
            rounds_with_falls += u32::from(counters.into_iter().any(|(_, (old, new))| new < old));
            std::mem::swap(&mut before, &mut now);
        }
        assert_eq!(rounds_with_falls, 1);
    }

    /// A fleet that compresses much better or worse than real ones says little of a store.
    #[test]
    fn chunks_of_the_fleet_are_as_large_as_real_ones() {
        let fleet = fleet(8, 0.0);
        let mut values = Vec::new();
        let mut chunks: Vec<XorAppender> = Vec::new();
        chunks.resize_with(4000, XorAppender::new);
        for round in 0..120 {
            for target in 0..4 {
                fleet.scrape(target, 0, round, &mut values);
                let chunks = chunks.iter_mut().skip(target as usize * 1000);
                for (chunk, value) in chunks.zip(&values) {
                    chunk.append(fleet.time_ms(target, round), *value).unwrap();
                }
            }
        }
        let size: usize = chunks.into_iter().map(|chunk| chunk.into_chunk().data.len()).sum();
        let per_sample = size as f64 / (4000.0 * 120.0);
        assert!((1.5..2.2).contains(&per_sample), "{per_sample} bytes per sample");
    }

    #[test]
    fn scrapes_of_a_target_advance() {
        let fleet = fleet(50, 0.0);
        for target in 0..50 {
            assert!((0..15_000).contains(&fleet.offset_ms(target)));
            let times: Vec<i64> = (0..100).map(|round| fleet.time_ms(target, round)).collect();
            assert!(times.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn churn_replaces_the_share_asked_for() {
        let fleet = fleet(1000, 0.05);
        let replaced = |hours: u32| -> u32 {
            (0..1000).map(|target| fleet.generation(target, hours * 240)).sum()
        };
        assert_eq!(replaced(0), 0);
        assert!((30..70).contains(&replaced(1)), "{}", replaced(1));
        assert!((950..1050).contains(&replaced(20)), "{}", replaced(20));
    }
}
