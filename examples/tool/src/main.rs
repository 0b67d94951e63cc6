//! Looks into data directories from the command line.

#![forbid(unsafe_code)]

mod list;
mod query;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ferula_wire::cli;

/// Looks into a data directory without changing it, even while another program writes to it.
#[derive(Debug, Parser)]
#[command(
    name = "ferula",
    version,
    after_help = "Exit codes: 0 for an answer, even an empty one; 1 if the directory cannot be \
                  read or the query not be answered; 2 for a wrong command line."
)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the blocks with their time ranges and sizes, and what the log holds beyond them.
    List(list::Flags),
    /// Evaluate a PromQL expression at one time or over a range.
    Query(query::Flags),
}

fn main() -> ExitCode {
    cli::exit_code(match Flags::parse().command {
        Command::List(flags) => list::run(&flags),
        Command::Query(flags) => query::run(&flags),
    })
}
