//! Which headers cross the hub between a caller and a responder, in both directions.
//!
//! What belongs to one connection stays there (RFC 9110 section 7.6.1), and so does what is said otherwise: the type,
//! the length, the host. `Authorization` is for the hub and no responder's business; of `Prefer`, what the hub has
//! done is left out. Everything else is passed on, cookies and `Idempotency-Key` included.

use std::borrow::Cow;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use quintet_core::error::{Error, Kind as CoreKind};
use quintet_core::message::{ContentType, Headers};
use quintet_wire::content;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;

use crate::error::{Problem, Result};
use crate::http::query;

/// The one header of which several values cannot be written as one (RFC 6265 section 3).
const SET_COOKIE: &str = "set-cookie";

/// A caller's headers for the responder.
pub(super) fn of_request(headers: &HeaderMap) -> Result<Headers> {
    let connection = Connection::of(headers);
    let crossing = headers.iter().filter(|(name, _)| {
        let own = [AUTHORIZATION, EXPECT, HOST].contains(name) || *name == header::PREFER;
        !own && !connection.owns(name)
    });
    let mut pairs = collect(crossing.map(|(name, value)| (name.as_str(), value)))?;
    let left = other_preferences(headers);
    if !left.is_empty() {
        pairs.push((header::PREFER, left.into()));
    }
    take(pairs)
}

/// The headers that a responder over HTTP gives its reply.
pub(in crate::http) fn of_reply(headers: &HeaderMap) -> Result<Headers> {
    let prefix = header::REPLY_HEADER_PREFIX;
    let given = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix(prefix)?, value)));
    // The type is told apart from the headers.
    take(collect(given.filter(|(name, _)| *name != CONTENT_TYPE.as_str()))?)
}

/// A caller's headers for a responder over HTTP.
pub(in crate::http) fn put_request(headers: &mut HeaderMap, given: &Headers) {
    for (name, value) in given.iter() {
        append(headers, &format!("{}{name}", header::REQUEST_HEADER_PREFIX), value);
    }
}

/// A responder's headers for the caller.
pub(super) fn put_reply(headers: &mut HeaderMap, given: &Headers) {
    let listed: Vec<&str> = given.iter().filter(|(name, _)| *name == "connection").map(|(_, value)| value).collect();
    let connection = Connection { listed: listed.join(",") };
    for (name, value) in given.iter() {
        if HeaderName::try_from(name).is_ok_and(|name| !connection.owns(&name)) {
            append(headers, name, value);
        }
    }
}

/// The type of what comes to the hub; form data is what `curl -d` says of everything, and stands for text.
pub(in crate::http) fn message_type(headers: &HeaderMap) -> Result<Option<ContentType>> {
    let Some(content_type) = content_type(headers)? else { return Ok(None) };
    if content::same_essence(content_type.as_str(), content::FORM) {
        return Ok(Some(ContentType::parse(content::TEXT)?));
    }
    Ok(Some(content_type))
}

/// The type of a body, as it is.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<ContentType>> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    match ContentType::parse(value.to_str().unwrap_or_default()) {
        Ok(content_type) => Ok(Some(content_type)),
        Err(error) => Err(Problem::new(Kind::BadHeader, error.to_string())),
    }
}

/// What belongs to the connection, and what is said otherwise.
struct Connection {
    /// What `Connection` names.
    listed: String,
}

impl Connection {
    fn of(headers: &HeaderMap) -> Self {
        let values: Vec<&str> = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect();
        Self { listed: values.join(",") }
    }

