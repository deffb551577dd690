//! The two ways to speak of a topic: `/topics/` creates on publishing and reads what is absent as empty; `/v1/stream/`
//! is the Durable Streams protocol to the letter. Everything they differ in is named here.

use quintet_core::error::{Error, Kind as CoreKind};
use quintet_core::patterns::publish_subscribe::IfAbsent;
use quintet_core::reading::Absent;
use quintet_wire::problem::kind::Kind;

use crate::config::GatewayConfig;
use crate::error::Problem;

/// Under which prefix a topic was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/topics/`
    Topics,
    /// `/v1/stream/`
    Stream,
}

impl Dialect {
    /// What comes before the topic's name in the path.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Topics => "/topics/",
            Self::Stream => "/v1/stream/",
        }
    }

    /// The topic's part of a path in either dialect. A path that is in none is taken as the name.
    pub(crate) fn strip_prefix(path: &str) -> &str {
        let found = |dialect: Self| Some((path.find(dialect.prefix())?, dialect.prefix().len()));
        // An application may have mounted the hub below a path of its own; behind the first one is the name.
        match found(Self::Stream).into_iter().chain(found(Self::Topics)).min() {
            Some((at, len)) => &path[at + len..],
            None => path.trim_start_matches('/'),
        }
    }

    /// What a topic that does not exist is to a reader.
    pub(crate) fn absent(self) -> Absent {
        match self {
            Self::Topics => Absent::Empty,
            Self::Stream => Absent::Error,
        }
    }

    /// What publishing to a topic that does not exist does.
    pub(crate) fn if_absent(self, config: &GatewayConfig) -> IfAbsent {
        match self {
            Self::Topics if config.create_on_publish => IfAbsent::Create,
            Self::Topics | Self::Stream => IfAbsent::Refuse,
        }
    }

    /// A fault of the core as this dialect tells it: a stream that was deleted is not there (section 5.4).
    pub(crate) fn refuse(self, error: Error) -> Problem {
        match (self, error.kind()) {
            (Self::Stream, CoreKind::TopicDeleted) => Problem::new(Kind::TopicNotFound, error.to_string()),
            _ => error.into(),
        }
    }
}
