//! `quintet store`: looks after the folder of a disk log while no hub runs on it.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::exit::Failure;

/// `quintet store`
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read everything, verify every checksum, and list what is damaged; changes nothing
    Check {
        /// The folder, as --data-dir names it
        dir: PathBuf,
    },
    /// Set aside what is damaged, so that the hub starts again with the rest
    Repair {
        /// The folder, as --data-dir names it
        dir: PathBuf,
    },
}

/// Checks or repairs, and prints what was found. A check that finds damage fails; a repair that has set it aside does
/// not.
pub(crate) fn run(args: &StoreArgs) -> Result<(), Failure> {
    let (dir, found) = match &args.command {
        StoreCommand::Check { dir } => (dir, quintet_store::check(dir)),
        StoreCommand::Repair { dir } => (dir, quintet_store::repair(dir)),
    };
    let dir = dir.display();
    let report = found.map_err(|error| Failure::failed(format!("{dir} cannot be read: {error}")))?;
    print(&report.to_string())?;
    match &args.command {
        StoreCommand::Check { .. } if !report.is_intact() => Err(Failure::failed(format!(
            "something in {dir} is damaged; `quintet store repair {dir}` sets it aside, so that the rest works"
        ))),
        StoreCommand::Check { .. } | StoreCommand::Repair { .. } => Ok(()),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::enough()),
        Err(error) => Err(Failure::failed(format!("standard output cannot be written: {error}"))),
    }
}
