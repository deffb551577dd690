//! Push: say once where to begin, and be sent every message from there on, over a WebSocket or as server-sent events.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::ACCEPT;
use quintet_wire::content;
use quintet_wire::envelope::Envelope;
use quintet_wire::session::answer::Subscribed;
use quintet_wire::session::command::{Command, Selector, Subscribe};
use quintet_wire::session::hub::Frame;
use quintet_wire::sse::event::{CLOSED, DELETED, GAP};
use quintet_wire::sse::parser::{self, Parser};
use quintet_wire::token::{Cursor, Since};
use reqwest::Response;
use tokio::time::timeout;

use crate::client::{Client, path};
use crate::connection::Connection;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::http::{accept, parse};
use crate::limits::{ANSWER_MAX, FRAME_BYTES_MAX, SILENCE_MAX};
use crate::reading;
use crate::subscription::{Batch, Source, Subscription};

impl Client {
    /// Is sent a topic's messages over a WebSocket. Nothing is sent before the first
    /// [`next`](Subscription::next).
    #[must_use]
    pub fn push(&self, topic: &str, since: Since) -> Subscription {
        push(self, Selector::Topic(topic.to_owned()), since)
    }

    /// Is sent a topic's messages as server-sent events, for networks in which a WebSocket does not get through.
    /// Nothing is sent before the first [`next`](Subscription::next).
    #[must_use]
    pub fn push_events(&self, topic: &str, since: Since) -> Subscription {
        let source = Events { client: self.clone(), topic: topic.to_owned(), stream: Stream::Idle };
        Subscription::new(source, since)
    }
}

/// A subscription over a WebSocket of its own.
pub(crate) fn push(client: &Client, selector: Selector, since: Since) -> Subscription {
    Subscription::new(Session { client: client.clone(), selector, link: Link::Idle }, since)
}

struct Session {
    client: Client,
    selector: Selector,
    link: Link,
}

enum Link {
    Idle,
    // Kept here, so that dropping the future of a fetch does not begin anew.
    Opening(BoxFuture<'static, Result<(Connection, Subscribed), Error>>),
    Open(Box<Connection>),
}

impl Source for Session {
    fn fetch(&mut self, since: Since) -> BoxFuture<'_, Result<Batch, Error>> {
        async move {
            let outcome = self.step(since).await;
            if outcome.as_ref().map_or(true, |batch| batch.last) {
                self.link = Link::Idle;
            }
            outcome
        }
        .boxed()
    }
}

impl Session {
    async fn step(&mut self, since: Since) -> Result<Batch, Error> {
        loop {
            match &mut self.link {
                Link::Idle => {
                    let presence = self.client.member_of_selected(&self.selector);
                    let subscribe = Subscribe { selector: self.selector.clone(), since, presence };
                    self.link = Link::Opening(open_session(self.client.clone(), subscribe).boxed());
                }
                Link::Opening(opening) => {
                    let (connection, subscribed) = opening.await?;
                    self.link = Link::Open(Box::new(connection));
                    return Ok(Batch { events: Vec::new(), next: Some(subscribed.cursor), last: false });
                }
                Link::Open(connection) => {
                    let one_topic = matches!(self.selector, Selector::Topic(_));
                    if let Some(batch) = batch(connection.receive().await?, one_topic)? {
                        return Ok(batch);
                    }
                }
            }
        }
    }
}

async fn open_session(client: Client, subscribe: Subscribe) -> Result<(Connection, Subscribed), Error> {
    let mut connection = Connection::open(&client).await?;
    let subscribed = connection.call(&Command::Subscribe(subscribe)).await?;
    Ok((connection, subscribed))
}

/// What a reader makes of a frame; nothing of one that is not about its subscription.
fn batch(frame: Frame, one_topic: bool) -> Result<Option<Batch>, Error> {
    let single = |event, last| Batch { events: vec![event], next: None, last };
    Ok(Some(match frame {
        Frame::Messages { messages, next, .. } => {
            let events = messages.into_iter().map(Event::Message).collect();
            Batch { events, next: Some(next), last: false }
        }
        Frame::Gap { gap, .. } => {
            // A filter's cursor stays: messages of other topics from before that position are still to come.
            let next = one_topic.then_some(gap.first_available);
            let event = Event::Gap { topic: gap.topic, first_available: gap.first_available };
            Batch { events: vec![event], next, last: false }
        }
        Frame::Closed { closed, .. } => single(Event::Closed { topic: closed.topic }, one_topic),
        Frame::Deleted { deleted, .. } => single(Event::Deleted { topic: deleted.topic }, one_topic),
        Frame::Answer { result: Err(problem), .. } => return Err(Error::refused(*problem, None)),
        Frame::Answer { result: Ok(_), .. }
        | Frame::Deliveries { .. }
        | Frame::Ended { .. }
        | Frame::Request(_)
        | Frame::Cancel(_)
        | Frame::Goodbye(_)
        | Frame::Other => return Ok(None),
    }))
}

