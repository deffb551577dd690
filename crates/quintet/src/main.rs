//! The `quintet` command: the hub and its command line in one binary. It puts the other crates together and has no
//! rules of its own: what a hub does is in `quintet-core`, what a client does in `quintet-client`.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod engines;
mod entropy;
mod files;
mod greeting;
mod listen;
mod logging;
mod serve;
mod shutdown;
mod tls;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::args::{Cli, Command};
use crate::cli::runtime::client_side;
use crate::cli::{consume, groups, presence, publish, request, respond, store, subscribe, token, topics};

// Many small buffers live and die on many threads: glibc's allocator keeps several times what is in use.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Cli { command, logging } = Cli::parse();
    let outcome = match command {
        Command::Serve(args) => serve::run(args, &logging),
        Command::Pub(args) => client_side(&logging, || publish::run(args)),
        Command::Sub(args) => client_side(&logging, || subscribe::run(args)),
        Command::Request(args) => client_side(&logging, || request::run(args)),
        Command::Respond(args) => client_side(&logging, || respond::run(args)),
        Command::Consume(args) => client_side(&logging, || consume::run(args)),
        Command::Groups(args) => client_side(&logging, || groups::run(args)),
        Command::Redrive(args) => client_side(&logging, || groups::redrive(args)),
        Command::Topics(args) => client_side(&logging, || topics::run(args)),
        Command::Presence(args) => client_side(&logging, || presence::run(args)),
        Command::Token(args) => token::run(&args),
        Command::Store(args) => store::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
