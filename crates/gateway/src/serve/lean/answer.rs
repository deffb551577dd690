//! An answer as bytes: its head, and how its body is told from what follows it (RFC 9112 section 6).

use std::cell::RefCell;
use std::io::Write as _;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::serve::lean::line::Tap;

/// What most heads need.
const HEAD_BYTES: usize = 640;

/// An answer that is about to be written.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Vec<u8>,
    /// What follows; none if the head is all.
    pub(crate) body: Option<Body>,
    pub(crate) framing: Framing,
    /// Where the body's source can be given the line.
    pub(crate) tap: Option<Tap>,
    /// The connection ends with it.
    pub(crate) closes: bool,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After as many bytes as the head says.
    Length(u64),
    /// With an empty chunk.
    Chunks,
}

impl Answer {
    /// The answer to a request which, as a `HEAD`, may want nothing else.
    pub(crate) fn new(response: Response, is_head: bool, closes: bool) -> Self {
        let (mut parts, body) = response.into_parts();
        let status = parts.status;
        let closes = closes || says_close(&parts.headers);
        let without = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let bodiless = is_head || without;
        let framing = body.size_hint().exact().map_or(Framing::Chunks, Framing::Length);
        let mut head = Vec::with_capacity(HEAD_BYTES);
        push(&mut head, &[b"HTTP/1.1 ", status.as_str().as_bytes(), b" "]);
        push(&mut head, &[status.canonical_reason().unwrap_or_default().as_bytes(), b"\r\n"]);
        for (name, value) in &parts.headers {
            // These say how the answer is framed, which is decided here.
            let is_framing = name == CONNECTION || name == TRANSFER_ENCODING || name == CONTENT_LENGTH;
            if !is_framing || name == CONTENT_LENGTH && is_head && !without {
                push(&mut head, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
            }
        }
        match framing {
            // What a GET would be answered (RFC 9110 section 8.6); a handler that made no body does not know.
            Framing::Length(n) if is_head && !without && n > 0 && !parts.headers.contains_key(CONTENT_LENGTH) => {
                write!(head, "content-length: {n}\r\n").expect("a vector takes all");
            }
            _ if bodiless => {}
            Framing::Length(n) => write!(head, "content-length: {n}\r\n").expect("a vector takes all"),
            Framing::Chunks => push(&mut head, &[b"transfer-encoding: chunked\r\n"]),
        }
        if closes {
            push(&mut head, &[b"connection: close\r\n"]);
        }
        if !parts.headers.contains_key(DATE) {
            push_date(&mut head);
        }
        push(&mut head, &[b"\r\n"]);
        let body = (!bodiless && framing != Framing::Length(0)).then_some(body);
        Self { head, body, framing, tap: parts.extensions.remove(), closes }
    }
}

fn push(head: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| head.extend_from_slice(part));
}

fn says_close(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// The date (RFC 9110 section 6.6.1), which is written anew once a second.
fn push_date(head: &mut Vec<u8>) {
    thread_local! {
        static WRITTEN: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    WRITTEN.with_borrow_mut(|(second, line)| {
        let now = Timestamp::now();
        if *second != now.as_second() {
            let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
            // A year with more than four digits has no date; then there is none to be told.
            *line = date.map_or_else(|_| String::new(), |date| format!("date: {date}\r\n"));
            *second = now.as_second();
        }
        push(head, &[line.as_bytes()]);
    });
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use bytes::Bytes;

    use super::*;

    #[track_caller]
    fn check(response: Response, is_head: bool, closes: bool, wanted: &str) -> Answer {
        let answer = Answer::new(response, is_head, closes);
        let head = String::from_utf8(answer.head.clone()).unwrap();
        let (head, date) = head.rsplit_once("date: ").unwrap();
        assert_eq!(head, wanted);
        assert!(date.ends_with(" GMT\r\n\r\n") && date.len() == 33, "{date}");
        answer
    }

    #[test]
    fn heads_say_how_bodies_end() {
        let text = || ([("content-type", "a/b"), ("vary", "x")], "text").into_response();
        let answer =
            check(text(), false, false, "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\nvary: x\r\ncontent-length: 4\r\n");
        assert!(answer.body.is_some() && answer.framing == Framing::Length(4) && !answer.closes);
        let answer = check(
            text(),
            true,
            true,
            "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\nvary: x\r\ncontent-length: 4\r\nconnection: close\r\n",
        );
        assert!(answer.body.is_none() && answer.closes);
        let nothing = (StatusCode::NO_CONTENT, [("content-length", "0")]).into_response();
        assert!(check(nothing, false, false, "HTTP/1.1 204 No Content\r\n").body.is_none());
        let closing = (StatusCode::GONE, [("connection", "close")]).into_response();
        let answer = check(closing, false, false, "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n");
        assert!(answer.body.is_none() && answer.closes);
        let stream = Body::new(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, axum::Error>,
        >()));
        let answer = check(stream.into_response(), false, false, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n");
        assert!(answer.body.is_some() && answer.framing == Framing::Chunks);
    }
}
