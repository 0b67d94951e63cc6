//! `ferula convert`: blocks of one format become blocks of the other.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Db, Options};
use ferula_wire::cli::{Failure, StoredFormat};
use ulid::Ulid;

use crate::Outcome;
use crate::output::{self, Output};

/// Flags of `ferula convert`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory. No other program may write to it meanwhile.
    dir: PathBuf,

    /// What the blocks are to be.
    #[arg(long, value_name = "FORMAT", value_enum)]
    to: StoredFormat,

    #[command(flatten)]
    output: Output,
}

/// Converts the blocks, and writes the names of those made to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.dir)?;
    let options =
        Options::builder().maintenance_interval(None).block_format(flags.to.into()).build()?;
    let db = Db::open(&flags.dir, options)?;
    let blocks = || db.stats().blocks.into_iter().map(|block| block.ulid);
    let before: HashSet<Ulid> = blocks().collect();
    let converted = output::with_compaction_progress(&db, "converting", || db.convert_blocks());
    // One that cannot be read does not keep the others from being converted.
    let made: Vec<Ulid> = blocks().filter(|block| !before.contains(block)).collect();
    output::write_blocks(flags.output, "blocks", &made)?;
    let stats = db.stats();
    output::warn_of_quarantined(&stats, "not converted");
    db.close()?;
    if stats.quarantined.is_empty() {
        return converted.map(|_| Outcome::Done).map_err(Failure::from);
    }
    Ok(Outcome::Damaged)
}
