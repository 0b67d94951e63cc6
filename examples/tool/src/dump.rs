//! `ferula dump`: samples as text, or as columns.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ferula_chunkenc::{SampleBatch, stale};
use ferula_index::Labels;
use ferula_promql::MatrixSeries;
use ferula_tsdb::{Db, Querier};
use ferula_wire::api::push_series_json;
use ferula_wire::cli::Failure;
use ferula_wire::exposition::line::{OPENMETRICS_END, push_dumped, push_openmetrics};

use crate::output::{self, Progress};
use crate::selection::{Selection, Selector};
use crate::{Outcome, columns};

/// Flags of `ferula dump`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory.
    dir: PathBuf,

    #[command(flatten)]
    selection: Selection,

    /// How samples are written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write JSON: the same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// File to write; standard output without.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line with labels, value and milliseconds for each sample, as promtool tsdb dump has it.
    Text,
    /// OpenMetrics, which ferula import and promtool read; native histograms and staleness markers
    /// cannot be written in it.
    Openmetrics,
    /// A line for each series, with its samples as the API has them.
    Json,
    /// Apache Arrow: a row for each sample, a column for each label. A file, or on standard output a
    /// stream.
    Arrow,
    /// Apache Parquet, of the same rows.
    Parquet,
}

/// Writes the samples.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.dir)?;
    let db = Db::open_read_only(&flags.dir)?;
    let (mint, maxt) = flags.selection.range();
    let querier = db.querier(mint, maxt)?;
    let format = if flags.json { Format::Json } else { flags.format };
    let selectors = flags.selection.selectors();
    let to = flags.output.as_deref();
    match format {
        Format::Arrow | Format::Parquet => {
            let select = |selector: &Selector| querier.select(&selector.0);
            let sets = selectors.iter().map(select).collect::<Result<_, _>>()?;
            columns::write(sets, format == Format::Parquet, to)?;
        }
        _ => write_text(&querier, &selectors, format, to)?,
    }
    let stats = db.stats();
    output::warn_of_quarantined(&stats, "not dumped");
    Ok(if stats.quarantined.is_empty() { Outcome::Done } else { Outcome::Damaged })
}

fn write_text(
    querier: &Querier,
    selectors: &[Selector],
    format: Format,
    to: Option<&Path>,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(output::writer(to)?);
    let progress = Progress::new("dumping");
    let mut dump = Dump { format, line: Vec::new(), n_left_out: 0 };
    for (at, selector) in selectors.iter().enumerate() {
        let found = querier.select(&selector.0)?;
        let earlier = &selectors[..at];
        for index in 0..found.len() {
            progress.update(index as u64, found.len() as u64);
            let labels = found.labels(index);
            if earlier.iter().any(|other| other.matches(&labels)) {
                continue;
            }
            let mut samples = SampleBatch::new();
            found.read(index, &mut samples)?;
            dump.write(&mut out, labels, samples)?;
        }
    }
    if format == Format::Openmetrics {
        out.write_all(OPENMETRICS_END)?;
    }
    out.flush()?;
    drop(progress);
    if dump.n_left_out > 0 {
        let n = dump.n_left_out;
        eprintln!("warning: left out {n} native histograms and staleness markers");
    }
    Ok(())
}

struct Dump {
    format: Format,
    line: Vec<u8>,
    n_left_out: u64,
}

impl Dump {
    fn write(
        &mut self,
        out: &mut impl Write,
        labels: Labels,
        samples: SampleBatch,
    ) -> io::Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        self.line.clear();
        if self.format == Format::Json {
            push_series_json(&mut self.line, &MatrixSeries { labels, samples });
            self.line.push(b'\n');
            return out.write_all(&self.line);
        }
        for (at, sample) in samples.iter().enumerate() {
            let histogram = samples.histogram(at).map(|histogram| &**histogram);
            if self.format == Format::Text {
                let time = sample.timestamp;
                push_dumped(&mut self.line, &labels, time, sample.value, histogram);
            } else if histogram.is_some() || stale::is_stale(sample.value) {
                self.n_left_out += 1;
            } else {
                push_openmetrics(&mut self.line, &labels, sample.timestamp, sample.value);
            }
        }
        out.write_all(&self.line)
    }
}
