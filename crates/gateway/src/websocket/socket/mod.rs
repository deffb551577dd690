//! The writing half of a connection, shared by its task and by the fan-out shards.
//!
//! A shard writes straight to the socket, without waiting and without waking anybody. What the kernel does not take
//! stays here as one unfinished piece; then the connection's task waits until it can be written, and tells the
//! follower that it may go on. Nothing is queued for a client that does not read: its followers' cursors lag.

mod offer;
mod out;
mod pieces;
mod watch;

pub(crate) use crate::websocket::socket::offer::Frames;
pub(crate) use crate::websocket::socket::out::{Flushed, Socket};
