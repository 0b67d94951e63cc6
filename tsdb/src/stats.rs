//! Numbers about a database: what it holds now, and what opening it found.

use std::path::PathBuf;
use std::time::Duration;

use ferula_index::head::IndexMemory;

use crate::block::BlockMeta;
use crate::compact::Progress;

/// What a database holds and has done since it was opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Series in the head.
    pub n_series: u64,
    /// Chunks in the head, open ones included.
    pub n_chunks: u64,
    /// Exemplars that are kept.
    pub n_exemplars: u64,
    /// Time of the earliest sample of the head in milliseconds; `None` if it is empty.
    pub head_mint: Option<i64>,
    /// Time of the latest sample of the head in milliseconds; `None` if it is empty.
    pub head_maxt: Option<i64>,
    /// Time in milliseconds from which on the head is read and takes samples: what is older is in
    /// blocks, or deleted.
    pub head_from: i64,
    /// Metas of the blocks that serve, by time.
    pub blocks: Vec<BlockMeta>,
    /// Blocks that do not serve, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// Size of the log in bytes, checkpoint included.
    pub wal_bytes: u64,
    /// Samples committed.
    pub appended: u64,
    /// Samples refused.
    pub refused: u64,
    /// Size of the blocks that serve in bytes, as they were opened.
    pub block_bytes: u64,
    /// Why the background thread did not cut blocks at its last turn; it goes on trying, in the end
    /// once a minute.
    pub maintenance_failure: Option<String>,
    /// Why the background thread did not remove what is beyond the retention at its last turn; it
    /// goes on trying, in the end once a minute.
    pub retention_failure: Option<String>,
    /// What compactions do and have done.
    pub compaction: CompactionStats,
}

/// What compactions of a database do, and have done since it was opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CompactionStats {
    /// How far the one is that runs, if one does.
    pub running: Option<Progress>,
    /// Those that succeeded.
    pub done: u64,
    /// Those that failed. Blocks whose content is to blame are marked and left alone from then on;
    /// what else failed is tried again, in the end once a minute.
    pub failed: u64,
    /// Why the last one that failed did.
    pub failure: Option<String>,
}

/// Memory that the head of a database takes, by part, in bytes. What the allocator adds is not
/// counted, nor are batches that are open, what the log has not written yet, and files that are mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// What is known of each series, and the map by which series are found.
    pub series_bytes: u64,
    /// Chunks that are appended to.
    pub open_chunk_bytes: u64,
    /// Room for more of them.
    pub spare_chunk_bytes: u64,
    /// Lists of the chunks that are full.
    pub chunk_list_bytes: u64,
    /// Chunks that are full and kept in memory: until they are written to their files, or for good in
    /// a database that is only read.
    pub full_chunk_bytes: u64,
    /// Buffers of the files of full chunks.
    pub chunk_file_bytes: u64,
    /// The index of label pairs and series.
    pub index: IndexMemory,
    /// Series that no committed batch has appended to yet.
    pub unpublished_bytes: u64,
    /// Buffers of batches that ended, for the next ones.
    pub batch_bytes: u64,
    /// Exemplars, with their labels and those of their series.
    pub exemplar_bytes: u64,
    /// What the series say of their metrics.
    pub metadata_bytes: u64,
}

impl MemoryUsage {
    /// All parts together.
    pub fn total_bytes(&self) -> u64 {
        let Self { series_bytes, open_chunk_bytes, spare_chunk_bytes, .. } = self;
        let Self { chunk_list_bytes, full_chunk_bytes, chunk_file_bytes, .. } = self;
        let open = open_chunk_bytes + spare_chunk_bytes;
        let full = chunk_list_bytes + full_chunk_bytes + chunk_file_bytes;
        let index = self.index.total_bytes();
        let notes = self.exemplar_bytes + self.metadata_bytes;
        series_bytes + open + full + index + self.unpublished_bytes + self.batch_bytes + notes
    }
}

/// A block that was set aside because it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// Its directory.
    pub dir: PathBuf,
    /// What is wrong with it, causes included.
    pub reason: String,
}

/// What opening a database read, and what it had to cut or set aside.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenReport {
    /// Segments of the log that were read, those of the checkpoint included.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Series made.
    pub series: u64,
    /// Samples of the log that are in the head now; none are read from it if there is a snapshot.
    pub samples: u64,
    /// Chunks that were taken over from files, so that their samples were only passed over in the
    /// log.
    pub loaded_chunks: u64,
    /// Why chunks in files were given up and made anew from the log, if some were. Nothing is lost.
    pub chunk_file_failure: Option<String>,
    /// Bytes of chunk files that were removed because of that.
    pub chunk_file_cut_bytes: u64,
    /// Whether the head was made from a snapshot rather than from the log.
    pub from_snapshot: bool,
    /// Why a snapshot that was there was not used. Nothing is lost, for the log has it all.
    pub snapshot_failure: Option<String>,
    /// Samples that were left out, nearly always because a block already covers their time.
    pub covered_samples: u64,
    /// Histograms that were left out because their parts do not fit together.
    pub invalid_histograms: u64,
    /// Records of kinds that this release does not serve. They stay in the log
    /// with the series they name, but a block that is cut does not hold them.
    pub skipped_records: u64,
    /// Exemplars that the database has.
    pub exemplars: u64,
    /// Bytes cut from the end of the log because the last record was not written whole.
    pub cut_bytes: u64,
    /// Blocks opened.
    pub blocks: usize,
    /// Blocks set aside, with the reason.
    pub quarantined: Vec<Quarantined>,
    /// Leftovers of interrupted work that were removed.
    pub removed: Vec<PathBuf>,
    /// Directories with samples that this release does not read: `wbl`, in which Prometheus logs
    /// samples that came out of order, unless it is empty. They are left as they are. (`chunks_head`
    /// and `chunk_snapshot.*` are not listed: they repeat what the log of samples in order holds.)
    pub unread: Vec<PathBuf>,
    /// How long opening took.
    pub duration: Duration,
}
