//! `POST /groups/{group}/redrive`: hands the group's dead letters out again.

use axum::extract::{Request, State};
use axum::response::Response;
use quintet_core::access::Operation;
use quintet_wire::groups as wire;

use crate::auth::Caller;
use crate::error::Result;
use crate::http::groups::{allowed, json};
use crate::state::Gateway;

/// Tells what was done, and whether there is more to do. Dropping the future does not stop it.
pub(super) async fn redrive(State(gateway): State<Gateway>, caller: Caller, request: Request) -> Result<Response> {
    let group = allowed(&gateway, &caller, Operation::Manage, &request)?;
    let done = gateway.hub().redrive(&group).await?;
    json(&wire::Redriven {
        redelivered: done.redelivered,
        republished: done.republished,
        kept: done.kept,
        more: done.more,
    })
}
