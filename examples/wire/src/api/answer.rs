//! The API's JSON without its HTTP, for programs that print what the API would answer.

use std::ops::ControlFlow;

use ferula_promql::{Error, MatrixSeries, Query};

use super::json;

/// Evaluates a query and writes what the API has as `data`, with the fields `warnings` and `infos` if
/// there are any.
///
/// # Errors
/// Whatever keeps the query from being answered.
pub fn query_json(query: &Query) -> Result<Vec<u8>, Error> {
    let mut out = b"{".to_vec();
    let mut writer = json::AnswerWriter::new(None);
    let summary = query.stream(|part| {
        writer.push(&mut out, &part);
        ControlFlow::Continue(())
    })?;
    writer.finish(&mut out);
    let annotations = &summary.annotations;
    let lists = [
        ("warnings", annotations.warnings(query.text())),
        ("infos", annotations.infos(query.text())),
    ];
    for (name, texts) in lists.iter().filter(|(_, texts)| !texts.is_empty()) {
        out.push(b',');
        json::push_string(&mut out, name);
        out.push(b':');
        json::push_strings(&mut out, texts);
    }
    out.push(b'}');
    Ok(out)
}

/// Writes a series with its samples as a matrix of the API has it: `metric`, `values`, `histograms`.
pub fn push_series_json(out: &mut Vec<u8>, series: &MatrixSeries) {
    json::push_series(out, series, &mut json::PointStarts::default());
}
