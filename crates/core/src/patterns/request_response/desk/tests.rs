//! Any order of what callers and responders can do leaves the desk in order.

use std::collections::HashMap;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::message::Headers;
use crate::patterns::request_response::responder::Event;

#[derive(Debug, Clone)]
enum Step {
    Sit { claim: bool, capacity: usize },
    Poll(usize),
    Retire(usize),
    Leave(usize),
    Submit(Patience),
    Retry(usize),
    Withdraw(usize),
    Reply(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let patience = prop_oneof![Just(Patience::None), Just(Patience::Waits), Just(Patience::Retries)];
    prop_oneof![
        2 => (any::<bool>(), 1..4_usize).prop_map(|(claim, capacity)| {
            Step::Sit { claim, capacity: if claim { 1 } else { capacity } }
        }),
        8 => (0..8_usize).prop_map(Step::Poll),
        1 => (0..8_usize).prop_map(Step::Retire),
        2 => (0..8_usize).prop_map(Step::Leave),
        6 => patience.prop_map(Step::Submit),
        2 => (0..16_usize).prop_map(Step::Retry),
        2 => (0..16_usize).prop_map(Step::Withdraw),
        4 => (0..16_usize).prop_map(Step::Reply),
        1 => (1..40_u64).prop_map(Step::Pass),
    ]
}

struct Model {
    desk: Desk,
    now: Instant,
    name: ServiceName,
    seats: Vec<SeatId>,
    retired: Vec<SeatId>,
    /// Requests that were taken in, and what their callers have heard.
    callers: Vec<(RequestId, mpsc::Receiver<Notice>)>,
    n_done: HashMap<RequestId, usize>,
    last_id: u128,
}

impl Model {
    fn new() -> Self {
        let limits = Limits { requests_per_service: 5, requests: 12, responders: 6, ..Limits::default() };
        Self {
            desk: Desk::new(limits),
            now: Instant::now(),
            name: ServiceName::parse("echo").unwrap(),
            seats: Vec::new(),
            retired: Vec::new(),
            callers: Vec::new(),
            n_done: HashMap::new(),
            last_id: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        let caller = |i: usize| self.callers.get(i).map(|(id, _)| *id);
        match *step {
            Step::Sit { claim, capacity } => {
                let kind = if claim { SeatKind::Claim } else { SeatKind::Registered };
                self.seats.extend(self.desk.sit(&self.name, kind, capacity, "test", self.now));
            }
            Step::Poll(i) => {
                let Some(seat) = self.seats.get(i).copied() else { return };
                let event = self.desk.poll(&self.name, seat, &mut Context::from_waker(Waker::noop()), self.now);
                if let Poll::Ready(Some(Event::Request(incoming))) = event {
                    assert!(!self.n_done.contains_key(&incoming.id), "a finished request was handed out");
                    assert!(!self.retired.contains(&seat), "one that wants no more got a request");
                }
            }
            Step::Retire(i) if i < self.seats.len() => {
                self.desk.retire(&self.name, self.seats[i], self.now);
                self.retired.push(self.seats[i]);
            }
            Step::Leave(i) if i < self.seats.len() => {
                let seat = self.seats.remove(i);
                self.desk.leave(&self.name, seat, self.now);
            }
            Step::Submit(patience) => self.submit(patience),
            Step::Retry(i) => caller(i).into_iter().for_each(|id| self.desk.retry(id, 2)),
            Step::Withdraw(i) if i < self.callers.len() => {
                let (id, _) = self.callers.remove(i);
                self.desk.withdraw(id);
                self.n_done.insert(id, 1);
            }
            Step::Reply(i) => {
                let Some(id) = caller(i) else { return };
                let reply = Reply { status: 200, headers: Headers::none(), content_type: None, body: "x".into() };
                let taken = self.desk.reply(&self.name, id, reply).is_ok();
                assert_eq!(taken, !self.n_done.contains_key(&id));
            }
            Step::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.desk.keep_time(self.now);
            }
            Step::Retire(_) | Step::Leave(_) | Step::Withdraw(_) => {}
        }
    }

    fn submit(&mut self, patience: Patience) {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        let submission = Submission {
            id,
            request: Arc::new(Request::new(self.name.clone(), "GET", "/")),
            attempt: 1,
            deadline: self.now + Duration::from_secs(30),
            patience,
            reply_topic: None,
        };
        if let Ok(notices) = self.desk.submit(submission, self.now) {
            self.callers.push((id, notices));
        }
    }

    /// Every caller hears how it ended at most once, and every request is in exactly one place.
    fn check(&mut self) {
        for (id, notices) in &mut self.callers {
            while let Ok(notice) = notices.try_recv() {
                if matches!(notice, Notice::Done(_)) {
                    *self.n_done.entry(*id).or_default() += 1;
                }
            }
            let n_done = self.n_done.get(id).copied().unwrap_or_default();
            assert_eq!(n_done, usize::from(!self.desk.requests.contains_key(id)));
        }
        let desk = &self.desk;
        assert_eq!(desk.n_seats, self.seats.len());
        assert_eq!(desk.bytes, desk.requests.values().map(|entry| entry.submission.request.size()).sum::<usize>());
        assert!(desk.requests.len() <= desk.limits.requests);
        let idle = Service::default();
        let service = desk.services.get(&self.name).unwrap_or(&idle);
        for (id, entry) in &desk.requests {
            let holders = |held: fn(&Seat, &RequestId) -> bool| -> Vec<SeatId> {
                service.seats.iter().filter(|(_, seat)| held(seat, id)).map(|(id, _)| *id).collect()
            };
            let assigned = holders(|seat, id| seat.assigned.contains(id));
            let held = holders(|seat, id| seat.held.contains(id));
            let waiting = service.waiting.iter().filter(|waiting| *waiting == id).count();
            let expected = match entry.place {
                Place::Waiting => (1, vec![], vec![]),
                Place::Assigned(seat) => (0, vec![seat], vec![]),
                Place::With(seat) => (0, vec![], vec![seat]),
                Place::Claimed { .. } | Place::Lost => (0, vec![], vec![]),
            };
            assert_eq!((waiting, assigned, held), expected, "{:?}", entry.place);
        }
        assert!(service.waiting.iter().all(|id| desk.requests.contains_key(id)));
        for seat in service.seats.values() {
            assert!(seat.load() <= seat.capacity, "{seat:?}");
            assert!(seat.assigned.iter().chain(&seat.held).all(|id| desk.requests.contains_key(id)));
            let idle = seat.listening && seat.has_room();
            assert!(!idle || service.waiting.is_empty(), "requests wait although a responder listens");
        }
        let impatient = |id| desk.requests.get(id).is_some_and(|entry| entry.submission.patience == Patience::None);
        let claimed_before = service.attended_until.is_some();
        let serving = service.seats.values().any(|seat| !seat.retired);
        assert!(serving || claimed_before || !service.waiting.iter().any(impatient));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_desk_stays_in_order(steps in proptest::collection::vec(step(), 1..120)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            model.check();
        }
        model.desk.stop();
        model.check();
        prop_assert!(model.desk.requests.is_empty());
    }
}
