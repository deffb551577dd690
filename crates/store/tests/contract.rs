//! The suite that every engine passes, on a real disk and on the disk in memory, also with the smallest segments.

use std::sync::Arc;

use quintet_core::engine::Engine;
use quintet_core::limits::Limits;
use quintet_store::disk::faulty::FaultyDisk;
use quintet_store::{Store, StoreConfig};

use crate::harness::tiny;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let n = std::sync::atomic::AtomicU64::new(0);
    let new = |limits: Limits| -> Arc<dyn Engine> {
        let n = n.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Store::open(&StoreConfig { limits, ..StoreConfig::new(folder.path().join(n.to_string())) }).unwrap()
    };
    quintet_core::engine::contract::check(&new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tiny_segments() {
    let new = |limits: Limits| -> Arc<dyn Engine> {
        Store::open_on(Arc::new(FaultyDisk::new()), &StoreConfig { limits, ..tiny() }).unwrap()
    };
    quintet_core::engine::contract::check(&new).await;
}
