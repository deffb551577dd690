//! The core's values as the wire has them, and back. Nothing is decided here.

use quintet_core::batch::Batch;
use quintet_core::cursor::{Cursor, LogId, Offset, Position, Since};
use quintet_core::message::{Headers, Message};
use quintet_wire::envelope;
use quintet_wire::problem::kind::Kind;
use quintet_wire::token;
use quintet_wire::token::Token;

use crate::error::{Problem, Result};

/// A position as a token.
pub(crate) fn token(position: Position) -> Token {
    Token { log: position.log.0, offset: position.offset.0 }
}

/// A token as a position.
pub(crate) fn position(token: Token) -> Position {
    Position { log: LogId(token.log), offset: Offset(token.offset) }
}

/// A cursor as the wire has it.
pub(crate) fn wire_cursor(cursor: &Cursor) -> token::Cursor {
    let tokens: Vec<Token> = cursor.positions().iter().copied().map(token).collect();
    // A hub has at most two logs, and the positions are in order; only the start has none.
    token::Cursor::new(&tokens).unwrap_or(token::Cursor::START)
}

/// A cursor as the core has it.
pub(crate) fn core_cursor(cursor: &token::Cursor) -> Cursor {
    Cursor::new(cursor.tokens().iter().copied().map(position))
}

/// Where to begin, as the core has it.
pub(crate) fn core_since(since: &token::Since) -> Since {
    match since {
        token::Since::Start => Since::Start,
        token::Since::Now => Since::Now,
        token::Since::At(cursor) => Since::After(core_cursor(cursor)),
    }
}

/// Reads where to begin: a cursor, `start`, `-1` or `now`.
pub(crate) fn parse_since(text: &str) -> Result<Since> {
    match text.parse::<token::Since>() {
        Ok(since) => Ok(core_since(&since)),
        Err(bad) => Err(Problem::new(Kind::BadCursor, bad.to_string())),
    }
}

/// Appends a message's envelope. The log is the one of the batch that the message is in.
pub(crate) fn write_envelope(out: &mut Vec<u8>, log: LogId, message: &Message) {
    envelope::write(out, &envelope_parts(log, message), unique(&message.headers));
}

/// What a message's envelope is written from, but for its headers.
pub(crate) fn envelope_parts(log: LogId, message: &Message) -> envelope::Parts<'_> {
    let at = |offset: Offset| Token { log: log.0, offset: offset.0 };
    envelope::Parts {
        topic: message.topic.as_str(),
        offset: at(message.offset),
        previous: at(message.previous),
        time_ms: message.time.0,
        content_type: message.content_type.as_str(),
        payload: &message.payload,
    }
}

/// Appends the envelopes of a batch, joined by commas.
pub(crate) fn write_envelopes(out: &mut Vec<u8>, batch: &Batch) {
    for (i, message) in batch.messages().iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_envelope(out, batch.next().log, message);
    }
}

/// Headers without repeated names, which a JSON object cannot hold: the first value counts, as everywhere.
pub(crate) fn unique(headers: &Headers) -> impl Iterator<Item = (&str, &str)> {
    let first = |i: usize, name: &str| !headers.iter().take(i).any(|(earlier, _)| earlier == name);
    headers.iter().enumerate().filter(move |(i, (name, _))| first(*i, name)).map(|(_, header)| header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back() {
        let at = |log, offset| Position { log: LogId(log), offset: Offset(offset) };
        for cursor in [Cursor::start(), at(7, 1).into(), Cursor::new([at(9, 3), at(2, 4)])] {
            assert_eq!(core_cursor(&wire_cursor(&cursor)), cursor);
        }
        assert_eq!(parse_since("-1").unwrap(), Since::Start);
        assert_eq!(parse_since("now").unwrap(), Since::Now);
        assert_eq!(parse_since("00000007_0000000000000001").unwrap(), Since::After(at(7, 1).into()));
        assert_eq!(parse_since("7").unwrap_err().kind(), Kind::BadCursor);
    }

    #[test]
    fn repeated_headers_are_told_once() {
        let headers = Headers::new([("a", "1"), ("b", "2"), ("A", "3")]).unwrap();
        assert_eq!(unique(&headers).collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    }
}
