//! The responders' side of the desk: sit down, take, leave; and what time does to requests in their hands.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::name::ServiceName;
use crate::patterns::request_response::desk::seat::{Seat, SeatId, SeatKind};
use crate::patterns::request_response::desk::{
    ATTENDED, CLAIM_LEASE, Desk, Notice, Patience, Place, Service, no_responder,
};
use crate::patterns::request_response::request::{RequestId, responder_lost, shutting_down};
use crate::patterns::request_response::responder::{Event, Incoming};

impl Desk {
    /// Gives a responder its seat.
    pub(in crate::patterns::request_response) fn sit(
        &mut self,
        name: &ServiceName,
        kind: SeatKind,
        capacity: usize,
        label: &str,
        now: Instant,
    ) -> Result<SeatId> {
        if self.stopped {
            return Err(shutting_down());
        }
        // Services without a seat are few (one stays for as long as it is attended), but anybody may name new ones.
        let full = self.services.len() >= self.limits.responders && !self.services.contains_key(name);
        if self.n_seats >= self.limits.responders || full {
            let detail = format!("the hub has its limit of {} responders; use fewer", self.limits.responders);
            return Err(Error::new(Kind::TooMany, detail));
        }
        self.n_seats += 1;
        self.last_seat += 1;
        self.turn += 1;
        let id = SeatId(self.last_seat);
        let capacity = capacity.clamp(1, self.limits.requests_per_service);
        let service = self.services.entry(name.clone()).or_default();
        if kind == SeatKind::Claim {
            service.attended_until = Some(now + ATTENDED);
        }
        service.seats.insert(id, Seat::new(kind, label, capacity, self.turn));
        Ok(id)
    }

