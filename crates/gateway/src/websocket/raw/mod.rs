//! A WebSocket on one topic: a frame is a payload, both ways; or, with the subprotocol `quintet.envelope`, envelopes
//! with cursors one way and answered publishes the other.
//!
//! What goes wrong with the topic is told by a close code, as a browser sees no HTTP status.

mod protocol;
mod publish;
mod sink;
mod upgrade;

pub(crate) use crate::websocket::raw::upgrade::topic;
