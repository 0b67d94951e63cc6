//! Remote write 1.0 and 2.0: any body, and any message in a sound body, is stored or refused as a whole.
#![no_main]

use std::sync::Arc;

use ferula_tsdb::{Db, Options, SyncPolicy};
use ferula_wal::fs::FaultFs;
use ferula_wire::remote::{Receiver, Version};
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
    let receiver = Receiver::new(Arc::clone(&db) as Arc<dyn Store>, &Registry::new());
    let body = if how & 1 == 0 {
        body.to_vec()
    } else {
        snap::raw::Encoder::new().compress_vec(body).expect("a small body")
    };
    let version = if how & 2 == 0 { Version::V1 } else { Version::V2 };
    // A request may hold the same sample twice, which is stored once.
    let stored = || match receiver.receive(version, &body, NOW_MS) {
        Ok(receipt) => receipt.appended + receipt.histograms - receipt.repeated,
        Err(_) => 0,
    };
    let first = stored();
    assert_eq!(db.stats().appended, first);
    // A sender that got no answer sends again.
    let again = stored();
    assert_eq!(db.stats().appended, first + again);
});
