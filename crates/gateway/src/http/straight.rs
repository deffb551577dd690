//! The short way to the handlers that most requests are for, without the router: the same that is around every request,
//! and the same handlers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;

use crate::http::around::{self, Entry};
use crate::http::dialect::Dialect;
use crate::http::topics::Answer;
use crate::http::{services, topics};
use crate::serve::Guest;
use crate::state::Gateway;

/// Whose handler a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handler {
    Topic(Dialect),
    Service,
}

impl Handler {
    /// None for all that the router has to find.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let found = |prefix: &str, handler| {
            let rest = path.strip_prefix(prefix)?;
            let has_name = rest.bytes().next().is_some_and(|first| !matches!(first, b'/' | b'?' | b'#'));
            has_name.then_some(handler)
        };
        found(Dialect::Topics.prefix(), Self::Topic(Dialect::Topics))
            .or_else(|| found(Dialect::Stream.prefix(), Self::Topic(Dialect::Stream)))
            .or_else(|| found("/services/", Self::Service))
    }
}

/// An answer to be. All that waits holds one, so that what is rare is boxed.
pub(crate) struct Call {
    gateway: Gateway,
    allowed: Option<Box<HeaderValue>>,
    step: Step,
}

enum Step {
    Running(Answer),
    Answered(Option<Box<Response>>),
}

impl Call {
    /// Begins to answer a request whose body is there in whole.
    pub(crate) fn new(gateway: &Gateway, handler: Handler, mut request: Request, guest: &Guest) -> Self {
        // Only for what is told of who is refused, so not where nobody is.
        if !gateway.config().tokens.is_empty() {
            request.extensions_mut().insert(guest.clone());
        }
        let (step, allowed) = match around::enter(gateway, &mut request) {
            Entry::Answered(response, allowed) => {
                request.extensions_mut().insert(guest.clone());
                around::tell_foreign(gateway, &request, &response);
                (Step::Answered(Some(Box::new(response))), allowed)
            }
            Entry::Admitted(allowed) => {
                let answer = match handler {
                    Handler::Topic(dialect) => topics::call(gateway.clone(), dialect, request),
                    Handler::Service => services::call(gateway.clone(), request),
                };
                (Step::Running(answer), allowed)
            }
        };
        Self { gateway: gateway.clone(), allowed: allowed.map(Box::new), step }
    }
}

impl Future for Call {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let mut response = match &mut self.step {
            Step::Running(answer) => ready!(answer.as_mut().poll(cx)),
            Step::Answered(response) => *response.take().expect("a future is not polled after it was ready"),
        };
        let allowed = self.allowed.take().map(|allowed| *allowed);
        around::leave(&self.gateway, response.headers_mut(), allowed);
        Poll::Ready(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_is_the_routers() {
        assert_eq!(Handler::of("/topics/a/b"), Some(Handler::Topic(Dialect::Topics)));
        assert_eq!(Handler::of("/v1/stream/a?live=sse"), Some(Handler::Topic(Dialect::Stream)));
        assert_eq!(Handler::of("/services/a"), Some(Handler::Service));
        for path in [
            "/",
            "/topics",
            "/topics/",
            "/topics/?x",
            "/topics/#x",
            "/services//a",
            "/groups/a",
            "*",
            "http://x/topics/a",
        ] {
            assert_eq!(Handler::of(path), None, "{path}");
        }
    }
}
