//! Looks into data directories from the command line, and converts their blocks.

#![forbid(unsafe_code)]

mod convert;
mod list;
mod query;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ferula_wire::cli;

/// Looks into a data directory, even while another program writes to it, or converts it.
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
    /// Rewrite the blocks in the other format; their samples stay what they are.
    Convert(convert::Flags),
    /// List the blocks with their time ranges and sizes, and what the log holds beyond them.
    List(list::Flags),
    /// Evaluate a PromQL expression at one time or over a range.
    Query(query::Flags),
}

fn main() -> ExitCode {
    cli::exit_code(match Flags::parse().command {
        Command::Convert(flags) => convert::run(&flags),
        Command::List(flags) => list::run(&flags),
        Command::Query(flags) => query::run(&flags),
    })
}
