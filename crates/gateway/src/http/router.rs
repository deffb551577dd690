//! All routes, with what is around them: origins, tokens, and problems instead of an empty 404 or 405.

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use http::Method;
use quintet_wire::problem::kind::Kind;

use crate::error::Problem;
use crate::http::around::Around;
use crate::http::{groups, list, pages, presence, responders, services, topics};
use crate::state::Gateway;
use crate::websocket;

/// The whole surface of a gateway. It can be mounted in an existing application, also nested under a path.
pub fn router(gateway: Gateway) -> Router {
    // Each of these handlers takes a `Caller`, which is what guards it.
    let guarded = Router::new()
        .route("/topics", get(list::list))
        .merge(topics::routes())
        .merge(presence::routes())
        .merge(services::routes())
        .merge(responders::routes())
        .merge(groups::routes())
        .merge(websocket::routes());
    Router::new()
        .merge(guarded)
        .merge(pages::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Around(gateway.clone()))
        .with_state(gateway)
}

async fn not_found(request: Request) -> Problem {
    let detail = format!("there is nothing at {}; GET / tells what there is", request.uri().path());
    Problem::new(Kind::NotFound, detail)
}

/// The router adds the `Allow` header.
async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{method} does not work here; the Allow header names what does"))
}
