//! Who waits, who serves, who gets what.
//!
//! It is state and nothing else: it holds no lock, waits for nothing, and is told what time it is. Whom a change wakes
//! is left in [`Desk::wakes`], for when the lock around it is released.
//!
//! A request waits in its service's queue until a responder that is listening has room; then it is *assigned*, and
//! once the responder has taken it, it is *handed over*. What is only assigned when its responder goes away was not
//! begun and goes to another.

mod seat;
mod serving;
#[cfg(test)]
mod tests;

pub(super) use self::seat::{SeatId, SeatKind};

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::limits::{Limits, REQUESTS_BYTES_MAX};
use crate::name::{ServiceName, TopicName};
use crate::patterns::request_response::desk::seat::Seat;
use crate::patterns::request_response::request::{
    Reply, Request, RequestId, overloaded, request_not_found, shutting_down,
};

/// A service counts as attended for so long after somebody claimed from it.
pub(super) const ATTENDED: Duration = Duration::from_secs(30);
/// A claimed request that may be retried goes to another claim when nothing was heard of it for so long.
pub(super) const CLAIM_LEASE: Duration = Duration::from_secs(30);
/// What can be told of one request before its caller listens: that it was lost, and how it ended.
const NOTICES_MAX: usize = 2;

/// What happens to a request when there is nobody to serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It fails at once.
    None,
    /// It waits for a responder, and fails when it is lost in one's hands.
    Waits,
    /// It waits, and when it is lost its caller is told [`Notice::Lost`] and may have it tried again.
    Retries,
}

/// What a caller is told.
#[derive(Debug)]
pub(super) enum Notice {
    /// The responder is gone. The request rests until [`Desk::retry`]; a late reply is still taken.
    Lost,
    /// How it ended.
    Done(Result<Reply>),
}

/// A request that comes to the desk.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) id: RequestId,
    pub(super) request: Arc<Request>,
    pub(super) attempt: u32,
    pub(super) deadline: Instant,
    pub(super) patience: Patience,
    /// Where its progress goes.
    pub(super) reply_topic: Option<TopicName>,
}

#[derive(Debug)]
pub(super) struct Desk {
    /// Whom to wake once the lock is released.
    pub(super) wakes: Vec<Waker>,
    limits: Limits,
    services: HashMap<ServiceName, Service>,
    requests: HashMap<RequestId, Entry>,
    /// The bytes of `requests`.
    bytes: usize,
    /// Seats of all services.
    n_seats: usize,
    last_seat: u64,
    /// Counts assignments, so that of equally loaded responders the one that has waited longest is next.
    turn: u64,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Service {
    /// Requests that nobody has yet, oldest first.
    waiting: VecDeque<RequestId>,
    seats: HashMap<SeatId, Seat>,
    /// It counts as attended until then although no seat is taken.
    attended_until: Option<Instant>,
}

/// A request that has no reply yet.
#[derive(Debug)]
struct Entry {
    submission: Submission,
    place: Place,
    notices: mpsc::Sender<Notice>,
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In its service's queue.
    Waiting,
    /// Meant for a responder that has not taken it yet.
    Assigned(SeatId),
    /// In a responder's hands.
    With(SeatId),
    /// In the hands of somebody who claimed it and cannot be watched.
    Claimed {
        /// Then it is taken for lost.
        until: Instant,
    },
    /// Nowhere: lost, and its caller has been told.
    Lost,
}

impl Service {
    fn is_attended(&self, now: Instant) -> bool {
        self.seats.values().any(|seat| !seat.retired) || self.attended_until.is_some_and(|until| now < until)
    }
}

impl Entry {
    fn service(&self) -> &ServiceName {
        &self.submission.request.service
    }

    fn tell(&self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            tracing::trace!(id = %self.submission.id, "the caller is gone");
        }
    }
}

