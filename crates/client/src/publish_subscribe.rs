//! Publish/subscribe: tell everyone who follows a topic, and follow topics or all that match a filter.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use quintet_wire::session::answer::{Published, Receipt};
use quintet_wire::session::command::{Message, Selector};
use quintet_wire::token::{Since, Token};
use quintet_wire::{content, header};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::client::{Client, path};
use crate::error::{Error, ErrorKind};
use crate::http::{number, value};
use crate::limits::{MESSAGE_OVERHEAD_BYTES, QUEUE_MESSAGES_MAX, UNACKNOWLEDGED_BYTES_MAX};
use crate::pipeline::{Order, Pipeline};
use crate::push::push;
use crate::subscription::Subscription;
use crate::window::Window;

impl Client {
    /// Publishes one message, and tells its position once it is stored as safely as its topic promises.
    ///
    /// Dropping the future abandons the request: whether the message was stored is then unknown. The same holds
    /// after an error that is no refusal; where that matters, give it a name with
    /// [`publish_with`](Client::publish_with) and try again, or use a [`publisher`](Client::publisher).
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn publish(&self, topic: &str, message: Message) -> Result<Token, Error> {
        Ok(self.publish_with(topic, message, &PublishOptions::default()).await?.offset)
    }

    /// The same with options, and with all that the hub says of it.
    ///
    /// Dropping the future abandons the request, as with [`publish`](Client::publish). With a message id it can be
    /// tried again for as long as the hub remembers ids (10 minutes, unless it is set up otherwise), and is stored
    /// once.
    ///
    /// # Errors
    /// When there is no answer or the hub refuses.
    pub async fn publish_with(
        &self,
        topic: &str,
        message: Message,
        options: &PublishOptions,
    ) -> Result<Published, Error> {
        let mut request = self.at(Method::POST, &path("/topics/", topic)?);
        if let Some(id) = &options.message_id {
            let invalid = |error| Error::caused(ErrorKind::Invalid, format!("`{id}` cannot be a message id"), error);
            request = request.header(header::MESSAGE_ID, HeaderValue::from_str(id).map_err(invalid)?);
        }
        for (name, value) in &message.headers {
            let invalid = |error| Error::caused(ErrorKind::Invalid, format!("header `{name}` cannot be sent"), error);
            let name = HeaderName::try_from(format!("{}{name}", header::QUINTET_HEADER_PREFIX))
                .map_err(|error| invalid(http::Error::from(error)))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| invalid(error.into()))?;
            request = request.header(name, value);
        }
        let content_type = message.body.content_type;
        let mut payload = message.body.bytes;
        if content::is_application_json(&content_type) && payload.trim_ascii_start().starts_with(b"[") {
            // Over HTTP a JSON array is a batch of its elements; this one is to stay a message.
            let mut wrapped = BytesMut::with_capacity(payload.len() + 2);
            wrapped.put_u8(b'[');
            wrapped.put(payload);
            wrapped.put_u8(b']');
            payload = wrapped.freeze();
        }
        if options.receipts {
            request = request.header(header::PREFER, "receipts");
        }
        let response = self.send(request.header(CONTENT_TYPE, content_type).body(payload)).await?;
        let offset = value(response.headers(), header::STREAM_NEXT_OFFSET)?;
        // What has an id is told to be new by the status.
        let duplicate = options.message_id.is_some() && response.status() == StatusCode::NO_CONTENT;
        let headers = response.headers();
        let counted = (number(headers, header::QUINTET_READERS), number(headers, header::QUINTET_GROUPS));
        let receipt =
            if let (Some(readers), Some(groups)) = counted { Some(Receipt { readers, groups }) } else { None };
        Ok(Published { offset, duplicate, receipt })
    }

    /// Publishes many messages to one topic, fast, and each exactly once.
    #[must_use]
    pub fn publisher(&self, topic: &str) -> PublisherBuilder {
        PublisherBuilder { client: self.clone(), topic: topic.to_owned(), id: None, epoch: None }
    }

    /// Follows all topics that match a filter, those that are created later too, over a WebSocket. (One topic is
    /// followed with [`push`](Client::push), which is this with the topic's name, and with any of the polling ways.)
    /// Nothing is sent before the first [`next`](Subscription::next).
    #[must_use]
    pub fn subscribe(&self, filter: &str, since: Since) -> Subscription {
        push(self, Selector::Filter(filter.to_owned()), since)
    }
}

