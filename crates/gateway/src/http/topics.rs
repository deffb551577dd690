//! A topic's URL: who may do what, which method means what, and the small answers (HEAD, DELETE, OPTIONS).

use std::fmt;

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use quintet_core::access::{Access, Operation};
use quintet_core::name::TopicName;
use quintet_core::topic::TopicInfo;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;
use quintet_wire::time;

use crate::auth::Caller;
use crate::convert::token;
use crate::error::{Problem, Result};
use crate::http::dialect::Dialect;
use crate::http::{create, publish, read};
use crate::origin;
use crate::state::Gateway;

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
/// The first level that Durable Streams keeps for its subscriptions (section 6), which this hub does not have.
const RESERVED_LEVEL: &str = "__ds";

pub(crate) fn routes() -> Router<Gateway> {
    let topics = |gateway: State<Gateway>, caller: Caller, request: Request| {
        dispatch(gateway.0, caller.0, Dialect::Topics, request)
    };
    let stream = |gateway: State<Gateway>, caller: Caller, request: Request| {
        dispatch(gateway.0, caller.0, Dialect::Stream, request)
    };
    Router::new().route("/topics/{*topic}", any(topics)).route("/v1/stream/{*topic}", any(stream))
}

/// A request to a topic, once its URL is understood.
#[derive(Debug)]
pub(crate) struct TopicRequest {
    pub(crate) gateway: Gateway,
    pub(crate) access: Access,
    pub(crate) dialect: Dialect,
    pub(crate) topic: TopicName,
}

async fn dispatch(gateway: Gateway, access: Access, dialect: Dialect, request: Request) -> Result<Response> {
    let path = request.uri().path().strip_prefix(dialect.prefix()).unwrap_or_default();
    let name = decode_path(path)?;
    if dialect == Dialect::Stream && (name == RESERVED_LEVEL || name.starts_with("__ds/")) {
        let detail = "names under __ds are for subscriptions of Durable Streams, which this hub does not have";
        return Err(Problem::new(Kind::NotImplemented, detail));
    }
    let topic = TopicName::parse(&name)?;
    let asked = TopicRequest { gateway, access, dialect, topic };
    // Boxed, so that a read which waits does not hold the room that a publish would need.
    match *request.method() {
        Method::GET => Box::pin(read::read(asked, request)).await,
        Method::HEAD => head(&asked).await,
        Method::PUT => Box::pin(create::create(asked, request)).await,
        Method::POST => Box::pin(publish::publish(asked, request)).await,
        Method::DELETE => delete(&asked).await,
        Method::OPTIONS => Ok((StatusCode::NO_CONTENT, [(ALLOW, METHODS)]).into_response()),
        _ => {
            let detail = format!("{} does not work on a topic; the Allow header names what does", request.method());
            Err(Problem::new(Kind::MethodNotAllowed, detail).header("allow", METHODS))
        }
    }
}

impl TopicRequest {
    /// Checks that the caller may read the topic.
    pub(crate) fn check_read(&self) -> Result<()> {
        if self.topic.is_reserved() && !self.topic.as_str().starts_with("$replies/") {
            let detail = "names that begin with $ are the hub's own; of these only $replies/… can be read";
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        self.check(Operation::Subscribe)
    }

    /// Checks an operation on the topic.
    pub(crate) fn check(&self, operation: Operation) -> Result<()> {
        Ok(self.access.check(operation, &self.topic)?)
    }
}

async fn head(asked: &TopicRequest) -> Result<Response> {
    asked.check_read()?;
    let info = asked.gateway.hub().describe(&asked.topic).await.map_err(|error| asked.dialect.refuse(error))?;
    let mut response = StatusCode::OK.into_response();
    describe(response.headers_mut(), &info);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn delete(asked: &TopicRequest) -> Result<Response> {
    asked.check(Operation::Manage)?;
    asked.gateway.hub().delete_topic(&asked.topic).await.map_err(|error| asked.dialect.refuse(error))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The headers that tell of a topic (Durable Streams section 5.5).
pub(crate) fn describe(headers: &mut HeaderMap, info: &TopicInfo) {
    put(headers, CONTENT_TYPE, info.config.content_type.as_str());
    set(headers, header::STREAM_NEXT_OFFSET, token(info.next));
    if let Some(ttl) = info.config.ttl {
        set(headers, header::STREAM_TTL, ttl.as_secs());
    }
    if let Some(at) = info.config.expires_at {
        set(headers, header::STREAM_EXPIRES_AT, time::format(at.0));
    }
    if info.closed {
        set(headers, header::STREAM_CLOSED, "true");
    }
    set(headers, header::QUINTET_DURABILITY, info.durability.name());
}

/// Sets a header of ours; a value that no header can hold is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: impl fmt::Display) {
    put(headers, HeaderName::from_static(name), &value.to_string());
}

pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// A path's text. Its slashes may be encoded or not: levels are what they separate.
pub(crate) fn decode_path(path: &str) -> Result<String> {
    match percent_decode_str(path).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::new(Kind::BadName, "the path is not UTF-8 when it is percent-decoded")),
    }
}

/// Sets `Location` to the request's own URL, absolute if the request says under which host it came.
pub(crate) fn locate(headers: &mut HeaderMap, parts: &Parts) -> Result<()> {
    let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.0.path());
    let forwarded = parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let location = match origin::authority(&parts.uri, &parts.headers)? {
        Some(authority) if forwarded => format!("https://{authority}{path}"),
        Some(authority) => format!("{}://{authority}{path}", parts.uri.scheme_str().unwrap_or("http")),
        None => path.to_owned(),
    };
    put(headers, LOCATION, &location);
    Ok(())
}

/// Whether a request says that the topic is to be closed: exactly `true`, in any case (Durable Streams section 4.1).
pub(crate) fn says_closed(headers: &HeaderMap) -> bool {
    headers.get(header::STREAM_CLOSED).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}
