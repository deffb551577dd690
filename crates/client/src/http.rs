//! Sending a request and reading its answer, with the hub's problems as errors. It never tries again by itself.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use quintet_wire::problem::kind::Kind;
use quintet_wire::problem::object::Problem;
use quintet_wire::{content, header};
use reqwest::{RequestBuilder, Response};

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::limits::{ANSWER_MAX, FRAME_BYTES_MAX};

impl Client {
    /// Sends a request that the hub answers at once; every status of 400 and above is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        self.send_within(request, ANSWER_MAX).await
    }

    /// The same, for one over which the hub may take this long.
    pub(crate) async fn send_within(&self, request: RequestBuilder, within: Duration) -> Result<Response, Error> {
        accept(request.timeout(within).send().await?).await
    }
}

/// Turns a refusal into an error.
pub(crate) async fn accept(response: Response) -> Result<Response, Error> {
    if response.status().as_u16() < 400 { Ok(response) } else { Err(refusal(response).await) }
}

/// Reads a refusal's problem.
async fn refusal(response: Response) -> Error {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    match body(response).await {
        Ok(body) => problem(status, &headers, &body),
        Err(error) => error,
    }
}

/// The problem that a refusal tells of.
pub(crate) fn problem(status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
    let told = text(headers, "content-type").is_some_and(|found| content::same_essence(found, content::PROBLEM));
    let problem = if told { serde_json::from_slice::<Problem>(body).ok() } else { None };
    let mut problem = problem.unwrap_or_else(|| Problem::new(Kind::Unknown, "no further explanation"));
    problem.status = status;
    if let (Kind::Gap, Some(cursor)) = (problem.kind, text(headers, header::STREAM_NEXT_OFFSET)) {
        problem.members.entry("first_available").or_insert_with(|| cursor.into());
    }
    Error::refused(problem, number(headers, RETRY_AFTER.as_str()).map(Duration::from_secs))
}

/// Reads a body of bounded size.
pub(crate) async fn body(mut response: Response) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if whole.len() + chunk.len() > FRAME_BYTES_MAX {
            return Err(Error::new(ErrorKind::Protocol, format!("an answer is larger than {FRAME_BYTES_MAX} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Reads a JSON body.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, Error> {
    parse(&body(response).await?)
}

/// Reads JSON that the hub sent.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::caused(ErrorKind::Protocol, "the hub's answer was not understood", error))
}

/// A header's text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a header says `true`.
pub(crate) fn is_true(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A header that is a value of this type, e.g. a cursor.
pub(crate) fn value<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Result<T, Error> {
    let found = text(headers, name).and_then(|value| value.parse().ok());
    found.ok_or_else(|| Error::new(ErrorKind::Protocol, format!("the hub's answer lacks a valid `{name}`")))
}

pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn problems_from_the_hub_and_from_strangers() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/problem+json"));
        headers.insert("retry-after", HeaderValue::from_static("2"));
        let error = problem(503, &headers, &Problem::new(Kind::Overloaded, "wait").to_json());
        assert!(error.is_problem(Kind::Overloaded) && error.is_retryable());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
        let error = problem(502, &HeaderMap::new(), b"<html>");
        assert!(error.is_problem(Kind::Unknown) && error.is_retryable());
    }
}