/// How a message is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// What it is called, in 1 to 128 visible ASCII characters: when it comes again, the hub tells where it is stored
    /// and does not store it twice. Readers see it as the header `message-id`.
    pub message_id: Option<String>,
    /// Whether the hub is to count who is there to see it.
    pub receipts: bool,
}

/// Who publishes.
#[derive(Clone, Debug)]
pub struct PublisherBuilder {
    client: Client,
    topic: String,
    id: Option<String>,
    epoch: Option<u64>,
}

impl PublisherBuilder {
    /// Names the producer; a random name, unless told. Two that publish at the same time need two names: with one
    /// they would take it from each other again and again.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the epoch, which must be higher at each start of a producer with the same name, or its first messages
    /// pass for repetitions. Unless told it is the clock's time in milliseconds (0 for a random name).
    #[must_use]
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Starts. The connection is made in the background, in a task of the current tokio runtime.
    ///
    /// # Errors
    /// When the system has no randomness for a name.
    pub fn start(self) -> Result<Publisher, Error> {
        let epoch = self.epoch.unwrap_or(if self.id.is_some() { unix_ms() } else { 0 });
        let id = match self.id {
            Some(id) => id,
            None => random_id()?,
        };
        let (orders, queue) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let (failure, room) = (Arc::new(OnceLock::new()), Arc::new(Semaphore::new(UNACKNOWLEDGED_BYTES_MAX)));
        let pipeline = Pipeline::new(self.client, queue, Window::new(self.topic, id, epoch));
        let mut task = JoinSet::new();
        task.spawn(pipeline.run(failure.clone(), room.clone()));
        Ok(Publisher { orders, failure, room, task })
    }
}

/// Publishes to one topic in order, with many messages under way. While the hub is away it waits and tries again,
/// and repeats what was not acknowledged with the same numbers, so that nothing is lost and nothing stored twice.
///
/// Dropping it ends it at once: messages that are not acknowledged may or may not be stored. End it with
/// [`close`](Publisher::close).
#[derive(Debug)]
pub struct Publisher {
    orders: mpsc::Sender<Order>,
    failure: Arc<OnceLock<Error>>,
    room: Arc<Semaphore>,
    // Aborts the task when it is dropped.
    task: JoinSet<()>,
}

/// What a publisher has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Messages that are acknowledged.
    pub messages: u64,
    /// Batches that the hub had already when they were sent again; each is stored once.
    pub duplicate_batches: u64,
    /// How often the hub had forgotten this producer, because the topic was lost or deleted, or another one took its
    /// name. What was acknowledged before may be gone with the topic.
    pub restarts: u64,
}

impl Publisher {
    /// Hands over a message, and waits while too many are not acknowledged. That it is stored only
    /// [`flush`](Publisher::flush) or [`close`](Publisher::close) tells.
    ///
    /// Dropping the future before it is done means that the message is not published.
    ///
    /// # Errors
    /// The reason for which the publisher has ended: the hub refused a message for good.
    pub async fn publish(&self, message: Message) -> Result<(), Error> {
        let n_bytes = (message.body.bytes.len() + MESSAGE_OVERHEAD_BYTES).min(UNACKNOWLEDGED_BYTES_MAX);
        let n_permits = u32::try_from(n_bytes).expect("the limit is below 4 GiB");
        let permit = self.room.clone().acquire_many_owned(n_permits).await.map_err(|_| self.ended())?;
        self.orders.send(Order::Publish(message, permit)).await.map_err(|_| self.ended())
    }

    /// Waits until everything that was handed over before is acknowledged.
    ///
    /// Dropping the future stops the waiting, not the publishing.
    ///
    /// # Errors
    /// The reason for which the publisher has ended: the hub refused a message for good.
    pub async fn flush(&self) -> Result<Summary, Error> {
        let (done, waiting) = oneshot::channel();
        self.orders.send(Order::Flush(done)).await.map_err(|_| self.ended())?;
        waiting.await.map_err(|_| self.ended())
    }

    /// Waits until everything is acknowledged, and ends the publisher.
    ///
    /// Dropping the future ends it at once, as dropping the publisher does.
    ///
    /// # Errors
    /// The reason for which the publisher has ended before: the hub refused a message for good.
    pub async fn close(self) -> Result<Summary, Error> {
        let summary = self.flush().await?;
        let Publisher { orders, mut task, .. } = self;
        drop(orders);
        task.join_next().await;
        Ok(summary)
    }

    fn ended(&self) -> Error {
        self.failure.get().cloned().unwrap_or_else(|| Error::new(ErrorKind::Ended, "the publisher has ended"))
    }
}

