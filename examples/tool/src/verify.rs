//! `ferula verify`: reads everything.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::Finding;
use ferula_wire::cli::Failure;

use crate::Outcome;
use crate::output::{self, Output, Progress};

/// Flags of `ferula verify`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory; another program may be writing to it.
    dir: PathBuf,

    #[command(flatten)]
    output: Output,
}

/// Writes what was found to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.dir)?;
    let progress = Progress::new("verifying");
    let found = ferula_tsdb::verify(&flags.dir, &mut |done, total| progress.update(done, total))?;
    drop(progress);
    if flags.output.json {
        output::write_json(&found)?;
    } else {
        let mut out = io::stdout().lock();
        found.damage.iter().try_for_each(|finding| write_finding(&mut out, "damage", finding))?;
        found.notes.iter().try_for_each(|finding| write_finding(&mut out, "note", finding))?;
        writeln!(
            out,
            "{} blocks with {} series, {} chunks, {} samples; {} log records; {} head chunks: {}",
            found.blocks,
            found.series,
            found.chunks,
            found.samples,
            found.log_records,
            found.head_chunks,
            match found.damage.len() {
                0 => "intact".to_owned(),
                n => format!("{n} damaged"),
            }
        )?;
    }
    Ok(if found.is_intact() { Outcome::Done } else { Outcome::Damaged })
}

fn write_finding(out: &mut impl Write, kind: &str, finding: &Finding) -> io::Result<()> {
    let file = finding.file.display().to_string();
    match finding.offset {
        // Most reasons say where by themselves.
        _ if finding.reason.contains(&file) => writeln!(out, "{kind}: {}", finding.reason),
        Some(offset) => writeln!(out, "{kind}: {file} at {offset}: {}", finding.reason),
        None => writeln!(out, "{kind}: {file}: {}", finding.reason),
    }
}
