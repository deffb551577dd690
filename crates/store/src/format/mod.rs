//! The bytes on disk, as `docs/storage-format.md` describes them. Nothing here touches a file.

pub(crate) mod batch;
pub(crate) mod flip;
pub(crate) mod group;
pub(crate) mod header;
pub(crate) mod order;
pub(crate) mod record;
pub(crate) mod salvage;
pub(crate) mod state;
pub(crate) mod walk;