struct Events {
    client: Client,
    topic: String,
    stream: Stream,
}

enum Stream {
    Idle,
    // Kept here, so that dropping the future of a fetch does not begin anew.
    Opening(BoxFuture<'static, Result<Response, Error>>),
    Open(Box<(Response, Parser)>),
}

impl Source for Events {
    fn fetch(&mut self, since: Since) -> BoxFuture<'_, Result<Batch, Error>> {
        async move {
            let outcome = self.step(since).await;
            if outcome.as_ref().map_or(true, |batch| batch.last) {
                self.stream = Stream::Idle;
            }
            reading::refusal(&self.topic, outcome)
        }
        .boxed()
    }
}

impl Events {
    async fn step(&mut self, since: Since) -> Result<Batch, Error> {
        loop {
            match &mut self.stream {
                Stream::Idle => {
                    self.stream = Stream::Opening(open_events(self.client.clone(), self.topic.clone(), since).boxed());
                }
                Stream::Opening(opening) => {
                    let response = opening.await?;
                    if response.status() == http::StatusCode::NO_CONTENT {
                        let events = vec![Event::Closed { topic: self.topic.clone() }];
                        return Ok(Batch { events, next: None, last: true });
                    }
                    self.stream = Stream::Open(Box::new((response, Parser::new(FRAME_BYTES_MAX))));
                }
                Stream::Open(open) => {
                    let (response, parser) = &mut **open;
                    let batch = drain(&self.topic, parser)?;
                    if !batch.events.is_empty() || batch.next.is_some() {
                        return Ok(batch);
                    }
                    match timeout(SILENCE_MAX, response.chunk()).await {
                        Ok(Ok(Some(chunk))) => parser.push(&chunk).map_err(|error| {
                            Error::caused(ErrorKind::Protocol, "an event was not understood", error)
                        })?,
                        Ok(Ok(None)) => return Err(Error::new(ErrorKind::Transport, "the hub ended the connection")),
                        Ok(Err(error)) => return Err(error.into()),
                        Err(_) => return Err(Error::new(ErrorKind::Timeout, "the hub has been silent for too long")),
                    }
                }
            }
        }
    }
}

async fn open_events(client: Client, topic: String, since: Since) -> Result<Response, Error> {
    let mut target = format!("{}?offset={}", path("/topics/", &topic)?, reading::offset(since));
    client.write_member(&mut target, &topic);
    let accepted = format!("{}, {}", content::EVENTS, content::ENVELOPES);
    // No timeout on the request, as its answer does not end.
    let asked = client.get(&target).header(ACCEPT, accepted).send();
    match timeout(ANSWER_MAX, async { accept(asked.await?).await }).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::new(ErrorKind::Timeout, "the hub did not answer in time")),
    }
}

