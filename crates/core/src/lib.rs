//! Topics, cursors and the five communication patterns over one log.
//!
//! Every pattern is a cursor over a log, plus a way to wait: a publish appends to its topic's log and wakes whoever
//! waits; each reader reads on from its own cursor. [`hub::Hub`] is the whole of it, and can be embedded as it is.
//!
//! This crate knows no sockets, no files and no wire format: an [`engine::Engine`] keeps the log, a gateway turns a
//! [`fanout::Sink`] into bytes on a connection.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod access;
pub mod batch;
pub mod clock;
pub mod cursor;
pub mod engine;
pub mod error;
pub mod fanout;
pub mod following;
pub mod group;
pub mod hub;
pub mod limits;
pub mod message;
pub mod name;
pub mod patterns;
pub mod presence;
pub mod randomness;
pub mod reading;
pub mod receipts;
mod registry;
pub mod topic;