fn random_id() -> Result<String, Error> {
    let (high, low) = getrandom::u64()
        .and_then(|high| Ok((high, getrandom::u64()?)))
        .map_err(|error| Error::caused(ErrorKind::Invalid, "no randomness for a producer's name", error.to_string()))?;
    Ok(format!("{high:016x}{low:016x}"))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeHub, FakeSession};
    use quintet_wire::payload::Body;
    use quintet_wire::problem::kind::Kind;
    use quintet_wire::problem::object::Problem;
    use quintet_wire::session::answer;
    use quintet_wire::session::command::{Command, Id, Publish};

    /// Takes publishes until so many messages have come; gives each with its id.
    async fn publishes(session: &mut FakeSession, n_messages: usize) -> Vec<(Id, Publish)> {
        let mut taken: Vec<(Id, Publish)> = Vec::new();
        while taken.iter().map(|(_, publish)| publish.messages.len()).sum::<usize>() < n_messages {
            match session.command().await {
                Some((id, Command::Publish(publish))) => taken.push((id, publish)),
                other => panic!("not a publish: {other:?}"),
            }
        }
        taken
    }

    fn texts(publishes: &[(Id, Publish)]) -> Vec<&[u8]> {
        publishes.iter().flat_map(|(_, publish)| &publish.messages).map(|message| &message.body.bytes[..]).collect()
    }

    fn stored(id: &Id, duplicate: bool) -> String {
        answer::ok(id, &Published { offset: Token { log: 1, offset: 1 }, duplicate, receipt: None })
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_goes_again_with_its_numbers() {
        let (hub, client) = FakeHub::start().await;
        let publisher = client.publisher("t").id("p").epoch(7).start().unwrap();
        for text in ["a", "b", "c"] {
            publisher.publish(Body::text(text).into()).await.unwrap();
        }
        let mut session = hub.session().await;
        let first = publishes(&mut session, 3).await;
        assert_eq!(texts(&first), [b"a", b"b", b"c"]);
        let (_, Publish { producer, .. }) = &first[0];
        assert_eq!(producer.as_ref().map(|producer| (producer.epoch, producer.seq)), Some((7, 0)));
        drop(session);

        let hub_side = async {
            let mut session = hub.session().await;
            let again = publishes(&mut session, 3).await;
            for ((id, again), (_, first)) in again.iter().zip(&first) {
                assert_eq!(again, first);
                session.say(stored(id, true)).await;
            }
            assert!(session.command().await.is_none());
            again.len() as u64
        };
        let (summary, n_batches) = tokio::join!(publisher.close(), hub_side);
        assert_eq!(summary.unwrap(), Summary { messages: 3, duplicate_batches: n_batches, restarts: 0 });
    }

    #[tokio::test]
    async fn a_forgotten_producer_begins_again_and_says_so() {
        let (hub, client) = FakeHub::start().await;
        let publisher = client.publisher("t").start().unwrap();
        publisher.publish(Body::text("a").into()).await.unwrap();
        let mut session = hub.session().await;
        let first = publishes(&mut session, 1).await;
        session.say(stored(&first[0].0, false)).await;
        publisher.flush().await.unwrap();
        publisher.publish(Body::text("b").into()).await.unwrap();
        let second = publishes(&mut session, 1).await;
        let gap = Problem::new(Kind::ProducerGap, "x").with("expected", 0).with("received", 1);
        session.say(answer::error(Some(&second[0].0), &gap)).await;
        let again = publishes(&mut session, 1).await;
        let producer = again[0].1.producer.as_ref().unwrap();
        assert_eq!((texts(&again), producer.epoch, producer.seq), (vec![&b"b"[..]], 1, 0));
        session.say(stored(&again[0].0, false)).await;
        assert_eq!(publisher.flush().await.unwrap(), Summary { messages: 2, duplicate_batches: 0, restarts: 1 });
    }

    #[tokio::test]
    async fn a_refusal_for_good_ends_it_with_the_reason() {
        let (hub, client) = FakeHub::start().await;
        let publisher = client.publisher("t").start().unwrap();
        publisher.publish(Body::text("a").into()).await.unwrap();
        let mut session = hub.session().await;
        let first = publishes(&mut session, 1).await;
        session.say(answer::error(Some(&first[0].0), &Problem::new(Kind::TopicClosed, "x"))).await;
        assert!(publisher.flush().await.unwrap_err().is_problem(Kind::TopicClosed));
        assert!(publisher.publish(Body::text("b").into()).await.unwrap_err().is_problem(Kind::TopicClosed));
    }
}
