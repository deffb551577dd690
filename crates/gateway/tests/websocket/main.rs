//! WebSockets over real sockets, against a hub in the same process.
#![allow(clippy::unwrap_used, reason = "a test that panics says what is wrong")]

mod closing;
mod ending;
mod flapping;
mod framing;
mod groups;
mod held;
mod many;
mod presence;
mod raw;
mod services;
mod session;
mod slow;
mod support;
