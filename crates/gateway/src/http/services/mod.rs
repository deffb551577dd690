//! `ANY /services/{service}/…`: a caller's request is handed to a responder, and its reply comes back as it is.
//!
//! | file | what it holds |
//! |---|---|
//! | `call` | one request, from HTTP to the hub and back |
//! | `headers` | which headers cross the hub, in both directions |
//! | `key` | the `Idempotency-Key` header |

mod call;
pub(super) mod headers;
mod key;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;

use crate::auth::Caller;
use crate::http::topics::{Answer, answer};
use crate::state::Gateway;

/// Its routes.
pub(crate) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/services/{service}", any(call::call))
        .route("/services/{service}/", any(call::call))
        .route("/services/{service}/{*path}", any(call::call))
}

/// Answers a request to a service.
pub(crate) fn call(gateway: Gateway, request: Request) -> Answer {
    answer(async move {
        let caller = Caller::of_request(&gateway, &request)?;
        call::call(State(gateway), caller, request).await
    })
}
