//! Answers queries from a data directory that another program may be writing.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use ferula_tsdb::{Db, ReadOnlyDb};
use ferula_wire::api::{self, ApiState, page::Page};
use ferula_wire::cli::{self, Failure, Server, ServerFlags};
use ferula_wire::telemetry::Registry;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

/// Serves the query API and a page over a data directory, without writing to it.
///
/// Another program may have the directory open; what it has logged meanwhile is read again and
/// again.
#[derive(Debug, Parser)]
#[command(version, after_help = cli::EXIT_CODES)]
struct Flags {
    /// Directory of the store; it must exist.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Seconds between two looks at what was written since.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    reload_every: u64,

    #[command(flatten)]
    server: ServerFlags,
}

fn main() -> ExitCode {
    let (flags, values) = cli::parse::<Flags>();
    cli::run(flags.server.log_level, serve(flags, values))
}

async fn serve(flags: Flags, values: Vec<(String, String)>) -> Result<(), Failure> {
    let server = Server::bind(&flags.server).await?;
    info!(data = %flags.data.display(), "opening the store to be read");
    let data = flags.data.clone();
    let db = Arc::new(tokio::task::spawn_blocking(|| Db::open_read_only(data)).await??);
    cli::log_open_report(&db.open_report());
    let registry = Arc::new(Registry::new());
    let counted = db.clone();
    cli::expose_store(&registry, move || counted.stats());
    let counted = db.clone();
    let state = server
        .configure(ApiState::builder(db.clone()))
        .notes(db.clone())
        .stats(move || counted.stats())
        .registry(registry)
        .build_information(cli::build_information())
        .flags(values)
        .build();
    let reloading = tokio::spawn(reload(db, Duration::from_secs(flags.reload_every)));
    let outcome = server.serve(api::router(state).merge(Page::new().router())).await;
    reloading.abort();
    Ok(outcome?)
}

/// Reads the directory again and again. What cannot be read leaves the last view in place.
async fn reload(db: Arc<ReadOnlyDb>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let reading = db.clone();
        match tokio::task::spawn_blocking(move || reading.reload()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                error!(error = ferula_wire::chain(&error), "cannot read what was written")
            }
            // The runtime is shutting down.
            Err(_) => return,
        }
    }
}
