//! Request-response: hand a request to one registered responder, and wait for its reply.
//!
//! | file | what it holds |
//! |---|---|
//! | [`request`] | what a caller says and gets: a plain request lives in memory and dies with its deadline |
//! | [`responder`] | those who serve: registered ones and claims |
//! | `kept` | requests that are on disk: keyed ones and those whose reply comes on a topic |
//! | `log` | what those write to the log and find there |
//! | `record` | how keys and replies are written as messages |
//! | `desk` | who waits, who serves, who gets what: the state, without any waiting |
//! | `services` | the desk behind its lock, and the requests under way |
//!
//! It knows no transport, and it does not read topics as subscribers do: replies that come on a topic are read
//! through the other patterns.

pub mod request;
pub mod responder;

mod desk;
mod kept;
mod log;
mod record;
mod services;

pub(crate) use self::services::Services;
