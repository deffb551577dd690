//! Servers that this binary is itself: the floor under a fan-out, and the plain echo beside request-response.

pub(crate) mod echo;
pub(crate) mod floor;
