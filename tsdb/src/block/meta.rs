//! `meta.json`: what a block is, in the form that Prometheus and Thanos read and write.

use std::path::Path;

use ferula_wal::fs::Fs;
use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value};
use ulid::Ulid;

use super::output::{OutputFile, replace_file};
use crate::error::Error;

/// Version of the block layout that is read and written.
pub const META_VERSION: u32 = 1;

/// Name of the file in a block.
pub(crate) const META_FILE: &str = "meta.json";

/// Note of Prometheus on blocks that hold samples out of order only.
const OUT_OF_ORDER_HINT: &str = "from-out-of-order";

/// Notes of Prometheus on blocks that hold some series of the head only.
const CHOSEN_SERIES_HINTS: [&str; 2] = ["from-stale-series", "from-selected-series"];

/// Fields of Thanos's section that list the files of the block, which are others once it is
/// rewritten.
const THANOS_FILE_FIELDS: [&str; 3] = ["files", "segment_files", "index_stats"];

/// Longest file that is read, in bytes. Thanos lists every file and rewrite in it.
const MAX_META_BYTES: u64 = 16 << 20;

/// Identity, time range and origin of a block.
///
/// Fields that other programs add, such as Thanos's section, are kept when the file is rewritten.
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
    /// How the block is stored, unless it is as Prometheus does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ferula: Option<FerulaSection>,
    /// Fields of other programs.
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

/// How a block is stored, where it is not as Prometheus does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FerulaSection {
    /// Name of the format.
    pub format: String,
    /// Version of the format.
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

impl BlockStats {
    /// Counts the samples of a chunk.
    pub(crate) fn count(&mut self, has_histograms: bool, n_samples: u64) {
        self.num_samples += n_samples;
        match has_histograms {
            true => self.num_histogram_samples += n_samples,
            false => self.num_float_samples += n_samples,
        }
    }
}

impl BlockCompaction {
    /// Tells whether the block holds only some of the samples of its range, as Prometheus makes
    /// them from samples out of order and from chosen series: the log still has the others.
    pub(crate) fn is_of_part(&self) -> bool {
        self.has_hint(OUT_OF_ORDER_HINT) || self.is_of_chosen_series().contains(&true)
    }

    /// Has it count as a block of only some of the samples of its range.
    pub(crate) fn mark_as_part(&mut self) {
        if !self.is_of_part() {
            self.hints.push(OUT_OF_ORDER_HINT.to_owned());
        }
    }

    /// Tells for each way of choosing series whether the block was made that way.
    pub(crate) fn is_of_chosen_series(&self) -> [bool; 2] {
        CHOSEN_SERIES_HINTS.map(|hint| self.has_hint(hint))
    }

    fn has_hint(&self, hint: &str) -> bool {
        self.hints.iter().any(|own| own == hint)
    }
}

impl BlockMeta {
    /// Describes a block cut from a head.
    pub(crate) fn of_head(ulid: Ulid, mint: i64, maxt: i64, stats: BlockStats) -> Self {
        let compaction = BlockCompaction { level: 1, sources: vec![ulid], ..Default::default() };
        let (version, ferula, others) = (META_VERSION, None, Map::new());
        Self { ulid, mint, maxt, stats, compaction, version, ferula, others }
    }

    /// Describes a block cut from a head of samples that came out of order.
    pub(crate) fn out_of_order(ulid: Ulid, mint: i64, maxt: i64, stats: BlockStats) -> Self {
        let mut meta = Self::of_head(ulid, mint, maxt, stats);
        meta.compaction.hints.push(OUT_OF_ORDER_HINT.to_owned());
        meta
    }

    /// Describes a block made from others, of which there is one at least.
    pub(crate) fn merged(ulid: Ulid, sources: &[&Self], stats: BlockStats) -> Self {
        let all = || sources.iter().map(|source| &source.compaction);
        let mut compaction = BlockCompaction {
            level: all().map(|source| source.level).max().unwrap_or(0).saturating_add(1),
            sources: all().flat_map(|source| &source.sources).copied().collect(),
            parents: sources.iter().map(|source| source.to_parent()).collect(),
            ..Default::default()
        };
        compaction.sources.sort_unstable();
        compaction.sources.dedup();
        // Samples out of order that are mixed with the others of their range are a part no more;
        // blocks of chosen series are only mixed with their like.
        if all().all(|source| source.has_hint(OUT_OF_ORDER_HINT)) {
            compaction.hints.push(OUT_OF_ORDER_HINT.to_owned());
        }
        for hint in CHOSEN_SERIES_HINTS {
            if all().any(|source| source.has_hint(hint)) {
                compaction.hints.push(hint.to_owned());
            }
        }
        // Blocks that differ in what Thanos says of them are not mixed.
        let mut others = sources.first().map(|first| first.others.clone()).unwrap_or_default();
        if let Some(Value::Object(thanos)) = others.get_mut("thanos") {
            thanos.retain(|field, _| !THANOS_FILE_FIELDS.contains(&field.as_str()));
        }
        Self {
            ulid,
            mint: sources.iter().map(|source| source.mint).min().unwrap_or(0),
            maxt: sources.iter().map(|source| source.maxt).max().unwrap_or(0),
            stats,
            compaction,
            version: META_VERSION,
            ferula: None,
            others,
        }
    }

    fn to_parent(&self) -> BlockParent {
        BlockParent { ulid: self.ulid, mint: self.mint, maxt: self.maxt }
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

    /// Writes the file of the block in `dir`, which has none yet.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        let path = dir.join(META_FILE);
        let json = self.to_json(&path)?;
        let mut file = OutputFile::create(fs, path)?;
        file.put(&json)?;
        file.finish()
    }

    /// Replaces the file of the block in `dir`, at once.
    pub(crate) fn replace(&self, fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
        replace_file(fs, dir, META_FILE, &self.to_json(&dir.join(META_FILE))?)
    }

    fn to_json(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut json = Vec::new();
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(b"\t"));
        self.serialize(&mut serializer)
            .map_err(|source| Error::Meta { file: path.to_path_buf(), source })?;
        json.push(b'\n');
        Ok(json)
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

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_wal::fs::StdFs;

    /// As Thanos writes it, with numbers at the ends of their ranges.
    const OF_THANOS: &str = r#"{
        "ulid": "01J8F0ZG3WQ8MT7Y4C2N5KX1AB", "minTime": -5, "maxTime": 9223372036854775807,
        "stats": {"numSamples": 3, "numSeries": 1, "numChunks": 1},
        "compaction": {"level": 2, "sources": ["01J8F0ZG3WQ8MT7Y4C2N5KX1AB"]}, "version": 1,
        "thanos": {"version": 1, "labels": {"replica": "a"}, "downsample": {"resolution": 0},
            "files": [{"rel_path": "index", "size_bytes": 18446744073709551615}]},
        "zebra": null
    }"#;

    #[test]
    fn fields_of_other_programs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(META_FILE), OF_THANOS).unwrap();
        let mut meta = BlockMeta::read(&StdFs, dir.path()).unwrap();
        assert_eq!(meta.maxt, i64::MAX);
        meta.compaction.failed = true;
        meta.replace(&StdFs, dir.path()).unwrap();
        assert_eq!(BlockMeta::read(&StdFs, dir.path()).unwrap(), meta);
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let mut expected = json(OF_THANOS);
        expected["compaction"]["failed"] = Value::Bool(true);
        let written = std::fs::read_to_string(dir.path().join(META_FILE)).unwrap();
        assert_eq!(json(&written), expected);
    }
}
