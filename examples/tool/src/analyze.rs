//! `ferula analyze`: what takes the room.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use ferula_tsdb::{Analysis, AnalysisRequest, Counted, DEFAULT_ANALYSIS_TOP, Db};
use ferula_wire::cli::{self, Failure};
use ulid::Ulid;

use crate::Outcome;
use crate::output::{self, Output, Progress, bytes_text};

/// Flags of `ferula analyze`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory.
    dir: PathBuf,

    /// Only series that pass this selector, such as 'up{job="api"}'.
    #[arg(long = "match", value_name = "SELECTOR")]
    selector: Option<String>,

    /// Only chunks that reach into the time from here on, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = cli::parse_time)]
    min_time: Option<i64>,

    /// Only chunks that reach into the time up to here, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = cli::parse_time)]
    max_time: Option<i64>,

    /// Only this block, rather than all and what the log holds.
    #[arg(long, value_name = "ULID")]
    block: Option<Ulid>,

    /// Length of each list.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ANALYSIS_TOP)]
    top: usize,

    #[command(flatten)]
    output: Output,
}

/// Writes the lists to standard output.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    let mut request = AnalysisRequest::default();
    if let Some(selector) = &flags.selector {
        request.matchers = cli::parse_selector(selector)?;
    }
    request.mint = flags.min_time.unwrap_or(i64::MIN);
    request.maxt = flags.max_time.unwrap_or(i64::MAX);
    (request.block, request.top) = (flags.block, flags.top);
    output::check_store(&flags.dir)?;
    let db = Db::open_read_only(&flags.dir)?;
    if let Some(ulid) = flags.block
        && !db.stats().blocks.iter().any(|block| block.ulid == ulid)
    {
        return Err(format!("{} has no block {ulid}", flags.dir.display()).into());
    }
    let progress = Progress::new("analyzing");
    let analysis = db.analyze(&request, &mut |done, total| progress.update(done, total))?;
    drop(progress);
    match flags.output.json {
        true => output::write_json(&analysis)?,
        false => write(&mut io::stdout().lock(), &analysis)?,
    }
    let stats = db.stats();
    output::warn_of_quarantined(&stats, "not counted");
    Ok(if stats.quarantined.is_empty() { Outcome::Done } else { Outcome::Damaged })
}

fn write(out: &mut impl Write, analysis: &Analysis) -> io::Result<()> {
    let total = &analysis.total;
    let time = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), cli::format_time);
    writeln!(out, "From {} to {}", time(analysis.mint), time(analysis.maxt))?;
    writeln!(
        out,
        "{} series, {} samples, {} of chunks, {:.2} bytes per sample, {} label pairs",
        total.series,
        total.samples,
        bytes_text(total.chunk_bytes),
        total.chunk_bytes as f64 / total.samples.max(1) as f64,
        total.values
    )?;
    let lists: [(&str, &[Counted]); 9] = [
        ("Metrics by series", &analysis.metrics_by_series),
        ("Metrics by bytes", &analysis.metrics_by_bytes),
        ("Metrics by churn", &analysis.metrics_by_churn),
        ("Labels by values", &analysis.labels_by_values),
        ("Labels by text of values", &analysis.labels_by_text),
        ("Labels by bytes", &analysis.labels_by_bytes),
        ("Label pairs by series", &analysis.pairs_by_series),
        ("Label pairs by bytes", &analysis.pairs_by_bytes),
        ("Label pairs by churn", &analysis.pairs_by_churn),
    ];
    for (title, list) in lists {
        write_list(out, title, list)?;
    }
    Ok(())
}

fn write_list(out: &mut impl Write, title: &str, list: &[Counted]) -> io::Result<()> {
    writeln!(out, "\n{title}:")?;
    writeln!(
        out,
        "{:>10}  {:>12}  {:>11}  {:>10}  {:>8}  {:>10}",
        "SERIES", "SAMPLES", "BYTES", "CHURN", "VALUES", "TEXT"
    )?;
    for counted in list {
        let has_values = counted.values > 0;
        let shown = |text: String| if has_values { text } else { "-".to_owned() };
        write!(
            out,
            "{:>10}  {:>12}  {:>11}  {:>10.1}  {:>8}  {:>10}  ",
            counted.series,
            counted.samples,
            bytes_text(counted.chunk_bytes),
            counted.churn,
            shown(counted.values.to_string()),
            shown(bytes_text(counted.text_bytes)),
        )?;
        match &counted.value {
            Some(value) => writeln!(out, "{}={value:?}", counted.name)?,
            None => writeln!(out, "{}", counted.name)?,
        }
    }
    Ok(())
}
