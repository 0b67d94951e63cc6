//! What the programs share on their command lines: flags, start-up, signals, exit codes.
//!
//! A program reads its flags with [`parse`], hands its work to [`run`], binds its address before it
//! opens anything ([`Server::bind`]), opens its store ([`StoreFlags::open`]), and serves until a
//! signal ends it ([`Server::serve`]). Failures are one line on standard error, causes included,
//! and exit code 1; a wrong command line is exit code 2.

mod connection;
mod otlp;
mod query;
mod server;
mod web;

use std::error::Error as StdError;
use std::ffi::OsStr;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Parser, ValueEnum};
use ferula_index::Matcher;
use ferula_index::matcher::CaptureRegex;
use ferula_tsdb::{
    BlockFormat, DEFAULT_MAX_SERIES, DEFAULT_OUT_OF_ORDER_WINDOW_MS, Db, Limits, OpenReport,
    Options, Stats, SyncPolicy,
};
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::api::{self, BuildInformation};
use crate::calendar;
use crate::config;
use crate::duration;
use crate::exposition::MetricType;
use crate::telemetry::Registry;

pub use otlp::{DeltaFlag, OtlpFlags};
pub use query::QueryFlags;
pub use server::{GRACE_PERIOD, Server};
pub use web::WebConfigError;

/// Address served unless the command line says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9090";

/// Data directory unless the command line says otherwise.
pub const DEFAULT_DATA_DIR: &str = "ferula-data";

/// The part of every program's `--help` that tells its exit codes.
pub const EXIT_CODES: &str = "Exit codes: 0 after SIGINT or SIGTERM, 1 when it cannot start or go \
     on, 2 for a wrong command line.";

/// Whatever ends a program; its causes are reported too.
pub type Failure = Box<dyn StdError + Send + Sync>;

/// Flags of a program that serves HTTP.
#[derive(Args, Clone, Debug)]
pub struct ServerFlags {
    /// Address and port to serve HTTP on; port 0 takes a free one.
    ///
    /// The line `listening on http://ADDRESS` on standard output tells the one taken. Without a web
    /// configuration nothing is authenticated: whoever reaches the address may read, and write where the
    /// program takes writes.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN)]
    pub listen: String,

    /// Web configuration in Prometheus's format: TLS, client certificates, users with passwords.
    #[arg(long, value_name = "FILE")]
    pub web_config: Option<PathBuf>,

    /// Least severe messages written to standard error.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,

    /// Let requests end the program (POST /-/quit).
    #[arg(long)]
    pub enable_lifecycle: bool,

    /// Regular expression of the origins whose pages may read answers, the whole of them; by default
    /// those of all.
    #[arg(long, value_name = "REGEX", value_parser = origins)]
    pub cors_origin: Option<CaptureRegex>,
}

fn origins(pattern: &str) -> Result<CaptureRegex, String> {
    CaptureRegex::new(pattern).map_err(|error| crate::chain(&error))
}

/// Severity of log messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may need attention.
    Warn,
    /// What happens at start and end.
    Info,
    /// What happens per scrape and request.
    Debug,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
        }
    }
}

/// Flags of a program that writes a store.
#[derive(Args, Clone, Debug)]
pub struct StoreFlags {
    /// Directory of the store; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub data: PathBuf,

    /// When samples are acknowledged.
    ///
    /// In every case they are in the log by then, so that killing the program loses none of them.
    /// Only "always" survives a power cut as well.
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = WalSync::Interval)]
    pub wal_sync: WalSync,

    /// How far back from the newest sample others are taken out of order, such as 30m; none by
    /// default.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub out_of_order_window: Option<i64>,

    /// How blocks are stored from now on.
    ///
    /// Blocks of either format are read; those there are become this one when they are compacted.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = StoredFormat::Ferula)]
    pub block_format: StoredFormat,

    /// Most series of the head; new ones are refused from then on, known ones go on.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_MAX_SERIES)]
    pub max_series: u64,

    /// Serve the endpoints below /api/v1/admin, such as snapshots.
    #[arg(long)]
    pub enable_admin_api: bool,
}

/// How blocks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoredFormat {
    /// Columns: a fraction of the size.
    Ferula,
    /// As Prometheus and Thanos read and write them, snapshots included.
    Prometheus,
}

impl From<StoredFormat> for BlockFormat {
    fn from(format: StoredFormat) -> Self {
        match format {
            StoredFormat::Ferula => Self::Ferula,
            StoredFormat::Prometheus => Self::Prometheus,
        }
    }
}

