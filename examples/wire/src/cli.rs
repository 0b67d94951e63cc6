//! What the programs share on their command lines: flags, start-up, signals, exit codes.
//!
//! A program reads its flags with [`parse`], hands its work to [`run`], binds its address before it
//! opens anything ([`Server::bind`]), opens its store ([`StoreFlags::open`]), and serves until a
//! signal ends it ([`Server::serve`]). Failures are one line on standard error, causes included,
//! and exit code 1; a wrong command line is exit code 2.

use std::error::Error as StdError;
use std::ffi::OsStr;
use std::future::{Future, IntoFuture};
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::serve::ListenerExt;
use clap::{Args, Parser, ValueEnum};
use ferula_tsdb::{Db, OpenReport, Options, Stats, SyncPolicy};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::api::{self, BuildInformation};
use crate::exposition::MetricType;
use crate::telemetry::Registry;
use crate::{Error, calendar};

/// Address served unless the command line says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9090";

/// Data directory unless the command line says otherwise.
pub const DEFAULT_DATA_DIR: &str = "ferula-data";

/// How long requests under way may go on after a signal to stop.
pub const GRACE_PERIOD: Duration = Duration::from_secs(5);

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
    /// The line `listening on http://ADDRESS` on standard output tells the one taken. Nothing is
    /// authenticated: whoever reaches the address may read, and write where the program takes
    /// writes.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN)]
    pub listen: String,

    /// Least severe messages written to standard error.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
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

    /// Serve the endpoints below /api/v1/admin, such as snapshots.
    #[arg(long)]
    pub enable_admin_api: bool,
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
    pub fn open(&self, registry: &Registry) -> Result<Arc<Db>, ferula_tsdb::Error> {
        info!(data = %self.data.display(), "opening the store");
        let options = Options::builder().sync(self.wal_sync.into()).build()?;
        let db = Arc::new(Db::open(&self.data, options)?);
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
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(work));
    exit_code(outcome)
}

/// Reports a failure and its causes on standard error. The exit code is 0 without one, else 1.
pub fn exit_code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed; there is nowhere left to tell that then.
            let _ = writeln!(io::stderr(), "error: {}", crate::error::chain(&*failure));
            ExitCode::FAILURE
        }
    }
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

/// A bound address that is not served yet; connections wait meanwhile.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address of `flags`.
    ///
    /// # Errors
    /// [`Error::Listen`] if it is taken, or none of this machine.
    pub async fn bind(flags: &ServerFlags) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: flags.listen.clone(), source };
        let listener = TcpListener::bind(&flags.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Address at which this machine reaches the server.
    pub fn local_address(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// Serves `router` until SIGINT or SIGTERM, and then gives requests under way
    /// [`GRACE_PERIOD`] to end; a second signal ends the wait.
    ///
    /// # Errors
    /// [`Error::Listen`] if signals cannot be waited for or connections not be accepted.
    pub async fn serve(self, router: Router) -> Result<(), Error> {
        let address = self.address;
        let failed = |source| Error::Listen { address: address.to_string(), source };
        let mut signals = Signals::new().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = self.listener.tap_io(|stream| {
            // Answers are written whole, so there is nothing to wait for. Without the option they
            // are late, no more.
            let _ = stream.set_nodelay(true);
        });
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        let mut server = pin!(server.into_future());
        announce(self.address);
        tokio::select! {
            outcome = &mut server => return outcome.map_err(failed),
            signal = signals.next() => info!(signal, "stopping"),
        }
        drop(stop);
        tokio::select! {
            outcome = &mut server => outcome.map_err(failed)?,
            () = tokio::time::sleep(GRACE_PERIOD) => warn!("cut off requests that went on"),
            signal = signals.next() => warn!(signal, "cut off requests under way"),
        }
        Ok(())
    }
}

/// Tells on standard output where the server is, for scripts and for people.
fn announce(address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush());
}

/// The signals that end a program.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
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
        let flags = Flags::parse_from(["program", "--wal-sync", "always"]);
        assert_eq!(flags.server.listen, DEFAULT_LISTEN);
        assert_eq!(SyncPolicy::from(flags.store.wal_sync), SyncPolicy::Always);
    }

    #[test]
    fn the_default_policy_is_that_of_the_store() {
        let flags = Flags::parse_from(["program"]);
        assert_eq!(SyncPolicy::from(flags.store.wal_sync), Options::default().sync);
    }

    #[test]
    fn causes_are_told_in_one_line() {
        let error = Error::Read { file: "a.yml".into(), source: io::Error::other("no light") };
        assert_eq!(crate::error::chain(&error), "cannot read a.yml: no light");
    }
}
