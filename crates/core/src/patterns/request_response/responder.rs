//! The responder's half: registered responders, and claims for those who cannot stay connected.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::error::Result;
use crate::hub::Hub;
use crate::message::{ContentType, Headers, NewMessage};
use crate::name::ServiceName;
use crate::patterns::request_response::desk::{SeatId, SeatKind, Submission};
use crate::patterns::request_response::request::{Reply, RequestId, shutting_down};
use crate::patterns::request_response::services::Services;

/// A request as a responder gets it.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What to answer it by.
    pub id: RequestId,
    /// Of which service.
    pub service: ServiceName,
    /// The method, as in HTTP.
    pub method: String,
    /// What the service is asked for: begins with `/`, percent-encoded as it came.
    pub path: String,
    /// The query without `?`; empty if there is none.
    pub query: String,
    /// The caller's headers.
    pub headers: Headers,
    /// The body's type.
    pub content_type: Option<ContentType>,
    /// The body.
    pub body: Bytes,
    /// How many times it has been handed out, this one included. Above 1, an earlier attempt may have done it.
    pub attempt: u32,
    /// Nobody waits for the reply after this.
    pub deadline: Instant,
}

impl Incoming {
    pub(super) fn of(submission: &Submission) -> Self {
        let request = &submission.request;
        Self {
            id: submission.id,
            service: request.service.clone(),
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            content_type: request.content_type.clone(),
            body: request.body.clone(),
            attempt: submission.attempt,
            deadline: submission.deadline,
        }
    }

    /// How long the reply is still waited for.
    pub fn wait(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a responder hears.
#[derive(Debug, Clone)]
pub enum Event {
    /// A request to answer.
    Request(Box<Incoming>),
    /// A request that was handed over needs no answer any more: its deadline has passed, or its caller is gone.
    Cancelled(RequestId),
}

/// A registered responder. It holds at most as many requests as it said; dropping it loses those in its hands.
pub struct Responder {
    services: Arc<Services>,
    service: ServiceName,
    seat: SeatId,
}

impl Responder {
    /// What it serves.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The next request or cancellation; none when the hub is stopping. What is returned counts as handed over.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Takes no more requests; what was handed over stays in its hands until it replies or is dropped. From now on
    /// [`Responder::next`] tells of cancellations only.
    pub fn retire(&mut self) {
        self.services.with(|desk| desk.retire(&self.service, self.seat, Instant::now()));
    }

    /// The same for those who poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.services.with(|desk| desk.poll(&self.service, self.seat, cx, Instant::now()))
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.services.with(|desk| desk.leave(&self.service, self.seat, Instant::now()));
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("service", &self.service).field("seat", &self.seat).finish_non_exhaustive()
    }
}

impl Hub {
    /// Registers a responder that serves up to `concurrency` requests at once; `label` is what the log calls it.
    ///
    /// It gets requests while it asks for them with [`Responder::next`].
    pub fn respond(&self, service: &ServiceName, concurrency: usize, label: &str) -> Result<Responder> {
        self.sit(service, SeatKind::Registered, concurrency, label)
    }

    /// Takes one request, waiting for it until the time is up, for a responder that does not stay connected.
    ///
    /// The service counts as attended for 30 s from here on: requests wait instead of failing. Nobody can see whether
    /// the claimer is still there, so a claimed request without a reply ends at its deadline; one with a key is tried
    /// again when neither reply nor progress came for 30 s, and the first reply counts.
    ///
    /// Dropping the future before it is ready leaves the request for others.
    pub async fn claim(&self, service: &ServiceName, until: Instant) -> Result<Option<Incoming>> {
        let mut claimer = self.sit(service, SeatKind::Claim, 1, "claim")?;
        loop {
            match timeout_at(until, claimer.next()).await {
                Ok(Some(Event::Request(incoming))) => return Ok(Some(*incoming)),
                // It holds nothing that could be cancelled.
                Ok(Some(Event::Cancelled(_))) => {}
                Ok(None) => return Err(shutting_down()),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Answers a request that was handed out by this service. The first reply counts; then, and after the deadline,
    /// there is nothing left to answer ([`RequestNotFound`](crate::error::Kind::RequestNotFound)).
    pub fn reply(&self, service: &ServiceName, id: RequestId, reply: Reply) -> Result<()> {
        reply.check(&self.limits)?;
        self.services.with(|desk| desk.reply(service, id, reply))
    }

    /// Tells how far a request has come: a message on its reply topic, if it has one.
    ///
    /// When it returns, the message is committed, so that a reply that is given then comes behind it.
    pub async fn progress(&self, service: &ServiceName, id: RequestId, message: NewMessage) -> Result<()> {
        let reply_topic = self.services.with(|desk| desk.progress(service, id, Instant::now()))?;
        let Some(reply_topic) = reply_topic else { return Ok(()) };
        self.append_progress(&reply_topic, id, message).await
    }

    /// Which service a request without a reply is for.
    pub fn service_of(&self, id: RequestId) -> Option<ServiceName> {
        self.services.with(|desk| desk.service_of(id))
    }

    /// Whether somebody serves requests to a service now.
    pub fn is_attended(&self, service: &ServiceName) -> bool {
        self.services.with(|desk| desk.check_attended(service, Instant::now())).is_ok()
    }

    fn sit(&self, service: &ServiceName, kind: SeatKind, capacity: usize, label: &str) -> Result<Responder> {
        let seat = self.services.with(|desk| desk.sit(service, kind, capacity, label, Instant::now()))?;
        Ok(Responder { services: Arc::clone(&self.services), service: service.clone(), seat })
    }
}
