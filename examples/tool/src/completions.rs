//! `ferula completions`: scripts that have a shell complete commands and flags.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use ferula_wire::cli::Failure;

use crate::Outcome;

/// Flags of `ferula completions`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// The shell.
    shell: Shell,
}

/// Writes the script to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut crate::Flags::command(), "ferula", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Outcome::Done)
}
