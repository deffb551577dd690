//! Serving: an accept loop of our own, for those who have no server yet. It knows nothing of topics.

mod accept;
mod head_timer;

pub use crate::serve::accept::{Guest, ServeConfig, serve};
