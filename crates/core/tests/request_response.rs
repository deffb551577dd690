//! Request-response: who gets a request, what becomes of it when its responder or its caller goes away, and what keys
//! and reply topics promise.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

use std::sync::Arc;
use std::time::Duration;

use quintet_core::clock::{ManualClock, Timestamp};
use quintet_core::cursor::{LogId, Since};
use quintet_core::engine::memory::MemoryEngine;
use quintet_core::error::{Error, Kind};
use quintet_core::hub::{Hub, HubConfig};
use quintet_core::limits::Limits;
use quintet_core::message::{ContentType, Headers, Message, NewMessage};
use quintet_core::name::{ServiceName, TopicName};
use quintet_core::patterns::request_response::request::{Answer, Reply, Request, RequestId};
use quintet_core::patterns::request_response::responder::{Event, Incoming, Responder};
use quintet_core::randomness::SeededRandomness;
use quintet_core::reading::Read;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, timeout};

type Answering = JoinHandle<Result<Answer, Error>>;

struct World {
    hub: Arc<Hub>,
    engine: Arc<MemoryEngine>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let engine = Arc::new(MemoryEngine::new(LogId(1), limits.clone()));
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
        let hub = start(&engine, &clock, limits, 1);
        Self { hub, engine, clock }
    }

    /// A new process on the same log, without the old one having ended well.
    fn after_crash(self) -> Self {
        let hub = start(&self.engine, &self.clock, Limits::default(), 2);
        Self { hub, ..self }
    }

    fn respond(&self, concurrency: usize) -> Responder {
        self.hub.respond(&echo(), concurrency, "test").unwrap()
    }

    fn send(&self, request: Request) -> Answering {
        let hub = Arc::clone(&self.hub);
        tokio::spawn(async move { hub.request(request).await })
    }

    fn reply(&self, id: RequestId, text: &str) -> Result<(), Error> {
        self.hub.reply(&echo(), id, reply(text))
    }

    async fn messages(&self, topic: &TopicName) -> (Vec<Arc<Message>>, bool) {
        let page = self.hub.read(&Read::new(topic.clone(), Since::Start)).await.unwrap();
        (page.batch.messages().to_vec(), page.closed)
    }
}

fn start(engine: &Arc<MemoryEngine>, clock: &Arc<ManualClock>, limits: Limits, seed: u64) -> Arc<Hub> {
    Hub::start(HubConfig {
        limits,
        clock: Arc::<ManualClock>::clone(clock),
        randomness: Arc::new(SeededRandomness::new(seed)),
        shards: 1,
        ..HubConfig::new(Arc::<MemoryEngine>::clone(engine))
    })
    .unwrap()
}

fn echo() -> ServiceName {
    ServiceName::parse("echo").unwrap()
}

fn get(path: &str) -> Request {
    Request::new(echo(), "GET", path)
}

fn keyed(path: &str, key: &str) -> Request {
    Request { key: Some(key.into()), caller: "anna".into(), ..get(path) }
}

fn with_reply_on_topic(path: &str) -> Request {
    Request { respond_async: true, ..get(path) }
}

fn reply(text: &str) -> Reply {
    let content_type = Some(ContentType::parse("text/plain").unwrap());
    let headers = Headers::new([("x-by", "test")]).unwrap();
    Reply { status: 200, headers, content_type, body: text.to_owned().into() }
}

/// The next request; one must come at once.
async fn take(responder: &mut Responder) -> Incoming {
    match timeout(Duration::from_millis(1), responder.next()).await {
        Ok(Some(Event::Request(incoming))) => *incoming,
        other => panic!("expected a request, got {other:?}"),
    }
}

async fn take_nothing(responder: &mut Responder) {
    let next = timeout(Duration::from_millis(1), responder.next()).await;
    assert!(next.is_err(), "expected nothing, got {next:?}");
}

