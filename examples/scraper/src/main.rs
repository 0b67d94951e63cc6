//! Scrapes the targets of a configuration file into a store, and answers queries from it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ferula_wire::api::{self, ApiState, LiveConfig, page::Page};
use ferula_wire::cli::{self, Failure, QueryFlags, Server, ServerFlags, StoreFlags};
use ferula_wire::config::ScrapeFile;
use ferula_wire::scrape::{ScrapeOptions, Scraper, Shard};
use ferula_wire::send::Senders;
use ferula_wire::telemetry::Registry;

/// Scrapes the targets of a configuration file into a store, and serves the query API and a page.
#[derive(Debug, Parser)]
#[command(version, after_help = cli::EXIT_CODES)]
struct Flags {
    /// Configuration in Prometheus's format; read again on SIGHUP.
    #[arg(long, value_name = "FILE", default_value = "scrape.yml")]
    config: PathBuf,

    /// Store since when counters, histograms and summaries have been counting, as far as pages tell.
    ///
    /// As Prometheus's feature st-storage: formats that tell are preferred, and the lines of OpenMetrics
    /// that tell are no series of their own then.
    #[arg(long)]
    start_timestamps: bool,

    /// Scrape only a part of all targets: that of scraper I, counted from 0, of N with the same
    /// configuration.
    ///
    /// Which one has a target depends on its labels and address; one scraper more takes over an equal part
    /// of each one's targets.
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<Shard>,

    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    query: QueryFlags,

    #[command(flatten)]
    store: StoreFlags,
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let (index, count) = text.split_once('/').ok_or("it is not of the form I/N")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    let shard = Shard { index: number(index)?, count: number(count)? };
    match shard.index < shard.count {
        true => Ok(shard),
        false => Err("the first number is below the second one".to_owned()),
    }
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
    options.shard = flags.shard;
    let (places, external) = (&file.remote_write, &file.external_labels);
    let senders = Senders::start(places, external, &flags.store.data, &registry)?;
    let mut scraper = Scraper::start_with(&file, db.clone(), &registry, options)?;
    let (config, reloads) = LiveConfig::new(&file.text, &registry)?;
    let state = server
        .configure(flags.query.configure(ApiState::builder(db.clone())))
        .notes(db.clone())
        .store(db.clone())
        .data_dir(&flags.store.data)
        .targets(scraper.targets())
        .registry(registry)
        .live_config(config)
        .build_information(cli::build_information())
        .flags(values)
        .enable_admin(flags.store.enable_admin_api)
        .build();
    let reload = || {
        let file = ScrapeFile::read(&flags.config)?;
        senders.check_unchanged(&file, &flags.config)?;
        scraper.reload(&file).map(|()| file.text)
    };
    let outcome = tokio::select! {
        outcome = server.serve(api::router(state).merge(Page::new().router())) => outcome,
        never = reloads.run(reload) => match never {},
    };
    scraper.stop().await;
    senders.stop().await;
    db.close()?;
    Ok(outcome?)
}
