//! The desk behind its lock, the tickets of those who wait at it, and the requests on disk that are under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::error::{Error, Kind, Result};
use crate::limits::{Limits, REQUESTS_BYTES_MAX};
use crate::name::TopicName;
use crate::patterns::request_response::desk::{Desk, Notice, Patience, Submission};
use crate::patterns::request_response::kept::Flight;
use crate::patterns::request_response::request::{Request, RequestId, overloaded};
use crate::randomness::Randomness;

/// How long a stopping hub waits for kept requests to write how they ended.
const LAND_MAX: Duration = Duration::from_secs(5);

/// Who serves what, and what is under way.
#[derive(Debug)]
pub(crate) struct Services {
    pub(super) randomness: Arc<dyn Randomness>,
    desk: Mutex<Desk>,
    /// Keyed requests under way in this process, by the topic that records the key. Never locked together with `desk`.
    flights: Mutex<HashMap<TopicName, Arc<Flight>>>,
    /// All kept requests under way.
    n_flights: watch::Sender<usize>,
    n_flights_max: usize,
    /// Bytes of kept requests whose callers wait: duplicates are not at the desk.
    kept_bytes: AtomicUsize,
}

impl Services {
    pub(crate) fn new(limits: &Limits, randomness: Arc<dyn Randomness>) -> Self {
        Self {
            randomness,
            desk: Mutex::new(Desk::new(limits.clone())),
            flights: Mutex::default(),
            n_flights: watch::Sender::new(0),
            n_flights_max: limits.requests,
            kept_bytes: AtomicUsize::new(0),
        }
    }

    /// Ends all requests, and returns when those on disk have written how they ended.
    pub(crate) async fn stop(&self) {
        self.with(Desk::stop);
        let mut n_flights = self.n_flights.subscribe();
        if timeout(LAND_MAX, n_flights.wait_for(|n| *n == 0)).await.is_err() {
            tracing::warn!("some requests could not write how they ended; their keys can be tried again");
        }
    }

    pub(crate) fn keep_time(&self) {
        self.with(|desk| desk.keep_time(Instant::now()));
    }

    /// Does something at the desk; whoever it concerns is woken when the lock is released.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.desk.lock();
        let result = act(&mut desk);
        let wakes = std::mem::take(&mut desk.wakes);
        drop(desk);
        wakes.into_iter().for_each(Waker::wake);
        result
    }

    /// Brings a request that lives in memory to the desk.
    pub(super) fn submit(
        self: &Arc<Self>,
        request: Arc<Request>,
        deadline: Instant,
        patience: Patience,
    ) -> Result<Ticket> {
        let id = self.new_id();
        self.submit_as(Submission { id, request, attempt: 1, deadline, patience, reply_topic: None })
    }

    pub(super) fn submit_as(self: &Arc<Self>, submission: Submission) -> Result<Ticket> {
        let id = submission.id;
        let notices = self.with(|desk| desk.submit(submission, Instant::now()))?;
        Ok(Ticket { services: Arc::clone(self), id, notices })
    }

    /// Room for a kept request while its caller waits.
    pub(super) fn make_room(self: &Arc<Self>, bytes: usize) -> Result<Room> {
        let room = Room { services: Arc::clone(self), bytes };
        if self.kept_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes > REQUESTS_BYTES_MAX {
            return Err(overloaded());
        }
        Ok(room)
    }

    pub(super) fn new_id(&self) -> RequestId {
        RequestId(self.randomness.draw())
    }

    /// The flight of a key, if one is under way; otherwise `new` takes off, and the landing is the caller's to see to.
    pub(super) fn board(
        self: &Arc<Self>,
        key_topic: Option<&TopicName>,
        new: impl FnOnce() -> Flight,
    ) -> Result<(Arc<Flight>, Option<Landing>)> {
        let mut flights = self.flights.lock();
        if let Some(flight) = key_topic.and_then(|key| flights.get(key)) {
            return Ok((Arc::clone(flight), None));
        }
        if *self.n_flights.borrow() >= self.n_flights_max {
            return Err(overloaded());
        }
        let flight = Arc::new(new());
        if let Some(key) = key_topic {
            flights.insert(key.clone(), Arc::clone(&flight));
        }
        self.n_flights.send_modify(|n| *n += 1);
        Ok((flight, Some(Landing { services: Arc::clone(self), key_topic: key_topic.cloned() })))
    }
}

/// Gives its bytes back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    services: Arc<Services>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.services.kept_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Ends a flight when it is dropped, however that comes about.
#[derive(Debug)]
pub(super) struct Landing {
    services: Arc<Services>,
    key_topic: Option<TopicName>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(key) = &self.key_topic {
            self.services.flights.lock().remove(key);
        }
        self.services.n_flights.send_modify(|n| *n -= 1);
    }
}

/// The right to a request's reply. Dropping it withdraws the request.
#[derive(Debug)]
pub(super) struct Ticket {
    services: Arc<Services>,
    id: RequestId,
    notices: mpsc::Receiver<Notice>,
}

impl Ticket {
    /// What happens to the request next. Dropping the future loses nothing.
    pub(super) async fn notice(&mut self) -> Notice {
        let notice = self.notices.recv().await;
        notice.unwrap_or_else(|| Notice::Done(Err(Error::new(Kind::Internal, "a request was forgotten"))))
    }

    /// Has a lost request tried again.
    pub(super) fn retry(&self, attempt: u32) {
        self.services.with(|desk| desk.retry(self.id, attempt));
    }

    /// Ends the request; gives its outcome if it has one already.
    pub(super) fn withdraw(&mut self) -> Option<Notice> {
        self.services.with(|desk| desk.withdraw(self.id));
        std::iter::from_fn(|| self.notices.try_recv().ok()).find(|notice| matches!(notice, Notice::Done(_)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.services.with(|desk| desk.withdraw(self.id));
    }
}