    fn owns(&self, name: &HeaderName) -> bool {
        let hop_by_hop = [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
        hop_by_hop.contains(name)
            || ["keep-alive", "proxy-connection"].contains(&name.as_str())
            || [CONTENT_LENGTH, CONTENT_TYPE].contains(name)
            || self.listed.split(',').any(|listed| listed.trim().eq_ignore_ascii_case(name.as_str()))
    }
}

/// The preferences that the hub does not act on (RFC 7240).
fn other_preferences(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| query::unquoted(value, b',')).map(str::trim);
    let others: Vec<&str> = preferences
        .filter(|preference| {
            let name = preference.split([';', '=']).next().unwrap_or_default().trim();
            !["", "wait", "respond-async"].iter().any(|own| name.eq_ignore_ascii_case(own))
        })
        .collect();
    others.join(", ")
}

/// Names and values; what comes several times is one value, as HTTP has it.
fn collect<'a>(headers: impl Iterator<Item = (&'a str, &'a HeaderValue)>) -> Result<Vec<(&'a str, Cow<'a, str>)>> {
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    for (name, value) in headers {
        let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
            return Err(Problem::new(Kind::BadHeader, format!("the value of {name} is not UTF-8")));
        };
        let value = if value.contains('\t') { Cow::Owned(value.replace('\t', " ")) } else { Cow::Borrowed(value) };
        let known = pairs.iter_mut().find(|(known, _)| *known == name && name != SET_COOKIE);
        match known {
            Some((_, known)) => {
                let known = known.to_mut();
                known.push_str(if name == "cookie" { "; " } else { ", " });
                known.push_str(&value);
            }
            None => pairs.push((name, value)),
        }
    }
    Ok(pairs)
}

fn take(pairs: Vec<(&str, Cow<'_, str>)>) -> Result<Headers> {
    Headers::new(pairs).map_err(|error: Error| match error.kind() {
        CoreKind::TooLarge => Problem::new(Kind::HeadersTooLarge, error.to_string()),
        _ => Problem::new(Kind::BadHeader, error.to_string()),
    })
}

/// Adds a header; what HTTP cannot hold is left out.
fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes())) {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_belongs_to_the_hub_or_the_connection_does_not_reach_a_responder() {
        let headers = map(&[
            ("host", "hub"),
            ("authorization", "Bearer secret"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("prefer", "wait=3, return=minimal, foo=\"a,b\""),
            ("idempotency-key", "k"),
            ("x-kept", "a\tb"),
        ]);
        let mut headers = headers;
        headers.append("prefer", HeaderValue::from_static("Respond-Async;x"));
        headers.append("x-kept", HeaderValue::from_static("c"));
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        let crossing = of_request(&headers).unwrap();
        let mut crossing: Vec<_> = crossing.iter().collect();
        crossing.sort_unstable();
        let expected = [
            ("cookie", "a=1; b=2"),
            ("idempotency-key", "k"),
            ("prefer", "return=minimal, foo=\"a,b\""),
            ("x-kept", "a b, c"),
        ];
        assert_eq!(crossing, expected);
    }

    #[test]
    fn bad_headers_are_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("x-latin", HeaderValue::from_bytes(b"\xe9").unwrap());
        assert_eq!(of_request(&headers).unwrap_err().kind(), Kind::BadHeader);
        let many = (0..65).map(|i| (HeaderName::try_from(format!("x-{i}")).unwrap(), HeaderValue::from_static("1")));
        assert_eq!(of_request(&many.collect()).unwrap_err().kind(), Kind::HeadersTooLarge);
    }

    #[test]
    fn a_reply_keeps_its_cookies_apart_and_its_connection_to_itself() {
        let mut headers = map(&[("reply-header-x-hop", "1"), ("reply-header-connection", "x-hop")]);
        headers.append("reply-header-set-cookie", HeaderValue::from_static("a=1"));
        headers.append("reply-header-set-cookie", HeaderValue::from_static("b=2"));
        headers.append("reply-header-content-length", HeaderValue::from_static("7"));
        let given = of_reply(&headers).unwrap();
        let mut reply = HeaderMap::new();
        put_reply(&mut reply, &given);
        assert_eq!(reply.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(reply.len(), 2);
    }
}
