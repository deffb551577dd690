//! The segments of the log, and how their files and indexes are reached.

pub(crate) mod handles;
pub(crate) mod rebuild;
pub(crate) mod segment;
pub(crate) mod set;
