//! `ferula compact`: does at once what a running store does now and then.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Db, Error, Options};
use ferula_wire::cli::{Failure, StoredFormat};

use crate::Outcome;
use crate::output::{self, Output};

/// Flags of `ferula compact`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory. No other program may write to it meanwhile.
    dir: PathBuf,

    /// Cut all that the log holds into blocks first.
    #[arg(long)]
    head: bool,

    /// Rewrite blocks of which something is deleted, which gives its room back.
    #[arg(long)]
    tombstones: bool,

    /// How blocks are stored that are made.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = StoredFormat::Ferula)]
    block_format: StoredFormat,

    #[command(flatten)]
    output: Output,
}

/// Compacts, and writes the names of the blocks that were made and are there to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.dir)?;
    let options = Options::builder()
        .maintenance_interval(None)
        .block_format(flags.block_format.into())
        .build()?;
    let db = Db::open(&flags.dir, options)?;
    rewrite(&db, flags.output, ["compacting", "not compacted"], || {
        if flags.head {
            db.compact_head()?;
        }
        db.compact()?;
        if flags.tombstones {
            db.clean_tombstones()?;
        }
        Ok(())
    })
}

/// Does `work`, which rewrites blocks, and writes the names of those that it made and that are there to
/// standard output, also if others could not be read. `told` is what happens, and what does not happen
/// to these.
pub(crate) fn rewrite(
    db: &Db,
    output: Output,
    told: [&'static str; 2],
    work: impl FnOnce() -> Result<(), Error>,
) -> Result<Outcome, Failure> {
    let names = || db.stats().blocks.iter().map(|block| block.ulid).collect::<BTreeSet<_>>();
    let before = names();
    let worked = output::with_compaction_progress(db, told[0], work);
    let made: Vec<_> = names().difference(&before).copied().collect();
    output::write_blocks(output, "blocks", &made)?;
    let stats = db.stats();
    output::warn_of_quarantined(&stats, told[1]);
    let closed = db.close();
    let is_told = |error: &Error| {
        let file = error.location().map(|(file, _)| file);
        file.is_some_and(|file| stats.quarantined.iter().any(|aside| file.starts_with(&aside.dir)))
    };
    match worked {
        Err(error) if !is_told(&error) => return Err(error.into()),
        _ => closed?,
    }
    Ok(if stats.quarantined.is_empty() { Outcome::Done } else { Outcome::Damaged })
}
