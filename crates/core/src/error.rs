//! The one error type of the core: what went wrong (`kind`), what to do (`Display`), and its source.
//!
//! It holds no status codes: a gateway maps a [`Kind`] to its own protocol.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cursor::Position;

/// A result of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the core. Callers match on [`Error::kind`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    kind: Kind,
    detail: Cow<'static, str>,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong, with the facts a client needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A topic name, filter, service name or header breaks a rule.
    BadName,
    /// A request is malformed in another way.
    BadRequest,
    /// A cursor lies beyond the log's tail or cannot be a position of the topic.
    BadCursor,
    /// A cursor belongs to a log or to a life of the topic that is gone; start again.
    StaleCursor,
    /// What the cursor asks for was removed by retention.
    Gap {
        /// The cursor from which reading can go on; what it is behind of is what is still there.
        first_available: Position,
    },
    /// There is no such topic.
    TopicNotFound,
    /// A topic of that name exists with another configuration.
    TopicExists,
    /// The topic was deleted, but has forks that still need what is in it.
    TopicGone,
    /// The topic was deleted while it was read.
    TopicDeleted,
    /// The topic is closed and takes no more messages.
    TopicClosed {
        /// The final position of the topic.
        tail: Position,
    },
    /// The content type is not the one the topic was created with.
    ContentTypeMismatch,
    /// `Stream-Seq` is not above the last one.
    SequenceRegression,
    /// The producer's epoch has been overtaken.
    StaleEpoch {
        /// The epoch now in force.
        current: u64,
    },
    /// A new epoch has to begin with sequence 0.
    BadProducerStart,
    /// A producer's sequence number leaves a gap.
    ProducerGap {
        /// The sequence number that would be accepted.
        expected: u64,
        /// The one that came.
        received: u64,
    },
    /// A body, message, batch or header block is over its limit.
    TooLarge,
    /// A count limit is reached; try again later, or use fewer.
    TooMany,
    /// Too much is waiting; try again in a moment.
    Overloaded,
    /// The hub is stopping; reconnect.
    ShuttingDown,
    /// The caller may not do that.
    Forbidden,
    /// The log cannot be written now; reads go on.
    StorageUnavailable,
    /// The log's disk is full; reads go on.
    StorageFull,
    /// Stored bytes are damaged.
    StorageDamaged,
    /// There is no such group.
    GroupNotFound,
    /// A group of that name exists with another filter, or in another log.
    GroupExists,
    /// Nobody serves requests to that service.
    NoResponder,
    /// The responder went away with the request in its hands.
    ResponderLost,
    /// The deadline passed without an answer.
    DeadlinePassed,
    /// An idempotency key came again with another request.
    KeyReused,
    /// The request is not, or no longer, waiting for that.
    RequestNotFound,
    /// A defect of the hub.
    Internal,
}

impl Error {
    /// An error of this kind whose text says what to do.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), source: None }
    }

    /// The same with the error that caused it.
    pub fn with_source(
        kind: Kind,
        detail: impl Into<Cow<'static, str>>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { kind, detail: detail.into(), source: Some(Arc::new(source)) }
    }

    /// What went wrong.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            Kind::TooMany | Kind::Overloaded | Kind::ShuttingDown | Kind::StorageUnavailable | Kind::StorageFull
        )
    }
}
