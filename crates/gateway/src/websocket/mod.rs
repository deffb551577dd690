//! The WebSocket door: `GET /ws`, a session with everything a client can do, and `GET` on a topic with an upgrade, on
//! which a frame is a payload.
//!
//! The connection is taken over from the HTTP server and owned: frames are made once and shared, shards write them
//! straight to the socket, and an idle connection holds no buffer. What the commands mean is the hub's business.

mod budget;
mod close;
pub mod config;
mod connection;
pub(crate) mod doors;
mod encode;
mod frame;
mod handshake;
mod protocol;
mod raw;
mod session;
mod sha1;
mod socket;
mod transport;
mod work;

pub(crate) use crate::websocket::raw::topic;
pub(crate) use crate::websocket::session::routes;
