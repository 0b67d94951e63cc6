//! `ferula import`: blocks of a text, or of another directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use ferula_tsdb::{
    Backfill, BackfillOptions, DEFAULT_BACKFILL_MEMORY_BYTES, DEFAULT_BLOCK_RANGE_MS, Options,
};
use ferula_wire::cli::{self, Failure, StoredFormat};
use ferula_wire::exposition::openmetrics;

use crate::Outcome;
use crate::output::{self, Output, Progress};

/// Flags of `ferula import`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// An OpenMetrics text in which every sample has its time, "-" for standard input; or a directory,
    /// whose blocks are taken over as they are.
    source: PathBuf,

    /// Data directory; made if it does not exist. No other program may write to it meanwhile.
    dir: PathBuf,

    /// How blocks are stored that are made of a text.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = StoredFormat::Ferula)]
    block_format: StoredFormat,

    /// The time that a block made of a text covers at most, such as 2h or 1d; blocks are aligned to it.
    #[arg(long, value_name = "DURATION", value_parser = cli::parse_duration)]
    block_duration: Option<i64>,

    /// Memory for samples that are gathered, in MiB; others are written aside.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_BACKFILL_MEMORY_BYTES >> 20)]
    memory: usize,

    #[command(flatten)]
    output: Output,
}

/// Imports, and writes the names of the blocks to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    let is_dir = flags.source.is_dir();
    if is_dir { import_blocks(flags) } else { import_text(flags) }
}

fn import_text(flags: &Flags) -> Result<Outcome, Failure> {
    let (input, len) = open(&flags.source)?;
    let mut options = BackfillOptions::default();
    options.block_range_ms = flags.block_duration.unwrap_or(DEFAULT_BLOCK_RANGE_MS);
    options.block_format = flags.block_format.into();
    options.memory_bytes = flags.memory.saturating_mul(1 << 20);
    let mut backfill = Backfill::open(&flags.dir, options)?;
    let progress = Progress::new("reading");
    let named = |error: Failure| -> Failure {
        format!("{}: {}", flags.source.display(), ferula_wire::chain(&*error)).into()
    };
    openmetrics::read(input, &mut |n| progress.update(n, len.max(n)), &mut |sample| {
        backfill.append(sample.labels, sample.timestamp, sample.value)
    })
    .map_err(|error| named(error.into()))?;
    drop(progress);
    let progress = Progress::new("writing blocks");
    let report = backfill.finish(&mut |done, all| progress.update(done, all))?;
    drop(progress);
    if flags.output.json {
        output::write_json(&report)?;
    } else {
        let names: Vec<_> = report.blocks.iter().map(|block| block.ulid).collect();
        output::write_blocks(flags.output, "blocks", &names)?;
        if report.duplicates > 0 {
            let n = report.duplicates;
            eprintln!(
                "warning: left out {n} samples whose series has one at the same time already"
            );
        }
    }
    Ok(Outcome::Done)
}

/// The text, and its length where it has one.
fn open(source: &Path) -> Result<(Box<dyn Read>, u64), Failure> {
    if source.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), 0));
    }
    let named = |error: io::Error| -> Failure { format!("{}: {error}", source.display()).into() };
    let file = File::open(source).map_err(named)?;
    let len = fs::metadata(source).map_err(named)?.len();
    Ok((Box::new(file), len))
}

fn import_blocks(flags: &Flags) -> Result<Outcome, Failure> {
    let progress = Progress::new("importing");
    let options = Options::builder().maintenance_interval(None).build()?;
    let db = ferula_tsdb::Db::open(&flags.dir, options)?;
    let report = db.import_blocks(&flags.source, &mut |done, all| progress.update(done, all))?;
    drop(progress);
    db.close()?;
    if flags.output.json {
        output::write_json(&report)?;
    } else {
        output::write_blocks(flags.output, "blocks", &report.blocks)?;
    }
    let mut err = io::stderr().lock();
    for block in &report.known {
        writeln!(err, "warning: {block} is there already, or what was made of it")?;
    }
    for finding in &report.damaged {
        writeln!(err, "warning: {} is not imported: {}", finding.file.display(), finding.reason)?;
    }
    if report.has_log {
        writeln!(
            err,
            "warning: {} has a log too: what only that holds is not imported",
            flags.source.display()
        )?;
    }
    Ok(if report.damaged.is_empty() { Outcome::Done } else { Outcome::Damaged })
}
