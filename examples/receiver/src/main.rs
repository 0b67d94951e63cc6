//! Takes remote write and OTLP into a store, and answers queries from it.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ferula_wire::api::{self, ApiState, page::Page};
use ferula_wire::cli::{self, Failure, OtlpFlags, QueryFlags, Server, ServerFlags, StoreFlags};
use ferula_wire::pressure::Pressure;
use ferula_wire::telemetry::Registry;
use tracing::info;

/// Receives remote write 1.0 and 2.0 at /api/v1/write and OTLP metrics at /api/v1/otlp/v1/metrics into a
/// store, and serves the query API and a page.
#[derive(Debug, Parser)]
#[command(version, after_help = cli::EXIT_CODES)]
struct Flags {
    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    query: QueryFlags,

    #[command(flatten)]
    store: StoreFlags,

    #[command(flatten)]
    otlp: OtlpFlags,

    /// Anonymous memory of the process from which on writers are asked to come again, such as 8GB.
    ///
    /// By default 85 % of what the machine or its control group has.
    #[arg(long, value_name = "SIZE", value_parser = cli::parse_bytes)]
    max_memory: Option<u64>,
}

fn main() -> ExitCode {
    let (flags, values) = cli::parse::<Flags>();
    cli::run(flags.server.log_level, serve(flags, values))
}

async fn serve(flags: Flags, values: Vec<(String, String)>) -> Result<(), Failure> {
    let server = Server::bind(&flags.server).await?;
    let registry = Arc::new(Registry::new());
    let db = flags.store.open(&registry).await?;
    let mut builder = server
        .configure(flags.query.configure(ApiState::builder(db.clone())))
        .notes(db.clone())
        .store(db.clone())
        .data_dir(&flags.store.data)
        .registry(registry)
        .build_information(cli::build_information())
        .flags(values)
        .enable_admin(flags.store.enable_admin_api)
        .enable_remote_write(true)
        .otlp(flags.otlp.options());
    if let Some(pressure) = flags.max_memory.map(Pressure::new).or_else(Pressure::of_this_machine) {
        info!(bytes = pressure.limit_bytes(), "memory from which on writers are turned away");
        builder = builder.pressure(pressure);
    }
    let state = builder.build();
    let outcome = server.serve(api::router(state).merge(Page::new().router())).await;
    db.close()?;
    Ok(outcome?)
}
