//! The memory engine passes the engines' contract.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

use std::sync::Arc;

use quintet_core::cursor::LogId;
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::engine::{Engine, contract};
use quintet_core::limits::Limits;

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_engine_keeps_the_contract() {
    let new_engine = |limits: Limits| -> Arc<dyn Engine> { Arc::new(MemoryEngine::new(LogId(7), limits)) };
    contract::check(&new_engine).await;
}
