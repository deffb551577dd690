//! Writing: transactions are queued, gathered into groups, staged, written with one write and one sync a group, and then
//! shown and answered.

pub(crate) mod answers;
pub(crate) mod appender;
pub(crate) mod bell;
pub(crate) mod group;
pub(crate) mod queue;
pub(crate) mod thread;
