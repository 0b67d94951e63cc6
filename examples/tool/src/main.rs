//! What one does with a data directory from the command line, outside of appending and querying.

#![forbid(unsafe_code)]

mod analyze;
mod backup;
mod bench;
mod columns;
mod compact;
mod completions;
mod convert;
mod delete;
mod dump;
mod import;
mod list;
mod output;
mod query;
mod repair;
mod selection;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ferula_wire::cli;

/// Exit code of a command that found damage.
const DAMAGED: u8 = 3;

/// Looks into data directories, even while another program writes to them, and works on them.
#[derive(Debug, Parser)]
#[command(
    name = "ferula",
    version,
    after_help = "Exit codes: 0 for an answer, even an empty one; 1 if the directory cannot be \
                  read or the work not be done; 2 for a wrong command line; 3 if damage was found."
)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count series, samples and bytes by metric, label and label pair.
    Analyze(analyze::Flags),
    /// Back up a directory, even while another program writes to it, as a directory of blocks.
    Backup(backup::Flags),
    /// Measure appending and querying on this machine, in a few seconds.
    Bench(bench::Flags),
    /// Make a second directory of one that no program writes to, log and all.
    Clone(backup::Flags),
    /// Compact the blocks that are due, or cut the head and clean up first.
    Compact(compact::Flags),
    /// Write a completion script for a shell to standard output.
    Completions(completions::Flags),
    /// Rewrite the blocks in the other format; their samples stay what they are.
    Convert(convert::Flags),
    /// Delete samples by series and time.
    Delete(delete::Flags),
    /// Write samples as text, one per line, or as columns.
    Dump(dump::Flags),
    /// Make blocks of a text, or take over those of another directory.
    Import(import::Flags),
    /// List the blocks with their time ranges and sizes, and what the log holds beyond them.
    List(list::Flags),
    /// Evaluate a PromQL expression at one time or over a range.
    Query(query::Flags),
    /// Rescue what can be read of damaged blocks, and move these aside.
    Repair(repair::Flags),
    /// Make a data directory of a backup, after reading all of that.
    Restore(backup::Flags),
    /// Read everything in a directory, and tell what is damaged.
    Verify(verify::Flags),
}

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// As it should.
    Done,
    /// It found damage, or had to leave something out because of it.
    Damaged,
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().command {
        Command::Analyze(flags) => analyze::run(&flags),
        Command::Backup(flags) => backup::back_up(&flags),
        Command::Bench(flags) => bench::run(&flags),
        Command::Clone(flags) => backup::clone(&flags),
        Command::Compact(flags) => compact::run(&flags),
        Command::Completions(flags) => completions::run(&flags),
        Command::Convert(flags) => convert::run(&flags),
        Command::Delete(flags) => delete::run(&flags),
        Command::Dump(flags) => dump::run(&flags),
        Command::Import(flags) => import::run(&flags),
        Command::List(flags) => list::run(&flags),
        Command::Query(flags) => query::run(&flags),
        Command::Repair(flags) => repair::run(&flags),
        Command::Restore(flags) => backup::restore(&flags),
        Command::Verify(flags) => verify::run(&flags),
    };
    match outcome {
        Ok(Outcome::Damaged) => ExitCode::from(DAMAGED),
        outcome => cli::exit_code(outcome.map(drop)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Flags::command().debug_assert();
    }
}
