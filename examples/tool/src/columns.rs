//! Samples as columns: Apache Arrow and Apache Parquet.

use std::path::Path;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use ferula_tsdb::{ArrowOptions, RecordBatches, SeriesSet};
use ferula_wire::cli::Failure;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::output::{self, Progress};

/// Writes the samples of all series in `sets` to the file `to`, or to standard output.
pub(crate) fn write(
    sets: Vec<SeriesSet>,
    is_parquet: bool,
    to: Option<&Path>,
) -> Result<(), Failure> {
    let batches =
        RecordBatches::new(sets, ArrowOptions { histograms: true, ..Default::default() })?;
    let out = output::writer(to)?;
    let schema = batches.schema();
    if is_parquet {
        return write_parquet(batches, schema, out);
    }
    let compression = Some(CompressionType::ZSTD);
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    if to.is_some() {
        let mut writer = FileWriter::try_new_with_options(out, &schema, options)?;
        for_each(batches, |batch| writer.write(batch))?;
        writer.finish()?;
        return Ok(writer.get_mut().flush()?);
    }
    let mut writer = StreamWriter::try_new_with_options(out, &schema, options)?;
    for_each(batches, |batch| writer.write(batch))?;
    writer.finish()?;
    Ok(writer.get_mut().flush()?)
}

fn write_parquet(
    batches: RecordBatches,
    schema: SchemaRef,
    out: impl std::io::Write + Send,
) -> Result<(), Failure> {
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(out, schema, Some(properties))?;
    for_each(batches, |batch| Ok(writer.write(batch)?))?;
    writer.close()?;
    Ok(())
}

fn for_each(
    mut batches: RecordBatches,
    mut write: impl FnMut(&RecordBatch) -> Result<(), ArrowError>,
) -> Result<(), ArrowError> {
    let progress = Progress::new("dumping");
    while let Some(batch) = batches.next().transpose()? {
        write(&batch)?;
        let (done, all) = batches.progress();
        progress.update(done as u64, all as u64);
    }
    Ok(())
}
