//! The tests of `http` with hyper serving every connection, as it does behind TLS and where the shortcut is off.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../http/access.rs"]
mod access;
#[path = "../http/bodies.rs"]
mod bodies;
#[path = "../http/edges.rs"]
mod edges;
#[path = "../http/harness.rs"]
mod harness;
#[path = "../http/live.rs"]
mod live;
#[path = "../http/presence.rs"]
mod presence;
#[path = "../http/publishing.rs"]
mod publishing;
#[path = "../http/reading.rs"]
mod reading;
#[path = "../http/strict.rs"]
mod strict;
#[path = "../http/topics.rs"]
mod topics;

use quintet_gateway::serve::Shortcut;
use quintet_gateway::state::Gateway;

/// How short requests are served.
fn shortcut(_: &Gateway) -> Shortcut {
    Shortcut::Off
}