/// When the log is synced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WalSync {
    /// Before samples are acknowledged: nothing acknowledged is lost in a power cut.
    Always,
    /// Every 5 s: a power cut loses at most the samples of that time.
    Interval,
    /// When the operating system does it: a power cut loses what it had not written.
    Never,
}

impl From<WalSync> for SyncPolicy {
    fn from(sync: WalSync) -> Self {
        match sync {
            WalSync::Always => Self::Always,
            WalSync::Interval => Self::Interval(Duration::from_secs(5)),
            WalSync::Never => Self::Never,
        }
    }
}

impl StoreFlags {
    /// Opens the store, logs what opening read, cut and set aside, and exposes what it holds.
    ///
    /// # Errors
    /// Whatever keeps the store from being opened, for instance another process that holds it.
    pub async fn open(&self, registry: &Registry) -> Result<Arc<Db>, ferula_tsdb::Error> {
        info!(data = %self.data.display(), "opening the store");
        let data = self.data.clone();
        let window_ms = self.out_of_order_window.unwrap_or(DEFAULT_OUT_OF_ORDER_WINDOW_MS);
        let mut limits = Limits::default();
        limits.series = self.max_series;
        let options = Options::builder()
            .limits(limits)
            .sync(self.wal_sync.into())
            .block_format(self.block_format.into())
            .out_of_order_window_ms(window_ms)
            .build()?;
        // Reading a long log keeps a thread busy, and requests are to be refused meanwhile.
        let db = match spawn_blocking(move || Db::open(data, options)).await {
            Ok(opened) => Arc::new(opened?),
            Err(panic) => resume_unwind(panic.into_panic()),
        };
        log_open_report(db.open_report());
        let counted = Arc::clone(&db);
        expose_store(registry, move || counted.stats());
        Ok(db)
    }
}

/// Logs what opening a data directory found.
pub fn log_open_report(report: &OpenReport) {
    info!(
        blocks = report.blocks,
        segments = report.segments,
        records = report.records,
        series = report.series,
        samples = report.samples,
        seconds = report.duration.as_secs_f64(),
        "the store is open"
    );
    if report.cut_bytes > 0 {
        warn!(
            bytes = report.cut_bytes,
            "cut the end of the log: its last record was not written whole, so it was never \
             acknowledged"
        );
    }
    if report.skipped_records > 0 {
        warn!(records = report.skipped_records, "skipped records of kinds that are not served");
    }
    for block in &report.quarantined {
        warn!(block = %block.dir.display(), reason = block.reason, "set a block aside");
    }
    for path in &report.removed {
        info!(path = %path.display(), "removed what interrupted work had left");
    }
}

/// Exposes what a store holds on `/metrics`; the page reads it there too.
pub fn expose_store(registry: &Registry, stats: impl Fn() -> Stats + Send + Sync + 'static) {
    let stats = Arc::new(stats);
    let read = |name, help, kind, value: fn(&Stats) -> u64| {
        let stats = Arc::clone(&stats);
        registry.read(name, help, kind, move || value(&stats()) as f64);
    };
    use MetricType::{Counter, Gauge};
    read("ferula_tsdb_blocks", "Blocks that serve.", Gauge, |stats| stats.blocks.len() as u64);
    read("ferula_tsdb_block_size_bytes", "Size of the blocks that serve.", Gauge, |stats| {
        stats.block_bytes
    });
    read("ferula_tsdb_head_chunks", "Chunks in the head.", Gauge, |stats| stats.n_chunks);
    read("ferula_tsdb_head_series", "Series in the head.", Gauge, |stats| stats.n_series);
    read("ferula_tsdb_samples_appended_total", "Samples committed.", Counter, |stats| {
        stats.appended
    });
    read("ferula_tsdb_samples_refused_total", "Samples refused.", Counter, |stats| stats.refused);
    read("ferula_tsdb_wal_size_bytes", "Size of the log.", Gauge, |stats| stats.wal_bytes);
}

/// Reads the command line; `--help`, `--version` and mistakes end the process.
///
/// Returns the flags, and each one's name and value as `/api/v1/status/flags` tells them.
pub fn parse<T: Parser>() -> (T, Vec<(String, String)>) {
    let command = T::command();
    let matches = command.clone().get_matches();
    let values = command.get_arguments().filter_map(|argument| {
        let name = argument.get_long()?;
        let values: Vec<_> =
            matches.get_raw(argument.get_id().as_str())?.map(OsStr::to_string_lossy).collect();
        Some((name.to_owned(), values.join(",")))
    });
    let values = values.collect();
    match T::from_arg_matches(&matches) {
        Ok(flags) => (flags, values),
        Err(error) => error.exit(),
    }
}

