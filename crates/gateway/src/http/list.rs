//! `GET /topics`: the topics that the caller may read, page by page, in the order of their names.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use quintet_core::access::{Access, Operation};
use quintet_core::hub::ListTopics;
use quintet_core::name::TopicName;
use quintet_core::topic::TopicInfo;
use quintet_wire::problem::kind::Kind;
use quintet_wire::{content, time, topics};

use crate::auth::Caller;
use crate::convert::token;
use crate::error::{Problem, Result};
use crate::http::query;
use crate::state::Gateway;

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1_000;
/// Topics that are looked at before others get their turn.
const SCAN_MAX: usize = 1_001;

pub(crate) async fn list(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let uri = request.uri();
    let filter = query::filter(uri, "filter")?;
    let after = query::parameter(uri, "after")?.filter(|text| !text.is_empty());
    let after = after.map(|text| TopicName::parse(&text)).transpose()?;
    let limit = query::number(uri, "limit")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(Kind::BadRequest, format!("limit is a number from 1 to {LIMIT_MAX}")));
    }
    let limit = usize::try_from(limit).unwrap_or(1);
    let page = page(&gateway, &caller.0, ListTopics { filter, after, max: SCAN_MAX }, limit).await;
    match serde_json::to_vec(&page) {
        Ok(body) => Ok(([(CONTENT_TYPE, content::JSON), (CACHE_CONTROL, "no-cache")], body).into_response()),
        Err(error) => Err(Problem::new(Kind::Internal, error.to_string())),
    }
}

/// Collects a page of what the caller may read. It is known to be the last only when one more has been looked for.
async fn page(gateway: &Gateway, access: &Access, mut list: ListTopics, limit: usize) -> topics::Page {
    let mut page = topics::Page::default();
    loop {
        let found = gateway.hub().list_topics(&list);
        let Some(last) = found.last() else { return page };
        list.after = Some(last.topic.clone());
        for info in found.iter().filter(|info| access.allows(Operation::Subscribe, &info.topic)) {
            if page.topics.len() == limit {
                page.next = page.topics.last().map(|last| last.topic.clone());
                return page;
            }
            page.topics.push(description(info));
        }
        tokio::task::yield_now().await;
    }
}

fn description(info: &TopicInfo) -> topics::Description {
    topics::Description {
        topic: info.topic.to_string(),
        content_type: info.config.content_type.as_str().to_owned(),
        durability: info.durability.name().to_owned(),
        first: token(info.first),
        next: token(info.next),
        closed: info.closed,
        created: info.created_at.0,
        messages: info.messages,
        bytes: info.bytes,
        ttl: info.config.ttl.map(|ttl| ttl.as_secs()),
        expires_at: info.config.expires_at.map(|at| time::format(at.0)),
    }
}
