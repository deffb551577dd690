//! The real binary killed with SIGKILL in mid-load, again and again: publishers that retry by producer sequence and
//! by message id, and readers of all four kinds that follow by cursor. Every acknowledged message once, in order, for
//! each.
//!
//! 20 kills by default; `QUINTET_CRASHES=1000 cargo test --release -p quintet-tests crash::` for the long run.
//! SIGKILL leaves the page cache alone, so this proves recovery and not `fsync`: for that see the store's own tests.

mod publisher;
mod readers;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::crash::tally::Tally;
use crate::harness::deadline::{LATER, within};
use crate::harness::hub::Hub;
use crate::harness::seed::Chance;

const PUBLISHERS: usize = publisher::NAMES_ITS_BATCHES + 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_once_and_in_order_for_each_reader() {
    let n_crashes = std::env::var("QUINTET_CRASHES").ok().map_or(20, |n| n.parse().expect("a number of crashes"));
    let mut chance = Chance::new("crash");
    let mut hub = Hub::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|id| tokio::spawn(publisher::run(hub.http().clone(), id, stop.clone()))).collect();
    let tallies: Vec<Arc<Tally>> =
        ["short poll", "long poll", "EventSource", "WebSocket"].map(Tally::new).into_iter().collect();
    let readers = [
        tokio::spawn(readers::short_poll(hub.port, tallies[0].clone())),
        tokio::spawn(readers::long_poll(hub.port, tallies[1].clone())),
        tokio::spawn(readers::event_source(hub.port, tallies[2].clone())),
        tokio::spawn(readers::session(hub.port, tallies[3].clone())),
    ];

    for crash in 1..=n_crashes {
        // When the kill comes is the experiment: anywhere from the first publish to a busy hub.
        tokio::time::sleep(Duration::from_millis(chance.between(1, 300))).await;
        hub.kill();
        hub.start_again().await;
        for reader in &readers {
            assert!(!reader.is_finished(), "a reader ended at crash {crash}");
        }
        if crash % 100 == 0 {
            eprintln!("crash {crash}: {} messages read over WebSocket", tallies[3].count());
        }
    }

    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.push(within(LATER, "the last acknowledgement", publisher).await.unwrap());
    }
    for tally in &tallies {
        tally.end_at(&acknowledged);
    }
    for reader in readers {
        within(LATER, "a reader's last message", reader).await.unwrap();
    }
    let total: u64 = acknowledged.iter().sum();
    assert!(total > n_crashes, "only {total} messages were acknowledged in {n_crashes} crashes");
    eprintln!("{n_crashes} crashes, {total} messages, each once and in order for four readers");
}
