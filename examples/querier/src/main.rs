//! Answers queries from data directories that other programs may be writing.

#![forbid(unsafe_code)]

mod directories;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ferula_wire::api::{self, ApiState, page::Page};
use ferula_wire::cli::{self, Failure, QueryFlags, Server, ServerFlags};
use ferula_wire::telemetry::Registry;
use ferula_wire::union::{Merge, Union, UnionNotes};

use crate::directories::Directories;

/// Serves the query API and a page over data directories, without writing to them.
///
/// Other programs may have the directories open; what they have logged meanwhile is read again and
/// again. Several directories are answered from as if they were one.
#[derive(Debug, Parser)]
#[command(version, after_help = cli::EXIT_CODES)]
struct Flags {
    /// Directory of a store, Ferula's or Prometheus's; it must exist. May be given several times.
    #[arg(long, value_name = "DIR", required = true)]
    data: Vec<PathBuf>,

    /// Label that tells replicas apart. Series that differ in it alone become one, without the label.
    /// May be given several times.
    #[arg(long, value_name = "NAME")]
    replica_label: Vec<String>,

    /// What becomes of samples of the same series in several directories; "penalty" by default where
    /// there are replica labels, "chain" otherwise.
    #[arg(long, value_name = "HOW", value_enum)]
    merge: Option<How>,

    /// Seconds between two looks at what was written since.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    reload_every: u64,

    #[command(flatten)]
    query: QueryFlags,

    #[command(flatten)]
    server: ServerFlags,
}

/// What becomes of samples of the same series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// All are there; of two at one time that of the directory named first.
    Chain,
    /// One replica is followed at a time, and another one where it has a gap, as Thanos does.
    Penalty,
}

impl Flags {
    fn merge(&self) -> Merge {
        match self.merge {
            Some(How::Chain) => Merge::Chain,
            Some(How::Penalty) => Merge::Penalty,
            None if self.replica_label.is_empty() => Merge::Chain,
            None => Merge::Penalty,
        }
    }
}

fn main() -> ExitCode {
    let (flags, values) = cli::parse::<Flags>();
    cli::run(flags.server.log_level, serve(flags, values))
}

async fn serve(flags: Flags, values: Vec<(String, String)>) -> Result<(), Failure> {
    let server = Server::bind(&flags.server).await?;
    let directories = Directories::open(flags.data.clone()).await?;
    let registry = Arc::new(Registry::new());
    let counted = directories.clone();
    cli::expose_store(&registry, move || counted.stats());
    let (counted, settled) = (directories.clone(), directories.clone());
    let builder = match directories.only() {
        Some(db) if flags.replica_label.is_empty() && flags.merge() == Merge::Chain => {
            ApiState::builder(db.clone()).notes(db)
        }
        _ => {
            let labels = &flags.replica_label;
            let union = Union::new(directories.storages(), flags.merge(), labels.clone());
            let notes = UnionNotes::new(directories.notes(), labels.clone());
            ApiState::builder(Arc::new(union)).notes(Arc::new(notes))
        }
    };
    let state = server
        .configure(flags.query.configure(builder))
        .stats(move || counted.stats())
        .settled(move || settled.settled())
        .registry(registry)
        .build_information(cli::build_information())
        .flags(values)
        .build();
    let every = Duration::from_secs(flags.reload_every);
    let reloading = tokio::spawn(directories.reload(every));
    let outcome = server.serve(api::router(state).merge(Page::new().router())).await;
    reloading.abort();
    Ok(outcome?)
}
