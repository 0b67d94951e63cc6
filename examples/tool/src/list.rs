//! `ferula list`: the blocks of a directory.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Db, Stats};
use ferula_wire::cli::{self, Failure};
use serde_json::json;

use crate::Outcome;
use crate::output::{self, Output};

/// Flags of `ferula list`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory.
    dir: PathBuf,

    #[command(flatten)]
    output: Output,
}

/// Writes the list to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.dir)?;
    let db = Db::open_read_only(&flags.dir)?;
    let stats = db.stats();
    let cut_bytes = db.open_report().cut_bytes;
    match flags.output.json {
        true => output::write_json(&to_json(&stats, cut_bytes))?,
        false => write(&mut io::stdout().lock(), &stats)?,
    }
    output::warn_of_quarantined(&stats, "not served");
    if cut_bytes > 0 {
        eprintln!("warning: the last {cut_bytes} bytes of the log are not a whole record");
    }
    Ok(if stats.quarantined.is_empty() { Outcome::Done } else { Outcome::Damaged })
}

/// Blocks as their meta.json describes them, and the head.
fn to_json(stats: &Stats, torn_bytes: u64) -> serde_json::Value {
    let quarantined = stats.quarantined.iter();
    let quarantined: Vec<_> =
        quarantined.map(|block| json!({"dir": block.dir, "reason": block.reason})).collect();
    json!({
        "blocks": stats.blocks,
        "blockBytes": stats.block_bytes,
        "head": {
            "minTime": stats.head_mint,
            "maxTime": stats.head_maxt,
            "numSeries": stats.n_series,
            "numChunks": stats.n_chunks,
            "tornBytes": torn_bytes,
        },
        "quarantined": quarantined,
    })
}

fn write(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    let rows = stats.blocks.iter().map(|block| Row {
        name: block.ulid.to_string(),
        // The end of a block is exclusive, that of the head is its last sample.
        range: Some((block.mint, block.maxt)),
        level: block.compaction.level.to_string(),
        n_series: block.stats.num_series,
        n_chunks: block.stats.num_chunks,
        n_samples: block.stats.num_samples.to_string(),
    });
    let head = Row {
        name: "head".to_owned(),
        range: stats.head_mint.zip(stats.head_maxt),
        level: "-".to_owned(),
        n_series: stats.n_series,
        n_chunks: stats.n_chunks,
        n_samples: "-".to_owned(),
    };
    writeln!(
        out,
        "{:<26}  {:<24}  {:<24}  {:>5}  {:>10}  {:>10}  {:>12}",
        "BLOCK", "FROM", "TO", "LEVEL", "SERIES", "CHUNKS", "SAMPLES"
    )?;
    for row in rows.chain([head]) {
        row.write(out)?;
    }
    Ok(())
}

/// A line of the list.
struct Row {
    name: String,
    range: Option<(i64, i64)>,
    level: String,
    n_series: u64,
    n_chunks: u64,
    n_samples: String,
}

impl Row {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let time = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), cli::format_time);
        writeln!(
            out,
            "{:<26}  {:<24}  {:<24}  {:>5}  {:>10}  {:>10}  {:>12}",
            self.name,
            time(self.range.map(|(mint, _)| mint)),
            time(self.range.map(|(_, maxt)| maxt)),
            self.level,
            self.n_series,
            self.n_chunks,
            self.n_samples,
        )
    }
}
