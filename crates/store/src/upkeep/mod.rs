//! What is done in the background: index files, retention, checkpoints, and giving space back.

pub(crate) mod compact;
pub(crate) mod output;
pub(crate) mod reclaim;
pub(crate) mod retention;
pub(crate) mod thread;
pub(crate) mod trouble;
