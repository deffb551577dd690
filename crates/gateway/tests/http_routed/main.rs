//! The tests of `http` that are about topics, through the router, as an application that mounts it serves them.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../http/access.rs"]
mod access;
#[path = "../http/bodies.rs"]
mod bodies;
#[path = "../http/edges.rs"]
mod edges;
#[path = "../http/harness.rs"]
mod harness;
#[path = "../http/lean.rs"]
mod lean;
#[path = "../http/live.rs"]
mod live;
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
    Shortcut::Connection
}
