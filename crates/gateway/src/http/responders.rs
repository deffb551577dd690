//! `/responders/{service}/…`: responders over plain HTTP. A claim waits for the next request, a POST answers it; so
//! that a shell script can be a responder.

use std::str::FromStr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use quintet_core::access::Operation;
use quintet_core::message::{ContentType, NewMessage};
use quintet_core::name::ServiceName;
use quintet_core::patterns::request_response::request::{Reply, RequestId};
use quintet_core::patterns::request_response::responder::Incoming;
use quintet_wire::header;
use quintet_wire::problem::kind::Kind;
use tokio::time::Instant;

use crate::auth::Caller;
use crate::error::{Problem, Result};
use crate::http::publish::message_headers;
use crate::http::services::headers;
use crate::http::topics::{decode_path, put, set};
use crate::http::{body, query, unheeded};
use crate::state::Gateway;

/// How long a claim waits that does not say.
const CLAIM_WAIT: Duration = Duration::from_secs(30);
/// Goes before the type of the body, for clients that cannot say what they send.
const REPLY_CONTENT_TYPE: &str = "reply-header-content-type";

/// Its routes.
pub(crate) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/responders/{service}/claim", post(claim))
        .route("/responders/{service}/requests/{id}", post(reply))
        .route("/responders/{service}/requests/{id}/progress", post(progress))
}

/// The next request: `200`, or `204` when the time is up. Dropping the future leaves the request for others.
async fn claim(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let (service, _) = target(&caller, &request)?;
    let wait = query::number(request.uri(), "wait")?.map_or(CLAIM_WAIT, Duration::from_secs);
    let until = Instant::now() + wait.min(gateway.hub().limits().wait_max);
    let incoming = tokio::select! {
        biased;
        incoming = gateway.hub().claim(&service, until) => incoming?,
        () = gateway.shutdown().begun() => {
            return Err(Problem::new(Kind::ShuttingDown, "the hub is stopping; claim again in a moment"));
        }
    };
    let mut response = match incoming {
        Some(incoming) => handed_out(incoming),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A claimed request: its body is the body, all else is in headers.
fn handed_out(incoming: Incoming) -> Response {
    let deadline = incoming.wait().as_secs_f64();
    let mut response = Response::new(Body::from(incoming.body));
    let headers = response.headers_mut();
    headers::put_request(headers, &incoming.headers);
    if let Some(content_type) = &incoming.content_type {
        put(headers, CONTENT_TYPE, content_type.as_str());
    }
    set(headers, header::REQUEST_ID, incoming.id);
    set(headers, header::REQUEST_METHOD, incoming.method);
    set(headers, header::REQUEST_PATH, incoming.path);
    set(headers, header::REQUEST_QUERY, incoming.query);
    set(headers, header::REQUEST_ATTEMPT, incoming.attempt);
    set(headers, header::REQUEST_DEADLINE, format_args!("{deadline:.3}"));
    response
}

/// Answers a request.
async fn reply(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let (service, id) = target_request(&caller, &request)?;
    let (parts, body) = request.into_parts();
    let body = body::receive(&gateway, body).await?;
    let reply = Reply {
        status: reply_status(&parts.headers)?,
        headers: headers::of_reply(&parts.headers)?,
        content_type: reply_type(&parts.headers, body.is_empty())?,
        body,
    };
    gateway.hub().reply(&service, id, reply)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Tells how far a request has come.
async fn progress(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let (service, id) = target_request(&caller, &request)?;
    let (parts, body) = request.into_parts();
    let payload = body::receive(&gateway, body).await?;
    if payload.is_empty() {
        return Err(Problem::new(Kind::EmptyBody, "a message of progress has at least one byte"));
    }
    let content_type = headers::message_type(&parts.headers)?.unwrap_or_else(ContentType::octet_stream);
    let message = NewMessage { content_type: Some(content_type), headers: message_headers(&parts.headers)?, payload };
    gateway.hub().progress(&service, id, message).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn reply_status(headers: &HeaderMap) -> Result<u16> {
    let Some(value) = headers.get(header::REPLY_STATUS) else { return Ok(200) };
    let status = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|status| (200..=599).contains(status));
    status.ok_or_else(|| Problem::new(Kind::BadHeader, "Reply-Status is a number from 200 to 599"))
}

/// The reply's type. Nothing has no type, whatever a client's library says of it, unless it is meant (as for `HEAD`).
fn reply_type(headers: &HeaderMap, empty: bool) -> Result<Option<ContentType>> {
    match headers.get(REPLY_CONTENT_TYPE) {
        Some(value) => match ContentType::parse(value.to_str().unwrap_or_default()) {
            Ok(content_type) => Ok(Some(content_type)),
            Err(error) => Err(Problem::new(Kind::BadHeader, error.to_string())),
        },
        None if empty => Ok(None),
        None => headers::message_type(headers),
    }
}

/// The service in the path, if the caller may serve it, and what is behind it.
fn target<'a>(caller: &Caller, request: &'a Request) -> Result<(ServiceName, &'a str)> {
    let path = request.uri().path().strip_prefix("/responders/").unwrap_or_default();
    let (service, rest) = path.split_once('/').unwrap_or((path, ""));
    let service = ServiceName::parse(&decode_path(service)?)?;
    caller.0.check(Operation::Respond, &service.as_topic())?;
    Ok((service, rest))
}

fn target_request(caller: &Caller, request: &Request) -> Result<(ServiceName, RequestId)> {
    unheeded::refuse(request.method(), request.headers())?;
    let (service, rest) = target(caller, request)?;
    let id = rest.strip_prefix("requests/").unwrap_or_default();
    Ok((service, RequestId::from_str(id.strip_suffix("/progress").unwrap_or(id))?))
}
