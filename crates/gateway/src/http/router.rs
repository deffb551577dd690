//! All routes, with what is around them: origins, tokens, and problems instead of an empty 404 or 405.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::Method;
use http::header::EXPECT;
use http_body::Body as _;
use quintet_wire::problem::kind::Kind;

use crate::error::Problem;
use crate::http::{body, list, pages, responders, services, topics};
use crate::state::Gateway;
use crate::{auth, origin, websocket};

/// Bytes of a request's target, path and query together.
const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a request's headers, names and values together: a message's own (16 KiB) and as many others.
const HEADERS_BYTES_MAX: usize = 32 * 1024;

/// The whole surface of a gateway. It can be mounted in an existing application, also nested under a path.
pub fn router(gateway: Gateway) -> Router {
    let guarded = Router::new()
        .route("/topics", get(list::list))
        .merge(topics::routes())
        .merge(services::routes())
        .merge(responders::routes())
        .merge(websocket::routes())
        .layer(from_fn_with_state(gateway.clone(), auth::layer));
    Router::new()
        .merge(guarded)
        .merge(pages::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(gateway.clone(), bounds))
        .layer(from_fn_with_state(gateway.clone(), origin::layer))
        .layer(from_fn(body::layer))
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

/// Refuses what is too long before anything looks at it.
async fn bounds(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_BYTES_MAX {
        let detail = format!("the target has {target} bytes; the hub takes {TARGET_BYTES_MAX}");
        return Problem::new(Kind::UriTooLong, detail).into_response();
    }
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADERS_BYTES_MAX {
        let detail = format!("the headers have {headers} bytes; the hub takes {HEADERS_BYTES_MAX}");
        return Problem::new(Kind::HeadersTooLarge, detail).into_response();
    }
    let body_bytes = gateway.config().body_bytes;
    if request.headers().contains_key(EXPECT) && request.body().size_hint().lower() > body_bytes as u64 {
        // Whoever asks first is told before anything is sent.
        let detail = format!("the hub takes bodies of up to {body_bytes} bytes; send it in parts");
        return Problem::new(Kind::TooLarge, detail).into_response();
    }
    next.run(request).await
}
