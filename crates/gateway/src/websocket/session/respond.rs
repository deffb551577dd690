//! `respond`, `reply`, `progress` and `unrespond`: serve requests that others make.

use std::sync::Arc;
use std::task::{Context, Poll};

use quintet_core::access::Operation;
use quintet_core::message::Headers;
use quintet_core::name::ServiceName;
use quintet_core::patterns::request_response::request::{Reply, RequestId};
use quintet_core::patterns::request_response::responder::{Event, Incoming, Responder};
use quintet_wire::problem::kind::Kind;
use quintet_wire::session::answer;
use quintet_wire::session::command as wire;
use quintet_wire::session::command::Id;
use quintet_wire::session::hub;

use crate::convert;
use crate::error::{Problem, Result};
use crate::websocket::protocol::Link;
use crate::websocket::session::protocol::{Done, Session, answer_to};
use crate::websocket::session::publish::new_message;
use crate::websocket::session::{RESPONDERS_MAX, request};

/// A service that a session serves.
pub(crate) struct Serving {
    number: u32,
    responder: Responder,
    /// The hub is stopping: no more requests come.
    over: bool,
    /// The client wants no more; it stays for the requests in its hands.
    retired: bool,
}

impl Session {
    /// Begins to serve.
    pub(crate) fn respond(&mut self, id: &Id, asked: &wire::Respond) -> String {
        answer_to(id, self.try_respond(asked))
    }

    fn try_respond(&mut self, asked: &wire::Respond) -> Result<answer::Responding> {
        let service = ServiceName::parse(&asked.service)?;
        self.access.check(Operation::Respond, &service.as_topic())?;
        if self.responders.len() >= RESPONDERS_MAX {
            let detail = format!("a session serves {RESPONDERS_MAX} times at once; open another");
            return Err(Problem::new(Kind::TooMany, detail));
        }
        let concurrency = usize::try_from(asked.concurrency).unwrap_or(usize::MAX);
        let label = self.access.subject().unwrap_or_default();
        let responder = self.gateway.hub().respond(&service, concurrency, label)?;
        let number = self.next_number();
        self.responders.push(Serving { number, responder, over: false, retired: false });
        Ok(answer::Responding { responder: u64::from(number) })
    }

    /// Takes no more requests; those in hand can still be replied to.
    pub(crate) fn unrespond(&mut self, id: &Id, number: u64) -> String {
        let found = self.responders.iter_mut().find(|serving| u64::from(serving.number) == number && !serving.retired);
        let retired = found.map(|serving| {
            serving.retired = true;
            serving.responder.retire();
        });
        self.forget_idle_responders();
        answer_to(
            id,
            retired
                .map(|()| answer::Done {})
                .ok_or_else(|| Problem::new(Kind::NotFound, format!("this session has no responder {number}"))),
        )
    }

    /// Those that took no more have nothing left in their hands.
    fn forget_idle_responders(&mut self) {
        let handed = &self.handed;
        self.responders.retain(|serving| !serving.retired || handed.values().any(|number| *number == serving.number));
    }

    /// Hands a reply to the caller.
    pub(crate) fn reply(&mut self, id: &Id, asked: wire::Reply) -> String {
        answer_to(id, self.try_reply(asked))
    }

    fn try_reply(&mut self, asked: wire::Reply) -> Result<answer::Done> {
        let request = asked.request.parse::<RequestId>()?;
        let service = self.service_of(request)?;
        let (content_type, body) = request::split(asked.body)?;
        let reply = Reply { status: asked.status, headers: Headers::new(asked.headers)?, content_type, body };
        self.gateway.hub().reply(&service, request, reply)?;
        self.handed.remove(&request);
        self.forget_idle_responders();
        Ok(answer::Done {})
    }

    /// Tells how far a request has come.
    pub(crate) fn progress(&self, id: Id, asked: wire::Progress) -> impl Future<Output = String> + Send + 'static {
        let hub = Arc::clone(self.gateway.hub());
        let checked = asked.request.parse::<RequestId>().map_err(Problem::from).and_then(|request| {
            let message = wire::Message { headers: Default::default(), body: asked.body };
            Ok((self.service_of(request)?, request, new_message(message)?))
        });
        async move {
            let told = match checked {
                Ok((service, request, message)) => {
                    hub.progress(&service, request, message).await.map_err(Problem::from)
                }
                Err(problem) => Err(problem),
            };
            answer_to(&id, told.map(|()| answer::Done {}))
        }
    }

    /// The service of a request in this session's hands, or one that it could serve.
    fn service_of(&self, request: RequestId) -> Result<ServiceName> {
        let Some(service) = self.gateway.hub().service_of(request) else {
            let detail = format!("nobody waits for a reply to {request} any more");
            return Err(Problem::new(Kind::RequestNotFound, detail));
        };
        if !self.handed.contains_key(&request) {
            self.access.check(Operation::Respond, &service.as_topic())?;
        }
        Ok(service)
    }

    /// Hands the next request, or the news that one is off, to the client.
    pub(crate) fn poll_responders(&mut self, link: &mut Link<'_, Done>, cx: &mut Context<'_>) -> Poll<()> {
        for serving in self.responders.iter_mut().filter(|serving| !serving.over) {
            match serving.responder.poll_next(cx) {
                Poll::Ready(Some(Event::Request(incoming))) => {
                    self.handed.insert(incoming.id, serving.number);
                    link.socket.send(&frame(serving.number, *incoming), false);
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Event::Cancelled(request))) => {
                    self.handed.remove(&request);
                    self.forget_idle_responders();
                    link.socket.send(&hub::Cancel { request: request.to_string() }.encode(), false);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => serving.over = true,
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

fn frame(responder: u32, incoming: Incoming) -> String {
    let wait = incoming.wait().as_secs_f64();
    let headers = convert::unique(&incoming.headers);
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    hub::Request {
        id: incoming.id.to_string(),
        responder: u64::from(responder),
        service: incoming.service.as_str().to_owned(),
        headers,
        method: incoming.method,
        path: incoming.path,
        query: incoming.query,
        body: request::join(incoming.content_type.as_ref(), incoming.body),
        attempt: incoming.attempt,
        wait,
    }
    .encode()
}
