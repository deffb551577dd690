//! `quintet store`: looks after the folder of a disk log while no hub runs on it.

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

/// Checks or repairs.
pub(crate) fn run(args: &StoreArgs) -> Result<(), Failure> {
    let (StoreCommand::Check { dir } | StoreCommand::Repair { dir }) = &args.command;
    let dir = dir.display();
    Err(Failure::failed(format!(
        "the store cannot be checked or repaired from outside in this version; {dir} is left as it is\n\
         the hub itself verifies every checksum that it reads: `quintet serve --data-dir {dir}` tells what is damaged"
    )))
}