/// What a reader makes of the events that are complete.
fn drain(topic: &str, parser: &mut Parser) -> Result<Batch, Error> {
    let mut batch = Batch { events: Vec::new(), next: None, last: false };
    while let Some(parser::Event { id, name, data }) = parser.next_event() {
        if let Ok(cursor) = id.parse::<Cursor>() {
            batch.next = Some(cursor);
        }
        let Some(data) = data else { continue };
        let topic = topic.to_owned();
        match name.as_str() {
            "message" => batch.events.push(Event::Message(parse::<Envelope>(data.as_bytes())?)),
            GAP => {
                let first_available = batch
                    .next
                    .ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub's gap does not say where to go on"))?;
                batch.events.push(Event::Gap { topic, first_available });
            }
            CLOSED => batch.events.push(Event::Closed { topic }),
            DELETED => batch.events.push(Event::Deleted { topic }),
            _ => {}
        }
        if matches!(name.as_str(), CLOSED | DELETED) {
            batch.last = true;
            break;
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHub;
    use quintet_wire::envelope::Headers;
    use quintet_wire::payload::Body;
    use quintet_wire::problem::kind::Kind;
    use quintet_wire::problem::object::Problem;
    use quintet_wire::session::command::Presence;
    use quintet_wire::session::{answer, delivery, hub};
    use quintet_wire::sse::event;
    use quintet_wire::token::Token;

    fn at(offset: u64) -> Cursor {
        Token { log: 1, offset }.into()
    }

    fn envelope() -> Envelope {
        let (offset, previous) = (Token { log: 1, offset: 2 }, Token { log: 1, offset: 1 });
        let body = Body::text("a\r\nb");
        Envelope { topic: "t".into(), offset, previous, time_ms: 5, headers: Headers::new(), body }
    }

    #[test]
    fn events_come_as_the_hub_writes_them() {
        let mut parser = Parser::new(10_000);
        let mut out = Vec::new();
        event::opening(&mut out, 1000, &at(1));
        event::envelope(&mut out, &at(2), &envelope().to_json());
        event::gap(&mut out, &at(7));
        event::heartbeat(&mut out, &at(8));
        parser.push(&out).unwrap();
        let batch = drain("t", &mut parser).unwrap();
        let gap = Event::Gap { topic: "t".into(), first_available: at(7) };
        assert_eq!(batch.events, [Event::Message(envelope()), gap]);
        assert_eq!((batch.next, batch.last), (Some(at(8)), false));

        out.clear();
        event::closed(&mut out, &at(9));
        parser.push(&out).unwrap();
        let batch = drain("t", &mut parser).unwrap();
        assert_eq!((batch.events.as_slice(), batch.last), (&[Event::Closed { topic: "t".into() }][..], true));
    }

    #[test]
    fn a_closed_topic_ends_a_topics_reader_but_not_a_filters() {
        let closed =
            || Frame::Closed { subscription: 1, closed: hub::Closed { topic: "t".into(), offset: Token::START } };
        assert!(batch(closed(), true).unwrap().unwrap().last);
        assert!(!batch(closed(), false).unwrap().unwrap().last);
        assert!(batch(Frame::Other, true).unwrap().is_none());
    }

    fn delivery(offset: u64, next: u64) -> String {
        let token = Token { log: 1, offset };
        let mut out = Vec::new();
        delivery::prefix(&mut out, 3);
        let mut messages = delivery::Messages::open(&mut out);
        Envelope { offset: token, ..envelope() }.write(messages.next());
        messages.close(&at(next));
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn a_broken_session_goes_on_from_the_cursor() {
        let (hub, client) = FakeHub::start().await;
        let member = Presence { id: Some("anna".into()), data: None };
        let mut subscription = client.with_member("anna", None).push("t", Since::Now);
        let hub_side = async {
            for (since, offset) in [(Since::Now, 6), (Since::At(at(7)), 9)] {
                let mut session = hub.session().await;
                let Some((id, Command::Subscribe(subscribe))) = session.command().await else { panic!("no subscribe") };
                let presence = Some(member.clone());
                assert_eq!(subscribe, Subscribe { selector: Selector::Topic("t".into()), since, presence });
                session.say(answer::ok(&id, &Subscribed { subscription: 3, cursor: at(5) })).await;
                session.say(delivery(offset, offset + 1)).await;
            }
        };
        let reader = async {
            let mut offsets = Vec::new();
            for _ in 0..2 {
                let Some(Ok(Event::Message(message))) = subscription.next().await else { panic!("no message") };
                offsets.push(message.offset.offset);
            }
            offsets
        };
        let ((), offsets) = tokio::join!(hub_side, reader);
        assert_eq!(offsets, [6, 9]);
        assert_eq!(subscription.cursor(), Since::At(at(10)));
    }

    #[tokio::test]
    async fn a_refused_subscription_ends() {
        let (hub, client) = FakeHub::start().await;
        let mut subscription = client.push("t", Since::Now);
        let hub_side = async {
            let mut session = hub.session().await;
            let (id, _) = session.command().await.unwrap();
            session.say(answer::error(Some(&id), &Problem::new(Kind::Forbidden, "x"))).await;
        };
        let ((), event) = tokio::join!(hub_side, subscription.next());
        assert!(event.unwrap().unwrap_err().is_problem(Kind::Forbidden));
        assert!(subscription.next().await.is_none());
    }
}
