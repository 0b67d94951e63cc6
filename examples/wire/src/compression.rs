//! Bodies that arrive compressed: snappy, gzip and zstd, none of them trusted about their size.
//!
//! What a body declares is looked at before anything is decompressed, and what comes out is counted
//! while it does: a body may declare nothing, or something else. Memory follows what is really there,
//! and never passes the limit by more than a copy while a buffer grows.

use std::fmt;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use parking_lot::Mutex;

/// Largest window of a zstd body, as a power of two: what it refers back to need not be more than
/// the largest body that is taken.
const MAX_ZSTD_WINDOW_LOG: u32 = 25;

/// What is set aside at once for a body that does not declare its size.
const FIRST_BYTES: usize = 64 << 10;

/// Buffers that are kept for the next bodies, and the largest of them, in bytes.
const MAX_SPARE: usize = 16;
const MAX_SPARE_BYTES: usize = 2 << 20;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// It is not.
    Identity,
    /// One snappy block, not the framed format.
    Snappy,
    /// One gzip member or several.
    Gzip,
    /// One zstd frame or several.
    Zstd,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Identity, Self::Snappy, Self::Gzip, Self::Zstd];

    /// The name that the header `Content-Encoding` has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The encoding of this name, in whatever case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.name().eq_ignore_ascii_case(name.trim()))
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a body is not decompressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// It is no snappy block.
    #[error("invalid snappy block")]
    Snappy(#[source] snap::Error),
    /// It is not what its encoding says.
    #[error("invalid {encoding} body")]
    Invalid {
        /// What it should be.
        encoding: Encoding,
        /// Why it is not.
        #[source]
        source: io::Error,
    },
    /// It says that it decompresses to more than is accepted.
    #[error("request of {size_bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Size that the body declares, in bytes.
        size_bytes: u64,
        /// Largest size that is accepted, in bytes.
        limit: usize,
    },
    /// It decompresses to more than is accepted, whatever it says.
    #[error("request exceeds the limit of {limit} bytes")]
    PastLimit {
        /// Largest size that is accepted, in bytes.
        limit: usize,
    },
}

impl DecompressError {
    /// Tells whether the body may be all right but for its size.
    pub fn is_size(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::PastLimit { .. })
    }
}

/// Decompresses `body` into `buffer`, whose contents are overwritten and which only grows. Returns how
/// much of it is the body.
///
/// # Errors
/// [`DecompressError`] if the body is not what `encoding` says, or has more than `limit` bytes.
pub fn decompress(
    encoding: Encoding,
    body: &[u8],
    limit: usize,
    buffer: &mut Vec<u8>,
) -> Result<usize, DecompressError> {
    let invalid = |source| DecompressError::Invalid { encoding, source };
    match encoding {
        Encoding::Identity => {
            check_size(body.len() as u64, limit)?;
            if buffer.len() < body.len() {
                buffer.resize(body.len(), 0);
            }
            buffer[..body.len()].copy_from_slice(body);
            Ok(body.len())
        }
        Encoding::Snappy => {
            let size_bytes = snap::raw::decompress_len(body).map_err(DecompressError::Snappy)?;
            check_size(size_bytes as u64, limit)?;
            if buffer.len() < size_bytes {
                buffer.resize(size_bytes, 0);
            }
            let decoded = snap::raw::Decoder::new().decompress(body, &mut buffer[..size_bytes]);
            decoded.map_err(DecompressError::Snappy)
        }
        Encoding::Gzip => {
            // The last four bytes are the size of the last member, modulo 2^32.
            if body.starts_with(&[0x1f, 0x8b])
                && let Some(declared) = body.last_chunk()
            {
                check_size(u32::from_le_bytes(*declared).into(), limit)?;
            }
            read(MultiGzDecoder::new(body), limit, buffer)?.map_err(invalid)
        }
        Encoding::Zstd => {
            if let Ok(Some(declared)) = zstd::zstd_safe::get_frame_content_size(body) {
                check_size(declared, limit)?;
            }
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(invalid)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(invalid)?;
            read(decoder, limit, buffer)?.map_err(invalid)
        }
    }
}

