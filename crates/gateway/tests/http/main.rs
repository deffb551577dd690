//! The HTTP doors over real sockets, with a hub on the memory engine in the same process.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod access;
mod bodies;
mod edges;
mod groups;
mod groups_access;
mod harness;
mod lean;
mod live;
mod presence;
mod publishing;
mod reading;
mod strict;
mod topics;

use quintet_gateway::serve::Shortcut;
use quintet_gateway::state::Gateway;

/// How short requests are served; `http_hyper` runs the same tests the other way.
fn shortcut(gateway: &Gateway) -> Shortcut {
    Shortcut::Handlers(gateway.clone())
}
