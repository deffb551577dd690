//! Serving: an accept loop of our own, for those who have no server yet. It knows nothing of topics
//! but where their handlers are.

mod accept;
mod head_timer;
mod last_answer;
pub(crate) mod lean;
pub(crate) mod rewound;
pub(crate) mod tls;

pub use crate::serve::accept::{Guest, ServeConfig, Shortcut, serve};
pub use crate::serve::tls::{Tls, TlsError};
