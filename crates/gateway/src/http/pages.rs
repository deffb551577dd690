//! Pages for people and probes: `/`, `/health`, `/problems/{slug}`. They need no token.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use quintet_core::error::Error;
use quintet_wire::problem::kind::Kind;
use quintet_wire::{content, problem};

use crate::error::{Problem, kind_of};
use crate::state::Gateway;

const WELCOME: &str = "\
This is a Quintet hub. Any topic can be used through five patterns, for example:

  publish                  curl -d hello <hub>/topics/chat
  short poll               curl '<hub>/topics/chat?offset=start'
  long poll                curl -H 'Prefer: wait=30' '<hub>/topics/chat?offset=now'
  push                     curl -N -H 'Accept: text/event-stream' '<hub>/topics/chat?offset=start'
  request and response     curl -d hello <hub>/services/echo

Work is shared out among workers by groups:

  set up                   curl -X PUT -d '{\"filter\":\"work/#\"}' <hub>/groups/workers
  take a message           curl -X POST <hub>/groups/workers/claim
  say that it is done      curl -X POST '<hub>/groups/workers/ack?delivery=<id>'

Topics are listed at /topics, who is on one is told at /presence/<topic>, groups at /groups, health is told at /health, and every problem explains itself at /problems/<slug>.
";

pub(crate) fn routes() -> Router<Gateway> {
    Router::new().route("/", get(welcome)).route("/health", get(health)).route("/problems/{slug}", get(problem))
}

async fn welcome() -> Response {
    text(WELCOME.to_owned())
}

/// Always `200`: a hub whose disk is full serves its readers, and would not be better after a restart.
async fn health(State(gateway): State<Gateway>) -> Response {
    let told = |error: Error| problem::object::Problem::new(kind_of(error.kind()), error.to_string());
    let problems: Vec<_> = gateway.hub().troubles().into_iter().map(told).collect();
    let body = match problems.is_empty() {
        true => serde_json::json!({ "status": "ok" }),
        false => serde_json::json!({ "status": "impaired", "problems": problems }),
    };
    ([(CONTENT_TYPE, content::JSON), (CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}

async fn problem(request: Request) -> Result<Response, Problem> {
    let kind = Kind::from_path(request.uri().path());
    if kind == Kind::Unknown {
        return Err(Problem::new(
            Kind::NotFound,
            "there is no problem of that name; the type of a problem is its path",
        ));
    }
    Ok(text(kind.page()))
}

fn text(body: String) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}
