//! Flags of queries: how many, how long, how much, and what is told of slow ones.

use std::sync::Arc;

use clap::Args;
use ferula_promql::{
    DEFAULT_MAX_MEMORY_BYTES, DEFAULT_MAX_SAMPLES, Engine, EngineOptions, Features,
};
use ferula_tsdb::QueryThreads;

use crate::api::{ApiBuilder, DEFAULT_QUERY_CONCURRENCY, MonotonicClock};
use crate::duration;

/// Flags of a program that answers queries.
#[derive(Args, Clone, Debug)]
pub struct QueryFlags {
    /// Queries and look-ups that run at the same time; more wait.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_QUERY_CONCURRENCY)]
    pub query_concurrency: usize,

    /// Threads that help queries beside the one that each has; by default one less than there are
    /// processors. With 0 queries leave the other processors to whoever writes.
    #[arg(long, value_name = "N")]
    pub query_threads: Option<usize>,

    /// Longest time of a query, waiting for its turn included.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration::parse)]
    pub query_timeout: i64,

    /// How far instant selectors look back.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    pub query_lookback_delta: i64,

    /// Most samples that a query may hold, by Prometheus's count.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_SAMPLES)]
    pub query_max_samples: usize,

    /// Most bytes of memory that a query may hold. Together queries hold as many times that as run at
    /// the same time.
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_MEMORY_BYTES)]
    pub query_max_memory: usize,

    /// Have the experimental functions of the language, too.
    #[arg(long)]
    pub query_experimental_functions: bool,

    /// Bytes of memory for answers to parts of range queries that do not change any more; 0 keeps none.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub query_cache: usize,

    /// Log queries that take at least this long, with what they read.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub log_slow_queries: Option<i64>,
}

impl QueryFlags {
    /// Has an API do what the flags say of queries.
    pub fn configure(&self, api: ApiBuilder) -> ApiBuilder {
        let api = api.engine(self.engine()).query_concurrency(self.query_concurrency);
        let api = api.query_cache_bytes(self.query_cache);
        api.log_slow_queries(self.log_slow_queries.and_then(|ms| u64::try_from(ms).ok()))
    }

    fn engine(&self) -> Engine {
        let mut features = Features::default();
        features.experimental_functions = self.query_experimental_functions;
        let options = EngineOptions::default()
            .clock(Arc::new(MonotonicClock::new()))
            .timeout_ms(u64::try_from(self.query_timeout).unwrap_or(0))
            .lookback_delta_ms(self.query_lookback_delta)
            .max_samples(self.query_max_samples)
            .max_memory_bytes(self.query_max_memory)
            .features(features);
        let threads = match self.query_threads {
            Some(0) => return Engine::new(options),
            Some(n_threads) => QueryThreads::new(n_threads),
            None => QueryThreads::for_this_machine(),
        };
        // Without further threads queries run on one.
        Engine::new(match threads {
            Ok(threads) => options.threads(Arc::new(threads)),
            Err(_) => options,
        })
    }
}
