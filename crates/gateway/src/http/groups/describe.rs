//! What can be told of groups: one, or a page of those whose messages the caller may take. And `DELETE`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use quintet_core::access::{Access, Operation};
use quintet_core::error::Kind as CoreKind;
use quintet_core::group::GroupName;
use quintet_core::patterns::publish_subscribe::groups::consumer::{GroupInfo, MemberInfo};
use quintet_wire::duration::Span;
use quintet_wire::groups as wire;
use quintet_wire::problem::kind::Kind;
use quintet_wire::token::Token;

use crate::auth::Caller;
use crate::error::{Problem, Result};
use crate::http::groups::{allowed, json};
use crate::http::query;
use crate::state::Gateway;

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1_000;
/// Groups whose names are looked at before others get their turn.
const SCAN_MAX: usize = 256;

/// One group.
pub(super) async fn describe(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let group = allowed(&gateway, &caller, Operation::Subscribe, &request)?;
    let info = gateway.hub().describe_group(&group).await?;
    json(&description(&gateway, &info))
}

/// A page of them.
pub(super) async fn list(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let uri = request.uri();
    let after = query::parameter(uri, "after")?.filter(|text| !text.is_empty());
    let after = after.map(|text| GroupName::parse(&text)).transpose()?;
    let limit = query::number(uri, "limit")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(Kind::BadRequest, format!("limit is a number from 1 to {LIMIT_MAX}")));
    }
    json(&page(&gateway, &caller.0, after, usize::try_from(limit).unwrap_or(1)).await?)
}

/// Deletes a group. Its members are told.
pub(super) async fn delete(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let group = allowed(&gateway, &caller, Operation::Manage, &request)?;
    gateway.hub().delete_group(&group).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A group as the wire has it.
pub(super) fn description(gateway: &Gateway, info: &GroupInfo) -> wire::Description {
    let GroupInfo { config, counts, .. } = info;
    let durability = gateway.hub().durability_of(info.log).map_or("", |durability| durability.name());
    wire::Description {
        group: info.group.to_string(),
        filter: config.filter.as_str().to_owned(),
        durability: durability.to_owned(),
        ack_wait: Span(config.ack_wait),
        max_deliver: config.max_deliver,
        dead_letter: config.dead_letter.as_ref().map(ToString::to_string),
        backoff: config.backoff.iter().copied().map(Span).collect(),
        max_in_flight: config.in_flight,
        max_in_flight_per_member: config.in_flight_per_member,
        key: config.key.as_deref().map(str::to_owned),
        cursor: Token { log: info.log.0, offset: info.claimed_through.0 },
        lag: info.lag,
        lag_is_at_least: info.lag_is_at_least,
        in_flight: info.in_flight as u64,
        waiting: info.waiting as u64,
        counts: wire::Counts {
            delivered: counts.delivered,
            redelivered: counts.redelivered,
            acknowledged: counts.acknowledged,
            dead_lettered: counts.dead_lettered,
            lost: counts.lost,
        },
        members: info.members.iter().map(member).collect(),
        problem: info.problem.clone(),
    }
}

fn member(info: &MemberInfo) -> wire::Member {
    wire::Member {
        name: info.name.to_string(),
        in_flight: info.in_flight,
        limit: info.limit,
        connected: info.connected,
    }
}

/// Collects a page. It is known to be the last only when one more has been looked for.
async fn page(gateway: &Gateway, access: &Access, mut after: Option<GroupName>, limit: usize) -> Result<wire::Page> {
    let hub = gateway.hub();
    let mut page = wire::Page::default();
    loop {
        let found = hub.list_groups(after.as_ref(), SCAN_MAX);
        let Some(last) = found.last() else { return Ok(page) };
        after = Some(last.clone());
        let may_see = |group: &&GroupName| {
            hub.group_config(group).is_ok_and(|config| access.allows_all(Operation::Subscribe, &config.filter))
        };
        for group in found.iter().filter(may_see) {
            if page.groups.len() == limit {
                page.next = page.groups.last().map(|last| last.group.clone());
                return Ok(page);
            }
            match hub.describe_group(group).await {
                Ok(info) => page.groups.push(description(gateway, &info)),
                // It was deleted in the meantime.
                Err(error) if *error.kind() == CoreKind::GroupNotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        tokio::task::yield_now().await;
    }
}
