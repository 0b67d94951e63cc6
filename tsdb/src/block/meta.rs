//! `meta.json`: what a block is, in the form that Prometheus and Thanos read and write.

use std::path::Path;

use ferula_wal::fs::Fs;
use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;
use ulid::Ulid;

use super::output::OutputFile;
use crate::error::Error;

/// Version of the block layout that is read and written.
pub const META_VERSION: u32 = 1;

/// Name of the file in a block.
pub(crate) const META_FILE: &str = "meta.json";

/// Notes of Prometheus on blocks that hold a part of the head's samples only.
const PARTIAL_HINTS: [&str; 3] = ["from-out-of-order", "from-stale-series", "from-selected-series"];

/// Longest file that is read, in bytes. Thanos lists every file and rewrite in it.
const MAX_META_BYTES: u64 = 16 << 20;

/// Identity, time range and origin of a block.
///
/// Fields that other programs add, such as Thanos's section, are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BlockMeta {
    /// Name of the block, and of its directory.
    pub ulid: Ulid,
    /// Start of its range in milliseconds, inclusive.
    #[serde(rename = "minTime")]
    pub mint: i64,
    /// End of its range in milliseconds, exclusive.
    #[serde(rename = "maxTime")]
    pub maxt: i64,
    /// What it holds.
    #[serde(default)]
    pub stats: BlockStats,
    /// How it came to be.
    #[serde(default)]
    pub compaction: BlockCompaction,
    /// Version of the block layout.
    pub version: u32,
}

/// What a block holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct BlockStats {
    /// Samples of all kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Float samples.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Histogram samples.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Deleted intervals.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// How a block came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BlockCompaction {
    /// Largest number of compactions any of its samples went through, 1 for a block of the head.
    pub level: u32,
    /// Blocks cut from a head that went into it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// Whether it holds nothing and may be removed.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// Blocks that it was directly made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<BlockParent>,
    /// Whether compacting it failed.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Notes of the compactor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A block that another was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BlockParent {
    /// Its name.
    pub ulid: Ulid,
    /// Start of its range in milliseconds, inclusive.
    #[serde(rename = "minTime")]
    pub mint: i64,
    /// End of its range in milliseconds, exclusive.
    #[serde(rename = "maxTime")]
    pub maxt: i64,
}

impl BlockCompaction {
    /// Tells whether the block holds only some of the samples of its range, as Prometheus makes
    /// them from samples out of order and from chosen series: the log still has the others.
    pub(crate) fn is_of_part(&self) -> bool {
        self.hints.iter().any(|hint| PARTIAL_HINTS.contains(&hint.as_str()))
    }
}

impl BlockMeta {
    /// Describes a block cut from a head.
    pub(crate) fn of_head(ulid: Ulid, mint: i64, maxt: i64, stats: BlockStats) -> Self {
        let compaction = BlockCompaction { level: 1, sources: vec![ulid], ..Default::default() };
        Self { ulid, mint, maxt, stats, compaction, version: META_VERSION }
    }

    /// Reads the file of the block in `dir`.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let file = dir.join(META_FILE);
        let len = fs.metadata(&file).map_err(Error::io("inspect", &file))?.len;
        if len > MAX_META_BYTES {
            return Err(Error::TooLarge { file, found: len, limit: MAX_META_BYTES });
        }
        let bytes = fs.read(&file).map_err(Error::io("read", &file))?;
        let meta: Self = serde_json::from_slice(&bytes)
            .map_err(|source| Error::Meta { file: file.clone(), source })?;
        if meta.version != META_VERSION {
            return Err(Error::Version { file, found: meta.version, expected: META_VERSION });
        }
        if meta.mint >= meta.maxt {
            return Err(Error::MetaRange { file, mint: meta.mint, maxt: meta.maxt });
        }
        Ok(meta)
    }

    /// Writes the file of the block in `dir`.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let path = dir.join(META_FILE);
        let mut json = Vec::new();
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(b"\t"));
        self.serialize(&mut serializer)
            .map_err(|source| Error::Meta { file: path.clone(), source })?;
        json.push(b'\n');
        let mut file = OutputFile::create(fs, path)?;
        file.put(&json)?;
        file.finish()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
