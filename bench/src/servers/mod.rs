//! Servers that this binary is itself: the floor under a fan-out, and the echoes beside request-response, a plain one and
//! one with a hop behind it.

pub(crate) mod echo;
pub(crate) mod echo_hop;
pub(crate) mod floor;