/// What `/api/v1/status/buildinfo` tells of a program of this workspace.
pub fn build_information() -> BuildInformation {
    BuildInformation { version: env!("CARGO_PKG_VERSION").to_owned(), ..Default::default() }
}

/// Runs the work of a program with logging to standard error, and turns its end into an exit code.
pub fn run(log_level: LogLevel, work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(log_level))
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(error.into())),
    };
    let outcome = runtime.block_on(work);
    // What is under way still has lost its client: nobody waits for its end.
    runtime.shutdown_background();
    exit_code(outcome)
}

/// Reports a failure and its causes on standard error. The exit code is 0 without one, else 1.
///
/// That nobody reads the output any more is no failure: whoever did has seen enough.
pub fn exit_code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if is_closed_pipe(&*failure) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed; there is nowhere left to tell that then.
            let _ = writeln!(io::stderr(), "error: {}", crate::error::chain(&*failure));
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(failure: &(dyn StdError + 'static)) -> bool {
    let error = failure.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Reads a time as the API does: Unix seconds or RFC 3339. Returns milliseconds since the Unix epoch.
///
/// # Errors
/// A message for people.
pub fn parse_time(text: &str) -> Result<i64, String> {
    api::parse_time(text).map(api::to_ms).map_err(|problem| problem.to_string())
}

/// Reads a positive duration as the API does: seconds, or with units as in `1m30s`. Returns
/// milliseconds.
///
/// # Errors
/// A message for people.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    match api::parse_duration(text).map(|nanos| nanos / 1_000_000) {
        Ok(ms) if ms > 0 => Ok(ms),
        Ok(_) => Err("it must be at least a millisecond".to_owned()),
        Err(problem) => Err(problem.to_string()),
    }
}

/// Reads a size such as `512MB`; all units are powers of 1024. Returns bytes.
///
/// # Errors
/// A message for people.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bytes = config::parse_bytes(text).and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| "expected a number and a unit, such as 512MB".to_owned())
}

/// Reads a selector of series such as `up{job="api"}`.
///
/// # Errors
/// A message for people.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, String> {
    api::parse_selector(text)
}

/// Writes milliseconds since the Unix epoch as RFC 3339.
pub fn format_time(ms: i64) -> String {
    let since = Duration::from_millis(ms.unsigned_abs());
    let time = if ms < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
    time.map_or_else(|| format!("{ms} ms"), calendar::format_rfc3339)
}

/// The present, in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    calendar::now_ms()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use clap::CommandFactory;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        server: ServerFlags,
        #[command(flatten)]
        store: StoreFlags,
    }

    #[test]
    fn the_flags_are_consistent() {
        Flags::command().debug_assert();
        let args = ["program", "--wal-sync", "always", "--out-of-order-window", "1h30m"];
        let flags = Flags::parse_from(args);
        assert_eq!(flags.store.out_of_order_window, Some(5_400_000));
        assert!(Flags::try_parse_from(["program", "--out-of-order-window", "soon"]).is_err());
        assert_eq!(flags.server.listen, DEFAULT_LISTEN);
        assert_eq!(SyncPolicy::from(flags.store.wal_sync), SyncPolicy::Always);
    }

    #[test]
    fn the_defaults_are_those_of_the_store() {
        let flags = Flags::parse_from(["program"]);
        assert_eq!(SyncPolicy::from(flags.store.wal_sync), Options::default().sync);
        assert_eq!(BlockFormat::from(flags.store.block_format), Options::default().block_format);
        assert_eq!(flags.store.max_series, Options::default().limits.series);
        let flags = Flags::parse_from(["program", "--block-format", "prometheus"]);
        assert_eq!(BlockFormat::from(flags.store.block_format), BlockFormat::Prometheus);
    }

    #[test]
    fn work_that_goes_on_does_not_keep_a_program_from_ending() {
        let ended = Arc::new(AtomicBool::new(false));
        let (end, wait) = mpsc::channel::<()>();
        let has_ended = ended.clone();
        let code = run(LogLevel::Error, async move {
            spawn_blocking(move || {
                let _ = wait.recv_timeout(Duration::from_secs(60));
                has_ended.store(true, Ordering::SeqCst);
            });
            Ok(())
        });
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(!ended.load(Ordering::SeqCst));
        drop(end);
    }

    #[test]
    fn causes_are_told_in_one_line() {
        let error =
            crate::Error::Read { file: "a.yml".into(), source: io::Error::other("no light") };
        assert_eq!(crate::error::chain(&error), "cannot read a.yml: no light");
    }
}
