//! Plain HTTP/1.1 connections served without hyper, for as long as their requests are for topics and services and come
//! in whole.
//!
//! hyper keeps 8 to 16 KiB for a connection whose request waits, and costs more than a short request's handler does. Here
//! what has come is looked at once; if it is a whole request, it is answered by the same handlers as everything else,
//! and while the answer is awaited there is nothing but the socket. With anything else the connection is hyper's, which
//! gets what was read of it first, so that it alone deals with long bodies, upgrades, slow or strange heads, and their
//! errors. This is not an HTTP server: it knows just enough of RFC 9112 to tell what it may answer.

mod answer;
mod connection;
mod head;
pub(crate) mod line;
mod write;

pub(crate) use crate::serve::lean::connection::{Lean, serve};