impl Desk {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            wakes: Vec::new(),
            limits,
            services: HashMap::new(),
            requests: HashMap::new(),
            bytes: 0,
            n_seats: 0,
            last_seat: 0,
            turn: 0,
            stopped: false,
        }
    }

    /// Refuses if nobody serves.
    pub(super) fn check_attended(&self, service: &ServiceName, now: Instant) -> Result<()> {
        if self.stopped {
            return Err(shutting_down());
        }
        if self.services.get(service).is_some_and(|service| service.is_attended(now)) {
            return Ok(());
        }
        Err(no_responder(service))
    }

    /// Takes a request in; what becomes of it is told through the receiver.
    pub(super) fn submit(&mut self, submission: Submission, now: Instant) -> Result<mpsc::Receiver<Notice>> {
        let name = submission.request.service.clone();
        match self.check_attended(&name, now) {
            Err(error) if self.stopped || submission.patience == Patience::None => return Err(error),
            _ => {}
        }
        let size = submission.request.size();
        if self.requests.len() >= self.limits.requests || self.bytes + size > REQUESTS_BYTES_MAX {
            return Err(overloaded());
        }
        let service = self.services.entry(name.clone()).or_default();
        if service.waiting.len() >= self.limits.requests_per_service {
            let detail = format!("too many requests wait for {}; try again in a moment", name.as_str());
            return Err(Error::new(Kind::Overloaded, detail));
        }
        service.waiting.push_back(submission.id);
        self.bytes += size;
        let (notices, receiver) = mpsc::channel(NOTICES_MAX);
        self.requests.insert(submission.id, Entry { submission, place: Place::Waiting, notices });
        self.dispatch(&name);
        Ok(receiver)
    }

    /// Tries a lost request again, before those that have waited less long.
    pub(super) fn retry(&mut self, id: RequestId, attempt: u32) {
        let Some(entry) = self.requests.get_mut(&id).filter(|entry| entry.place == Place::Lost) else { return };
        entry.place = Place::Waiting;
        entry.submission.attempt = attempt;
        let name = entry.service().clone();
        self.services.entry(name.clone()).or_default().waiting.push_front(id);
        self.dispatch(&name);
    }

    /// Ends a request for which nobody waits any more; whoever works on it is told.
    pub(super) fn withdraw(&mut self, id: RequestId) {
        let Some(entry) = self.remove(id) else { return };
        if let Place::With(seat) = entry.place
            && let Some(seat) = self.seat_mut(entry.service(), seat)
        {
            seat.cancelled.push_back(id);
            let waker = seat.waker.take();
            self.wakes.extend(waker);
        }
        self.dispatch(entry.service());
    }

    /// Ends a request with its reply.
    pub(super) fn reply(&mut self, service: &ServiceName, id: RequestId, reply: Reply) -> Result<()> {
        self.find(service, id)?;
        self.finish(id, Ok(reply));
        Ok(())
    }

    /// Which service a request is for.
    pub(super) fn service_of(&self, id: RequestId) -> Option<ServiceName> {
        self.requests.get(&id).map(|entry| entry.service().clone())
    }

    /// Notes that somebody works on a request, and tells where its progress goes.
    pub(super) fn progress(&mut self, service: &ServiceName, id: RequestId, now: Instant) -> Result<Option<TopicName>> {
        self.find(service, id)?;
        let entry = self.requests.get_mut(&id).ok_or_else(|| request_not_found(id))?;
        if let Place::Claimed { until } = &mut entry.place {
            *until = now + CLAIM_LEASE;
        }
        Ok(entry.submission.reply_topic.clone())
    }

    /// Ends everything, and refuses the rest.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.bytes = 0;
        for (_, entry) in self.requests.drain() {
            entry.tell(Notice::Done(Err(shutting_down())));
        }
        for service in self.services.values_mut() {
            service.waiting.clear();
            self.wakes.extend(service.seats.values_mut().filter_map(Seat::clear));
        }
    }

    fn find(&self, service: &ServiceName, id: RequestId) -> Result<()> {
        let found = self.requests.get(&id).is_some_and(|entry| entry.service() == service);
        if found { Ok(()) } else { Err(request_not_found(id)) }
    }

    fn finish(&mut self, id: RequestId, outcome: Result<Reply>) {
        let Some(entry) = self.remove(id) else { return };
        entry.tell(Notice::Done(outcome));
        self.dispatch(entry.service());
    }

    /// Takes a request out of everything.
    fn remove(&mut self, id: RequestId) -> Option<Entry> {
        let entry = self.requests.remove(&id)?;
        self.bytes -= entry.submission.request.size();
        match entry.place {
            Place::Waiting => {
                if let Some(service) = self.services.get_mut(entry.service()) {
                    service.waiting.retain(|waiting| *waiting != id);
                }
            }
            Place::Assigned(seat) => {
                if let Some(seat) = self.seat_mut(entry.service(), seat) {
                    seat.assigned.retain(|assigned| *assigned != id);
                }
            }
            Place::With(seat) => {
                if let Some(seat) = self.seat_mut(entry.service(), seat) {
                    seat.held.remove(&id);
                }
            }
            Place::Claimed { .. } | Place::Lost => {}
        }
        Some(entry)
    }

    fn seat_mut(&mut self, service: &ServiceName, seat: SeatId) -> Option<&mut Seat> {
        self.services.get_mut(service)?.seats.get_mut(&seat)
    }
}

fn no_responder(service: &ServiceName) -> Error {
    let detail = format!(
        "nobody serves {}; start a responder (/ws respond, or POST /responders/{}/claim)",
        service.as_str(),
        service.as_str()
    );
    Error::new(Kind::NoResponder, detail)
}
