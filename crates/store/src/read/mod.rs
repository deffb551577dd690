//! Reading: a topic's messages by its index, and the log in its own order for filters that lag.

pub(crate) mod fetch;
pub(crate) mod pool;
pub(crate) mod scan;
pub(crate) mod topic;
