//! A session: one WebSocket through which a client subscribes, publishes, consumes, requests and responds. Text frames of JSON;
//! every command carries an id and gets exactly one answer. The frames are `quintet_wire::session`'s.

mod consume;
mod consumer_sink;
pub(crate) mod protocol;
pub(crate) mod publish;
mod request;
mod respond;
mod sink;
pub(crate) mod subscribe;
mod upgrade;

use quintet_core::limits::Limits;

pub(crate) use crate::websocket::session::upgrade::routes;

/// Subscriptions of one session.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// Consumers of one session.
const CONSUMERS_MAX: usize = 1_000;
/// Responders of one session.
const RESPONDERS_MAX: usize = 64;
/// Requests of one session that wait for a reply.
const REQUESTS_MAX: usize = 1_024;
/// What a frame holds besides the payload.
const MEMBERS_BYTES: usize = 64 * 1024;

/// The largest frame: the largest message in base64, and its members.
pub(crate) fn message_bytes(limits: &Limits) -> usize {
    limits.message_bytes.div_ceil(3) * 4 + MEMBERS_BYTES
}
