//! What clients publish cannot make opening slow, whatever is damaged.

use std::time::{Duration, Instant};

use quintet_core::engine::transaction::{Append, Op};
use quintet_store::StoreConfig;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::inspect::check::check_on;

use crate::harness::{Open, append, message, open_config, tiny};

const PAYLOAD_BYTES: usize = 1 << 20;

/// How long it takes to open a store in which one bit of this payload is flipped.
async fn time_to_open(unit: &[u8]) -> Duration {
    let disk = FaultyDisk::new();
    let config = StoreConfig { segment_bytes: 1 << 26, ..tiny() };
    let open = Open::on(&disk, &config).unwrap();
    let payload = unit.repeat(PAYLOAD_BYTES / unit.len());
    let crafted = Append { messages: vec![message(payload)], create: Some(open_config()), ..append("crafted", &[]) };
    open.commit(Op::Append(crafted)).await.unwrap();
    for _ in 0..3 {
        open.publish("later", &["x"]).await.unwrap();
    }
    let broken = disk.copy();
    drop(open);
    let (file, _) = broken.files().into_iter().find(|(name, _)| name.ends_with(".log")).unwrap();
    broken.flip(&file, PAYLOAD_BYTES / 2, 3);
    let report = check_on(&broken).unwrap();
    assert_eq!(report.damages.len(), 1, "{report}");
    let began = Instant::now();
    let open = Open::on(&broken, &config).unwrap();
    let took = began.elapsed();
    assert_eq!(open.texts("later").await.unwrap().len(), 3, "what is intact is read");
    assert!(open.texts("crafted").await.is_err(), "what is not is told");
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_cannot_make_opening_slow() {
    let harmless = time_to_open(b"harmless").await;
    let long_records = time_to_open(b"\x01\xff\x1f\x00").await;
    let shorter_records = time_to_open(b"\x01\xff\x07\x00").await;
    // A checksum, a length, and a message at offset 2 of the topic 1.
    let records_in_place = time_to_open(b"....\x00\x00\x08\x00\x02\x02\x01\x01").await;
    let heads = time_to_open(b"QBAT").await;
    let bound = harmless * 20 + Duration::from_secs(1);
    for took in [long_records, shorter_records, records_in_place, heads] {
        assert!(took < bound, "{took:?} where {harmless:?} would do");
    }
}
