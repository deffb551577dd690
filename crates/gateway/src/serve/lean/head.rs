//! Which requests are answered here, from what has come of them.

use std::mem::MaybeUninit;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::http::straight::Handler;

/// Requests up to this size, head and body together, are answered here.
pub(crate) const REQUEST_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// What the requests that are answered here begin with.
const METHODS: [&[u8]; 5] = [b"GET /", b"POST /", b"PUT /", b"HEAD /", b"DELETE /"];
/// Headers that ask for more than an answer, or announce a body of unknown length.
const BEYOND: [HeaderName; 3] = [TRANSFER_ENCODING, UPGRADE, EXPECT];

/// A request that is answered here.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) request: Request<Body>,
    pub(crate) handler: Handler,
    /// Bytes that it took.
    pub(crate) len: usize,
    /// The client wants the connection to end with the answer.
    pub(crate) closes: bool,
}

/// What has come.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made")]
pub(crate) enum Seen {
    /// A request in whole.
    Whole(Whole),
    /// The beginning of what may be one, if so many bytes come.
    Part { needed: usize },
    /// Anything else.
    Other,
}

/// Understands what has come, if it has at most so many headers.
pub(crate) fn parse(seen: &Bytes, headers_max: usize) -> Seen {
    if METHODS.iter().any(|start| seen.len() < start.len() && start.starts_with(seen)) {
        return Seen::Part { needed: seen.len() + 1 };
    }
    if !METHODS.iter().any(|start| seen.starts_with(start)) {
        return Seen::Other;
    }
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(seen, &mut room) {
        Ok(httparse::Status::Complete(head_len)) if parsed.headers.len() <= headers_max => {
            understand(&parsed, seen, head_len).unwrap_or(Seen::Other)
        }
        Ok(httparse::Status::Partial) => Seen::Part { needed: seen.len() + 1 },
        _ => Seen::Other,
    }
}

/// Understands a head; none if it is for others.
fn understand(parsed: &httparse::Request<'_, '_>, seen: &Bytes, head_len: usize) -> Option<Seen> {
    let target = parsed.path?;
    let handler = Handler::of(target)?;
    if parsed.version != Some(1) {
        return None;
    }
    // All share what was read. Handlers let go of it before they wait.
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::from_maybe_shared(seen.slice_ref(target.as_bytes())).ok()?;
    let headers = request.headers_mut();
    headers.reserve(parsed.headers.len());
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(seen.slice_ref(header.value)).ok()?);
    }
    let closes = closes(headers)?;
    let len = head_len.checked_add(body_len(headers)?)?;
    if len > seen.len() {
        return Some(Seen::Part { needed: len });
    }
    if len > head_len {
        *request.body_mut() = Body::from(seen.slice(head_len..len));
    }
    Some(Seen::Whole(Whole { request, handler, len, closes }))
}

/// How long the body is (RFC 9112 section 6.3); none if that is not said once and plainly.
fn body_len(headers: &HeaderMap) -> Option<usize> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Some(0) };
    let is_number = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if values.next().is_some() || !is_number {
        return None;
    }
    value.to_str().ok()?.parse().ok()
}

/// Whether the client wants the connection to end with the answer; none if it wants what only hyper knows how to do.
fn closes(headers: &HeaderMap) -> Option<bool> {
    if BEYOND.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let mut closes = false;
    for value in headers.get_all(CONNECTION) {
        for option in value.to_str().ok()?.split(',') {
            match option.trim() {
                option if option.eq_ignore_ascii_case("close") => closes = true,
                option if option.eq_ignore_ascii_case("keep-alive") => {}
                _ => return None,
            }
        }
    }
    Some(closes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(seen: &str, headers_max: usize) -> Option<Whole> {
        match super::parse(&Bytes::copy_from_slice(seen.as_bytes()), headers_max) {
            Seen::Whole(whole) => Some(whole),
            Seen::Part { .. } | Seen::Other => None,
        }
    }

    #[test]
    fn what_may_become_a_request_is_waited_for() {
        let whole = "PUT /topics/a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        for at in 0..whole.len() {
            let seen = super::parse(&Bytes::copy_from_slice(&whole.as_bytes()[..at]), 3);
            let Seen::Part { needed } = seen else { panic!("{at}: {seen:?}") };
            assert!(needed == at + 1 || needed == whole.len() && at + 3 >= needed, "{at}: {needed}");
        }
        for bytes in ["PRI * HTTP/2.0", "GEX", "\u{16}\u{3}", "OPTIONS /topics/a HTTP/1.1\r\n"] {
            let seen = super::parse(&Bytes::copy_from_slice(bytes.as_bytes()), 3);
            assert!(matches!(seen, Seen::Other), "{bytes}: {seen:?}");
        }
    }

    #[test]
    fn whole_requests_are_understood() {
        let head = "GET /topics/a?offset=now HTTP/1.1\r\nHost: x\r\nAccept: a\r\naccept: b\r\n\r\nGET /";
        let parsed = parse(head, 3).unwrap();
        assert_eq!((parsed.len, parsed.closes), (head.len() - 5, false));
        assert_eq!(parsed.request.uri(), "/topics/a?offset=now");
        assert_eq!(parsed.request.headers().get_all("accept").iter().collect::<Vec<_>>(), ["a", "b"]);
        let parsed = parse("HEAD /v1/stream/a HTTP/1.1\r\nConnection: Keep-Alive, Close\r\n\r\n", 1).unwrap();
        assert!(parsed.closes && parsed.request.method() == Method::HEAD);
        let post = "POST /services/a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd";
        let parsed = parse(post, 1).unwrap();
        assert_eq!((parsed.len, parsed.handler), (post.len() - 1, Handler::Service));
        assert_eq!(http_body::Body::size_hint(parsed.request.body()).exact(), Some(3));
    }

    #[test]
    fn all_else_is_left() {
        let check = |head: &str| assert!(parse(head, 3).is_none(), "{head}");
        check("");
        check("GET /topics/a HTTP/1.1\r\nHost: x\r\n");
        check("GET /topics/a HTTP/1.0\r\n\r\n");
        check("GET /topics HTTP/1.1\r\n\r\n");
        check("GET http://x/topics/a HTTP/1.1\r\n\r\n");
        check("PATCH /topics/a HTTP/1.1\r\n\r\n");
        check("GET /topics/a HTTP/1.1\r\na: b\r\na: b\r\na: b\r\na: b\r\n\r\n");
        check("GET /topics/a HTTP/1.1\r\n folded: b\r\n\r\n");
        for header in [
            "Content-Length: 1",
            "Content-Length: 18446744073709551615",
            "Content-Length: 99999999999999999999999",
            "Content-Length: +0",
            "Content-Length: 0, 0",
            "Content-Length: ",
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked",
            "Upgrade: h2c",
            "Expect: 100-continue",
            "Connection: upgrade",
            "Connection: close, te",
        ] {
            check(&format!("POST /topics/a HTTP/1.1\r\n{header}\r\n\r\n"));
        }
    }
}
