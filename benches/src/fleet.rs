//! The labels of a fleet of scraped targets, the same in every run.
//!
//! Shaped like a cluster of Kubernetes pods: a thousand series for each target, ten labels for each
//! series, twenty services with fifty metrics each. Most labels are shared by all series of a
//! target, the others come from short lists: buckets, status codes, handlers.

use std::fmt::Write;

/// Series of one target.
pub const TARGET_SERIES: usize = 1_000;

/// Services; each has its own [`METRICS`].
const SERVICES: usize = 20;

/// Metrics of a service.
const METRICS: usize = 50;

/// Series of a metric at one target.
const METRIC_SERIES: usize = TARGET_SERIES / METRICS;

const CLUSTERS: [(&str, &str); 3] =
    [("prod-eu-1", "eu-west-1"), ("prod-us-2", "us-east-2"), ("prod-ap-1", "ap-south-1")];
const NAMESPACES: [&str; 5] = ["shop", "identity", "discovery", "data", "kube-system"];
const BUCKETS: [&str; 10] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "5", "+Inf"];
const CODES: [&str; 4] = ["200", "404", "500", "503"];

/// A target, in its n-th life: each life has a new pod name and instance.
#[derive(Clone, Debug)]
pub struct Target {
    service: usize,
    common: [(&'static str, String); 7],
}

impl Target {
    /// The target with a number.
    pub fn new(number: usize, life: usize) -> Self {
        let service = number % SERVICES;
        let (cluster, region) = CLUSTERS[number % CLUSTERS.len()];
        let namespace = NAMESPACES[service % NAMESPACES.len()];
        let suffix = (number as u64 * 31 + life as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let common = [
            ("cluster", cluster.to_owned()),
            ("instance", format!("10.{}.{}.{}:8080", life % 256, number / 250, number % 250)),
            ("job", format!("service-{service:02}")),
            ("namespace", namespace.to_owned()),
            ("node", format!("node-{:04}", number / 10)),
            ("pod", format!("service-{service:02}-7d9f{:04x}b-{suffix:06x}", number / SERVICES)),
            ("region", region.to_owned()),
        ];
        Self { service, common }
    }

    /// Calls `each` with the labels of every series, sorted by name.
    pub fn for_each(&self, mut each: impl FnMut(&[(&str, &str)])) {
        let mut name = String::new();
        let mut handler = String::new();
        for metric in 0..METRICS {
            for i in 0..METRIC_SERIES {
                name.clear();
                handler.clear();
                let is_histogram = metric % 3 == 0;
                let kind = if is_histogram { "duration_seconds_bucket" } else { "total" };
                let per_handler = if is_histogram { BUCKETS.len() } else { CODES.len() };
                let (service, at) = (self.service, i % per_handler);
                write!(name, "service_{service:02}_metric_{metric:02}_{kind}").expect("a string");
                write!(handler, "/api/v1/resource{}", i / per_handler).expect("a string");
                let [cluster, instance, job, namespace, node, pod, region] =
                    self.common.each_ref().map(|(name, value)| (*name, value.as_str()));
                let (name, handler) = (("__name__", name.as_str()), ("handler", handler.as_str()));
                if is_histogram {
                    let le = ("le", BUCKETS[at]);
                    each(&[
                        name, cluster, handler, instance, job, le, namespace, node, pod, region,
                    ]);
                } else {
                    let code = ("code", CODES[at]);
                    each(&[
                        name, cluster, code, handler, instance, job, namespace, node, pod, region,
                    ]);
                }
            }
        }
    }
}
