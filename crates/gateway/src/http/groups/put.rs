//! `PUT` on a group: create it, set it up differently, or confirm that it is as asked.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use quintet_core::access::{Access, Operation};
use quintet_core::cursor::Since;
use quintet_core::engine::Durability;
use quintet_core::group::{GroupConfig, GroupName};
use quintet_core::name::{Filter, TopicName};
use quintet_core::patterns::publish_subscribe::groups::operate::NewGroup;
use quintet_wire::duration::Span;
use quintet_wire::groups as wire;
use quintet_wire::problem::kind::Kind;

use crate::auth::Caller;
use crate::convert::core_since;
use crate::error::{Problem, Result};
use crate::http::body;
use crate::http::groups::{describe, json, named, read};
use crate::http::topics::locate;
use crate::state::Gateway;

/// A message is handed out so often, unless told, if there is a topic for what fails.
const MAX_DELIVER: u32 = 5;

/// `201` if it is new, `200` otherwise. Dropping the future does not take it back.
pub(super) async fn put(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let group = named(&request)?;
    let (parts, body) = request.into_parts();
    let body = body::receive(&gateway, body).await?;
    if body.is_empty() {
        return Err(Problem::new(Kind::EmptyBody, "say what the group shares out, e.g. {\"filter\":\"work/#\"}"));
    }
    let new = asked(group, read(&body)?)?;
    check(&caller.0, &new.config)?;
    let (is_new, info) = gateway.hub().put_group(new).await?;
    let mut response = json(&describe::description(&gateway, &info))?;
    if is_new {
        *response.status_mut() = StatusCode::CREATED;
        locate(response.headers_mut(), &parts)?;
    }
    Ok(response)
}

/// Sharing out what is in topics is to manage them; dead letters are published.
fn check(access: &Access, config: &GroupConfig) -> Result<()> {
    access.check_all(Operation::Manage, &config.filter)?;
    if let Some(topic) = &config.dead_letter {
        access.check(Operation::Publish, topic)?;
    }
    Ok(())
}

fn asked(group: GroupName, asked: wire::NewGroup) -> Result<NewGroup> {
    let default = GroupConfig::new(Filter::parse(&asked.filter)?);
    let dead_letter = asked.dead_letter.map(|topic| TopicName::parse(&topic)).transpose()?;
    let time = |span: Option<Span>, default: Duration| span.map_or(default, |span| span.0);
    let config = GroupConfig {
        ack_wait: time(asked.ack_wait, default.ack_wait),
        max_deliver: asked.max_deliver.or(dead_letter.as_ref().map(|_| MAX_DELIVER)),
        backoff: asked.backoff.iter().map(|span| span.0).collect(),
        in_flight: asked.max_in_flight.unwrap_or(default.in_flight),
        in_flight_per_member: asked.max_in_flight_per_member.unwrap_or(default.in_flight_per_member),
        dead_letter,
        // Headers have their names in lower case.
        key: asked.key.map(|key| key.to_ascii_lowercase().into()),
        ..default
    };
    let durability = asked.durability.as_deref().map(durability).transpose()?;
    let since = asked.start.as_ref().map_or(Since::Start, core_since);
    Ok(NewGroup { group, config, since, durability })
}

fn durability(text: &str) -> Result<Durability> {
    match text {
        "disk" => Ok(Durability::Disk),
        "memory" => Ok(Durability::Memory),
        _ => Err(Problem::new(Kind::BadRequest, "durability is disk or memory")),
    }
}
