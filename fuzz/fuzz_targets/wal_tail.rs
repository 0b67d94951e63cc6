//! Follows a segment that grows by any steps to any bytes: no panic, and what the tail has returned in
//! the end is what a reader finds in the whole. A tail that goes on where another one stopped returns
//! the rest.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use ferula_wal::fs::{FaultFs, Fs, OpenMode};
use ferula_wal::{LogReader, LogTail, TailStart};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u16>, Vec<u8>)| {
    let (steps, bytes) = input;
    let dir = Path::new("wal");
    let fs = FaultFs::new();
    fs.create_dir_all(dir).expect("a new directory");
    let file = fs.open(&dir.join("00000000"), OpenMode::CreateNew).expect("a new file");
    let open = |start| LogTail::open(Arc::new(fs.clone()), dir, start);
    let mut tail = open(TailStart::Beginning).expect("an empty segment");
    let mut followed = Vec::new();
    let mut written = 0;
    for step in steps.into_iter().chain([u16::MAX; 4]) {
        let end = bytes.len().min(written + usize::from(step));
        let end = if step == u16::MAX { bytes.len() } else { end };
        file.write_at(&bytes[written..end], written as u64).expect("no fault was injected");
        written = end;
        let position = tail.position().expect("there is no checkpoint");
        let mut n_new = 0;
        loop {
            match tail.next_record() {
                Ok(Some(record)) => followed.push(record.bytes.to_vec()),
                Ok(None) | Err(_) => break,
            }
            n_new += 1;
        }
        // All of a batch is returned at once, so the same again are the last ones.
        let mut again = open(TailStart::At(position)).expect("the position is still there");
        let mut n_again = 0;
        while let Ok(Some(record)) = again.next_record() {
            assert_eq!(followed[followed.len() - n_new + n_again], record.bytes);
            n_again += 1;
        }
        assert_eq!(n_again, n_new);
        if step % 2 == 0 {
            tail = open(TailStart::At(tail.position().expect("as above"))).expect("as above");
        }
    }
    let mut reader = LogReader::open(Arc::new(fs.clone()), dir).expect("one segment");
    let mut found = Vec::new();
    while let Ok(Some(record)) = reader.next_record() {
        found.push(record.bytes.to_vec());
    }
    assert_eq!(followed, found);
});
