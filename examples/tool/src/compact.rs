//! `ferula compact`: does at once what a running store does now and then.

use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Db, Options};
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
    let made = output::with_compaction_progress(&db, "compacting", || {
        let mut made = if flags.head { db.compact_head()? } else { Vec::new() };
        made.extend(db.compact()?);
        if flags.tombstones {
            made.extend(db.clean_tombstones()?);
        }
        Ok::<_, ferula_tsdb::Error>(made)
    })?;
    let stats = db.stats();
    // Of some others were made in turn.
    let is_there = |made: &ulid::Ulid| stats.blocks.iter().any(|block| block.ulid == *made);
    let made: Vec<_> = made.into_iter().filter(is_there).collect();
    output::write_blocks(flags.output, "blocks", &made)?;
    output::warn_of_quarantined(&stats, "not compacted");
    db.close()?;
    Ok(if stats.quarantined.is_empty() { Outcome::Done } else { Outcome::Damaged })
}
