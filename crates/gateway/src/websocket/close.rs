//! How a connection ends: a close code and a reason, and which problem is which code.

use std::borrow::Cow;

use quintet_wire::problem::kind::Kind;
use quintet_wire::websocket as code;

use crate::error::Problem;
use crate::websocket::frame::Violation;

/// A close code with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: Cow<'static, str>,
}

impl Close {
    pub(crate) fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The hub is stopping.
    pub(crate) fn going_away() -> Self {
        Self::new(code::GOING_AWAY, "the hub is stopping; reconnect with your cursor")
    }

    /// What came before the client's close frame is not dealt with in time.
    pub(crate) fn unfinished() -> Self {
        Self::new(code::INTERNAL, "what came before the close takes too long; it may be done or not")
    }

    /// The client holds too much of what all share.
    pub(crate) fn too_much_received() -> Self {
        Self::new(code::TOO_MANY, "the hub is receiving too much at once; come back in a moment")
    }
}

impl From<Violation> for Close {
    fn from(violation: Violation) -> Self {
        Self::new(violation.code(), violation.reason())
    }
}

impl From<&Problem> for Close {
    fn from(problem: &Problem) -> Self {
        let object = problem.object();
        let reason = match object.text("first_available") {
            Some(cursor) => format!("first_available {cursor}"),
            None => object.detail.clone(),
        };
        Self::new(code_of(problem.kind()), reason)
    }
}

fn code_of(kind: Kind) -> u16 {
    match kind {
        Kind::Unauthenticated => code::UNAUTHENTICATED,
        Kind::Forbidden | Kind::ForeignOrigin => code::FORBIDDEN,
        Kind::NotFound | Kind::TopicNotFound | Kind::RequestNotFound => code::NOT_FOUND,
        Kind::Gap => code::GAP,
        Kind::StaleCursor | Kind::TopicDeleted => code::GONE,
        Kind::TooLarge => code::TOO_BIG,
        Kind::TooMany | Kind::Overloaded => code::TOO_MANY,
        Kind::ShuttingDown => code::GOING_AWAY,
        _ => match kind.status() {
            403 | 409 => code::CONFLICT,
            400..=499 => code::BAD_REQUEST,
            _ => code::INTERNAL,
        },
    }
}

#[cfg(test)]
mod tests {
    use quintet_core::cursor::{LogId, Offset, Position};
    use quintet_core::error::{Error, Kind as CoreKind};

    use super::*;

    #[test]
    fn problems_have_their_codes() {
        let check = |kind, code| assert_eq!(Close::from(&Problem::new(kind, "x")).code, code, "{kind:?}");
        check(Kind::BadCursor, 4400);
        check(Kind::BadJson, 4400);
        check(Kind::Unauthenticated, 4401);
        check(Kind::Forbidden, 4403);
        check(Kind::TopicNotFound, 4404);
        check(Kind::TopicClosed, 4409);
        check(Kind::ContentTypeMismatch, 4409);
        check(Kind::TopicDeleted, 4410);
        check(Kind::StaleCursor, 4410);
        check(Kind::TooMany, 4429);
        check(Kind::TooLarge, 1009);
        check(Kind::ShuttingDown, 1001);
        check(Kind::StorageFull, 1011);
    }

    #[test]
    fn a_gap_says_where_to_go_on() {
        let first_available = Position { log: LogId(1), offset: Offset(2) };
        let problem = Problem::from(Error::new(CoreKind::Gap { first_available }, "gone"));
        let expected = Close::new(4416, "first_available 00000001_0000000000000002");
        assert_eq!(Close::from(&problem), expected);
    }
}