    /// The next thing a responder is to hear; none when the hub is stopping.
    pub(in crate::patterns::request_response) fn poll(
        &mut self,
        name: &ServiceName,
        id: SeatId,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Option<Event>> {
        if self.stopped {
            return Poll::Ready(None);
        }
        let Some(service) = self.services.get_mut(name) else { return Poll::Ready(None) };
        let Some(seat) = service.seats.get_mut(&id) else { return Poll::Ready(None) };
        (seat.listening, seat.overdue) = (false, false);
        if let Some(cancelled) = seat.cancelled.pop_front() {
            // Its room is free again.
            return Poll::Ready(Some(Event::Cancelled(cancelled)));
        }
        let next = match seat.assigned.pop_front() {
            Some(request) => Some(request),
            None if seat.has_room() => service.waiting.pop_front(),
            None => None,
        };
        let incoming = next.and_then(|request| {
            let entry = self.requests.get_mut(&request)?;
            entry.place = match seat.kind {
                SeatKind::Registered => Place::With(id),
                SeatKind::Claim => Place::Claimed { until: now + CLAIM_LEASE },
            };
            Some(Incoming::of(&entry.submission))
        });
        if let Some(incoming) = incoming {
            if seat.kind == SeatKind::Registered {
                seat.held.insert(incoming.id);
            }
            self.turn += 1;
            seat.turn = self.turn;
            return Poll::Ready(Some(Event::Request(Box::new(incoming))));
        }
        seat.listening = true;
        seat.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A responder takes nothing more: what it had not taken goes to others, what it has it may finish.
    pub(in crate::patterns::request_response) fn retire(&mut self, name: &ServiceName, id: SeatId, now: Instant) {
        let Some(seat) = self.seat_mut(name, id) else { return };
        seat.retired = true;
        let assigned = std::mem::take(&mut seat.assigned);
        self.put_back(name, assigned.into_iter());
        self.dispatch(name);
        self.fail_unattended(name, now);
    }

    /// Takes a responder's seat away: what it had not taken goes to others, what it had is lost.
    pub(in crate::patterns::request_response) fn leave(&mut self, name: &ServiceName, id: SeatId, now: Instant) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(seat) = service.seats.remove(&id) else { return };
        self.n_seats -= 1;
        if seat.kind == SeatKind::Claim {
            service.attended_until = Some(now + ATTENDED);
        }
        self.put_back(name, seat.assigned.iter().copied());
        if !seat.held.is_empty() {
            tracing::debug!(service = name.as_str(), responder = &*seat.label, requests = seat.held.len(), "lost");
        }
        for request in seat.held {
            self.lose(request);
        }
        self.dispatch(name);
        self.fail_unattended(name, now);
    }

    /// Hands waiting requests to the responders that listen and have the fewest, as far as there is room.
    pub(super) fn dispatch(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        while let Some(request) = service.waiting.front().copied() {
            let Some(id) = service.least_loaded() else { return };
            let Some(seat) = service.seats.get_mut(&id) else { return };
            service.waiting.pop_front();
            if let Some(entry) = self.requests.get_mut(&request) {
                entry.place = Place::Assigned(id);
                seat.assigned.push_back(request);
                self.turn += 1;
                seat.turn = self.turn;
                self.wakes.extend(seat.waker.take());
            }
        }
    }

    /// Does what time demands.
    pub(in crate::patterns::request_response) fn keep_time(&mut self, now: Instant) {
        let lapsed = |place: &Place| matches!(place, Place::Claimed { until } if *until <= now);
        let retried = self.requests.iter().filter(|(_, entry)| entry.submission.patience == Patience::Retries);
        let lost: Vec<RequestId> = retried.filter(|(_, entry)| lapsed(&entry.place)).map(|(id, _)| *id).collect();
        for request in lost {
            self.lose(request);
        }
        self.reassign_overdue();
        self.services
            .retain(|_, service| service.is_attended(now) || !service.waiting.is_empty() || !service.seats.is_empty());
    }

    /// Takes from responders what they did not pick up for a whole tick: they are busy with something else.
    fn reassign_overdue(&mut self) {
        let mut overdue = Vec::new();
        for (name, service) in &mut self.services {
            let n_seats = service.seats.len();
            for seat in service.seats.values_mut().filter(|seat| !seat.assigned.is_empty()) {
                if seat.overdue && n_seats > 1 {
                    seat.listening = false;
                    overdue.push((name.clone(), std::mem::take(&mut seat.assigned)));
                }
                seat.overdue = true;
            }
        }
        for (name, requests) in overdue {
            self.put_back(&name, requests.into_iter());
            self.dispatch(&name);
        }
    }

    /// Puts requests back at the front of the queue, in their order.
    fn put_back(&mut self, name: &ServiceName, requests: impl DoubleEndedIterator<Item = RequestId>) {
        let Some(service) = self.services.get_mut(name) else { return };
        for request in requests.rev() {
            if let Some(entry) = self.requests.get_mut(&request) {
                entry.place = Place::Waiting;
                service.waiting.push_front(request);
            }
        }
    }

    /// The one who had a request is gone.
    fn lose(&mut self, id: RequestId) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        if entry.submission.patience == Patience::Retries {
            entry.place = Place::Lost;
            entry.tell(Notice::Lost);
        } else {
            self.finish(id, Err(responder_lost()));
        }
    }

    /// Fails those that do not wait for a responder to come.
    fn fail_unattended(&mut self, name: &ServiceName, now: Instant) {
        let Some(service) = self.services.get(name).filter(|service| !service.is_attended(now)) else { return };
        let impatient =
            |id: &&RequestId| self.requests.get(id).is_some_and(|entry| entry.submission.patience == Patience::None);
        let failing: Vec<RequestId> = service.waiting.iter().filter(impatient).copied().collect();
        for request in failing {
            self.finish(request, Err(no_responder(name)));
        }
    }
}

impl Service {
    /// The responder that listens, has room and has the fewest requests; of several, the one whose turn is longest ago.
    fn least_loaded(&self) -> Option<SeatId> {
        let ready = self.seats.iter().filter(|(_, seat)| seat.listening && seat.has_room());
        ready.min_by_key(|(_, seat)| (seat.load(), seat.turn)).map(|(id, _)| *id)
    }
}
