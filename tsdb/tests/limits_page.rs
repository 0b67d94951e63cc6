//! `docs/limits.md` says what the constants say.

use std::fs;
use std::path::Path;

use ferula_tsdb::{
    DEFAULT_BACKFILL_MEMORY_BYTES, DEFAULT_BLOCK_RANGE_MS, DEFAULT_CHUNK_SEGMENT_BYTES,
    DEFAULT_MAX_BATCH_SAMPLES, DEFAULT_MAX_EXEMPLARS, DEFAULT_MAX_LABEL_NAME_BYTES,
    DEFAULT_MAX_LABEL_VALUE_BYTES, DEFAULT_MAX_LABELS, DEFAULT_MAX_SERIES,
    DEFAULT_OUT_OF_ORDER_WINDOW_MS, MAX_BATCH_EXEMPLAR_BYTES, MAX_BATCH_METADATA_BYTES,
    MAX_BATCH_SAMPLES, MAX_BLOCK_RANGE_MS, MAX_CHUNK_SEGMENT_BYTES, MAX_EXEMPLAR_LABEL_CHARS,
    MAX_EXEMPLARS, MAX_FINDINGS, MAX_LABEL_BYTES, MAX_LABELS, MAX_METADATA_BYTES, MAX_SERIES,
    MIN_BACKFILL_MEMORY_BYTES, MIN_BLOCK_RANGE_MS,
};

#[test]
fn the_page_names_the_limits_that_hold() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
    let page = fs::read_to_string(path).unwrap();
    let rows = [
        format!("{DEFAULT_MAX_SERIES} | `DEFAULT_MAX_SERIES`"),
        format!("{MAX_SERIES} (`MAX_SERIES`)"),
        format!("{DEFAULT_MAX_LABELS} | `DEFAULT_MAX_LABELS`"),
        format!("{DEFAULT_MAX_LABEL_NAME_BYTES} | `DEFAULT_MAX_LABEL_NAME_BYTES`"),
        format!("{DEFAULT_MAX_LABEL_VALUE_BYTES} | `DEFAULT_MAX_LABEL_VALUE_BYTES`"),
        format!("{DEFAULT_MAX_BATCH_SAMPLES} | `DEFAULT_MAX_BATCH_SAMPLES`"),
        format!("{DEFAULT_BLOCK_RANGE_MS} | `DEFAULT_BLOCK_RANGE_MS`"),
        format!("{DEFAULT_OUT_OF_ORDER_WINDOW_MS} (none) | `DEFAULT_OUT_OF_ORDER_WINDOW_MS`"),
        format!("{DEFAULT_CHUNK_SEGMENT_BYTES} | `DEFAULT_CHUNK_SEGMENT_BYTES`"),
        format!("{DEFAULT_MAX_EXEMPLARS} | `DEFAULT_MAX_EXEMPLARS`"),
        format!("{MAX_EXEMPLARS} (`MAX_EXEMPLARS`)"),
        format!("{MAX_BATCH_EXEMPLAR_BYTES} bytes of the log | `MAX_BATCH_EXEMPLAR_BYTES`"),
        format!("{MAX_METADATA_BYTES} bytes | `MAX_METADATA_BYTES`"),
        format!("{MAX_BATCH_METADATA_BYTES} bytes of the log | `MAX_BATCH_METADATA_BYTES`"),
        format!("{MAX_EXEMPLAR_LABEL_CHARS} characters | `MAX_EXEMPLAR_LABEL_CHARS`"),
        format!("{MAX_LABELS} (`MAX_LABELS`)"),
        format!("{DEFAULT_BACKFILL_MEMORY_BYTES} bytes (`DEFAULT_BACKFILL_MEMORY_BYTES`)"),
        format!("{MIN_BACKFILL_MEMORY_BYTES} (`MIN_BACKFILL_MEMORY_BYTES`)"),
        format!("{MAX_FINDINGS} (`MAX_FINDINGS`)"),
        format!("{MAX_LABEL_BYTES} (`MAX_LABEL_BYTES`)"),
        format!("{MAX_BATCH_SAMPLES} (`MAX_BATCH_SAMPLES`)"),
        format!("{MIN_BLOCK_RANGE_MS} (`MIN_BLOCK_RANGE_MS`)"),
        format!("{MAX_BLOCK_RANGE_MS} (`MAX_BLOCK_RANGE_MS`)"),
        format!("{MAX_CHUNK_SEGMENT_BYTES} (`MAX_CHUNK_SEGMENT_BYTES`)"),
    ];
    for row in rows {
        assert!(page.contains(&row), "docs/limits.md does not say {row}");
    }
}
