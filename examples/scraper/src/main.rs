//! Scrapes the targets of a configuration file into a store, and answers queries from it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ferula_wire::api::{self, ApiState, page::Page};
use ferula_wire::cli::{self, Failure, QueryFlags, Server, ServerFlags, StoreFlags};
use ferula_wire::config::ScrapeFile;
use ferula_wire::scrape::{ScrapeOptions, Scraper};
use ferula_wire::telemetry::Registry;

/// Scrapes the targets of a configuration file into a store, and serves the query API and a page.
#[derive(Debug, Parser)]
#[command(version, after_help = cli::EXIT_CODES)]
struct Flags {
    /// Configuration in Prometheus's format, as far as static targets need it.
    #[arg(long, value_name = "FILE", default_value = "scrape.yml")]
    config: PathBuf,

    /// Store since when counters, histograms and summaries have been counting, as far as pages tell.
    ///
    /// As Prometheus's feature st-storage: formats that tell are preferred, and the lines of OpenMetrics
    /// that tell are no series of their own then.
    #[arg(long)]
    start_timestamps: bool,

    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    query: QueryFlags,

    #[command(flatten)]
    store: StoreFlags,
}

fn main() -> ExitCode {
    let (flags, values) = cli::parse::<Flags>();
    cli::run(flags.server.log_level, serve(flags, values))
}

async fn serve(mut flags: Flags, values: Vec<(String, String)>) -> Result<(), Failure> {
    let file = ScrapeFile::read(&flags.config)?;
    // What is said on the command line counts.
    flags.store.out_of_order_window.get_or_insert(file.out_of_order_window_ms);
    let server = Server::bind(&flags.server).await?;
    let registry = Arc::new(Registry::new());
    let db = flags.store.open(&registry).await?;
    let mut options = ScrapeOptions::default();
    options.start_timestamps = flags.start_timestamps;
    let scraper = Scraper::start_with(&file, db.clone(), &registry, options)?;
    let state = server
        .configure(flags.query.configure(ApiState::builder(db.clone())))
        .notes(db.clone())
        .store(db.clone())
        .data_dir(&flags.store.data)
        .targets(scraper.targets())
        .registry(registry)
        .config_text(file.text)
        .build_information(cli::build_information())
        .flags(values)
        .enable_admin(flags.store.enable_admin_api)
        .build();
    let outcome = server.serve(api::router(state).merge(Page::new().router())).await;
    scraper.stop().await;
    db.close()?;
    Ok(outcome?)
}
