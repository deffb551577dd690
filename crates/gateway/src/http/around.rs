//! What is around every request: the rules on origins, bounds on heads, the token in the query, and the rest of a body
//! that nobody read. One service with a future that is not boxed, as every request pays for it and every parked poll
//! holds it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use axum::routing::future::RouteFuture;
use http::header::{CONNECTION, EXPECT, HOST, ORIGIN, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use quintet_wire::problem::kind::Kind;
use tower_layer::Layer;
use tower_service::Service;

use crate::auth;
use crate::error::{Problem, Result};
use crate::http::body::{self, Lent};
use crate::origin::{self, Admission};
use crate::refused::Asked;
use crate::state::Gateway;

/// Bytes of a request's target, path and query together.
const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a request's headers, names and values together: a message's own (16 KiB) and as many others.
const HEADERS_BYTES_MAX: usize = 32 * 1024;

/// Puts it around a router.
#[derive(Clone)]
pub(crate) struct Around(pub(crate) Gateway);

impl Layer<Route> for Around {
    type Service = Surrounded;

    fn layer(&self, inner: Route) -> Surrounded {
        Surrounded { gateway: self.0.clone(), inner }
    }
}

#[derive(Clone)]
pub(crate) struct Surrounded {
    gateway: Gateway,
    inner: Route,
}

impl Service<Request> for Surrounded {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Answering {
        let body = body::lend(&mut request);
        let expects = body.is_some() && request.headers().contains_key(EXPECT);
        let entry = match check_coding(request.headers()) {
            Ok(()) => enter(&self.gateway, &mut request),
            Err(problem) => Entry::Answered(problem.into_response(), None),
        };
        let (step, allowed) = match entry {
            Entry::Answered(response, allowed) => {
                tell_foreign(&self.gateway, &request, &response);
                (Step::Answered(Some(response)), allowed)
            }
            Entry::Admitted(allowed) => (Step::Running(self.inner.call(request)), allowed),
        };
        Answering { gateway: self.gateway.clone(), allowed, body, expects, step }
    }
}

/// The answer to be, with nothing of the request but its body.
pub(crate) struct Answering {
    gateway: Gateway,
    /// What a page of a foreign origin is told.
    allowed: Option<HeaderValue>,
    body: Option<Lent>,
    /// The body comes when it is asked for (`Expect: 100-continue`), which reading it does.
    expects: bool,
    step: Step,
}

enum Step {
    Running(RouteFuture<Infallible>),
    Answered(Option<Response>),
    /// What is left of the body is being read.
    Discarding(Pin<Box<dyn Future<Output = bool> + Send>>, Option<Response>),
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.step {
                Step::Running(route) => {
                    let Ok(response) = ready!(Pin::new(route).poll(cx));
                    this.step = Step::Answered(Some(response));
                }
                Step::Answered(response) => {
                    let mut response = response.take().expect("a future is not polled after it was ready");
                    leave(&this.gateway, response.headers_mut(), this.allowed.take());
                    let Some(body) = this.body.take() else { return Poll::Ready(Ok(response)) };
                    if this.expects && !body.was_asked_for() {
                        // This answer is all that the client waits for (RFC 9110 section 10.1.1).
                        close(&mut response);
                        return Poll::Ready(Ok(response));
                    }
                    let Some(left) = body.take_left() else { return Poll::Ready(Ok(response)) };
                    this.step = Step::Discarding(Box::pin(body::discard_left(left)), Some(response));
                }
                Step::Discarding(discard, response) => {
                    let ended = ready!(discard.as_mut().poll(cx));
                    let mut response = response.take().expect("a future is not polled after it was ready");
                    if !ended {
                        // Too much is still to come for the connection to be used again.
                        close(&mut response);
                    }
                    return Poll::Ready(Ok(response));
                }
            }
        }
    }
}

/// Ends the connection with an answer.
fn close(response: &mut Response) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What becomes of a request before a handler sees it.
pub(crate) enum Entry {
    /// It goes on; a page of a foreign origin may read the answer if this is what it is told.
    Admitted(Option<HeaderValue>),
    /// It is answered at once.
    Answered(Response, Option<HeaderValue>),
}

/// Before the handler.
pub(crate) fn enter(gateway: &Gateway, request: &mut Request) -> Entry {
    match origin::admit(&gateway.config().origins, request) {
        Admission::Answered(response, allowed) => Entry::Answered(response, allowed),
        Admission::Admitted(allowed) => match check_bounds(gateway, request) {
            Err(problem) => Entry::Answered(problem.into_response(), allowed),
            Ok(()) => {
                auth::cut_from_query(request);
                Entry::Admitted(allowed)
            }
        },
    }
}

/// Tells of a request that was answered at once because it is a foreign page's.
pub(crate) fn tell_foreign(gateway: &Gateway, request: &Request, answer: &Response) {
    if answer.status() != StatusCode::FORBIDDEN {
        return;
    }
    let asked = Asked::of(request.method(), request.uri(), request.extensions());
    let shown = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = request.uri().authority().map(Authority::as_str).or_else(|| shown(HOST)).unwrap_or_default();
    gateway.refusals().foreign(&asked, host, shown(ORIGIN).unwrap_or_default());
}

/// After the handler, or instead of it.
pub(crate) fn leave(gateway: &Gateway, headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    origin::finish(&gateway.config().origins, headers, allowed);
}

/// Refuses a body that is coded for the way other than in chunks (RFC 9112 section 6.1): hyper would give it as it came.
/// The short way to the handlers takes no such body at all.
fn check_coding(headers: &HeaderMap) -> Result<()> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let detail = "of transfer codings the hub knows chunked, alone and once; send the body without others";
            Err(Problem::new(Kind::NotImplemented, detail).header("connection", "close"))
        }
    }
}

/// Refuses what is too long before anything looks at it.
fn check_bounds(gateway: &Gateway, request: &Request) -> Result<()> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_BYTES_MAX {
        let detail = format!("the target has {target} bytes; the hub takes {TARGET_BYTES_MAX}");
        return Err(Problem::new(Kind::UriTooLong, detail));
    }
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADERS_BYTES_MAX {
        let detail = format!("the headers have {headers} bytes; the hub takes {HEADERS_BYTES_MAX}");
        return Err(Problem::new(Kind::HeadersTooLarge, detail));
    }
    let body_bytes = gateway.config().body_bytes;
    if request.headers().contains_key(EXPECT) && request.body().size_hint().lower() > body_bytes as u64 {
        // Whoever asks first is told before anything is sent.
        let detail = format!("the hub takes bodies of up to {body_bytes} bytes; send it in parts");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    Ok(())
}