async fn take_cancellation(responder: &mut Responder) -> RequestId {
    match timeout(Duration::from_millis(1), responder.next()).await {
        Ok(Some(Event::Cancelled(id))) => id,
        other => panic!("expected a cancellation, got {other:?}"),
    }
}

#[track_caller]
fn check_reply(answer: Result<Answer, Error>, text: &str, replayed: bool) {
    assert_eq!(answer.unwrap(), Answer::Reply { reply: reply(text), replayed });
}

#[track_caller]
fn check_error(answer: Result<Answer, Error>, kind: &Kind) {
    assert_eq!(answer.unwrap_err().kind(), kind);
}

#[tokio::test(start_paused = true)]
async fn a_request_reaches_a_responder_as_it_is_and_its_reply_comes_back() {
    let world = World::new();
    let mut responder = world.respond(1);
    let mut request = Request::new(echo(), "POST", "/a/b");
    request.query = "x=1".into();
    request.headers = Headers::new([("x-in", "1")]).unwrap();
    request.content_type = Some(ContentType::parse("text/plain").unwrap());
    request.body = "hello".into();
    let answer = world.send(request);
    let incoming = take(&mut responder).await;
    assert_eq!((&*incoming.method, &*incoming.path, &*incoming.query), ("POST", "/a/b", "x=1"));
    assert_eq!((incoming.headers.get("x-in"), &incoming.body[..]), (Some("1"), &b"hello"[..]));
    assert_eq!((incoming.attempt, incoming.wait().as_secs()), (1, 30));
    world.reply(incoming.id, "done").unwrap();
    check_reply(answer.await.unwrap(), "done", false);
    assert_eq!(world.reply(incoming.id, "again").unwrap_err().kind(), &Kind::RequestNotFound);
}

#[tokio::test(start_paused = true)]
async fn without_a_responder_it_fails_at_once() {
    let world = World::new();
    let before = Instant::now();
    for request in [get("/"), keyed("/", "k"), with_reply_on_topic("/")] {
        check_error(world.hub.request(request).await, &Kind::NoResponder);
    }
    assert_eq!(Instant::now(), before);
}

