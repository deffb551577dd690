//! The logs of the hub: the disk log first, so that it is where topics go that do not say, then the memory log.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use quintet_core::engine::Engine;
use quintet_core::engine::memory::MemoryEngine;
use quintet_store::Store;

use crate::config::settings::Settings;
use crate::entropy::log_id;

/// Opens the logs. Reading a large disk log takes its time, so this is not for an async task.
pub(crate) fn open(settings: &Settings) -> anyhow::Result<Vec<Arc<dyn Engine>>> {
    let mut engines: Vec<Arc<dyn Engine>> = Vec::new();
    if !settings.memory {
        let dir = settings.data_dir.display();
        let store = Store::open(&settings.store())
            .with_context(|| format!("the topics in {dir} cannot be opened; --memory runs without them"))?;
        engines.push(store);
    }
    let log = log_id().map_err(|error| anyhow!("no randomness for the log's name: {error}"))?;
    engines.push(Arc::new(MemoryEngine::new(log, settings.limits.clone())));
    Ok(engines)
}
