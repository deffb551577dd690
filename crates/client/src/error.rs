//! What can go wrong, and whether it is worth another try.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quintet_wire::problem::kind::Kind as ProblemKind;
use quintet_wire::problem::object::Problem;

use crate::tls::is_untrusted;

/// An error. Match on its [`kind`](Error::kind).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    detail: String,
    problem: Option<Problem>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What is said of [`ErrorKind::Untrusted`].
pub(crate) const UNTRUSTED: &str = "the hub's certificate is not trusted";

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument (a URL, a name, a header, a token) cannot be sent.
    Invalid,
    /// No connection could be made; nothing was sent.
    Connect,
    /// The hub's certificate is not one to be trusted; nothing was sent.
    Untrusted,
    /// The connection broke; whether the hub acted on what was sent is unknown.
    Transport,
    /// No answer came in time; whether the hub acted on what was sent is unknown.
    Timeout,
    /// The hub refused, and says which problem there is; see [`Error::problem`].
    Problem(ProblemKind),
    /// The answer was not understood: not a Quintet hub, or a newer one.
    Protocol,
    /// The publisher has ended.
    Ended,
}

impl Error {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the hub said, when it was the hub that refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        self.0.problem.as_ref()
    }

    /// Whether the same thing may well succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match (self.kind(), self.problem()) {
            (_, Some(problem)) => problem.is_retryable(),
            (ErrorKind::Connect | ErrorKind::Transport | ErrorKind::Timeout, _) => true,
            _ => false,
        }
    }

    /// When the hub wants to be asked again, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the hub refused with this problem.
    #[must_use]
    pub fn is_problem(&self, kind: ProblemKind) -> bool {
        self.kind() == ErrorKind::Problem(kind)
    }

    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Error(Arc::new(Inner { kind, detail: detail.into(), problem: None, retry_after: None, source: None }))
    }

    pub(crate) fn caused(
        kind: ErrorKind,
        detail: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let source = Some(source.into());
        Error(Arc::new(Inner { kind, detail: detail.into(), problem: None, retry_after: None, source }))
    }

    pub(crate) fn refused(problem: Problem, retry_after: Option<Duration>) -> Self {
        Error(Arc::new(Inner {
            kind: ErrorKind::Problem(problem.kind),
            detail: problem.to_string(),
            problem: Some(problem),
            retry_after,
            source: None,
        }))
    }

    /// The hub says goodbye and when to come back.
    pub(crate) fn goodbye(reason: &str, retry_after: Duration) -> Self {
        Error(Arc::new(Inner {
            kind: ErrorKind::Transport,
            detail: format!("the hub ended the connection: {reason}"),
            problem: None,
            retry_after: Some(retry_after),
            source: None,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("detail", &self.0.detail);
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        let (kind, detail) = if is_untrusted(&error) {
            (ErrorKind::Untrusted, UNTRUSTED)
        } else if error.is_connect() {
            (ErrorKind::Connect, "no connection to the hub")
        } else if error.is_timeout() {
            (ErrorKind::Timeout, "the hub did not answer in time")
        } else if error.is_builder() {
            (ErrorKind::Invalid, "the request cannot be sent")
        } else {
            (ErrorKind::Transport, "the connection to the hub broke")
        };
        // The URL may hold a secret reply topic, and the caller knows it anyway.
        Error::caused(kind, detail, error.without_url())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_another_try() {
        let refused = |kind| Error::refused(Problem::new(kind, "x"), None);
        assert!(refused(ProblemKind::Overloaded).is_retryable());
        assert!(!refused(ProblemKind::TopicClosed).is_retryable());
        assert!(Error::new(ErrorKind::Connect, "x").is_retryable());
        assert!(!Error::new(ErrorKind::Protocol, "x").is_retryable());
        assert!(!Error::new(ErrorKind::Untrusted, "x").is_retryable());
        assert!(refused(ProblemKind::Gap).is_problem(ProblemKind::Gap));
    }
}
