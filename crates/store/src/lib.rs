//! The embedded durable log: what was acknowledged is on disk.
//!
//! One log of checksummed records in segments, written by one thread with one sync for all publishes that wait; an index
//! file for each full segment; the state of all topics as a fold over the log, checkpointed. The format is written down
//! in `docs/storage-format.md`. What a transaction may do is not decided here but by
//! [`quintet_core::engine::ledger`].

pub mod disk;
pub mod inspect;
pub mod store;

mod ballast;
mod checkpoint;
mod codec;
mod commit;
mod copies;
mod format;
mod index;
mod lineage;
mod read;
mod recovery;
mod segments;
mod settled;
mod shared;
mod topics;
mod upkeep;

pub use crate::inspect::check::check;
pub use crate::inspect::repair::repair;
pub use crate::inspect::report::Report;
pub use crate::store::{Store, StoreConfig};
