//! HTTP/1.1 as far as a load generator needs it: whole responses out of bytes.

use anyhow::{Result, bail};
use httparse::{EMPTY_HEADER, Header, Status};

const HEADERS_MAX: usize = 48;

/// Puts responses together; allocates only for one that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    pending: Vec<u8>,
}

/// A whole response. A chunked body is left in its chunks, since only its marks are counted.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) headers: &'a [Header<'a>],
    pub(crate) body: &'a [u8],
}

impl Response<'_> {
    /// The value of a header, empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or("")
    }
}

impl Responses {
    /// Takes bytes and gives each response that is now whole to `take`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&Response<'_>) -> Result<()>) -> Result<()> {
        if self.pending.is_empty() {
            let used = responses(bytes, &mut take)?;
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            self.pending.extend_from_slice(bytes);
            let used = responses(&self.pending, &mut take)?;
            self.pending.drain(..used);
        }
        if self.pending.is_empty() && self.pending.capacity() > 0 {
            self.pending = Vec::new();
        }
        Ok(())
    }
}

/// Takes whole responses from the front; says how many bytes they were.
fn responses(bytes: &[u8], take: &mut impl FnMut(&Response<'_>) -> Result<()>) -> Result<usize> {
    let mut used = 0;
    while used < bytes.len() {
        let rest = &bytes[used..];
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let Status::Complete(head) = parsed.parse(rest)? else { break };
        let mut response =
            Response { status: parsed.code.unwrap_or(0), headers: parsed.headers, body: &rest[rest.len()..] };
        let Some(body) = body_bytes(&response, &rest[head..])? else { break };
        response.body = &rest[head..head + body];
        take(&response)?;
        used += head + body;
    }
    Ok(used)
}

/// The length of the body at the front of `rest`, if all of it is there.
fn body_bytes(response: &Response<'_>, rest: &[u8]) -> Result<Option<usize>> {
    if response.status == 204 || response.status == 304 || response.status < 200 {
        return Ok(Some(0));
    }
    if response.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
        return chunked_bytes(rest);
    }
    let Ok(length) = response.header("content-length").parse::<usize>() else { bail!("a response without a length") };
    Ok((length <= rest.len()).then_some(length))
}

fn chunked_bytes(rest: &[u8]) -> Result<Option<usize>> {
    let mut used = 0;
    loop {
        let Some(chunk) = rest.get(used..) else { return Ok(None) };
        match httparse::parse_chunk_size(chunk) {
            Ok(Status::Complete((line, size))) => {
                used += line + usize::try_from(size)? + 2;
                if size == 0 {
                    return Ok((used <= rest.len()).then_some(used));
                }
            }
            Ok(Status::Partial) => return Ok(None),
            Err(_) => bail!("a chunk without a size"),
        }
    }
}

/// A GET with the headers that every client sends, and `more`, each line ended.
pub(crate) fn get(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes()
}

/// A POST of text.
pub(crate) fn post(target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use crate::load::http::Responses;

    const TWO: &[u8] = b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

    fn statuses(bytes: &[u8], piece: usize) -> Vec<(u16, String)> {
        let mut responses = Responses::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(piece) {
            responses
                .feed(piece, |response| {
                    seen.push((response.status, String::from_utf8_lossy(response.body).into_owned()));
                    Ok(())
                })
                .expect("well-formed responses");
        }
        seen
    }

    #[test]
    fn responses_come_whole_however_they_are_cut() {
        for piece in [1, 2, 7, 1000] {
            assert_eq!(statuses(TWO, piece), [(204, String::new()), (200, "abc".to_owned())]);
            assert_eq!(statuses(CHUNKED, piece), [(200, "3\r\nabc\r\n0\r\n\r\n".to_owned())]);
        }
    }
}
