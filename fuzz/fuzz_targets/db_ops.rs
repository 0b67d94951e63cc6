//! Any list of operations, with faults, against a model: the simulation of the database's tests,
//! steered by the fuzzer in place of a seed.
#![no_main]

#[path = "../../tsdb/tests/simulation/faults.rs"]
mod faults;
#[path = "../../tsdb/tests/simulation/machine.rs"]
mod machine;
#[path = "../../tsdb/tests/simulation/model.rs"]
mod model;
#[path = "../../tsdb/tests/simulation/noted.rs"]
mod noted;
#[path = "../../tsdb/tests/simulation/workload.rs"]
#[expect(dead_code, reason = "the tests draw whole schedules from a seed")]
mod workload;

use ferula_tsdb::BlockFormat;
use libfuzzer_sys::fuzz_target;

use self::workload::{Config, N_KINDS, Random, Schedule, op_of_kind};

/// Most operations of one input.
const MAX_OPS: usize = 200;

fuzz_target!(|data: &[u8]| {
    let Some((header, rest)) = data.split_first_chunk::<2>() else { return };
    let config = Config {
        is_always: header[0] & 1 == 0,
        is_compressed: header[0] & 2 != 0,
        block_range_ms: [1000, 2000, 10_000][usize::from(header[0] >> 2) % 3],
        chunk_segment_bytes: [64, 300, 1 << 20][usize::from(header[0] >> 4) % 3],
        padding: [0, 300, 4000][usize::from(header[0] >> 6) % 3],
        formats: [BlockFormat::Ferula, BlockFormat::Prometheus],
        max_exemplars: [3, 10, 100][usize::from(header[1]) % 3],
    };
    let ops = rest.chunks_exact(3).take(MAX_OPS).map(|item| {
        let mut random = Random(u64::from(u16::from_le_bytes([item[1], item[2]])));
        op_of_kind(u64::from(item[0]) % N_KINDS, &mut random, &config)
    });
    let schedule = Schedule { seed: u64::from(header[1]), config, ops: ops.collect() };
    if let Err(failure) = machine::run(&schedule) {
        panic!("{failure}\n{schedule:#?}");
    }
});