#[tokio::test(start_paused = true)]
async fn requests_go_to_the_least_loaded_and_no_further_than_its_concurrency() {
    let world = World::new();
    let (mut a, mut b) = (world.respond(2), world.respond(3));
    take_nothing(&mut a).await;
    take_nothing(&mut b).await;
    let answers: Vec<_> = (0..6).map(|i| world.send(get(&format!("/{i}")))).collect();
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(take(&mut a).await);
        ids.push(take(&mut b).await);
    }
    take_nothing(&mut a).await;
    ids.push(take(&mut b).await);
    take_nothing(&mut b).await;
    // The sixth waits until somebody has room, in the order of arrival.
    world.reply(ids[0].id, "ok").unwrap();
    let sixth = take(&mut a).await;
    assert_eq!(sixth.path, "/5");
    ids.push(sixth);
    for incoming in &ids[1..] {
        world.reply(incoming.id, "ok").unwrap();
    }
    for answer in answers {
        check_reply(answer.await.unwrap(), "ok", false);
    }
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_does_not_listen_gets_nothing_and_keeps_nothing() {
    let world = World::new();
    let (mut busy, mut idle) = (world.respond(1), world.respond(1));
    take_nothing(&mut idle).await;
    let first = world.send(get("/1"));
    let one = take(&mut idle).await;
    world.reply(one.id, "1").unwrap();
    check_reply(first.await.unwrap(), "1", false);
    // Now it listens, is meant for the next one, and does not pick it up.
    take_nothing(&mut busy).await;
    let _second = world.send(get("/2"));
    take_nothing(&mut idle).await;
    for _ in 0..2 {
        advance(Duration::from_millis(600)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(take(&mut idle).await.path, "/2");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_handed_over_goes_to_another_and_what_was_is_lost() {
    let world = World::new();
    let mut a = world.respond(2);
    take_nothing(&mut a).await;
    let first = world.send(get("/1"));
    let one = take(&mut a).await;
    take_nothing(&mut a).await;
    let second = world.send(get("/2"));
    tokio::task::yield_now().await;
    let mut b = world.respond(2);
    drop(a);
    check_error(first.await.unwrap(), &Kind::ResponderLost);
    assert_eq!(world.reply(one.id, "late").unwrap_err().kind(), &Kind::RequestNotFound);
    let two = take(&mut b).await;
    assert_eq!((&*two.path, two.attempt), ("/2", 1));
    world.reply(two.id, "2").unwrap();
    check_reply(second.await.unwrap(), "2", false);
}

#[tokio::test(start_paused = true)]
async fn when_the_last_responder_goes_those_who_wait_are_told() {
    let world = World::new();
    let responder = world.respond(1);
    let answer = world.send(get("/"));
    tokio::task::yield_now().await;
    drop(responder);
    check_error(answer.await.unwrap(), &Kind::NoResponder);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_request_and_its_responder_hears_of_it() {
    let world = World::new();
    let mut responder = world.respond(1);
    let before = Instant::now();
    let answer = world.send(Request { wait: Some(Duration::from_secs(5)), ..get("/1") });
    let waiting = world.send(Request { wait: Some(Duration::from_secs(5)), ..get("/2") });
    let one = take(&mut responder).await;
    check_error(answer.await.unwrap(), &Kind::DeadlinePassed);
    check_error(waiting.await.unwrap(), &Kind::DeadlinePassed);
    assert_eq!(before.elapsed().as_secs(), 5);
    assert_eq!(take_cancellation(&mut responder).await, one.id);
    // The one that had waited is out of the queue, and there is room again.
    let _third = world.send(get("/3"));
    assert_eq!(take(&mut responder).await.path, "/3");
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_bounded() {
    let world = World::new();
    let mut responder = world.respond(1);
    let _answer = world.send(Request { wait: Some(Duration::from_secs(86_400)), ..get("/") });
    assert!(take(&mut responder).await.wait() <= Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_cancels_its_request() {
    let world = World::new();
    let mut responder = world.respond(1);
    let answer = world.send(get("/"));
    let incoming = take(&mut responder).await;
    answer.abort();
    assert!(answer.await.unwrap_err().is_cancelled());
    assert_eq!(take_cancellation(&mut responder).await, incoming.id);
    assert_eq!(world.reply(incoming.id, "x").unwrap_err().kind(), &Kind::RequestNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_keyed_request_is_tried_again_when_its_responder_is_lost() {
    let world = World::new();
    let mut a = world.respond(1);
    let answer = world.send(keyed("/", "k"));
    let one = take(&mut a).await;
    // Nobody serves for a while; the request waits.
    drop(a);
    advance(Duration::from_secs(3)).await;
    let mut b = world.respond(1);
    let two = take(&mut b).await;
    assert_eq!((two.id, two.attempt), (one.id, 2));
    world.reply(two.id, "done").unwrap();
    check_reply(answer.await.unwrap(), "done", false);
}

#[tokio::test(start_paused = true)]
async fn a_keyed_request_that_kills_its_responders_stops_somewhere() {
    let world = World::new();
    let answer = {
        let mut first = world.respond(1);
        let answer = world.send(keyed("/", "k"));
        take(&mut first).await;
        answer
    };
    for attempt in 2..=5 {
        let mut next = world.respond(1);
        assert_eq!(take(&mut next).await.attempt, attempt);
    }
    check_error(answer.await.unwrap(), &Kind::ResponderLost);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_gives_the_stored_reply_and_runs_nothing() {
    let world = World::new();
    let mut responder = world.respond(4);
    let answer = world.send(keyed("/", "k"));
    let incoming = take(&mut responder).await;
    world.reply(incoming.id, "done").unwrap();
    check_reply(answer.await.unwrap(), "done", false);
    check_reply(world.hub.request(keyed("/", "k")).await, "done", true);
    take_nothing(&mut responder).await;
    // A stored reply needs no responder, and outlives the process if the log does.
    drop(responder);
    check_reply(world.hub.request(keyed("/", "k")).await, "done", true);
    let world = world.after_crash();
    check_reply(world.hub.request(keyed("/", "k")).await, "done", true);
    check_error(world.hub.request(keyed("/other", "k")).await, &Kind::KeyReused);
    // The window is over.
    world.clock.advance(Duration::from_secs(24 * 3600 + 31));
    check_error(world.hub.request(keyed("/", "k")).await, &Kind::NoResponder);
}

#[tokio::test(start_paused = true)]
async fn duplicates_in_flight_wait_for_the_one_reply() {
    let world = World::new();
    let mut responder = world.respond(4);
    let first = world.send(keyed("/", "k"));
    let incoming = take(&mut responder).await;
    let second = world.send(keyed("/", "k"));
    let short = world.send(Request { wait: Some(Duration::from_secs(1)), ..keyed("/", "k") });
    check_error(world.hub.request(keyed("/other", "k")).await, &Kind::KeyReused);
    // Another caller's key is another key.
    let stranger = world.send(Request { caller: "bert".into(), ..keyed("/", "k") });
    let theirs = take(&mut responder).await;
    take_nothing(&mut responder).await;
    check_error(short.await.unwrap(), &Kind::DeadlinePassed);
    world.reply(incoming.id, "one").unwrap();
    world.reply(theirs.id, "theirs").unwrap();
    check_reply(first.await.unwrap(), "one", false);
    check_reply(second.await.unwrap(), "one", true);
    check_reply(stranger.await.unwrap(), "theirs", false);
}

#[tokio::test(start_paused = true)]
async fn a_keyed_request_runs_on_without_its_caller() {
    let world = World::new();
    let mut responder = world.respond(1);
    let answer = world.send(keyed("/", "k"));
    let incoming = take(&mut responder).await;
    answer.abort();
    assert!(answer.await.unwrap_err().is_cancelled());
    take_nothing(&mut responder).await;
    let retry = world.send(keyed("/", "k"));
    take_nothing(&mut responder).await;
    world.reply(incoming.id, "done").unwrap();
    check_reply(retry.await.unwrap(), "done", true);
}

#[tokio::test(start_paused = true)]
async fn a_key_without_a_reply_runs_again_as_the_next_attempt() {
    let world = World::new();
    let mut responder = world.respond(1);
    let answer = world.send(Request { wait: Some(Duration::from_secs(1)), ..keyed("/", "k") });
    assert_eq!(take(&mut responder).await.attempt, 1);
    // One with more time is not failed by the deadline of the first.
    let patient = world.send(keyed("/", "k"));
    check_error(answer.await.unwrap(), &Kind::DeadlinePassed);
    take_cancellation(&mut responder).await;
    let two = take(&mut responder).await;
    assert_eq!(two.attempt, 2);
    let _lost = patient;
    let world = world.after_crash();
    let mut responder = world.respond(1);
    let answer = world.send(keyed("/", "k"));
    let three = take(&mut responder).await;
    assert_eq!(three.attempt, 3);
    world.reply(three.id, "done").unwrap();
    check_reply(answer.await.unwrap(), "done", false);
}

#[tokio::test(start_paused = true)]
async fn progress_and_reply_come_on_a_topic_that_is_closed_behind_them() {
    let world = World::new();
    let mut responder = world.respond(1);
    let request = Request { reply_type: Some(ContentType::parse("text/plain").unwrap()), ..with_reply_on_topic("/") };
    let Answer::Accepted { reply_topic } = world.hub.request(request).await.unwrap() else { panic!("not accepted") };
    assert_eq!(reply_topic.as_str().len(), "$replies/".len() + 32);
    let incoming = take(&mut responder).await;
    assert!(incoming.wait() > Duration::from_secs(299));
    let half = NewMessage { payload: "half".into(), ..NewMessage::default() };
    world.hub.progress(&echo(), incoming.id, half.clone()).await.unwrap();
    world.reply(incoming.id, "done").unwrap();
    let (messages, closed) = settle(&world, &reply_topic).await;
    assert!(closed);
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].headers.get("kind"), &messages[0].payload[..]), (Some("progress"), &b"half"[..]));
    let last: Vec<_> = messages[1].headers.iter().collect();
    assert_eq!(last, [("kind", "reply"), ("status", "200"), ("reply-x-by", "test")]);
    assert_eq!(&messages[1].payload[..], b"done");
    let late = world.hub.progress(&echo(), incoming.id, half).await;
    assert_eq!(late.unwrap_err().kind(), &Kind::RequestNotFound);
    // It goes a day after the latest possible closure.
    world.clock.advance(Duration::from_secs(24 * 3600 + 301));
    assert_eq!(world.hub.describe(&reply_topic).await.unwrap_err().kind(), &Kind::TopicNotFound);
}

/// A topic once it is closed.
async fn settle(world: &World, topic: &TopicName) -> (Vec<Arc<Message>>, bool) {
    for _ in 0..100 {
        let (messages, closed) = world.messages(topic).await;
        if closed {
            return (messages, closed);
        }
        tokio::task::yield_now().await;
    }
    panic!("{topic} was not closed")
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_soon_is_the_answer_itself() {
    let world = World::new();
    let mut responder = world.respond(2);
    let soon = |path| Request { answer_within: Some(Duration::from_secs(5)), ..with_reply_on_topic(path) };
    let answer = world.send(soon("/fast"));
    let incoming = take(&mut responder).await;
    assert!(incoming.wait() > Duration::from_secs(299), "the request itself has its whole time");
    world.reply(incoming.id, "done").unwrap();
    check_reply(answer.await.unwrap(), "done", false);

    let answer = world.send(soon("/slow"));
    let incoming = take(&mut responder).await;
    let Answer::Accepted { reply_topic } = answer.await.unwrap().unwrap() else { panic!("not accepted") };
    world.reply(incoming.id, "later").unwrap();
    let (messages, _) = settle(&world, &reply_topic).await;
    assert_eq!(&messages[0].payload[..], b"later");
}

#[tokio::test(start_paused = true)]
async fn a_reply_topic_ends_with_a_failure_when_there_is_no_reply() {
    let world = World::new();
    let mut responder = world.respond(4);
    let mut accepted = Vec::new();
    for request in [
        Request { wait: Some(Duration::from_secs(2)), ..with_reply_on_topic("/1") },
        Request { wait: Some(Duration::from_secs(60)), ..with_reply_on_topic("/2") },
    ] {
        let Answer::Accepted { reply_topic } = world.hub.request(request).await.unwrap() else { panic!("no topic") };
        take(&mut responder).await;
        accepted.push(reply_topic);
    }
    advance(Duration::from_secs(3)).await;
    let status = |messages: &[Arc<Message>]| messages[0].headers.get("status").unwrap().to_owned();
    assert_eq!(status(&settle(&world, &accepted[0]).await.0), "504");
    drop(responder);
    assert_eq!(status(&settle(&world, &accepted[1]).await.0), "502");
}

#[tokio::test(start_paused = true)]
async fn a_keyed_request_with_its_reply_on_a_topic_keeps_that_topic() {
    let world = World::new();
    let mut responder = world.respond(1);
    let request = || Request { key: Some("k".into()), ..with_reply_on_topic("/") };
    let first = world.hub.request(request()).await.unwrap();
    assert_eq!(world.hub.request(request()).await.unwrap(), first);
    world.reply(take(&mut responder).await.id, "done").unwrap();
    let Answer::Accepted { reply_topic } = &first else { panic!("not accepted") };
    settle(&world, reply_topic).await;
    assert_eq!(world.hub.request(request()).await.unwrap(), first);
    check_reply(world.hub.request(Request { respond_async: false, ..request() }).await, "done", true);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_open_reply_topics_are_ended() {
    let world = World::new();
    let mut responder = world.respond(1);
    let accepted = world.hub.request(with_reply_on_topic("/")).await.unwrap();
    let Answer::Accepted { reply_topic } = accepted else { panic!("not accepted") };
    take(&mut responder).await;
    let world = world.after_crash();
    let (messages, _) = settle(&world, &reply_topic).await;
    assert_eq!(messages[0].headers.get("failure"), Some("responder-lost"));
}

#[tokio::test(start_paused = true)]
async fn a_claim_takes_one_request_and_makes_the_service_attended() {
    let world = World::new();
    let soon = || Instant::now() + Duration::from_secs(1);
    assert!(world.hub.claim(&echo(), soon()).await.unwrap().is_none());
    let answer = world.send(get("/1"));
    tokio::task::yield_now().await;
    let incoming = world.hub.claim(&echo(), soon()).await.unwrap().unwrap();
    world.reply(incoming.id, "done").unwrap();
    check_reply(answer.await.unwrap(), "done", false);
    // One that is claimed and never answered ends at its deadline.
    let answer = world.send(get("/2"));
    tokio::task::yield_now().await;
    assert!(world.hub.claim(&echo(), soon()).await.unwrap().is_some());
    check_error(answer.await.unwrap(), &Kind::DeadlinePassed);
    // Nobody has claimed for 30 s now.
    check_error(world.hub.request(get("/3")).await, &Kind::NoResponder);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_given_up_leaves_its_request_to_others() {
    let world = World::new();
    let hub = Arc::clone(&world.hub);
    let later = Instant::now() + Duration::from_secs(20);
    let claim = tokio::spawn(async move { hub.claim(&echo(), later).await });
    tokio::task::yield_now().await;
    let _answer = world.send(get("/1"));
    claim.abort();
    assert!(claim.await.is_err_and(|error| error.is_cancelled()));
    tokio::task::yield_now().await;
    assert!(world.hub.claim(&echo(), later).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_claimed_keyed_request_is_tried_again_and_the_first_reply_counts() {
    let world = World::new();
    let soon = || Instant::now() + Duration::from_secs(20);
    assert!(world.hub.claim(&echo(), Instant::now()).await.unwrap().is_none());
    let answer = world.send(Request { wait: Some(Duration::from_secs(200)), ..keyed("/", "k") });
    tokio::task::yield_now().await;
    let one = world.hub.claim(&echo(), soon()).await.unwrap().unwrap();
    advance(Duration::from_secs(25)).await;
    world.hub.progress(&echo(), one.id, NewMessage::default()).await.unwrap();
    assert!(world.hub.claim(&echo(), soon()).await.unwrap().is_none(), "progress keeps the claim");
    advance(Duration::from_secs(11)).await;
    let two = world.hub.claim(&echo(), soon()).await.unwrap().unwrap();
    assert_eq!((two.id, two.attempt), (one.id, 2));
    world.reply(one.id, "slow").unwrap();
    check_reply(answer.await.unwrap(), "slow", false);
    assert_eq!(world.reply(two.id, "again").unwrap_err().kind(), &Kind::RequestNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_responder_answers_its_own_service_only() {
    let world = World::new();
    let mut responder = world.respond(1);
    let answer = world.send(get("/"));
    let incoming = take(&mut responder).await;
    let other = ServiceName::parse("other").unwrap();
    assert_eq!(world.hub.reply(&other, incoming.id, reply("x")).unwrap_err().kind(), &Kind::RequestNotFound);
    let bad = Reply { status: 101, ..reply("x") };
    assert_eq!(world.hub.reply(&echo(), incoming.id, bad).unwrap_err().kind(), &Kind::BadRequest);
    assert_eq!(world.hub.service_of(incoming.id), Some(echo()));
    world.reply(incoming.id, "ok").unwrap();
    check_reply(answer.await.unwrap(), "ok", false);
}

#[tokio::test(start_paused = true)]
async fn queues_and_responders_are_bounded() {
    let world = World::with(|limits| (limits.requests_per_service, limits.requests, limits.responders) = (2, 4, 2));
    let mut responder = world.respond(1);
    let _held = world.send(get("/0"));
    take(&mut responder).await;
    let _waiting = [world.send(get("/1")), world.send(get("/2"))];
    tokio::task::yield_now().await;
    check_error(world.hub.request(get("/3")).await, &Kind::Overloaded);
    let other = ServiceName::parse("other").unwrap();
    let _other_responder = world.hub.respond(&other, 1, "test").unwrap();
    let to_other = || Request { service: other.clone(), ..get("/") };
    let _fourth = world.send(to_other());
    tokio::task::yield_now().await;
    check_error(world.hub.request(to_other()).await, &Kind::Overloaded);
    assert_eq!(world.hub.respond(&echo(), 1, "test").unwrap_err().kind(), &Kind::TooMany);
    let big = Request { body: vec![0; (8 << 20) + 1].into(), ..get("/") };
    check_error(world.hub.request(big).await, &Kind::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn stopping_tells_everybody_and_writes_what_was_promised() {
    let world = World::new();
    let mut responder = world.respond(2);
    let answer = world.send(get("/1"));
    take(&mut responder).await;
    let accepted = world.hub.request(with_reply_on_topic("/2")).await.unwrap();
    let Answer::Accepted { reply_topic } = accepted else { panic!("not accepted") };
    take(&mut responder).await;
    world.hub.shutdown().await.unwrap();
    check_error(answer.await.unwrap(), &Kind::ShuttingDown);
    assert!(responder.next().await.is_none());
    let (messages, closed) = world.messages(&reply_topic).await;
    assert_eq!((messages[0].headers.get("status"), closed), (Some("503"), true));
    check_error(world.hub.request(get("/3")).await, &Kind::ShuttingDown);
    assert_eq!(world.hub.respond(&echo(), 1, "test").unwrap_err().kind(), &Kind::ShuttingDown);
}

/// Real threads, responders that come and go with requests in their hands, and every key asked for three times.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_every_key_has_one_reply() {
    const N_KEYS: usize = 100;
    let world = World::new();
    let serve = |n: usize| {
        let hub = Arc::clone(&world.hub);
        tokio::spawn(async move {
            for round in 0.. {
                let mut responder = hub.respond(&echo(), 4, "test").unwrap();
                // The first of them never goes away, so that somebody always serves.
                for taken in 0.. {
                    let Some(event) = responder.next().await else { return };
                    let Event::Request(incoming) = event else { continue };
                    if n > 0 && incoming.attempt <= 2 && (taken + round) % 5 == 4 {
                        break;
                    }
                    let text = format!("{} {n} {round} {taken}", incoming.path);
                    assert!(hub.reply(&echo(), incoming.id, reply(&text)).is_ok());
                }
            }
        })
    };
    let responders: Vec<_> = (0..4).map(serve).collect();
    while !world.hub.is_attended(&echo()) {
        tokio::task::yield_now().await;
    }
    let ask = |i: usize| {
        let key = i % N_KEYS;
        world.send(keyed(&format!("/{key}"), &format!("k{key}")))
    };
    let answers: Vec<_> = (0..3 * N_KEYS).map(ask).collect();
    let mut replies = vec![None; N_KEYS];
    let mut n_originals = 0;
    for (i, answer) in answers.into_iter().enumerate() {
        let answer = timeout(Duration::from_secs(60), answer).await.unwrap().unwrap();
        let Answer::Reply { reply, replayed } = answer.unwrap() else { panic!("not a reply") };
        n_originals += usize::from(!replayed);
        let first = replies[i % N_KEYS].get_or_insert_with(|| reply.clone());
        assert_eq!(*first, reply);
    }
    assert_eq!(n_originals, N_KEYS);
    responders.iter().for_each(JoinHandle::abort);
}
