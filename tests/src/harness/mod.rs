//! What the scenarios stand on: a hub as a process, and clients that know as little of Quintet's code as they can.

pub mod cli;
pub mod deadline;
pub mod events;
pub mod http;
pub mod hub;
pub mod load;
pub mod raw;
pub mod seed;
pub mod session;
pub mod socket;
