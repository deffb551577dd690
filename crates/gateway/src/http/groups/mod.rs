//! `/groups/…`: consumer groups over plain HTTP, so that a shell script can be a worker.
//!
//! | file | what it holds |
//! |---|---|
//! | `put` | `PUT`: sets a group up |
//! | `describe` | `GET` of one and of all, `DELETE` |
//! | `claim` | takes messages, waiting for them |
//! | `say` | `ack`, `nack`, `extend` |
//! | `redrive` | hands dead letters out again |

mod claim;
mod describe;
mod put;
mod redrive;
mod say;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use quintet_core::access::Operation;
use quintet_core::group::GroupName;
use quintet_wire::content;
use quintet_wire::problem::kind::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::Caller;
use crate::error::{Problem, Result};
use crate::http::topics::decode_path;
use crate::http::unheeded;
use crate::state::Gateway;

/// Their routes.
pub(crate) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/groups", get(describe::list))
        .route("/groups/{group}", get(describe::describe).put(put::put).delete(describe::delete))
        .route("/groups/{group}/claim", post(claim::claim))
        .route("/groups/{group}/ack", post(say::acknowledge))
        .route("/groups/{group}/nack", post(say::give_back))
        .route("/groups/{group}/extend", post(say::extend))
        .route("/groups/{group}/redrive", post(redrive::redrive))
}

/// The group in the path of a request that asks for nothing which is not heeded.
fn named(request: &Request) -> Result<GroupName> {
    unheeded::refuse(request.method(), request.headers())?;
    let path = request.uri().path().strip_prefix("/groups/").unwrap_or_default();
    let (name, _) = path.split_once('/').unwrap_or((path, ""));
    Ok(GroupName::parse(&decode_path(name)?)?)
}

/// The group in the path, if it is there and the caller may do this with all that it shares out.
fn allowed(gateway: &Gateway, caller: &Caller, operation: Operation, request: &Request) -> Result<GroupName> {
    let group = named(request)?;
    let config = gateway.hub().group_config(&group)?;
    caller.0.check_all(operation, &config.filter)?;
    Ok(group)
}

/// Reads a body strictly: JSON with no unknown members.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let kind = if error.is_data() { Kind::BadRequest } else { Kind::BadJson };
        Problem::new(kind, error.to_string())
    })
}

/// An answer in JSON that is true only now.
fn json<T: Serialize>(value: &T) -> Result<Response> {
    match serde_json::to_vec(value) {
        Ok(body) => Ok(([(CONTENT_TYPE, content::JSON), (CACHE_CONTROL, "no-store")], body).into_response()),
        Err(error) => Err(Problem::new(Kind::Internal, error.to_string())),
    }
}
