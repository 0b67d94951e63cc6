//! `ferula repair`: rescues what can be read of damaged blocks.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use ferula_wire::cli::Failure;

use crate::Outcome;
use crate::output::{self, Output, Progress};

/// Flags of `ferula repair`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory. No other program may write to it meanwhile.
    dir: PathBuf,

    #[command(flatten)]
    output: Output,
}

/// Repairs, and tells of each block that was damaged.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.dir)?;
    let progress = Progress::new("repairing");
    let report =
        ferula_tsdb::repair_blocks(&flags.dir, &mut |done, total| progress.update(done, total))?;
    drop(progress);
    if flags.output.json {
        output::write_json(&report)?;
    } else {
        let mut out = io::stdout().lock();
        for block in &report.repaired {
            for finding in &block.damage {
                writeln!(out, "damage: {}", finding.reason)?;
            }
            let names: Vec<String> = block.blocks.iter().map(ToString::to_string).collect();
            let (moved_to, n) = (block.moved_to.display(), block.rescued);
            match names.is_empty() {
                true => writeln!(out, "moved to {moved_to}, nothing can be read of it")?,
                false => {
                    writeln!(out, "moved to {moved_to}, {n} samples are in {}", names.join(", "))?
                }
            }
        }
        if report.repaired.is_empty() {
            writeln!(out, "no block is damaged")?;
        }
    }
    Ok(if report.repaired.is_empty() { Outcome::Done } else { Outcome::Damaged })
}
