//! What is measured: one file a workload, each a run against one server and the table of all runs.

pub(crate) mod bare_log;
pub(crate) mod burst;
pub(crate) mod closed_loop;
pub(crate) mod durable;
pub(crate) mod fanout;
pub(crate) mod groups;
pub(crate) mod handshake;
pub(crate) mod idle;
pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod stage;
