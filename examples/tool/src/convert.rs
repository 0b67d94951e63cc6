//! `ferula convert`: blocks of one format become blocks of the other.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Db, Options};
use ferula_wire::cli::{Failure, StoredFormat};

/// Flags of `ferula convert`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory. No other program may write to it meanwhile.
    dir: PathBuf,

    /// What the blocks are to be.
    #[arg(long, value_name = "FORMAT", value_enum)]
    to: StoredFormat,
}

/// Converts the blocks, and writes the names of those made to standard output.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let options =
        Options::builder().maintenance_interval(None).block_format(flags.to.into()).build()?;
    let db = Db::open(&flags.dir, options)?;
    let mut stdout = io::stdout().lock();
    for block in db.convert_blocks()? {
        writeln!(stdout, "{block}")?;
    }
    for block in db.stats().quarantined {
        eprintln!("warning: {} is not converted: {}", block.dir.display(), block.reason);
    }
    Ok(db.close()?)
}
