//! The HTTP surface: one file for each thing a client can do, and the router that puts them together.

mod around;
pub(crate) mod body;
pub(crate) mod create;
pub(crate) mod dialect;
pub(crate) mod groups;
pub(crate) mod list;
pub(crate) mod long_polling;
pub(crate) mod pages;
pub(crate) mod presence;
pub(crate) mod producer;
pub(crate) mod publish;
pub(crate) mod query;
pub(crate) mod read;
pub(crate) mod responders;
mod router;
pub(crate) mod services;
pub(crate) mod short_polling;
pub(crate) mod straight;
pub(crate) mod topics;
pub(crate) mod unheeded;

pub use crate::http::router::router;
