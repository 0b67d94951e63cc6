//! OTLP: any request, in protobuf or JSON, is stored or refused as a whole.
#![no_main]

use std::sync::Arc;

use ferula_tsdb::{Db, Options, SyncPolicy};
use ferula_wal::fs::FaultFs;
use ferula_wire::compression::Encoding;
use ferula_wire::otlp::{Deltas, OtlpFormat, OtlpOptions, OtlpReceiver, Translation};
use ferula_wire::store::Store;
use ferula_wire::telemetry::Registry;
use libfuzzer_sys::fuzz_target;

const NOW_MS: i64 = 1_700_000_000_000;

fuzz_target!(|data: &[u8]| {
    let Some((how, body)) = data.split_first() else { return };
    let options = Options::builder().sync(SyncPolicy::Never).maintenance_interval(None);
    let options = options.build().expect("valid options");
    let db = Db::open_with(Arc::new(FaultFs::new()), "/data", options).expect("an empty disk");
    let db = Arc::new(db);
    let format = if how & 1 == 0 { OtlpFormat::Protobuf } else { OtlpFormat::Json };
    let encoding = Encoding::ALL[usize::from(how >> 1 & 3)];
    let mut options = OtlpOptions::default();
    options.translation = Translation::ALL[usize::from(how >> 3 & 3)];
    options.custom_buckets = how & 32 != 0;
    options.promote_scope = how & 64 != 0;
    options.deltas = if how & 128 == 0 { Deltas::Refuse } else { Deltas::Keep };
    let receiver = OtlpReceiver::new(Arc::clone(&db) as Arc<dyn Store>, options, &Registry::new());
    match receiver.receive(format, encoding, body, NOW_MS) {
        Ok(receipt) => {
            assert!(receipt.refused_points <= receipt.points);
            assert!(db.stats().appended <= receipt.samples);
        }
        Err(_) => assert_eq!(db.stats().appended, 0),
    }
});
