//! Checkpoints: the state of the log at some offset in one file, so that opening need not read the whole log.

pub(crate) mod content;
pub(crate) mod decode;
pub(crate) mod files;
