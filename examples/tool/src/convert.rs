//! `ferula convert`: blocks of one format become blocks of the other.

use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Db, Options};
use ferula_wire::cli::{Failure, StoredFormat};

use crate::output::{self, Output};
use crate::{Outcome, compact};

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
    compact::rewrite(&db, flags.output, ["converting", "not converted"], || {
        db.convert_blocks().map(drop)
    })
}
