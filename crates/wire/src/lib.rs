//! Quintet's formats, without I/O: cursors as text, message envelopes, session frames, server-sent events, problems.
//!
//! Every function turns values into bytes or bytes into values. Nothing here reads a socket, knows a hub, or waits;
//! the gateway and the client share these modules so that the two ends cannot drift apart.

pub mod content;
pub mod duration;
pub mod envelope;
pub mod groups;
pub mod header;
pub mod payload;
pub mod presence;
pub mod problem;
pub mod session;
pub mod sse;
pub mod time;
pub mod token;
pub mod topics;
pub mod websocket;

mod json;
