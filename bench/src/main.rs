//! `quintet-bench`: drives the hub and its peers with one load generator and prints what each costs.
//!
//! It starts every server it measures, on a spare loopback port, and reads the server's cost from `/proc`; it is not a
//! test of correctness, although a run that loses a message fails.

mod load;
mod options;
mod peers;
mod picture;
mod process;
mod servers;
mod stats;
mod table;
mod workload;

use clap::Parser;

use crate::options::{Command, Options};

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    process::raise_open_files()?;
    match options.command {
        Command::Fanout(fanout) => workload::fanout::run(&options.servers, &fanout),
        Command::Burst(burst) => workload::burst::run(&options.servers, &burst),
        Command::Idle(idle) => workload::idle::run(&options.servers, &idle),
        Command::Handshake(handshake) => workload::handshake::run(&options.servers, &handshake),
        Command::Publish(publish) => workload::publish::run(&options.servers, &publish),
        Command::Durable(durable) => workload::durable::run(&options.servers, &durable),
        Command::Groups(groups) => workload::groups::run(&options.servers, &groups),
        Command::Request(request) => workload::request::run(&options.servers, &request),
        Command::Floor { listen } => servers::floor::serve(listen),
        Command::Echo { listen } => servers::echo::serve(listen),
        Command::EchoHop { listen, responders } => servers::echo_hop::serve(listen, responders),
    }
}
