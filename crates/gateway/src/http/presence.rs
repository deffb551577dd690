//! `GET /presence/{topic}`: who is there now, and the cursor from which to follow who comes and goes.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use quintet_core::access::Operation;
use quintet_core::limits::PRESENCE_SNAPSHOT_MEMBERS_MAX as LIMIT_MAX;
use quintet_core::name::TopicName;
use quintet_core::presence::{MemberKey, PresentMember};
use quintet_wire::presence::{Member, Snapshot, parse_place, place};
use quintet_wire::problem::kind::Kind;
use quintet_wire::{content, header};

use crate::auth::Caller;
use crate::config::PresenceMode;
use crate::convert::token;
use crate::error::{Problem, Result};
use crate::http::query;
use crate::http::topics::{decode_path, set};
use crate::state::Gateway;

const PREFIX: &str = "/presence/";

pub(crate) fn routes() -> Router<Gateway> {
    Router::new().route("/presence/{*topic}", get(snapshot))
}

async fn snapshot(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let uri = request.uri();
    let topic = TopicName::parse(&decode_path(uri.path().strip_prefix(PREFIX).unwrap_or_default())?)?;
    caller.0.check(Operation::Subscribe, &topic)?;
    if gateway.config().presence == PresenceMode::Off {
        let detail = "presence is switched off on this hub (setting http.presence)";
        return Err(Problem::new(Kind::NotImplemented, detail));
    }
    let limit = query::number(uri, "limit")?.map_or(Ok(LIMIT_MAX), usize::try_from).unwrap_or(usize::MAX);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(Kind::BadRequest, format!("limit is a number from 1 to {LIMIT_MAX}")));
    }
    let after = query::parameter(uri, "after")?.filter(|text| !text.is_empty()).map(|text| {
        let (id, subject) = parse_place(&text);
        MemberKey { id: id.into(), subject: subject.map(Into::into) }
    });
    let found = gateway.hub().presence().of(&topic, after.as_ref(), limit)?;
    let last = found.members.last().filter(|_| found.more);
    let snapshot = Snapshot {
        topic: topic.to_string(),
        count: found.count,
        cursor: token(found.cursor),
        next: last.map(|last| place(&last.key.id, last.key.subject.as_deref())),
        members: found.members.iter().map(member).collect(),
    };
    let body = serde_json::to_vec(&snapshot).map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content::JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set(headers, header::STREAM_NEXT_OFFSET, snapshot.cursor);
    Ok(response)
}

fn member(member: &PresentMember) -> Member {
    Member {
        id: member.key.id.to_string(),
        subject: member.key.subject.as_deref().map(str::to_owned),
        data: member.data.as_deref().map(str::to_owned),
        since: member.since.0,
    }
}