/// Buffers that bodies are decompressed into, one after the other.
///
/// Memory that is used again is neither zeroed nor mapped anew, which for a request takes as long as
/// decompressing it.
#[derive(Debug, Default)]
pub struct Buffers {
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Decompresses `body` as [`decompress`] does, and hands it to `work`.
    ///
    /// # Errors
    /// As [`decompress`].
    pub fn with<T>(
        &self,
        encoding: Encoding,
        body: &[u8],
        limit: usize,
        work: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, DecompressError> {
        let mut buffer = self.spare.lock().pop().unwrap_or_default();
        let done = decompress(encoding, body, limit, &mut buffer);
        let done = done.map(|size_bytes| work(&buffer[..size_bytes]));
        if buffer.len() <= MAX_SPARE_BYTES {
            let mut spare = self.spare.lock();
            if spare.len() < MAX_SPARE {
                spare.push(buffer);
            }
        }
        done
    }
}

fn check_size(size_bytes: u64, limit: usize) -> Result<(), DecompressError> {
    if size_bytes > limit as u64 {
        return Err(DecompressError::TooLarge { size_bytes, limit });
    }
    Ok(())
}

/// Reads to the end, unless that lies beyond `limit`.
fn read(
    mut decoder: impl Read,
    limit: usize,
    buffer: &mut Vec<u8>,
) -> Result<io::Result<usize>, DecompressError> {
    let mut at = 0;
    loop {
        if at == buffer.len() {
            // One byte more than is taken tells whether there is more.
            let len = (at * 2).clamp(FIRST_BYTES, limit.max(FIRST_BYTES) + 1);
            buffer.resize(len, 0);
        }
        let end = buffer.len().min(limit + 1);
        match decoder.read(&mut buffer[at..end]) {
            Ok(0) => return Ok(Ok(at)),
            Ok(n) => at += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
        if at > limit {
            return Err(DecompressError::PastLimit { limit });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A frame that does not say how much it holds.
    fn zstd_stream(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    fn compress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => bytes.to_vec(),
            Encoding::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            Encoding::Gzip => gzip(bytes),
            Encoding::Zstd => zstd::bulk::compress(bytes, 1).unwrap(),
        }
    }

    #[test]
    fn every_encoding_is_read_into_a_used_buffer() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        let mut buffer = vec![7; 10];
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(&encoding.name().to_uppercase()), Some(encoding));
            for text in [&text[..], b"short", b""] {
                let body = compress(encoding, text);
                let size = decompress(encoding, &body, text.len(), &mut buffer).unwrap();
                assert_eq!(&buffer[..size], text, "{encoding}");
                if !text.is_empty() {
                    let over = decompress(encoding, &body, text.len() - 1, &mut buffer);
                    assert!(over.is_err_and(|error| error.is_size()), "{encoding}");
                }
            }
        }
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let mut buffer = Vec::new();
        for (encoding, compress) in
            [(Encoding::Gzip, gzip as fn(&[u8]) -> _), (Encoding::Zstd, zstd_stream)]
        {
            let body = [compress(b"one "), compress(b"two")].concat();
            let size = decompress(encoding, &body, 100, &mut buffer).unwrap();
            assert_eq!(&buffer[..size], b"one two");
        }
    }

    #[test]
    fn bombs_are_given_up_at_the_limit() {
        let limit = 1 << 20;
        let zeros = vec![0; 64 << 20];
        let mut declared = gzip(&zeros);
        let mut buffer = Vec::new();
        for (encoding, body) in [
            (Encoding::Snappy, compress(Encoding::Snappy, &zeros)),
            (Encoding::Zstd, compress(Encoding::Zstd, &zeros)),
            (Encoding::Gzip, declared.clone()),
        ] {
            let error = decompress(encoding, &body, limit, &mut buffer).unwrap_err();
            assert!(matches!(error, DecompressError::TooLarge { .. }), "{encoding}: {error}");
            assert_eq!(
                buffer.len(),
                0,
                "{encoding}: memory was spent on what is declared too large"
            );
        }
        // These say nothing, or too little.
        let end = declared.len() - 4;
        declared[end..].copy_from_slice(&[1, 0, 0, 0]);
        for (encoding, body) in [(Encoding::Zstd, zstd_stream(&zeros)), (Encoding::Gzip, declared)]
        {
            let error = decompress(encoding, &body, limit, &mut buffer).unwrap_err();
            assert!(matches!(error, DecompressError::PastLimit { .. }), "{encoding}: {error}");
            assert!(buffer.capacity() <= 2 * limit + 2, "{encoding}: {}", buffer.capacity());
        }
    }

    #[test]
    fn broken_bodies_are_refused() {
        let mut buffer = Vec::new();
        for encoding in [Encoding::Snappy, Encoding::Gzip, Encoding::Zstd] {
            let body = compress(encoding, b"some text that is long enough to be cut somewhere");
            for body in [&body[..body.len() - 3], &body[3..], b"\xff\xff\xff\xff\xff\xff\xff"] {
                let error = decompress(encoding, body, 1 << 20, &mut buffer).unwrap_err();
                assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_window_larger_than_any_body_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"little").unwrap();
        encoder.flush().unwrap();
        encoder.write_all(b"more").unwrap();
        let body = encoder.finish().unwrap();
        let error = decompress(Encoding::Zstd, &body, 1 << 20, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, DecompressError::Invalid { .. }), "{error}");
    }
}
