//! `ferula backup`, `restore` and `clone`: second directories.

use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{CopyReport, Db};
use ferula_wire::cli::Failure;

use crate::Outcome;
use crate::output::{self, Output, Progress, bytes_text};

/// Flags of `ferula backup`, `restore` and `clone`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Directory to be read.
    source: PathBuf,

    /// Directory to be made; it must not exist, or be empty.
    target: PathBuf,

    #[command(flatten)]
    output: Output,
}

/// Backs up a directory that may be written to.
pub(crate) fn back_up(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.source)?;
    let db = Db::open_read_only(&flags.source)?;
    let waiting = Progress::waiting("backing up");
    let report = db.backup(&flags.target);
    drop(waiting);
    tell(flags, &report?)
}

/// Clones a directory that nobody writes to.
pub(crate) fn clone(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.source)?;
    copy(flags)
}

fn copy(flags: &Flags) -> Result<Outcome, Failure> {
    let waiting = Progress::waiting("copying");
    let report = ferula_tsdb::clone_dir(&flags.source, &flags.target);
    drop(waiting);
    tell(flags, &report?)
}

/// Makes a directory of a backup that is intact.
pub(crate) fn restore(flags: &Flags) -> Result<Outcome, Failure> {
    let progress = Progress::new("verifying");
    let found =
        ferula_tsdb::verify(&flags.source, &mut |done, total| progress.update(done, total))?;
    drop(progress);
    if found.is_intact() {
        return copy(flags);
    }
    for finding in &found.damage {
        eprintln!("error: {}: {}", finding.file.display(), finding.reason);
    }
    eprintln!("error: {} is damaged, nothing is restored", flags.source.display());
    Ok(Outcome::Damaged)
}

fn tell(flags: &Flags, report: &CopyReport) -> Result<Outcome, Failure> {
    match flags.output.json {
        true => output::write_json(report)?,
        false => output::write_blocks(flags.output, "blocks", &report.blocks)?,
    }
    if let Some(reason) = &report.not_linked {
        eprintln!(
            "warning: {} files with {} were copied, because they could not be linked: {reason}",
            report.copied_files,
            bytes_text(report.copied_bytes)
        );
    }
    for finding in &report.damaged {
        eprintln!("warning: {} is left out: {}", finding.file.display(), finding.reason);
    }
    Ok(if report.damaged.is_empty() { Outcome::Done } else { Outcome::Damaged })
}
