//! One request of a caller, from HTTP to the hub and back.

use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::response::Response;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use quintet_core::access::Operation;
use quintet_core::message::ContentType;
use quintet_core::name::{ServiceName, TopicName};
use quintet_core::patterns::request_response::request::{Answer, Reply, Request as ServiceRequest};
use quintet_wire::content;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;

use crate::auth::Caller;
use crate::error::{Problem, Result};
use crate::http::services::{headers, key};
use crate::http::topics::{decode_path, put, set, set_true};
use crate::http::{body, query};
use crate::state::Gateway;

/// Hands the request to a responder. Dropping the future, as happens when the client goes away, cancels a plain
/// request.
pub(super) async fn call(State(gateway): State<Gateway>, Caller(access): Caller, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let (service, path) = target(parts.uri.path())?;
    access.check(Operation::Request, &service.as_topic())?;
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        let detail = format!("{} goes to the hub itself and cannot be handed on", parts.method);
        return Err(Problem::new(Kind::MethodNotAllowed, detail).header("allow", "GET, HEAD, POST, PUT, PATCH, DELETE"));
    }
    let preferred = Preferred::of(&parts.headers, &gateway);
    let seconds = |seconds| query::seconds(seconds, gateway.hub().limits().request_wait_max);
    let wait = preferred.wait.map(seconds);
    let request = ServiceRequest {
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers::of_request(&parts.headers)?,
        content_type: headers::content_type(&parts.headers)?,
        // Together they say: the reply if it comes in this time, and otherwise where it will come (RFC 7240 section 4.3).
        wait: wait.filter(|_| !preferred.respond_async),
        answer_within: wait.filter(|_| preferred.respond_async),
        caller: access.subject().unwrap_or_default().to_owned(),
        key: key::parse(&parts.headers)?,
        respond_async: preferred.respond_async,
        reply_type: accepted_type(&parts.headers),
        body: body::receive(&gateway, body).await?,
        ..ServiceRequest::new(service, parts.method.as_str(), path)
    };
    let mounted_at = mounted_at(&parts).to_owned();
    let is_head = parts.method == Method::HEAD;
    // The head lies in the connection's read buffer, which would be held for as long as the responder takes.
    drop(parts);
    let mut response = match gateway.hub().request(request).await? {
        Answer::Reply { reply, replayed } => reply_response(reply, replayed, is_head),
        Answer::Accepted { reply_topic } => accepted(&mounted_at, &reply_topic),
    };
    preferred.put_applied(response.headers_mut());
    Ok(response)
}

/// What RFC 7240 lets a caller prefer here.
struct Preferred {
    /// Seconds.
    wait: Option<u64>,
    respond_async: bool,
}

impl Preferred {
    fn of(headers: &HeaderMap, gateway: &Gateway) -> Self {
        let max = gateway.hub().limits().request_wait_max.as_secs();
        Self {
            wait: query::prefer_wait(headers).map(|wait| wait.min(max)),
            respond_async: query::prefers(headers, "respond-async"),
        }
    }

    fn put_applied(&self, headers: &mut HeaderMap) {
        let wait = self.wait.map(|wait| format!("wait={wait}"));
        let applied = match (self.respond_async, wait) {
            (true, Some(wait)) => format!("respond-async, {wait}"),
            (true, None) => "respond-async".to_owned(),
            (false, Some(wait)) => wait,
            (false, None) => return,
        };
        set(headers, header::PREFERENCE_APPLIED, applied);
    }
}

/// The service and what it is asked for, which stays encoded as it came.
fn target(path: &str) -> Result<(ServiceName, &str)> {
    let rest = path.strip_prefix("/services/").unwrap_or_default();
    let (service, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Ok((ServiceName::parse(&decode_path(service)?)?, path))
}

/// The one type a caller accepts: what it will read from a reply topic. With several, or with a wildcard, nothing can
/// be told.
fn accepted_type(headers: &HeaderMap) -> Option<ContentType> {
    let mut values = headers.get_all(ACCEPT).iter();
    let value = values.next()?.to_str().ok().filter(|_| values.next().is_none())?;
    if value.contains(['*', ',']) || content::same_essence(value, content::ENVELOPES) {
        return None;
    }
    ContentType::parse(content::essence(value)).ok()
}

/// The responder's reply as it is.
fn reply_response(reply: Reply, replayed: bool, is_head: bool) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let without_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = Response::new(match without_body {
        true => Body::empty(),
        false if is_head && reply.body.is_empty() => body::untold(),
        false => Body::from(reply.body),
    });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers::put_reply(headers, &reply.headers);
    if let Some(content_type) = &reply.content_type {
        put(headers, CONTENT_TYPE, content_type.as_str());
    }
    if replayed {
        set_true(headers, header::IDEMPOTENT_REPLAYED);
    }
    response
}

/// `202`: where the reply will come.
fn accepted(mounted_at: &str, reply_topic: &TopicName) -> Response {
    let mut response = Response::new(Body::from(format!("{{\"reply_topic\":\"{reply_topic}\"}}\n")));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content::JSON));
    put(headers, LOCATION, &format!("{mounted_at}/topics/{reply_topic}"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The path under which an application has mounted the hub; empty for a hub of its own.
fn mounted_at(parts: &Parts) -> &str {
    let original = parts.extensions.get::<OriginalUri>().map_or("", |uri| uri.0.path());
    original.strip_suffix(parts.uri.path()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_encoded_behind_the_service() {
        let check = |path: &str, service: &str, rest: &str| {
            let (name, path) = target(path).unwrap();
            assert_eq!((name.as_str(), path), (service, rest));
        };
        check("/services/echo", "echo", "/");
        check("/services/echo/", "echo", "/");
        check("/services/echo/a%2Fb/../c//", "echo", "/a%2Fb/../c//");
        check("/services/caf%C3%A9/x", "café", "/x");
        for bad in ["/services/a%2Fb", "/services/$x", "/services/%ff", "/services//x"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_type_of_a_reply_topic_is_the_only_one_accepted() {
        let check = |accept: &'static str, expected: Option<&str>| {
            let headers: HeaderMap = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(accepted_type(&headers).as_ref().map(ContentType::as_str), expected, "{accept}");
        };
        check("text/plain;q=0.5", Some("text/plain"));
        check("*/*", None);
        check("text/html, text/plain", None);
        check("application/vnd.quintet.messages+json", None);
    }
}
