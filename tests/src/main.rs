//! End-to-end tests: the real binary, real sockets, real files. One file per pattern, and one per thing that could go
//! wrong with all of them. What can be tested without a process is tested beside its code instead.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test says what it expects by unwrapping, and tells its seed and the hub's log on stderr"
)]

mod harness;

mod patterns;

mod auth;
mod bad_input;
mod binary;
mod chaos;
mod cli;
mod crash;
mod damage;
mod done;
mod event_source;
mod examples;
mod files;
mod groups;
mod groups_cli;
mod presence;
mod readme;
mod shutdown;
mod tidy;
mod tls;
mod transports;
