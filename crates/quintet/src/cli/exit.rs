//! How a command ends: an exit code that scripts can tell apart, and a message that a person can act on.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use quintet_client::error::{Error, ErrorKind};
use quintet_wire::problem::kind::Kind;

use crate::shutdown::Asked;

/// The exit codes besides 0. They are documented in docs/cli.md and keep their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was tried and failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The hub cannot be reached.
    Unreachable = 3,
    /// The hub refused.
    Refused = 4,
    /// Nobody answered a request.
    NoReply = 5,
    /// Ended by SIGINT, as shells tell it.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// `None` is success: whoever read the output has enough.
    exit: Option<Exit>,
    message: String,
}

impl Failure {
    /// A failure with what happened and, in further lines, what to do.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit: Some(exit), message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Ended by a signal before its time.
    pub(crate) fn signalled(asked: Asked) -> Self {
        Self::new(if asked == Asked::Interrupt { Exit::Interrupted } else { Exit::Terminated }, "")
    }

    /// The reader of standard output is gone, which is how `… | head` ends.
    pub(crate) fn enough() -> Self {
        Self { exit: None, message: String::new() }
    }

    /// What came of talking to the hub at this URL.
    pub(crate) fn of(error: &Error, url: &str) -> Self {
        match error.kind() {
            ErrorKind::Connect => Self::new(
                Exit::Unreachable,
                format!(
                    "no hub answers at {url}{}\nstart one with `quintet serve`, or say where it is with --url or QUINTET_URL",
                    causes(error)
                ),
            ),
            ErrorKind::Transport | ErrorKind::Timeout => {
                Self::new(Exit::Unreachable, format!("the hub at {url}: {error}{}\ntry again", causes(error)))
            }
            ErrorKind::Untrusted => Self::new(
                Exit::Unreachable,
                format!(
                    "the certificate of the hub at {url} is not trusted{}\n\
                     if it is from an authority of your own, name that with --ca-cert FILE or QUINTET_CA_CERT",
                    causes(error)
                ),
            ),
            ErrorKind::Invalid => Self::usage(format!("{error}{}", causes(error))),
            ErrorKind::Problem(kind) => Self::new(exit_of(kind), refusal(kind, error, url)),
            _ => Self::failed(format!("the hub at {url}: {error}{}", causes(error))),
        }
    }

    /// Tells it on standard error, and gives the exit code.
    pub(crate) fn tell(self) -> ExitCode {
        let Some(exit) = self.exit else { return ExitCode::SUCCESS };
        if !self.message.is_empty() {
            note(&self.message);
        }
        ExitCode::from(exit as u8)
    }
}

/// Says something to the user that is neither output nor a log.
pub(crate) fn note(message: &str) {
    let mut text = String::new();
    for (i, line) in message.lines().enumerate() {
        let indent = if i == 0 { "quintet: " } else { "  " };
        writeln!(text, "{indent}{line}").expect("a string takes every text");
    }
    // Nobody may be listening there either.
    if let Err(error) = std::io::stderr().write_all(text.as_bytes()) {
        tracing::trace!(%error, "standard error is closed");
    }
}

fn exit_of(kind: Kind) -> Exit {
    match kind {
        Kind::NoResponder | Kind::ResponderLost | Kind::Deadline => Exit::NoReply,
        Kind::ShuttingDown => Exit::Unreachable,
        kind if kind.status() < 500 => Exit::Refused,
        _ => Exit::Failed,
    }
}

fn refusal(kind: Kind, error: &Error, url: &str) -> String {
    let advice = match kind {
        Kind::Unauthenticated => "\ngive one with --token or QUINTET_TOKEN",
        Kind::NoResponder => "\nstart one with `quintet respond SERVICE -- COMMAND`",
        Kind::Unknown => "\nis there a hub at this URL, and nothing in between?",
        _ => "",
    };
    let detail = error.problem().map_or_else(|| error.to_string(), |problem| problem.detail.clone());
    match kind {
        Kind::Unknown => format!("{url} answered with a problem that is not a hub's: {detail}{advice}"),
        _ => format!("{}: {detail}{advice}", kind.slug()),
    }
}

/// The causes below an error, as far as they add something.
fn causes(error: &Error) -> String {
    let mut text = String::new();
    let mut last = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let said = cause.to_string();
        source = cause.source();
        // What wraps others mostly repeats them; the innermost tells the reason.
        if source.is_none() && said != last {
            write!(text, " ({said})").expect("a string takes every text");
        }
        last = said;
    }
    text
}
