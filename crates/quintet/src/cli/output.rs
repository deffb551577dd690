//! Standard output: many lines in one write, and no complaint when nobody reads them any more.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};

use crate::cli::exit::Failure;

/// Bytes that are gathered before they are written.
const GATHERED_BYTES: usize = 64 * 1024;

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Takes standard output over.
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::with_capacity(GATHERED_BYTES, io::stdout().lock()) }
    }

    /// Writes a line, at the latest at the next [`flush`](Output::flush).
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.out.write_all(line).and_then(|()| self.out.write_all(b"\n")).map_err(failure)
    }

    /// Writes bytes as they are, but ends the line on a terminal.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(failure)?;
        if io::stdout().is_terminal() && !bytes.ends_with(b"\n") && !bytes.is_empty() {
            self.out.write_all(b"\n").map_err(failure)?;
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(failure)
    }
}

/// Ends the process quietly as soon as nobody reads standard output any more, also while there is nothing to write:
/// `quintet sub chat | head -2` should not wait for a third message to notice.
pub(crate) fn end_when_unread() {
    std::thread::spawn(|| {
        use rustix::event::{PollFd, PollFlags, poll};
        let stdout = io::stdout();
        loop {
            let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut watched, None) {
                Ok(_) if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => std::process::exit(0),
                Err(rustix::io::Errno::INTR) => {}
                // It cannot be watched; then the next write tells.
                _ => return,
            }
        }
    });
}

// A map_err argument takes the error as it is.
#[allow(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn failure(error: io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::enough();
    }
    Failure::failed(format!("standard output cannot be written: {error}"))
}
