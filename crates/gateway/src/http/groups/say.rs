//! `POST /groups/{group}/ack`, `/nack` and `/extend`: what a member says of deliveries. Which ones is told in the body,
//! or, for one alone, in the query.

use axum::extract::{Request, State};
use axum::response::Response;
use http::Uri;
use quintet_core::access::Operation;
use quintet_wire::duration::Span;
use quintet_wire::groups as wire;
use quintet_wire::problem::kind::Kind;
use serde::de::DeserializeOwned;

use crate::auth::Caller;
use crate::error::{Problem, Result};
use crate::groups::Word;
use crate::http::groups::{allowed, json, read};
use crate::http::{body, query};
use crate::state::Gateway;

/// Their work is done.
pub(super) async fn acknowledge(state: State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    say::<wire::Acknowledge>(state, caller, request).await
}

/// They are given back.
pub(super) async fn give_back(state: State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    say::<wire::GiveBack>(state, caller, request).await
}

/// They take longer.
pub(super) async fn extend(state: State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    say::<wire::Extend>(state, caller, request).await
}

/// One of the bodies.
trait Said: DeserializeOwned {
    /// The same in a query, of one delivery.
    fn of_query(delivery: wire::DeliveryId, uri: &Uri) -> Result<Self>;

    fn take(self) -> (Word, Vec<wire::DeliveryId>);
}

impl Said for wire::Acknowledge {
    fn of_query(delivery: wire::DeliveryId, _: &Uri) -> Result<Self> {
        Ok(Self { deliveries: vec![delivery] })
    }

    fn take(self) -> (Word, Vec<wire::DeliveryId>) {
        (Word::Acknowledge, self.deliveries)
    }
}

impl Said for wire::GiveBack {
    fn of_query(delivery: wire::DeliveryId, uri: &Uri) -> Result<Self> {
        Ok(Self { deliveries: vec![delivery], delay: span(uri, "delay")? })
    }

    fn take(self) -> (Word, Vec<wire::DeliveryId>) {
        (Word::GiveBack(self.delay.map(|delay| delay.0)), self.deliveries)
    }
}

impl Said for wire::Extend {
    fn of_query(delivery: wire::DeliveryId, uri: &Uri) -> Result<Self> {
        Ok(Self { deliveries: vec![delivery], by: span(uri, "by")? })
    }

    fn take(self) -> (Word, Vec<wire::DeliveryId>) {
        (Word::Extend(self.by.map(|by| by.0)), self.deliveries)
    }
}

/// Says it, and answers one by one when it is as durable as the group. Dropping the future does not take it back.
async fn say<S: Said>(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let group = allowed(&gateway, &caller, Operation::Subscribe, &request)?;
    let (parts, body) = request.into_parts();
    let in_query = query::parameter(&parts.uri, "delivery")?;
    let in_query = in_query.map(|id| id.parse().map_err(bad_delivery)).transpose()?;
    let body = body::receive(&gateway, body).await?;
    let said = match in_query {
        None if body.is_empty() => {
            let detail = "name the deliveries: {\"deliveries\":[\"<id>\"]} as the body, or ?delivery=<id> without one";
            return Err(Problem::new(Kind::EmptyBody, detail));
        }
        None => read(&body)?,
        Some(delivery) if body.is_empty() => S::of_query(delivery, &parts.uri)?,
        Some(_) => {
            let detail = "deliveries are named in the body or one in the query, not both";
            return Err(Problem::new(Kind::BadRequest, detail));
        }
    };
    // The head lies in the connection's read buffer, which is free for the next request without it.
    drop(parts);
    let (word, deliveries) = said.take();
    json(&word.say(gateway.hub(), &group, &deliveries).await?)
}

fn bad_delivery(error: wire::BadDelivery) -> Problem {
    Problem::new(Kind::BadRequest, error.to_string())
}

fn span(uri: &Uri, name: &str) -> Result<Option<Span>> {
    let Some(text) = query::parameter(uri, name)? else { return Ok(None) };
    match text.parse() {
        Ok(span) => Ok(Some(span)),
        Err(bad) => Err(Problem::new(Kind::BadRequest, format!("{name}: {bad}"))),
    }
}
