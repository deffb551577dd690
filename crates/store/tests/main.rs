//! Tests of the store as a whole, through its engine.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its seed")]

mod contract;
mod copies;
mod crafted;
mod damage;
mod faults;
mod forks;
mod full;
mod fuzz;
mod groups;
mod harness;
mod lost;
mod mended;
mod message_ids;
mod reopen;
mod space;
mod unreadable;
