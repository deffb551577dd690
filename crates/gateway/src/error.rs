//! Errors as RFC 9457 problems: the core's kinds with their slugs, statuses and headers. Only this file knows which
//! fault is which problem; titles and advice are in `quintet_wire::problem`.

use std::fmt;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use quintet_core::error::{Error, Kind as CoreKind};
use quintet_wire::content;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;
use quintet_wire::problem::object;

use crate::convert::token;

/// A problem with the headers that go with it over HTTP. Boxed, as it is large and rare.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    object: object::Problem,
    headers: HeaderMap,
}

/// What a handler gives: an answer or a problem.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    /// A problem whose detail says what to do next.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        match kind {
            Kind::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"quintet\""));
            }
            Kind::TooMany | Kind::Overloaded | Kind::ShuttingDown => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        Self(Box::new(Parts { object: object::Problem::new(kind, detail), headers }))
    }

    /// Adds a member to the object.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.0.object = self.0.object.with(name, value);
        self
    }

    /// Adds a header to the answer; a value that no header can hold is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.0.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Which problem it is.
    pub fn kind(&self) -> Kind {
        self.0.object.kind
    }

    /// The object, as `/ws` sends it too.
    pub fn object(&self) -> &object::Problem {
        &self.0.object
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.object.fmt(f)
    }
}

impl std::error::Error for Problem {}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = kind_of(error.kind());
        let problem = Self::new(kind, error.to_string());
        match error.kind() {
            CoreKind::Gap { first_available } => {
                let cursor = token(*first_available);
                problem.member("first_available", cursor.to_string()).header(header::STREAM_NEXT_OFFSET, cursor)
            }
            CoreKind::TopicClosed { tail } => {
                problem.header(header::STREAM_CLOSED, "true").header(header::STREAM_NEXT_OFFSET, token(*tail))
            }
            CoreKind::StaleEpoch { current } => {
                problem.member("epoch", *current).header(header::PRODUCER_EPOCH, current)
            }
            CoreKind::ProducerGap { expected, received } => problem
                .member("expected", *expected)
                .member("received", *received)
                .header(header::PRODUCER_EXPECTED_SEQ, expected)
                .header(header::PRODUCER_RECEIVED_SEQ, received),
            CoreKind::Internal | CoreKind::StorageDamaged => {
                let source = std::error::Error::source(&error);
                tracing::error!(%error, ?source, "a request met a defect");
                problem
            }
            _ => problem,
        }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        error.clone().into()
    }
}

/// Which problem a fault of the core is.
pub(crate) fn kind_of(kind: &CoreKind) -> Kind {
    match kind {
        CoreKind::BadName => Kind::BadName,
        CoreKind::BadRequest => Kind::BadRequest,
        CoreKind::BadCursor => Kind::BadCursor,
        CoreKind::StaleCursor => Kind::StaleCursor,
        CoreKind::Gap { .. } => Kind::Gap,
        CoreKind::TopicNotFound => Kind::TopicNotFound,
        CoreKind::TopicExists => Kind::TopicExists,
        CoreKind::GroupNotFound => Kind::GroupNotFound,
        CoreKind::GroupExists => Kind::GroupExists,
        CoreKind::TopicDeleted | CoreKind::TopicGone => Kind::TopicDeleted,
        CoreKind::TopicClosed { .. } => Kind::TopicClosed,
        CoreKind::ContentTypeMismatch => Kind::ContentTypeMismatch,
        CoreKind::SequenceRegression => Kind::SequenceRegression,
        CoreKind::StaleEpoch { .. } => Kind::StaleProducerEpoch,
        CoreKind::BadProducerStart => Kind::BadProducerSequence,
        CoreKind::ProducerGap { .. } => Kind::ProducerGap,
        CoreKind::TooLarge => Kind::TooLarge,
        CoreKind::TooMany => Kind::TooMany,
        CoreKind::Overloaded => Kind::Overloaded,
        CoreKind::ShuttingDown => Kind::ShuttingDown,
        CoreKind::Forbidden => Kind::Forbidden,
        CoreKind::StorageUnavailable => Kind::StorageUnavailable,
        CoreKind::StorageFull => Kind::StorageFull,
        CoreKind::StorageDamaged => Kind::StorageDamaged,
        CoreKind::NoResponder => Kind::NoResponder,
        CoreKind::ResponderLost => Kind::ResponderLost,
        CoreKind::DeadlinePassed => Kind::Deadline,
        CoreKind::KeyReused => Kind::IdempotencyKeyReused,
        CoreKind::RequestNotFound => Kind::RequestNotFound,
        // The core may learn of kinds that are not known here yet.
        _ => Kind::Internal,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { object, headers } = *self.0;
        let status = StatusCode::from_u16(object.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, object.to_json()).into_response();
        response.headers_mut().extend(headers);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content::PROBLEM));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use quintet_core::cursor::{LogId, Offset, Position};

    use super::*;

    #[track_caller]
    fn check(kind: CoreKind, status: u16, slug: &str, headers: &[(&str, &str)]) {
        let problem = Problem::from(Error::new(kind, "do this"));
        assert_eq!((problem.object().status, problem.kind().slug()), (status, slug));
        let response = problem.into_response();
        assert_eq!(response.status().as_u16(), status);
        for (name, value) in headers {
            assert_eq!(response.headers().get(*name).unwrap(), value, "{slug}: {name}");
        }
    }

    #[test]
    fn kinds_have_their_statuses_and_headers() {
        let at = Position { log: LogId(1), offset: Offset(10) };
        let text = "00000001_000000000000000a";
        check(CoreKind::Gap { first_available: at }, 410, "gap", &[("stream-next-offset", text)]);
        let closed = [("stream-next-offset", text), ("stream-closed", "true")];
        check(CoreKind::TopicClosed { tail: at }, 409, "topic-closed", &closed);
        check(CoreKind::StaleEpoch { current: 3 }, 403, "stale-producer-epoch", &[("producer-epoch", "3")]);
        let gap = [("producer-expected-seq", "1"), ("producer-received-seq", "5")];
        check(CoreKind::ProducerGap { expected: 1, received: 5 }, 409, "producer-gap", &gap);
        check(CoreKind::Overloaded, 503, "overloaded", &[("retry-after", "1")]);
        check(CoreKind::StorageFull, 507, "storage-full", &[("content-type", "application/problem+json")]);
        check(CoreKind::KeyReused, 422, "idempotency-key-reused", &[]);
    }
}
