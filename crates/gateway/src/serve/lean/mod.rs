//! Plain HTTP/1.1 connections that have only read topics so far, served without hyper.
//!
//! hyper keeps 8 to 16 KiB for a connection whose request waits. Here a request's head is looked at while it is still
//! in the kernel; if it is a whole head of a read, it is taken and answered by the same router as everything else, and
//! while the answer is awaited there is nothing but the socket. Anything else is left where it is and hyper gets the
//! socket as if it were new, so that it alone deals with bodies, upgrades, slow or strange heads, and their errors.
//! This is not an HTTP server: it knows just enough of RFC 9112 to tell what it may answer.

mod answer;
mod connection;
mod head;
pub(crate) mod line;

pub(crate) use crate::serve::lean::connection::{Reads, serve};
