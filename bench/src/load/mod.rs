//! The load generator: one epoll thread, and one side of each protocol as a state machine without I/O.

pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod http;
pub(crate) mod long_poller;
pub(crate) mod requester;
pub(crate) mod responder;
pub(crate) mod scripted;
pub(crate) mod tls;
pub(crate) mod websocket;
pub(crate) mod worker;
