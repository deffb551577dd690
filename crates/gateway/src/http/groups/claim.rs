//! `POST /groups/{group}/claim`: the next messages, as soon as there are some.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use quintet_core::access::Operation;
use quintet_core::patterns::publish_subscribe::groups::consumer::Handed;
use quintet_core::patterns::publish_subscribe::groups::operate::ClaimRequest;
use quintet_wire::content;
use quintet_wire::problem::kind::Kind;
use tokio::time::Instant;

use crate::auth::Caller;
use crate::error::{Problem, Result};
use crate::groups::write_handed;
use crate::http::groups::allowed;
use crate::http::query;
use crate::state::Gateway;

/// How long a claim waits that does not say.
const CLAIM_WAIT: Duration = Duration::from_secs(30);

/// `200` with envelopes, or `204` when the time is up.
///
/// Dropping the future, as happens when the client goes away, withdraws the claim. What is under way to a client that
/// goes away in that instant is handed out again when its time to acknowledge is up.
pub(super) async fn claim(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let group = allowed(&gateway, &caller, Operation::Subscribe, &request)?;
    let asked = asked(&gateway, &request)?;
    // Its head lies in the connection's read buffer, which would be held for as long as the wait takes.
    drop(request);
    let handed = tokio::select! {
        biased;
        handed = gateway.hub().claim_messages(&group, asked) => handed?,
        () = gateway.shutdown().begun() => {
            return Err(Problem::new(Kind::ShuttingDown, "the hub is stopping; claim again in a moment"));
        }
    };
    let mut response = if handed.is_empty() { StatusCode::NO_CONTENT.into_response() } else { envelopes(&handed) };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn asked(gateway: &Gateway, request: &Request) -> Result<ClaimRequest> {
    let uri = request.uri();
    let max = query::number(uri, "max")?.unwrap_or(1);
    if max == 0 {
        return Err(Problem::new(Kind::BadRequest, "max is at least 1"));
    }
    let wait = query::number(uri, "wait")?.map_or(CLAIM_WAIT, Duration::from_secs);
    Ok(ClaimRequest {
        member: query::parameter(uri, "member")?.unwrap_or_default().into(),
        max: u32::try_from(max).unwrap_or(u32::MAX),
        until: Instant::now() + wait.min(gateway.hub().limits().wait_max),
    })
}

fn envelopes(handed: &[Handed]) -> Response {
    let mut body = b"[".to_vec();
    for (i, handed) in handed.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        write_handed(&mut body, handed);
    }
    body.push(b']');
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content::ENVELOPES));
    response
}
