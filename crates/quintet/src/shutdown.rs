//! Signals: the first asks for an orderly end, the second for an end at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a process.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// SIGHUP asks daemons to read their files again, and would end a process that does not expect it. This one has none.
pub(crate) async fn outlive_hangups() {
    match signal(SignalKind::hangup()) {
        Ok(mut told) => {
            while told.recv().await.is_some() {
                tracing::info!("SIGHUP: there is no certificate to read again; other settings need a restart");
            }
        }
        Err(error) => tracing::warn!(%error, "SIGHUP cannot be taken over; it will end this process"),
    }
}

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM, as service supervisors send it.
    Terminate,
}

impl Asked {
    /// The signal's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// Ends the process as shells expect it of one that the signal has killed.
    pub(crate) fn exit_now(self) -> ! {
        std::process::exit(match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        })
    }
}

impl Signals {
    /// Takes the signals over; from now on they end nothing by themselves.
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one. Dropping the future loses no signal.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
        }
    }
}
