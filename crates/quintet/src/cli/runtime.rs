//! What commands that talk to a hub run on.

use std::time::Duration;

use crate::cli::exit::Failure;
use crate::logging::{LogFlags, begin_command};

/// How long what was begun may take to end after the command is done.
const LEFTOVERS_TIME: Duration = Duration::from_secs(1);

/// Runs a command. What ends it by Ctrl-C is the command's business, see [`end_when_interrupted`].
pub(crate) fn client_side<F>(logging: &LogFlags, command: impl FnOnce() -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    begin_command(logging).map_err(Failure::usage)?;
    // One worker beside this thread: the connection goes on while this one reads or writes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads to run on: {error}")))?;
    let outcome = runtime.block_on(command());
    runtime.shutdown_timeout(LEFTOVERS_TIME);
    outcome
}

/// Ends the process on Ctrl-C with code 130, from a thread of its own, as the command may hang in writing.
pub(crate) fn end_when_interrupted() {
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}
