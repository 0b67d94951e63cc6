//! `ferula delete`: samples by series and time.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Db, Options};
use ferula_wire::cli::Failure;

use crate::Outcome;
use crate::output::{self, Output};
use crate::selection::Selection;

/// Flags of `ferula delete`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory. No other program may write to it meanwhile.
    dir: PathBuf,

    #[command(flatten)]
    selection: Selection,

    /// Only tell how many series have samples that would be deleted.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: Output,
}

/// Deletes, and tells of how many series.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    if flags.selection.selectors.is_empty() {
        return Err("--match is missing: it says which series to delete".into());
    }
    output::check_store(&flags.dir)?;
    let (mint, maxt) = flags.selection.range();
    let mut n_series = 0;
    let mut count = |querier: ferula_tsdb::Querier| {
        let selectors = &flags.selection.selectors;
        for (at, selector) in selectors.iter().enumerate() {
            let found = querier.select(&selector.0)?.all_labels();
            let earlier = &selectors[..at];
            let is_new = |labels: &&_| !earlier.iter().any(|other| other.matches(labels));
            n_series += found.iter().filter(is_new).count();
        }
        Ok::<(), ferula_tsdb::Error>(())
    };
    let mut quarantined = 0;
    if flags.dry_run {
        count(Db::open_read_only(&flags.dir)?.querier(mint, maxt)?)?;
    } else {
        let db = Db::open(&flags.dir, Options::builder().maintenance_interval(None).build()?)?;
        count(db.querier(mint, maxt)?)?;
        for selector in &flags.selection.selectors {
            db.delete(&selector.0, mint, maxt)?;
        }
        let stats = db.stats();
        output::warn_of_quarantined(&stats, "left as it is");
        quarantined = stats.quarantined.len();
        db.close()?;
    }
    if flags.output.json {
        output::write_json(&serde_json::json!({"series": n_series, "dryRun": flags.dry_run}))?;
    } else {
        let what = if flags.dry_run { "would be deleted" } else { "are deleted" };
        writeln!(io::stdout().lock(), "samples of {n_series} series {what}")?;
    }
    Ok(if quarantined == 0 { Outcome::Done } else { Outcome::Damaged })
}
