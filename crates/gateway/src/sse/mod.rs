//! Push over server-sent events: one body that is fed by the hub's fan-out, in two framings.

pub(crate) mod cursor;
pub(crate) mod durable;
pub(crate) mod event_source;
mod feed;
mod stream;
