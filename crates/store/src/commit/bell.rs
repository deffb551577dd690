//! Wakes a task from a thread that is not the runtime's.
//!
//! A waker does that too, but a thread of the runtime that is woken by one looks for work, and having found it wakes
//! another, which finds none. What comes through a file wakes one thread only: the one that waits for events of files.

use std::fs::File;
use std::io::{self, Write};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The end that rings.
#[derive(Debug)]
pub(crate) struct Bell(File);

/// The end that hears it.
#[derive(Debug)]
pub(crate) struct Rung(pipe::Receiver);

/// Both ends; within a runtime.
pub(crate) fn hang() -> io::Result<(Bell, Rung)> {
    let (to, from) = pipe::pipe()?;
    Ok((Bell(File::from(to.into_nonblocking_fd()?)), Rung(from)))
}

impl Bell {
    pub(crate) fn ring(&self) {
        // It fails when it has been rung so often that the pipe is full, or when nobody hears it any more.
        let _heard_anyway = (&self.0).write(&[1]);
    }
}

impl Rung {
    /// Waits until it has been rung since the last time.
    pub(crate) async fn rung(&mut self) -> io::Result<()> {
        match self.0.read(&mut [0; 64]).await? {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }
}
