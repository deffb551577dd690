//! Which requests are answered here, from what is seen of the connection's next bytes.

use std::mem::MaybeUninit;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

/// Heads up to this size are answered here.
pub(crate) const HEAD_BYTES_MAX: usize = 4 * 1024;
const HEADERS_MAX: usize = 64;
/// Where topics are, and with which methods they are read.
const STARTS: [&[u8]; 4] = [b"GET /topics/", b"GET /v1/stream/", b"HEAD /topics/", b"HEAD /v1/stream/"];
/// Headers that ask for more than an answer, or announce a body.
const BEYOND: [HeaderName; 4] = [CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, EXPECT];

/// A request that is answered here.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) request: Request<Body>,
    /// Bytes that it took.
    pub(crate) len: usize,
    /// The client wants the connection to end with the answer.
    pub(crate) closes: bool,
}

/// Understands a whole head of a topic's read, with at most so many headers; none if it is anything else.
pub(crate) fn parse(seen: &[u8], headers_max: usize) -> Option<Head> {
    if !STARTS.iter().any(|start| seen.starts_with(start)) {
        return None;
    }
    // One copy that all values share. Handlers let go of it before they wait.
    let seen = Bytes::copy_from_slice(seen);
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(len)) = parsed.parse_with_uninit_headers(&seen, &mut room) else { return None };
    if parsed.version != Some(1) || parsed.headers.len() > headers_max {
        return None;
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::from_maybe_shared(seen.slice_ref(parsed.path?.as_bytes())).ok()?;
    let headers = request.headers_mut();
    headers.reserve(parsed.headers.len());
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(seen.slice_ref(header.value)).ok()?);
    }
    let closes = closes(headers)?;
    Some(Head { request, len, closes })
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

    #[test]
    fn reads_are_understood() {
        let head = b"GET /topics/a?offset=now HTTP/1.1\r\nHost: x\r\nAccept: a\r\naccept: b\r\n\r\nGET /";
        let parsed = parse(head, 3).unwrap();
        assert_eq!((parsed.len, parsed.closes), (head.len() - 5, false));
        assert_eq!(parsed.request.uri(), "/topics/a?offset=now");
        assert_eq!(parsed.request.headers().get_all("accept").iter().collect::<Vec<_>>(), ["a", "b"]);
        let parsed = parse(b"HEAD /v1/stream/a HTTP/1.1\r\nConnection: Keep-Alive, Close\r\n\r\n", 1).unwrap();
        assert!(parsed.closes && parsed.request.method() == Method::HEAD);
    }

    #[test]
    fn all_else_is_left() {
        let check = |head: &str| assert!(parse(head.as_bytes(), 3).is_none(), "{head}");
        check("");
        check("GET /topics/a HTTP/1.1\r\nHost: x\r\n");
        check("GET /topics/a HTTP/1.0\r\n\r\n");
        check("GET /topics HTTP/1.1\r\n\r\n");
        check("GET http://x/topics/a HTTP/1.1\r\n\r\n");
        check("POST /topics/a HTTP/1.1\r\n\r\n");
        check("GET /topics/a HTTP/1.1\r\na: b\r\na: b\r\na: b\r\na: b\r\n\r\n");
        check("GET /topics/a HTTP/1.1\r\n folded: b\r\n\r\n");
        for header in [
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
            "Upgrade: h2c",
            "Expect: 100-continue",
            "Connection: upgrade",
            "Connection: close, te",
        ] {
            check(&format!("GET /topics/a HTTP/1.1\r\n{header}\r\n\r\n"));
        }
    }
}
